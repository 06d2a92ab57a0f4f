"""A fake API for logs: its streams can be broken in the middle, and it counts those that are open."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from coldtui.domain.errors import ColdError, Unreachable
from coldtui.domain.kinds import Kind
from coldtui.lab.fakes import FakeKube
from coldtui.ports import LogLine, LogRequest
from tests.tui.worlds import NOW


class LogKube(FakeKube):
    """Logs with times a second apart, resumed by whole seconds as the kubelet does."""

    def __init__(self, *lines: str, at: datetime | None = None) -> None:
        super().__init__()
        self.first = at or NOW - timedelta(minutes=5)
        self.lines: list[LogLine] = []
        self.requests: list[LogRequest] = []
        self.open = 0
        self.whole: Mapping[str, Any] | None = None
        """What `fetch` gives, instead of the fake's bare object."""
        self.fault: ColdError | None = None
        self._end = False
        self.write(*lines)

    def write(self, *lines: str) -> None:
        for line in lines:
            self.lines.append(LogLine(self.first + timedelta(seconds=len(self.lines) // 2), line))

    def cut_line(self, error: ColdError | None = None) -> None:
        """Every open stream breaks."""
        self.fault = error or Unreachable("connection reset by peer", detail="127.0.0.1:6443")

    def mend(self) -> None:
        self.fault = None

    def stop_container(self) -> None:
        """Every open stream ends as it does with its container."""
        self._end = True

    async def fetch(self, kind: Kind, name: str, namespace: str = "", *, deadline_s: float = 10.0) -> Mapping[str, Any]:
        if self.whole is None:
            return await super().fetch(kind, name, namespace, deadline_s=deadline_s)
        await self._answer("fetch", kind.name, deadline_s)
        return self.whole

    async def logs(
        self, request: LogRequest, *, deadline_s: float = 10.0, told: Callable[[str], None] | None = None
    ) -> AsyncIterator[tuple[LogLine, ...]]:
        self.requests.append(request)
        await self._answer("logs", f"{request.namespace}/{request.pod}", deadline_s)
        if self.fault is not None:
            raise self.fault
        self.open += 1
        self._end = False
        given = 0 if request.tail is None else max(0, len(self.lines) - request.tail)
        if request.since is not None:
            whole = request.since.replace(microsecond=0)
            given = next((i for i, line in enumerate(self.lines) if line.at is not None and line.at >= whole), len(self.lines))
        try:
            while True:
                fresh, given = tuple(self.lines[given:]), len(self.lines)
                if fresh:
                    yield fresh
                if self.fault is not None:
                    raise self.fault
                if not request.follow or self._end:
                    return
                await asyncio.sleep(0.002)
        finally:
            self.open -= 1
