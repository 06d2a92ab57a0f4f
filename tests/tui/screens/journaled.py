"""Worlds with the runs of a real journal: what `live` would have made of it."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from pathlib import Path

from coldtui.adapters.journal import SqliteJournal, open_journal
from coldtui.domain.readings import SourceState
from coldtui.domain.runboard import JOURNAL, RunBoard
from coldtui.domain.runs import RunState, What
from coldtui.domain.world import World
from coldtui.live.runs import RunSource, read_once
from tests.journals import Wall, a_journal, a_run, begin, end, under_way
from tests.tui import worlds
from tests.tui.worlds import NOW, sourced


def with_board(world: World, board: RunBoard) -> World:
    state = SourceState(JOURNAL, board.as_of, board.trouble, board.since)
    return replace(sourced(world, state), runs=board)


def world_of(journal: SqliteJournal, world: World | None = None, *, at: datetime = NOW) -> World:
    """The healthy site with the runs of a journal as they are at a moment."""
    source = RunSource(lambda: open_journal(journal.path, clock=Wall(at), reserve_b=0))
    return with_board(replace(world or worlds.healthy(), at=at), read_once(source, Wall(at)))


def none_yet(world: World | None = None) -> World:
    """Nothing was ever done on this machine."""
    return with_board(world or worlds.healthy(), RunBoard(as_of=NOW))


def named(clock: Wall, end: str) -> str:
    return f"{clock.time:%Y%m%d-%H%M%S}-{end}"


def history(folder: Path, clock: Wall | None = None) -> SqliteJournal:
    """Three ended runs of yesterday and today: done, partial, cancelled; nothing under way."""
    clock = clock or Wall(NOW)
    now, journal = clock.time, a_journal(folder, clock)
    clock.pass_(-86_400)
    run = begin(
        journal,
        a_run(
            named(clock, "0001"),
            title="Cordon k3s-worker-3",
            object="nodes/k3s-worker-3",
            locks=(),
            steps=("Cordon k3s-worker-3",),
            created=clock.now(),
            rung=0,
            reason="",
        ),
    )
    journal.take_up(run.id, pid=1, host="k3s-master", steps=run.steps)
    end(journal, run, outcome="k3s-worker-3 is cordoned")
    clock.time = now
    clock.pass_(-1_800)
    run = under_way(journal, a_run(named(clock, "0002"), title="Drain k3s-worker-2", object="nodes/k3s-worker-2", created=clock.now()))
    clock.pass_(312)
    journal.record(run.id, What.FAILED, step=1, text="Evict 2 pods: budget production/redis allows 0 of 3 for 5m")
    end(journal, run, RunState.PARTIAL, "out of time; k3s-worker-2 is still cordoned: coldtui node uncordon k3s-worker-2")
    clock.pass_(300)
    run = begin(
        journal, a_run(named(clock, "0003"), title="Reboot k3s-worker-4", object="nodes/k3s-worker-4", created=clock.now(), reason="")
    )
    journal.take_up(run.id, pid=3, host="k3s-master", steps=run.steps)
    journal.ask_cancel(run.id, "ben")
    clock.pass_(4)
    end(journal, run, RunState.CANCELLED, "stopped before its first act")
    clock.time = now
    return journal


def running(folder: Path, clock: Wall | None = None) -> SqliteJournal:
    """The same, and a drain under way in its second step for two minutes."""
    clock = clock or Wall(NOW)
    journal = history(folder, clock)
    clock.pass_(-130)
    run = under_way(journal, a_run(named(clock, "7f3a"), created=clock.now()))
    clock.pass_(45)
    journal.record(run.id, What.ITEM, step=1, object="pods/production/redis-0", text="gone")
    journal.record(run.id, What.ITEM, step=1, object="pods/production/redis-1", text="evicted, stops: 21 s of 30 s")
    clock.pass_(84)
    journal.beat(run.id)
    clock.pass_(1)
    return journal
