"""The journal watched: runs appear, end, wait and are lost; a journal comes, goes and breaks; looking changes nothing."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from coldtui.adapters.journal import SqliteJournal, open_journal
from coldtui.domain.errors import JournalTrouble
from coldtui.domain.readings import Freshness
from coldtui.domain.runboard import JOURNAL, Health, RunBoard, health
from coldtui.domain.runs import Run, RunState, What
from coldtui.lab.fakes import FakeKube
from coldtui.live import Live
from coldtui.live.pace import SystemClock
from coldtui.live.runs import RunSource, RunWatch, read_once
from coldtui.ports import Journal
from tests.journals import Wall, a_journal, a_run, begin, end, under_way

from .things import FAST, a_node, holds


class Watched:
    """A watch that is turned by hand."""

    def __init__(self, folder: Path, lives: Callable[[Run], bool | None] = lambda run: None) -> None:
        self.path, self.clock, self.told = folder / "journal.db", Wall(), list[RunBoard]()
        self.opened = 0
        self.watch = RunWatch(RunSource(self._look, lives), self.told.append, self.clock)

    def _look(self) -> SqliteJournal | None:
        if not self.path.exists():
            return None
        self.opened += 1
        return open_journal(str(self.path), clock=self.clock, reserve_b=0)

    def turn(self, pass_s: float = 0.2) -> RunBoard:
        self.clock.pass_(pass_s)
        self.watch.turn()
        return self.watch.board


def states(board: RunBoard) -> dict[str, str]:
    return {run.title: run.state.value for run in board.runs}


def test_looking_makes_no_journal(tmp_path: Path) -> None:
    """On a machine where nothing was ever done there are no runs, that is known, and nothing is written."""
    seen = Watched(tmp_path)
    board = seen.turn()
    assert board.runs == ()
    assert board.as_of is not None
    assert board.trouble is None
    seen.turn()
    assert len(seen.told) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_journal_that_appears_is_picked_up(tmp_path: Path) -> None:
    """The first run on a machine is on the board with the next look after it was confirmed."""
    seen = Watched(tmp_path)
    seen.turn()
    journal = a_journal(tmp_path, seen.clock)
    begin(journal)
    assert states(seen.turn()) == {"Drain k3s-worker-1": "confirmed"}
    journal.close()


def test_what_another_process_writes_is_told_once(tmp_path: Path) -> None:
    """Each change is one new board; a look that finds nothing new tells nothing and reads nothing."""
    journal = a_journal(tmp_path)
    seen = Watched(tmp_path)
    run = begin(journal)
    assert states(seen.turn()) == {"Drain k3s-worker-1": "confirmed"}
    told = len(seen.told)
    seen.turn()
    assert len(seen.told) == told
    journal.take_up(run.id, pid=4711, host="elsewhere", steps=run.steps)
    journal.record(run.id, What.STARTED, step=0, text=run.steps[0])
    board = seen.turn()
    assert board.runs[0].state is RunState.RUNNING
    assert board.runs[0].step == 0
    roster = board.roster
    end(journal, run)
    board = seen.turn()
    assert states(board) == {"Drain k3s-worker-1": "done"}
    assert board.roster > roster
    assert board.active == ()
    journal.close()


def test_a_run_between_two_looks_is_not_missed(tmp_path: Path) -> None:
    """A cordon that began and ended between two looks is on the board, newest first."""
    journal = a_journal(tmp_path)
    seen = Watched(tmp_path)
    run = begin(journal)
    end(journal, run)
    assert len(seen.turn().runs) == 1
    quick = a_run("20261124-140230-0001", title="Cordon k3s-worker-2", object="nodes/k3s-worker-2", created=seen.clock.now())
    begin(journal, quick)
    end(journal, quick, outcome="cordoned")
    assert [run.title for run in seen.turn().runs] == ["Cordon k3s-worker-2", "Drain k3s-worker-1"]
    journal.close()


def test_a_silent_runner_is_lost_within_fifteen_seconds(tmp_path: Path) -> None:
    """Without a beat for 12 s the run is told as lost by the next pulse though nobody writes, and as under way again once it beats."""
    seen = Watched(tmp_path)
    journal = a_journal(tmp_path, seen.clock)
    run = under_way(journal)
    board = seen.turn()
    assert health(board.runs[0], board, seen.clock.now()) is Health.RUNNING
    told = len(seen.told)
    while seen.clock.monotonic() < 14.5:
        seen.turn(0.5)
    assert len(seen.told) == told + 1
    assert seen.told[-1].lost == {run.id}
    assert health(seen.told[-1].runs[0], seen.told[-1], seen.clock.now()) is Health.LOST
    journal.beat(run.id)
    assert seen.turn().lost == frozenset()
    journal.close()


def test_a_runner_whose_process_is_gone_is_lost_at_once(tmp_path: Path) -> None:
    """A killed runner of this machine is not waited for: its process is asked for with every pulse."""
    alive = [True]
    seen = Watched(tmp_path, lambda run: alive[0])
    journal = a_journal(tmp_path, seen.clock)
    run = under_way(journal)
    assert seen.turn().lost == frozenset()
    alive[0] = False
    assert seen.turn(1.0).lost == {run.id}
    journal.close()


def test_what_a_run_waits_for_and_since_when(tmp_path: Path) -> None:
    """The board has the sentence and the moment of the first word about it; both go when the wait is over."""
    seen = Watched(tmp_path)
    journal = a_journal(tmp_path, seen.clock)
    run = under_way(journal)
    journal.record(run.id, What.WAITING, step=1, text="the API: connection refused")
    since = seen.clock.now()
    board = seen.turn(3.0)
    assert (board.waits[run.id].text, board.waits[run.id].since) == ("the API: connection refused", since)
    assert health(board.runs[0], board, seen.clock.now()) is Health.WAITING
    journal.record(run.id, What.WAITING, step=1, text="")
    assert seen.turn().waits == {}
    journal.close()


def test_a_journal_in_trouble_is_said_and_tried_again(tmp_path: Path) -> None:
    """What was read stays, nobody is called lost meanwhile, and all is well once the journal can be read."""
    trouble = [False]
    seen = Watched(tmp_path)
    journal = a_journal(tmp_path, seen.clock)
    under_way(journal)

    class Broken(SqliteJournal):
        def changed(self) -> int:
            if trouble[0]:
                raise JournalTrouble("the journal cannot be read", detail="disk I/O error", hint="look at dmesg")
            return super().changed()

    seen.watch._source = RunSource(lambda: Broken(str(seen.path), clock=seen.clock, reserve_b=0), lambda run: None)
    seen.turn()
    trouble[0] = True
    board = seen.turn()
    assert board.trouble is not None
    assert (board.trouble.words, board.trouble.hint) == ("the journal cannot be read: disk I/O error", "look at dmesg")
    since = board.since
    board = seen.turn(60.0)
    assert board.since == since
    assert states(board) == {"Drain k3s-worker-1": "running"}
    assert health(board.runs[0], board, seen.clock.now()) is Health.RUNNING
    assert len(seen.told) == 2
    trouble[0] = False
    board = seen.turn(1.0)
    assert board.trouble is None
    assert board.lost
    journal.close()


def test_a_journal_of_a_newer_version_is_trouble_with_a_remedy(tmp_path: Path) -> None:
    """It is neither read nor touched, and the words of the adapter reach the board."""
    import sqlite3

    a_journal(tmp_path).close()
    with sqlite3.connect(tmp_path / "journal.db") as db:
        db.execute("PRAGMA user_version=99")
    db.close()
    board = Watched(tmp_path).turn()
    assert board.trouble is not None
    assert "newer" in board.trouble.words
    assert board.trouble.hint


def test_a_journal_that_is_removed_is_not_made_again(tmp_path: Path) -> None:
    """The runs go with it, and no look brings an empty one into being."""
    seen = Watched(tmp_path)
    journal = a_journal(tmp_path, seen.clock)
    begin(journal)
    journal.close()
    assert seen.turn().runs
    for path in tmp_path.glob("journal.db*"):
        path.unlink()
    board = seen.turn()
    assert board.runs == ()
    seen.turn()
    assert not (tmp_path / "journal.db").exists()


def test_two_hundred_ended_runs_are_shown_and_all_under_way(tmp_path: Path) -> None:
    """Of a long history the newest 200 ended runs are on the board; a run under way is there however old it is."""
    seen = Watched(tmp_path)
    journal = a_journal(tmp_path, seen.clock)
    old = begin(journal, a_run("20261124-000000-0000", title="Old and under way"))
    for n in range(205):
        run = begin(journal, a_run(f"20261124-15{n // 60:02}{n % 60:02}-0000", locks=(), created=seen.clock.now()))
        journal.set_state(run.id, RunState.DONE, outcome="done")
        seen.clock.pass_(1)
    board = seen.turn()
    assert len(board.runs) == 201
    assert [run.id for run in board.active] == [old.id]
    journal.close()


def test_one_look_for_a_listing_leaves_nothing_open(tmp_path: Path) -> None:
    """`read_once` gives the board and closes the journal; where there is none it gives an empty board and makes none."""
    source = RunSource(lambda: open_journal(str(tmp_path / "journal.db"), clock=Wall()) if (tmp_path / "journal.db").exists() else None)
    assert read_once(source, Wall()).runs == ()
    journal = a_journal(tmp_path)
    begin(journal)
    journal.close()
    assert states(read_once(source, Wall())) == {"Drain k3s-worker-1": "confirmed"}


# ------------------------------------------------------------ within Live


def source_of(folder: Path) -> RunSource:
    path = folder / "journal.db"
    return RunSource(lambda: open_journal(str(path), clock=SystemClock(), reserve_b=0) if path.exists() else None)


def test_runs_reach_the_world_of_two_consoles_within_two_seconds(tmp_path: Path) -> None:
    """Two Lives at the true pace on one journal both show a run of a third party within 2 s, and its end too; closing leaves no thread."""

    async def scene() -> None:
        kube = FakeKube({"nodes": [a_node("a")]})
        lives = [Live(lambda: kube, runs=source_of(tmp_path)) for _ in range(2)]
        for live in lives:
            await live.start(("nodes", JOURNAL))
        journal = a_journal(tmp_path)
        try:
            for live in lives:
                await live.until(lambda w: JOURNAL in w.sources and w.sources[JOURNAL].freshness is Freshness.LIVE, 5)
            run = await asyncio.to_thread(begin, journal)
            began = time.monotonic()
            for live in lives:
                await live.until(lambda w: [r.state for r in w.runs.runs] == [RunState.CONFIRMED], 5)
            await asyncio.to_thread(end, journal, run)
            for live in lives:
                await live.until(lambda w: [r.state for r in w.runs.runs] == [RunState.DONE], 5)
            assert time.monotonic() - began < 4
        finally:
            for live in lives:
                await live.close()
            journal.close()

    asyncio.run(scene())
    for thread in [t for t in threading.enumerate() if t.name == "live-runs"]:
        thread.join(1)
        assert not thread.is_alive()


def test_a_lost_api_does_not_make_the_runs_old(tmp_path: Path) -> None:
    """The journal is on this machine: its runs stay live while Kubernetes is lost."""

    async def scene() -> None:
        kube = FakeKube({"nodes": [a_node("a")]})
        journal = a_journal(tmp_path)
        begin(journal)
        live = Live(lambda: kube, pace=FAST, runs=source_of(tmp_path))
        await live.start(("nodes", JOURNAL))
        try:
            await live.until(holds("nodes", ["a"]), 3)
            kube.kill()
            world = await live.until(lambda w: w.sources["kube"].trouble is not None and bool(w.runs.runs), 5)
            assert world.sources["nodes"].freshness is not Freshness.LIVE
            assert world.sources[JOURNAL].freshness is Freshness.LIVE
        finally:
            await live.close()
            journal.close()

    asyncio.run(scene())


@pytest.mark.parametrize("asked", [True, False])
def test_one_reading_takes_the_runs_only_when_asked(tmp_path: Path, asked: bool) -> None:
    """`coldtui status` reads the journal, also when the API cannot be reached; a listing of nodes does not open it."""
    opened: list[int] = []
    made = source_of(tmp_path)
    begin(journal := a_journal(tmp_path))
    journal.close()

    def look() -> Journal | None:
        opened.append(1)
        return made.look()

    source = replace(made, look=look)

    async def scene(kube: FakeKube) -> None:
        world = await Live(lambda: kube, runs=source).once(("nodes", *((JOURNAL,) if asked else ())))
        assert len(world.runs.runs) == asked
        assert bool(opened) is asked

    asyncio.run(scene(FakeKube({"nodes": [a_node("a")]})))
    dead = FakeKube({"nodes": [a_node("a")]})
    dead.kill()
    asyncio.run(scene(dead))
