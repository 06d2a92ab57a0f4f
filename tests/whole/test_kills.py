"""Nothing is lost with the terminal, and nothing is done twice: consoles and runners killed at every point of a drain.

The moments are chosen by looking, at the journal and at the wire: nothing in the program knows that it is watched. What is quick runs on the
lab; the whole series on both grounds is marked `controlplane`, since it takes minutes.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

import pytest

from coldtui.domain.runs import Run, RunState, What
from tests.whole.acting import (
    Place,
    Seat,
    alive,
    arm,
    cordoned,
    is_cordon,
    is_eviction,
    open_menu,
    other_of,
    ready,
    seated,
    show_plan,
    spin,
    type_word,
)
from tests.whole.ground import Console
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


# ---------------------------------------------------------------- the console is killed


def sigkill(console: Console) -> None:
    console.signal(signal.SIGKILL)


def sigterm(console: Console) -> None:
    console.signal(signal.SIGTERM)


ENDS: dict[str, Callable[[Console], None]] = {"kill -9": sigkill, "closed terminal": Console.hang_up, "SIGTERM": sigterm}


def ended(console: Console, end: Callable[[Console], None]) -> None:
    """And nothing is left of its process."""
    end(console)
    console.wait(20)


@pytest.mark.parametrize("end", [pytest.param(e, id=n, marks=() if n == "kill -9" else SLOW) for n, e in ENDS.items()])
def test_what_was_not_confirmed_changes_nothing(anna: Seat, place: Place, home: str, end: Callable[[Console], None]) -> None:
    """Killed with the menu open, with the plan shown, and with half of the word typed: no run, no request that changes anything, and the audit says only that it was armed."""
    before = uids(place)
    consoles = [anna.console() for _ in range(3)]
    for number, console in enumerate(consoles):
        console.until("7/7 nodes", 20)
        if number == 0:
            open_menu(console, home)
        else:
            arm(console)
            show_plan(console, home)
        if number == 2:
            type_word(console, "dra")
            console.until("Type the verb drain: dra")
        ended(console, end)
    assert anna.relay is not None
    assert anna.relay.mutating() == []
    assert anna.journal.runs() == ()
    assert uids(place) == before
    assert not cordoned(place.ground, home)
    assert {e.what for e in anna.journal.audit_entries()} <= {"armed", "disarmed"}
    assert anna.run("audit", "verify").code == 0


@dataclass(frozen=True)
class Point:
    """Where in a drain its console is ended, and how."""

    name: str
    end: str
    what: What | None = None
    step: int = -1
    text: str = ""
    budget: bool = False
    slow: bool = False


POINTS = (
    *(Point("right after the confirmation", end) for end in ENDS),
    Point("the cordon is done", "kill -9", What.FINISHED, 0),
    Point("the first eviction", "closed terminal", What.ITEM, 1, "terminating"),
    Point("a budget blocks", "kill -9", What.ITEM, 1, "budget mill refuses", budget=True),
    Point("a slow pod terminates", "SIGTERM", What.ITEM, 1, "of 90 s", slow=True),
    Point("just before the end", "closed terminal", What.STARTED, 2),
    Point("after the end", "kill -9", What.ENDED),
)


@pytest.mark.parametrize(
    "point", [pytest.param(p, id=f"{p.name}, {p.end}", marks=() if p.what is None and p.end == "kill -9" else SLOW) for p in POINTS]
)
def test_a_confirmed_run_goes_on(anna: Seat, place: Place, home: str, point: Point) -> None:
    """The console that confirmed a drain is ended at a point of it: the drain goes on to its end, and a new console shows all of it."""
    if point.budget:
        place.yard.budget(maxUnavailable=1)
    if point.slow:
        place.yard.slow(home, 3.0)
    before = uids(place)
    console = anna.console()
    console.until("7/7 nodes", 20)
    arm(console)
    show_plan(console, home)
    type_word(console, "drain")
    console.until("✓ enter")
    console.send("\r")
    run = anna.begun()
    if (what := point.what) is not None:
        spin_with(console, lambda: any(point.text in e.text for e in anna.told(run, what, point.step)), anna, run)
    ended(console, ENDS[point.end])
    done = anna.ended(run)
    assert done.state is RunState.DONE, anna.story(run)
    whole(anna, place, home, run, before)


def spin_with(console: Console, condition: Callable[[], object], seat: Seat, run: Run) -> None:
    """Until it holds, while the console is read."""
    end = time.monotonic() + 40
    while not condition():
        assert time.monotonic() < end, seat.story(run)
        console.pump(0.001)


def whole(seat: Seat, place: Place, home: str, run: Run, before: set[str]) -> None:
    """The drain did all that it should, once, and a new console and the command line show every line and step of it."""
    spin(lambda: all(map(ready, place.yard.pods())), 20, "the pods are up again")
    drained(seat, home, before)
    audited(seat, "confirmed", "ended")
    lines = [line.text for line in seat.journal.read_log(run.id).lines]
    assert lines[-1].startswith("done in ")
    console = seat.console(rows=60)
    console.until("7/7 nodes", 20)
    console.send("7")
    console.until(f"Drain {home}")
    console.send("\r")
    console.until("✓ ended", 20)
    console.until(lambda: all(line[:60] in console.text for line in lines))
    for number, title in enumerate(run.steps):
        assert f"✓ {number + 1} {title}" in console.text
    followed = seat.run("run", "follow", run.id)
    assert (followed.code, [line.partition(" ")[2] for line in followed.out.splitlines()]) == (0, lines)


@SLOW
def test_every_console_of_a_drain_is_killed(anna: Seat, place: Place, home: str) -> None:
    """One drain and three consoles on it: the one that confirmed it is killed at once, the others with a budget blocking and while a slow pod terminates."""
    place.yard.budget(maxUnavailable=1)
    place.yard.slow(home, 2.0)
    before = uids(place)
    console, *others = [anna.console() for _ in range(3)]
    for each in (console, *others):
        each.until("7/7 nodes", 20)
    for each in others:
        each.open("7", "Runs [")
    arm(console)
    show_plan(console, home)
    type_word(console, "drain")
    console.until("✓ enter")
    console.send("\r")
    run = anna.begun()
    ended(console, sigkill)
    spin_with(others[0], lambda: anna.items(run, "of 90 s"), anna, run)
    others[0].until(f"Drain {home}")
    ended(others[0], Console.hang_up)
    spin_with(others[1], lambda: anna.items(run, "budget mill refuses"), anna, run)
    ended(others[1], sigterm)
    assert anna.ended(run).state is RunState.DONE, anna.story(run)
    whole(anna, place, home, run, before)


# ---------------------------------------------------------------- the runner is killed


def pass_on(place: Place, request: Recorded) -> None:
    """By our own hand, to its end: a server may leave off when whoever asked is gone."""
    path = f"{request.path}?{urlencode(request.query)}" if request.query else request.path
    answer = place.ground.admin.call(request.method, path, request.body, request.headers["content-type"])
    assert answer.code in (200, 201), answer.data


class Wire:
    """Sees every request before the server does. Kills the runner when a chosen one comes by, and lets it arrive or not."""

    def __init__(self, seat: Seat, chosen: Callable[[Recorded], bool] | None, *, arrives: bool) -> None:
        self.seat, self._chosen, self._arrives = seat, chosen, arrives
        self.struck = self.done = False
        self.trouble: Exception | None = None
        """What kept the blow from being dealt: the relay would swallow it."""
        self.twice: list[str] = []
        """Evictions that were asked for of pods that were being deleted already."""
        self.cordons = 0
        """Those that arrived."""
        assert seat.relay is not None
        seat.relay.lose_answers(self._look)

    def _look(self, request: Recorded) -> bool:
        """In the relay, before anything is passed on."""
        if self._chosen is None or self.struck or not self._chosen(request):
            self._note(request)
            return False
        self.struck = True
        try:
            self._strike(request)
        except (AssertionError, OSError) as error:
            self.trouble = error
        finally:
            self.done = True
        raise ConnectionResetError("the cable is cut")

    def _strike(self, request: Recorded) -> None:
        if self._arrives:
            self._note(request)
            pass_on(self.seat.place, request)
        run = self.seat.newest()
        assert run is not None
        self.seat.kill_runner(run)

    def _note(self, request: Recorded) -> None:
        self.cordons += is_cordon(request)
        if is_eviction(request):
            found = self.seat.place.ground.admin.get(request.path.removesuffix("/eviction"))
            if found.code == 200 and "deletionTimestamp" in found.json["metadata"]:
                self.twice.append(request.path)


@dataclass(frozen=True)
class Moment:
    """When the runner is killed: an event is in the journal, or a request is on the wire."""

    name: str
    what: What | None = None
    step: int = -1
    memo: str = ""
    request: Callable[[Recorded], bool] | None = None
    arrives: bool = False

    def strike(self, seat: Seat, start: Callable[[], object]) -> tuple[Run, Wire]:
        """Start the run, and kill its runner at this moment."""
        wire = Wire(seat, self.request, arrives=self.arrives)
        start()
        run = seat.begun()
        if self.request is not None:
            spin(lambda: wire.done, 40, f"{self.name} comes by", lambda: seat.story(run))
            if wire.trouble is not None:
                raise wire.trouble
        else:
            spin(lambda: self._there(seat, run), 20, self.name, lambda: seat.story(run))
            seat.kill_runner(run)
        return run, wire

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
QUICK = {"the cordon is done and not answered", "the first eviction is accepted and not answered"}


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
    assert wire.twice == [], anna.story(run)
    assert set(anna.evictions()) == before
    assert wire.cordons == 1, anna.story(run)
    spin(lambda: len(place.yard.pods()) == 2 and all(map(ready, place.yard.pods())), 20, "the pods are up again")
    drained(anna, home, before)
    assert {e.step for e in anna.told(run, What.FINISHED)} | {e.step for e in anna.told(run, What.ALREADY)} == {0, 1, 2}
    whats = ("confirmed", "ended", "resumed", "ended") if moment.what is What.ENDED else ("confirmed", "resumed", "ended")
    audited(anna, *whats)


# ---------------------------------------------------------------- what stands when a runner is gone


def began(seat: Seat, home: str, *more: str) -> Run:
    """A drain from the command line, left to itself."""
    before = seat.newest()
    seat.start("node", "drain", home, "--yes", home, "--detach", *more)
    return seat.begun(before.id if before else "")


def test_a_lost_run_is_seen_and_cancelled(anna: Seat, place: Place, home: str) -> None:
    """Within 15 s console and command line say at which step the runner was lost; cancel ends it with what stands; then the next drain begins."""
    place.yard.slow(home, 30.0)
    console = anna.console()
    console.until("7/7 nodes", 20)
    run = began(anna, home)
    spin(lambda: anna.items(run, "of 90 s"), 20, "the slow pod ends", lambda: anna.story(run))
    console.open("7", f"Drain {home}")
    anna.kill_runner(run)
    console.until("runner lost", LOST_S)
    listed = anna.run("runs")
    assert "runner lost" in listed.out, listed.out
    assert "runner lost at step 2" in anna.run("status").out + anna.run("problems").out
    followed = anna.run("run", "follow", run.id)
    assert followed.code == 1
    assert f"coldtui run resume {run.id}" in followed.err
    refused = anna.run("node", "drain", other_of(home), "--yes", other_of(home))
    assert (refused.code, run.id in refused.err, "lost" in refused.err) == (3, True, True), refused.err
    cancelled = anna.run("run", "cancel", run.id)
    assert cancelled.code == 0, cancelled.err
    assert f"{home} is still cordoned: coldtui node uncordon {home}" in cancelled.err
    assert anna.now(run).state is RunState.PARTIAL
    console.until("partial", 5)
    assert anna.run("run", "resume", run.id).code == 3
    assert cordoned(place.ground, home)
    assert anna.run("node", "uncordon", home).code == 0
    assert not cordoned(place.ground, home)
    again = began(anna, other_of(home), "--grace", "1")
    assert anna.ended(again).state is RunState.DONE, anna.story(again)
    assert anna.run("audit", "verify").code == 0


def test_who_cordoned_before_is_respected(anna: Seat, place: Place, home: str) -> None:
    """A node that somebody else had cordoned: the run says so, and neither its cancel after a kill nor its words uncordon it or call it its own."""
    place.yard.slow(home, 20.0)
    place.ground.cordon(True, home)
    run = began(anna, home)
    spin(lambda: anna.items(run, "of 90 s"), 20, "the slow pod ends", lambda: anna.story(run))
    assert [e.step for e in anna.told(run, What.ALREADY)] == [0]
    anna.kill_runner(run)
    assert anna.run("run", "cancel", run.id).code == 0
    assert "cordon" not in anna.now(run).outcome, anna.now(run).outcome
    assert cordoned(place.ground, home)
    assert anna.relay is not None
    assert [r for r in anna.relay.requests if is_cordon(r)] == []


def test_killed_twice_while_a_budget_blocks(anna: Seat, place: Place, home: str) -> None:
    """The pod that was let go is never asked for again; the blocked one is, and goes when its budget has refilled. A slow pod keeps the run from ending
    before its second death."""
    place.yard.slow(home, 15.0)
    place.yard.budget(maxUnavailable=1)
    before = uids(place)
    run = began(anna, home)
    spin(lambda: anna.items(run, "budget mill refuses"), 20, "a budget blocks", lambda: anna.story(run))
    anna.kill_runner(run)
    assert anna.run("run", "resume", run.id, "--detach").code == 0
    anna.kill_runner(run)
    done = anna.run("run", "resume", run.id)
    assert done.code == 0, done.err + anna.story(run)
    assert anna.now(run).attempts == 3
    asked = anna.evictions()
    assert set(asked) == before
    assert min(asked.values()) == 1, anna.story(run)
    spin(lambda: all(map(ready, place.yard.pods())), 20, "the pods are up again")
    drained(anna, home, before)
    audited(anna, "confirmed", "resumed", "resumed", "ended")


def freeze(seat: Seat, pid: int) -> None:
    """SIGSTOP, but not in the middle of a write to the journal: nobody else could write then."""

    def idle() -> bool:
        os.kill(pid, signal.SIGSTOP)
        with closing(sqlite3.connect(seat.journal_path, timeout=0.5)) as db:
            try:
                db.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                os.kill(pid, signal.SIGCONT)
                return False
        return True

    spin(idle, 20, "the runner does not write")


@SLOW
def test_a_frozen_runner_is_replaced_and_acts_no_more(anna: Seat, place: Place, home: str) -> None:
    """SIGSTOP: its process is there, but its beat is not; lost within 15 s; a new runner ends the run, and the old one, woken, touches nothing."""
    place.yard.budget(maxUnavailable=1)
    before = uids(place)
    run = began(anna, home)
    spin(lambda: anna.items(run, "budget mill refuses"), 20, "a budget blocks", lambda: anna.story(run))
    old = anna.now(run).runner_pid
    freeze(anna, old)
    try:
        began_at = time.monotonic()
        console = anna.console()
        console.until("7/7 nodes", 20)
        console.open("7", f"Drain {home}")
        console.until("runner lost", LOST_S - (time.monotonic() - began_at))
        done = anna.run("run", "resume", run.id)
        assert done.code == 0, done.err + anna.story(run)
        sent = len(anna.relay.mutating()) if anna.relay is not None else 0
    finally:
        os.kill(old, signal.SIGCONT)
    spin(lambda: not alive(old, run.id), 20, "the old runner lets go")
    assert anna.relay is not None
    assert [r for r in anna.relay.mutating()[sent:] if "/leases" not in r.path] == []
    assert min(anna.evictions().values()) == 1
    assert anna.now(run).state is RunState.DONE
    spin(lambda: all(map(ready, place.yard.pods())), 20, "the pods are up again")
    drained(anna, home, before)
    audited(anna, "confirmed", "resumed", "ended")


def test_sigterm_to_a_runner_cancels(anna: Seat, place: Place, home: str) -> None:
    """Stopped before its next act: what was accepted is named as not to be recalled, the rest was not asked for, and the node is still cordoned."""
    place.yard.budget(maxUnavailable=1)
    run = began(anna, home)
    spin(lambda: anna.items(run, "budget mill refuses"), 20, "a budget blocks", lambda: anna.story(run))
    os.kill(anna.now(run).runner_pid, signal.SIGTERM)
    done = anna.ended(run)
    assert (done.state, done.cancel_by) == (RunState.PARTIAL, "signal TERM"), anna.story(run)
    assert f"coldtui node uncordon {home}" in done.outcome
    followed = anna.run("run", "follow", run.id)
    assert followed.code == 6, followed.err
    assert "not evicted" in followed.out
    assert cordoned(place.ground, home)


def test_a_small_act_killed_in_the_middle(anna: Seat, place: Place, home: str) -> None:
    """A cordon is performed by whoever asked: killed before the answer came its run is lost, and `resume` finds it done without asking again."""
    assert anna.relay is not None
    started: Future[subprocess.Popen[str]] = Future()

    def strike(request: Recorded) -> bool:
        if not is_cordon(request):
            return False
        pass_on(place, request)
        started.result(20).send_signal(signal.SIGKILL)
        raise ConnectionResetError("the cable is cut")

    anna.relay.lose_answers(strike)
    process = anna.start("node", "cordon", home)
    started.set_result(process)
    assert process.wait(20) == -signal.SIGKILL
    anna.relay.lose_answers(None)
    assert cordoned(place.ground, home)
    run = anna.newest()
    assert run is not None
    assert "runner lost" in anna.run("runs").out
    done = anna.run("run", "resume", run.id)
    assert done.code == 0, done.err
    assert anna.now(run).state is RunState.DONE
    assert len([r for r in anna.relay.requests if is_cordon(r)]) == 1
    audited(anna, "confirmed", "resumed", "ended")
