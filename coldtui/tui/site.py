"""What the console needs of a site. The wiring's Site and the lab's fit by shape; the console imports neither."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from coldtui.domain.values import dataclass

from ..domain.errors import HostKeyUnknown
from ..domain.world import World
from ..ports import Journal, Kube

if TYPE_CHECKING:
    from ..operations.desk import Desk


class Live(Protocol):
    """The newest World, and word of newer ones."""

    @property
    def world(self) -> World: ...

    @property
    def journal(self) -> Journal | None:
        """For reading runs and audit, in threads: it blocks. None while there is none, or none that can be read."""
        ...

    def subscribe(self, changed: Callable[[World], None]) -> Callable[[], None]:
        """Call `changed` (from any thread, at any rate) whenever there is a newer World; the result ends it."""
        ...

    def refresh(self) -> None:
        """Read everything anew, now."""
        ...


class Site(Protocol):
    """A site as the console sees it."""

    @property
    def live(self) -> Live: ...

    @property
    def kube(self) -> Kube: ...

    @property
    def desk(self) -> Desk | None:
        """Where acts are asked for; None: nothing can be changed from here."""
        ...

    async def unknown_key(self, node: str, ip: str = "") -> HostKeyUnknown | None:
        """The key that the host of a node shows when it is in no known_hosts file; None: it is known. Raises ColdError."""
        ...

    def trust(self, line: str) -> str:
        """Keep the key of a host that the operator has compared (`HostKeyUnknown.line`). Returns the file. Blocking. Raises ColdError."""
        ...


@dataclass(frozen=True, slots=True)
class Options:
    """What the operator chose for the console, by flag, environment or file."""

    theme: str = ""
    """Empty: `cold`, or `ansi` where the terminal has only sixteen colours."""
    keymap: Mapping[str, str] = field(default_factory=dict)
    """Binding id -> keys, as in `table.down: ctrl+n`."""
    mouse: bool | None = None
    """None: on, but off over SSH."""
    read_only: bool = True
    """It cannot be armed. (It always begins read-only.)"""
    state_dir: Path | None = None
    """Where saved logs go; None: the current folder."""
    log: str = ""
    """Where the log is, for "see …" under an internal error."""
    start: str = ""
    """Id of the first screen; empty: the first there is."""
    now: Callable[[], datetime] | None = None
    """Aware, UTC; None: the system clock."""
    monotonic: Callable[[], float] | None = None
    """Seconds, for what is counted down; None: the system clock."""
    begin: Callable[[], Awaitable[Any]] | None = None
    """Awaited on the console's loop once it is up: starts `live`."""
    end: Callable[[], Awaitable[Any]] | None = None
    """Awaited on the console's loop when it ends."""
