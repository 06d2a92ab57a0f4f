"""Commands on the hosts behind the nodes, over SSH. `connect` makes the port; asyncssh is imported when the first connection is opened."""

from __future__ import annotations

from .shell import SshShell, connect

__all__ = ["SshShell", "connect"]
