"""`ports.Launcher`: the process of a confirmed run, detached from the terminal; and who and where we are."""

from __future__ import annotations

from .launcher import FD, ProcessLauncher, lives, take_secrets
from .me import me
from .scope import Scope

__all__ = ["FD", "ProcessLauncher", "Scope", "lives", "me", "take_secrets"]
