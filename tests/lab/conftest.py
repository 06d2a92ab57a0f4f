"""One embedded API server for all controller tests of a process; every test gets a fresh site on it or a namespace of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from coldtui.lab.apiserver.process import ApiServerProcess
from coldtui.lab.controllers.base import Pace

FAST = Pace(toleration=0.004, unready=0.3, pod_start=0.1, pod_stop=0.1, heartbeat=0.3, monitor=0.15, grace=1.2, boot=0.3, crash=0.15, crash_backoff=0.2,
            job=0.2, attach=0.1, notice=0.1, reboot=0.4, restart=0.2, promotion=0.1, rejoin=0.1, backup=0.4, snapshot=0.1, rebuild=0.6, drift=0.2, murmur=0.2, status=60, renew=0.2, probe=0.3)  # fmt: skip
"""Everything that takes seconds takes tenths."""

Until = Callable[[Callable[[], Awaitable[bool]]], Awaitable[None]]


async def until(condition: Callable[[], Awaitable[bool]], seconds: float = 15.0) -> None:
    """Wait for a condition; fails with its name when it does not come true in time."""
    try:
        async with asyncio.timeout(seconds):
            while not await condition():  # noqa: ASYNC110 (the world is asked, it does not call)
                await asyncio.sleep(0.03)
    except TimeoutError:
        raise AssertionError(f"not within {seconds} s: {getattr(condition, '__name__', condition)}") from None


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServerProcess]:
    """An empty embedded API server with all packaged CRDs."""
    folder: Path = tmp_path_factory.mktemp("api")
    with ApiServerProcess(folder) as running:
        yield running
