"""Waiting with a limit. `asyncio.wait_for` of Python 3.11 swallows a cancellation that meets the result; a task that must end cannot use it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

T = TypeVar("T")


async def within(work: Awaitable[T], limit_s: float) -> T:
    """The result of `work`; TimeoutError after `limit_s`."""
    async with asyncio.timeout(limit_s):
        return await work


async def happens(event: asyncio.Event, limit_s: float) -> bool:
    """Whether the event came within the limit."""
    try:
        async with asyncio.timeout(limit_s):
            await event.wait()
    except TimeoutError:
        return False
    return True
