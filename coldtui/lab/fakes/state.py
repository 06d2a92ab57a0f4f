"""What the fake API server remembers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ...domain.errors import Expired

EVERY = "*"


@dataclass
class Fault:
    call: str
    """list, watch, poll, alive, facts, fetch, stats, may, logs, read, read_all, lease, or an act (its object is the key, not the kind):
    patch, create, delete, evict, lease; or `*`."""
    kind: str
    make: Callable[[], Exception]
    times: int | None


@dataclass
class Log:
    """One kind: its objects and what happened to them, oldest first."""

    objects: dict[str, Any] = field(default_factory=dict)
    events: list[tuple[int, str | None, Any | None]] = field(default_factory=list)
    """(version, key, value); value None: deleted; key None: a bookmark."""
    oldest: int = 0
    """Watches from a lower version are expired."""
    garbage: int = 0
    """Unreadable lines that the open watches deliver next."""
    skipped: int = 0
    """Objects that no list can decode."""
    forgotten: dict[str, Any] = field(default_factory=dict)
    """The objects as of `oldest`, where the events begin."""

    def as_of(self, version: int) -> dict[str, Any]:
        """The objects at a version. Raises Expired."""
        if version < self.oldest:
            raise Expired("too old resource version")
        found = dict(self.forgotten)
        for at, key, value in self.events:
            if at > version or key is None:
                continue
            found.pop(key, None) if value is None else found.__setitem__(key, value)
        return found
