"""The sources themselves: what cannot be read is a problem too."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING

from .kinds import KINDS
from .objects import Ref
from .problems import Problem, Severity
from .readings import Freshness, SourceState
from .runboard import JOURNAL

if TYPE_CHECKING:
    from .world import World

_ORDER = {name: place for place, name in enumerate(KINDS)}
MANY = 5
"""So many kinds with the same trouble are one problem."""
SKEW_S = 5.0
"""Clocks that differ by less harm nobody."""
KUBE = "kube"
"""The source that stands for the line to the API itself (the heartbeat)."""


def problems(world: World, now: datetime) -> tuple[Problem, ...]:
    """One problem for a lost API instead of thirty; then one for each kind that fails on its own."""
    line, states = world.sources.get(KUBE), [s for s in world.sources.values() if s.name != JOURNAL]  # of that one the runs tell
    if line is not None and line.trouble is not None:
        hits = "everything shown is old" if any(s.as_of for s in states) else "everything: nothing was read yet"
        return (
            Problem(Ref("sources", KUBE), Severity.CRITICAL, f"Kubernetes API: {line.trouble.words}", line.since, hits, line.trouble.hint),
        )
    found = [*_clocks(world.site.clock_skew_s)]
    alike: dict[str, list[SourceState]] = {}
    for state in sorted(states, key=lambda s: _ORDER.get(s.name, len(_ORDER))):  # a Map has no order of its own
        if state.trouble is not None and state.freshness is not Freshness.NOT_INSTALLED:
            alike.setdefault(state.trouble.kind, []).append(state)
    for group in alike.values():
        if len(group) >= MANY:
            found.append(_many(group, most=3 * len(group) > 2 * sum(1 for s in states if _counts(s))))
            continue
        found += [_one(state) for state in group]
    return tuple(found)


def _clocks(skew_s: float | None) -> Iterator[Problem]:
    """Leases, certificates and every age rest on both clocks."""
    if skew_s is None or abs(skew_s) <= SKEW_S:
        return
    sentence = f"clock of this machine and the API server differ by {abs(skew_s):,.0f} s"
    cause = f"this machine is {'behind' if skew_s > 0 else 'ahead'}, or the server is {'ahead' if skew_s > 0 else 'behind'}: see timedatectl on both"
    yield Problem(Ref("sources", "clock"), Severity.WARNING, sentence, None, "ages are wrong by that much", cause, "skew")


def _one(state: SourceState) -> Problem:
    assert state.trouble is not None
    title = KINDS[state.name].title if state.name in KINDS else state.name
    severity = Severity.NOTICE if state.freshness is Freshness.FORBIDDEN else Severity.WARNING
    hits = "shown without it" if state.as_of is None else "shown as last read"
    return Problem(Ref("sources", state.name), severity, f"{title}: {state.trouble.words}", state.since, hits, state.trouble.hint)


def _counts(state: SourceState) -> bool:
    """Whether the source is one that we try to read."""
    return state.freshness not in (Freshness.NOT_INSTALLED, Freshness.LOADING)


def _many(states: list[SourceState], *, most: bool) -> Problem:
    """One line for a trouble that many kinds share: it is one fault, and thirty lines would hide everything else.

    When it holds most of what is shown, the picture is as old as with a lost API.
    """
    first = min(states, key=lambda s: (s.since is None, s.since))
    assert first.trouble is not None
    forbidden = first.freshness is Freshness.FORBIDDEN
    names = ", ".join(KINDS[s.name].title if s.name in KINDS else s.name for s in states[:4])
    hits = f"{names} and {len(states) - 4} more"
    return Problem(
        Ref("sources", first.name), Severity.NOTICE if forbidden else Severity.CRITICAL if most else Severity.WARNING,
        f"{len(states)} kinds of object cannot be read: {first.trouble.words}", first.since, hits, first.trouble.hint, f"many/{first.trouble.kind}",
    )  # fmt: skip
