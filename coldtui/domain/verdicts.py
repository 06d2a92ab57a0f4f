"""A judgement in one word, shared by the nouns that have a headline state."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from .kinds import KINDS
from .readings import Freshness
from .values import dataclass

if TYPE_CHECKING:
    from .world import World


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


def unsure(world: World, *kinds: str) -> str:
    """Why nothing over these kinds is certain now, in words; empty when all are live and whole."""
    for kind in kinds:
        state = world.sources.get(kind)
        title = KINDS[kind].title if kind in KINDS else kind
        if state is None:
            return f"{title}: never read"
        if state.whole:
            continue
        words = f": {state.trouble.words}" if state.trouble is not None else ""
        said = {
            Freshness.LOADING: "are being read",
            Freshness.LIVE: "are still being read",
            Freshness.STALE: "are from an earlier session" if state.saved and state.trouble is None else f"are stale{words}",
            Freshness.FORBIDDEN: f"may not be read{words}",
            Freshness.NOT_INSTALLED: "are not installed here",
            Freshness.FAILED: f"could not be read{words}",
        }
        return f"{title} {said[state.freshness]}"
    return ""


def seen(world: World, *kinds: str) -> bool:
    """Whether these kinds were read as a whole at least once, so that an object that is not there is really missing (as of then)."""
    states = [world.sources.get(kind) for kind in kinds]
    return all(state is not None and state.as_of is not None and not state.partial for state in states)
