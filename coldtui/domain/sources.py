"""The sources themselves: what cannot be read is a problem too."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from .kinds import KINDS
from .objects import Ref
from .problems import Problem, Severity
from .readings import Freshness

if TYPE_CHECKING:
    from .world import World

KUBE = "kube"
"""The source that stands for the line to the API itself (the heartbeat)."""


def problems(world: World, now: datetime) -> tuple[Problem, ...]:
    """One problem for a lost API instead of thirty; then one for each kind that fails on its own."""
    line = world.sources.get(KUBE)
    if line is not None and line.trouble is not None:
        hits = "everything shown is old" if any(s.as_of for s in world.sources.values()) else "nothing could be read yet"
        return (
            Problem(Ref("sources", KUBE), Severity.CRITICAL, f"Kubernetes API: {line.trouble.words}", line.since, hits, line.trouble.hint),
        )
    found = []
    for name, state in world.sources.items():
        if state.trouble is None or state.freshness is Freshness.NOT_INSTALLED:
            continue
        title = KINDS[name].title if name in KINDS else name
        severity = Severity.NOTICE if state.freshness is Freshness.FORBIDDEN else Severity.WARNING
        found.append(
            Problem(
                Ref("sources", name),
                severity,
                f"{title}: {state.trouble.words}",
                state.since,
                "shown without it" if state.as_of is None else "shown as last read",
                state.trouble.hint,
            )
        )
    return tuple(found)
