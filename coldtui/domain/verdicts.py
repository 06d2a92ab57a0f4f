"""A judgement in one word, shared by the nouns that have a headline state."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Grade(Enum):
    """How good it is. Only GOOD may ever be painted green."""

    GOOD = "good"
    PART = "part"
    """Works, but not as it should, or something is under way."""
    BAD = "bad"
    OFF = "off"
    """Not running, on purpose."""
    UNKNOWN = "unknown"
    """Cannot be told now: not read, stale, forbidden, not installed."""


@dataclass(frozen=True, slots=True)
class Verdict:
    grade: Grade
    word: str
    """One or two words: `healthy`, `switching over`, `unknown`."""
    why: str = ""
    """The deciding fact with its number; empty when the word says it all."""
