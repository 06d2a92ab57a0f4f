"""How long to wait after a failure."""

from __future__ import annotations

from collections.abc import Callable

from ..ports import Clock


class Backoff:
    """Doubling from `start_s` to `cap_s`, each wait stretched by up to its own length (jitter 1.0, as client-go does), begun anew after `healthy_s`."""

    def __init__(self, start_s: float, cap_s: float, healthy_s: float, clock: Clock, random: Callable[[], float]) -> None:
        self._start, self._cap, self._healthy = start_s, cap_s, healthy_s
        self._clock, self._random = clock, random
        self._failures = 0
        self._last = float("-inf")

    def next(self) -> float:
        """Seconds until the next try, `cap_s` to 2 × `cap_s` at most."""
        now = self._clock.monotonic()
        if now - self._last > self._healthy:
            self._failures = 0
        self._last = now
        delay = min(self._cap, self._start * float(1 << min(self._failures, 32)))
        self._failures += 1
        return delay * (1.0 + self._random())

    def reset(self) -> None:
        self._failures = 0
