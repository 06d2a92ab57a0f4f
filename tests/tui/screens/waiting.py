"""Waiting for what a screen's worker brings."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from tests.tui.consoles import Console

LONGEST_S = 10.0


async def until(c: Console, test: Callable[[], bool], what: str = "") -> None:
    """Let the console work until the condition holds; fails with what is on the screen."""
    end = asyncio.get_running_loop().time() + LONGEST_S
    while not test():
        if asyncio.get_running_loop().time() > end:
            raise AssertionError(f"never came: {what}\n{c.text}")
        await c.pilot.pause(0.01)
    await c.settle()


async def shows(c: Console, *words: str) -> None:
    """Until all of these are on the screen."""
    await until(c, lambda: all(word in c.text for word in words), " and ".join(words))
