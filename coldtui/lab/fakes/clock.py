"""Time that moves only when told."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

START = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
"""Where fake time begins."""


class FakeClock:
    """Time that moves only when told."""

    def __init__(self, now: datetime = START) -> None:
        self._start = now
        self._passed = 0.0

    def now(self) -> datetime:
        return self._start + timedelta(seconds=self._passed)

    def monotonic(self) -> float:
        return self._passed

    def advance(self, seconds: float) -> None:
        self._passed += seconds
