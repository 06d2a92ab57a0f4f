"""What is wrong, judged in one place: `domain/<noun>.problems(world, now)`. Every face reads the same list."""

from __future__ import annotations

from datetime import datetime
from enum import IntEnum
from typing import TYPE_CHECKING

from .objects import Ref
from .values import dataclass

if TYPE_CHECKING:
    from .world import World


class Severity(IntEnum):
    """Higher is worse."""

    NOTICE = 1
    """Worth knowing; nobody needs to act."""
    WARNING = 2
    """Will need a hand."""
    CRITICAL = 3
    """Something is down or about to be lost."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with one object."""

    object: Ref
    severity: Severity
    sentence: str
    """What is wrong, with the number: `postgres-3 replays 48 MB behind`."""
    since: datetime | None
    """Since when; None when it cannot be known."""
    hits: str
    """What it affects."""
    cause: str
    """Why, as far as the site itself says."""
    code: str = ""
    """What is wrong, in a word that stays while numbers in the sentence change, and whom of the object it is about: `behind/postgres-3`.
    Empty: the sentence itself stays the same."""

    @property
    def kind(self) -> str:
        """The code without whom it is about."""
        return self.code.partition("/")[0]

    @property
    def key(self) -> str:
        """Stable identity, so that rows and later acknowledgements stay with their problem."""
        return f"{self.object} {self.code or self.sentence}"


CAUSES = {"sources": 0, "nodes": 1, "pg_clusters": 2}
"""Kinds whose problems explain those of others, in that order; everything else follows by age."""


def _rank(problem: Problem) -> int:
    return CAUSES.get(problem.object.kind, len(CAUSES)) if problem.severity is Severity.CRITICAL else 0


def problems(world: World, now: datetime) -> tuple[Problem, ...]:
    """All problems, worst first; of the critical ones causes before effects (a lost node before what ran on it), then the oldest."""
    from . import (  # the nouns import this module
        backups,
        deployments,
        k3s,
        nodes,
        pgverdicts,
        pods,
        runboard,
        sources,
        storage_troubles,
        vips,
    )

    nouns = (sources, runboard, nodes, pgverdicts, storage_troubles, vips, backups, deployments, pods, k3s)
    found = [p for noun in nouns for p in noun.problems(world, now)]
    return tuple(sorted(found, key=lambda p: (-p.severity, _rank(p), p.since is None, p.since or now, p.sentence)))
