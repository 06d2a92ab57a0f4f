"""The state folder: where the journal, the log, the saved World and the saved picture live."""

from __future__ import annotations

import os
from collections.abc import Mapping

from coldtui.domain.values import dataclass

SHARED = "/var/lib/coldtui"
"""Shared by all operators of a master (group `coldtui`, 2770); used when it exists."""


@dataclass(frozen=True, slots=True)
class StateDir:
    path: str
    trouble: str = ""
    """Why nothing can be written there, with the remedy; empty when all is well."""

    @property
    def writable(self) -> bool:
        return not self.trouble


def choose(configured: str, environ: Mapping[str, str]) -> str:
    """The folder by rule; nothing is touched. Never a second choice when the first is not writable: there is one journal."""
    if configured:
        return os.path.abspath(os.path.expanduser(configured))
    if environ.get("COLDTUI_STATE"):
        return os.path.abspath(os.path.expanduser(environ["COLDTUI_STATE"]))
    if os.path.isdir(SHARED):
        return SHARED
    base = environ.get("XDG_STATE_HOME") or os.path.join(environ.get("HOME") or os.path.expanduser("~"), ".local", "state")
    return os.path.join(base, "coldtui")


def journal_path(configured: str, folder: str) -> str:
    """The journal in force. `configured`: setting `journal`; `folder`: the state folder."""
    return os.path.abspath(os.path.expanduser(configured)) if configured else os.path.join(folder, "journal.db")


def prepare(path: str) -> StateDir:
    """Make the folder (0750) if it is not there and say whether it can be written."""
    try:
        os.makedirs(path, mode=0o750, exist_ok=True)
    except FileExistsError:
        return StateDir(path, f"{path} is not a folder: remove it or set state_dir")
    except OSError as error:
        return StateDir(path, f"{path} cannot be made ({(error.strerror or str(error)).lower()}): set state_dir or COLDTUI_STATE")
    if not os.access(path, os.W_OK | os.X_OK):
        remedy = "join group coldtui" if path == SHARED else "mend its permissions or set state_dir"
        return StateDir(path, f"{path} is not writable: {remedy}")
    return StateDir(path)
