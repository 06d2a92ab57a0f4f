"""What cannot be read is a problem: one for a lost line, one for each kind, one for a trouble that many kinds share."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from coldtui.domain.kinds import WATCHED
from coldtui.domain.problems import Severity
from coldtui.domain.readings import SourceState, Trouble
from coldtui.domain.sources import KUBE, problems
from coldtui.domain.world import SiteFacts, World

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


def world_of(*states: SourceState) -> World:
    world = World(1, NOW)
    return replace(world, sources=world.sources.update({s.name: s for s in states}))


def cut(name: str) -> SourceState:
    return SourceState(name, as_of=NOW, trouble=Trouble("lost", f"the stream of {name} broke"), since=NOW)


def test_a_lost_line_is_one_critical_problem() -> None:
    """When the API itself does not answer, the thirty kinds behind it say nothing of their own."""
    dead = SourceState(KUBE, as_of=NOW, trouble=Trouble("refused", "connection refused by 127.0.0.1:6443"), since=NOW)
    (found,) = problems(world_of(dead, *(cut(kind.name) for kind in WATCHED)), NOW)
    assert (found.severity, found.sentence) == (Severity.CRITICAL, "Kubernetes API: connection refused by 127.0.0.1:6443")


def test_a_few_kinds_are_named_one_by_one() -> None:
    """Each kind that fails on its own has its line; one that is not installed has none."""
    absent = SourceState("lh_nodes", trouble=Trouble("not-installed", "no such kind"), since=NOW)
    found = problems(world_of(cut("pods"), cut("nodes"), absent), NOW)
    assert sorted(p.object.name for p in found) == ["nodes", "pods"]


def test_a_trouble_that_many_kinds_share_is_one_problem() -> None:
    """A fault that cuts every stream is one line that counts them; a forbidden kind beside it keeps its own."""
    forbidden = SourceState("leases", trouble=Trouble("forbidden", "needs list on leases"), since=NOW)
    many = [cut(kind.name) for kind in WATCHED if kind.name != "leases"]
    found = sorted(problems(world_of(forbidden, *many), NOW), key=lambda p: p.severity)
    assert [p.severity for p in found] == [Severity.NOTICE, Severity.CRITICAL]
    assert found[0].sentence == "node leases: needs list on leases"
    assert found[1].sentence.startswith(f"{len(many)} kinds of object cannot be read: ")
    assert f"and {len(many) - 4} more" in found[1].hits


def test_clocks_that_differ_are_a_warning() -> None:
    """More than five seconds between this machine and the server is told with the number, and who is behind; less, or unknown, is nothing."""

    def at(skew_s: float | None) -> list[str]:
        world = replace(World(1, NOW), site=SiteFacts(clock_skew_s=skew_s))
        return [f"{p.severity.name} {p.sentence} {p.cause}" for p in problems(world, NOW)]

    assert at(None) == at(4.9) == at(-5.0) == []
    assert at(90.2)[0].startswith("WARNING clock of this machine and the API server differ by 90 s this machine is behind")
    assert "this machine is ahead" in at(-3600.0)[0]
    assert "differ by 3,600 s" in at(-3600.0)[0]
