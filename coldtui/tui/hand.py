"""Whether a key was pressed by a hand, just now: not held down, not part of what a terminal typed in one go.

A terminal tells neither when a key is released nor that a text was pasted (if it knows no bracketed paste). Both are seen in the times at
which keys come: a held key repeats itself within a tenth of a second, its first repeat within a second, and a paste arrives all at once.
"""

from __future__ import annotations

from collections import deque
from math import inf

HELD_S = 1.1
"""The same key again within this may be one that is held down: the longest usual delay before the first repeat is 1 s."""
REPEAT_S = 0.045
"""The same letter again within this is a repeat: terminals repeat 25 to 30 times a second, and no finger is as quick."""
BURST_S = 0.03
"""A key that follows another one so closely came with it."""
LETTER_S = 0.015
"""Each letter of a typed word takes at least this on the whole. Letters that a slow line brings in one piece pass when others took longer."""


class Hand:
    """Remembers when keys came. Times are seconds of the monotonic clock, as events carry them."""

    def __init__(self) -> None:
        self._seen: deque[tuple[str, float]] = deque(maxlen=300)

    def saw(self, key: str, at: float) -> None:
        """Told of every key and paste, also of those that nobody takes."""
        self._seen.append((key, at))

    def since_same(self, key: str, at: float) -> float:
        """Seconds since the same key came before this one; infinite when it did not."""
        return at - max((then for name, then in self._before(key, at) if name == key), default=-inf)

    def since_any(self, key: str, at: float) -> float:
        """Seconds since any key came before this one."""
        return at - max((then for _, then in self._before(key, at)), default=-inf)

    def followed(self, key: str, at: float) -> bool:
        """Whether another key came right behind this one."""
        return any(0 <= then - at < BURST_S for name, then in self._seen if (name, then) != (key, at))

    def _before(self, key: str, at: float) -> list[tuple[str, float]]:
        seen = list(self._seen)
        for place in range(len(seen) - 1, -1, -1):
            if seen[place] == (key, at):
                return seen[:place]
        return [entry for entry in seen if entry[1] <= at]

    def doubt(self, key: str, at: float) -> str:
        """Why a key that decides something does not count; empty: it does."""
        if self.since_same(key, at) < HELD_S:
            return f"{key} may be held down: let go, wait a second, press it once more"
        if self.since_any(key, at) < BURST_S:
            return f"{key} came together with other keys: press it once more"
        return ""


def typed_at_once(times: list[float]) -> bool:
    """Whether the letters of a word came quicker than a hand types them."""
    return len(times) > 1 and times[-1] - times[0] < LETTER_S * (len(times) - 1)
