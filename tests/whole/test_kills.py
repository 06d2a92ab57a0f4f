"""Nothing is lost with the terminal, and nothing is done twice: consoles and runners killed at every point of a drain.

The moments are chosen by looking, at the journal and at the wire: nothing in the program knows that it is watched. What is quick runs on the
lab; the whole series on both grounds is marked `controlplane`, since it takes minutes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from coldtui.domain.runs import Run, RunState, What
from tests.whole.acting import (
    Place,
    Seat,
    cordoned,
    is_cordon,
    is_eviction,
    other_of,
    ready,
    seated,
    spin,
)
from tests.whole.recorder import Recorded

LOST_S = 15.0
SLOW = pytest.mark.controlplane


@pytest.fixture
def home(place: Place) -> str:
    """The node of the yard that has the pods."""
    return place.yard.tidy()


@pytest.fixture
def anna(place: Place, tmp_path: Path) -> Iterator[Seat]:
    with seated(place, tmp_path) as made:
        yield made


def uids(place: Place) -> set[str]:
    return {pod["metadata"]["uid"] for pod in place.yard.pods()}


def drained(seat: Seat, home: str, before: set[str]) -> None:
    """By a plain client: nobody who was there is anywhere, all are up again on the other node, and the node takes no pods."""
    pods = seat.place.yard.pods()
    assert not before & {pod["metadata"]["uid"] for pod in pods}
    assert {pod["spec"]["nodeName"] for pod in pods} == {other_of(home)}
    assert cordoned(seat.place.ground, home)
    assert not cordoned(seat.place.ground, other_of(home))


def audited(seat: Seat, *whats: str) -> None:
    done = seat.run("audit", "verify", "--json")
    assert done.code == 0, done.out + done.err
    assert [e.what for e in seat.journal.audit_entries() if e.what not in ("armed", "disarmed")] == list(whats)


# ---------------------------------------------------------------- the runner is killed


class Wire:
    """Kills the runner when a request comes by, and lets it arrive or not."""

    def __init__(self, seat: Seat, chosen: Callable[[Recorded], bool], *, arrives: bool) -> None:
        self.seat, self._chosen, self._arrives = seat, chosen, arrives
        self.struck = False
        self.dropped: set[int] = set()
        """Requests, by identity, that never arrived."""
        assert seat.relay is not None
        seat.relay.lose_answers(self._look)

    def _look(self, request: Recorded) -> bool:
        """In the relay, before anything is passed on."""
        if self.struck or not self._chosen(request):
            return False
        self.struck = True
        run = self.seat.newest()
        assert run is not None
        self.seat.kill_runner(run)
        if not self._arrives:
            self.dropped.add(id(request))
            raise ConnectionResetError("the cable is cut")
        return True


@dataclass(frozen=True)
class Moment:
    """When the runner is killed: an event is in the journal, or a request is on the wire."""

    name: str
    what: What | None = None
    step: int = -1
    memo: str = ""
    request: Callable[[Recorded], bool] | None = None
    arrives: bool = False

    def strike(self, seat: Seat, start: Callable[[], object]) -> tuple[Run, Wire | None]:
        """Start the run, and kill its runner at this moment."""
        wire = Wire(seat, self.request, arrives=self.arrives) if self.request is not None else None
        start()
        run = seat.begun()
        if wire is not None:
            spin(lambda: wire.struck and seat.now(run).runner_pid, 20, f"{self.name} comes by", lambda: seat.story(run))
            return run, wire
        spin(lambda: self._there(seat, run), 20, self.name, lambda: seat.story(run))
        seat.kill_runner(run)
        return run, None

    def _there(self, seat: Seat, run: Run) -> bool:
        assert self.what is not None
        return any(
            not self.memo or f"{self.step}/{self.memo}" in e.memo for e in seat.told(run, self.what, self.step if self.step >= 0 else None)
        )


MOMENTS = (
    Moment("taken up", What.RUNNER),
    Moment("the lease is asked for", request=lambda r: r.method in ("POST", "PATCH") and "/leases" in r.path),
    Moment("planned again", What.PLAN),
    Moment("the cordon is announced", What.STARTED, 0),
    Moment("the cordon is remembered", What.MEMO, 0),
    Moment("the cordon never arrives", request=is_cordon),
    Moment("the cordon is done and not answered", request=is_cordon, arrives=True),
    Moment("the cordon is done", What.FINISHED, 0),
    Moment("the evictions are announced", What.STARTED, 1),
    Moment("who is asked for is remembered", What.MEMO, 1, "asked"),
    Moment("the first eviction never arrives", request=is_eviction),
    Moment("the first eviction is accepted and not answered", request=is_eviction, arrives=True),
    Moment("the pods end", What.ITEM, 1),
    Moment("the pods are gone", What.FINISHED, 1),
    Moment("the last look is announced", What.STARTED, 2),
    Moment("the last look is done", What.FINISHED, 2),
    Moment("its end is written", What.ENDED),
)
QUICK = {"planned again", "the cordon is done and not answered", "the first eviction is accepted and not answered", "the pods are gone"}


@pytest.mark.parametrize("moment", [pytest.param(m, id=m.name, marks=() if m.name in QUICK else SLOW) for m in MOMENTS])
def test_a_runner_killed_at_a_step_is_resumed(anna: Seat, place: Place, home: str, moment: Moment) -> None:
    """Killed with -9: lost at once for everybody; `resume` ends right, each pod is evicted once, and what it cordoned stays cordoned."""
    before = uids(place)
    run, wire = moment.strike(anna, lambda: anna.start("node", "drain", home, "--yes", home, "--detach"))
    now = anna.now(run)
    if now.state.ended:
        assert moment.what is What.ENDED  # it was quicker than we: its end is whole then
        audited(anna, "confirmed", "ended")
        return
    listed = anna.run("runs", "--json")
    assert "lost" in listed.out, listed.out
    done = anna.run("run", "resume", run.id)
    assert done.code == 0, done.out + done.err + anna.story(run)
    now = anna.now(run)
    assert (now.state, now.attempts) == (RunState.DONE, 2), anna.story(run)
    assert anna.relay is not None
    lost = wire.dropped if wire is not None else set()
    asked = [r.json["deleteOptions"]["preconditions"]["uid"] for r in anna.relay.matching("POST", "/eviction") if id(r) not in lost]
    assert sorted(asked) == sorted(before), anna.story(run)
    cordons = [r for r in anna.relay.requests if is_cordon(r) and id(r) not in lost]
    assert [r.json["spec"]["unschedulable"] for r in cordons] == [True]
    spin(lambda: len(place.yard.pods()) == 2 and all(map(ready, place.yard.pods())), 20, "the pods are up again")
    drained(anna, home, before)
    assert {e.step for e in anna.told(run, What.FINISHED)} | {e.step for e in anna.told(run, What.ALREADY)} == {0, 1, 2}
    whats = ("confirmed", "ended", "resumed", "ended") if moment.what is What.ENDED else ("confirmed", "resumed", "ended")
    audited(anna, *whats)
