"""The database adapter, opened when somebody first asks it something: sites without PostgreSQL never load its library."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from ..ports import Database


class _Lazy:
    """Hands everything on to what `make` makes, once."""

    def __init__(self, make: Callable[[], Database]) -> None:
        self._make, self._made, self._lock = make, cast("Database | None", None), threading.Lock()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        with self._lock:
            if self._made is None:
                self._made = self._make()
        return getattr(self._made, name)

    async def aclose(self) -> None:
        """What was never asked has nothing to close."""
        if self._made is not None:
            await self._made.aclose()


def lazy_database(make: Callable[[], Database]) -> Database:
    """`make` may block for the tenths of a second that the library takes to load: ask `targets` first, in a thread."""
    return cast("Database", _Lazy(make))
