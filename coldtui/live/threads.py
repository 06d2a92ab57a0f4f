"""Blocking work beside the loop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from threading import Thread
from typing import TypeVar

log = logging.getLogger("coldtui.live")

T = TypeVar("T")


def in_thread(name: str, work: Callable[[], T]) -> asyncio.Future[T]:
    """Run `work` in a daemon thread of its own: a pool's thread that hangs would hold up the end of the program."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def tell(result: T | None, error: BaseException | None) -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]  # T may be None

    def run() -> None:
        result: T | None = None
        error: BaseException | None = None
        try:
            result = work()
        except Exception as found:  # noqa: BLE001  handed over to whoever awaits
            error = found
        try:
            loop.call_soon_threadsafe(tell, result, error)
        except RuntimeError:
            log.info("%s ended after its loop", name)

    Thread(target=run, name=name, daemon=True).start()
    return future
