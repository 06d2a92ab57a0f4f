"""What is wrong with runs, judged from the board alone."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from coldtui.domain.problems import Problem, Severity, problems
from coldtui.domain.readings import SourceState, Trouble
from coldtui.domain.runboard import JOURNAL, Health, RunBoard, Wait, health, place
from coldtui.domain.runs import Run, RunState
from coldtui.domain.world import World
from tests.journals import NOW, STEPS, a_run

TROUBLE = Trouble("journal", "the journal cannot be read: disk I/O error", "look at dmesg")


def under_way(**changes: Any) -> Run:
    return replace(a_run(), **{"state": RunState.RUNNING, "started": NOW, "beat": NOW, "step": 1, "runner_host": "k3s-master", **changes})


def found(board: RunBoard, seconds: float = 1.0) -> tuple[Problem, ...]:
    state = SourceState(JOURNAL, board.as_of, board.trouble, board.since)
    world = World(1, NOW, runs=board)
    return problems(replace(world, sources=world.sources.set(JOURNAL, state)), NOW + timedelta(seconds=seconds))


@pytest.mark.parametrize(
    ("run", "seconds", "expected"),
    [
        (a_run(), 1, Health.STARTING),
        (a_run(), 13, Health.LOST),
        (under_way(), 1, Health.RUNNING),
        (under_way(), 13, Health.LOST),
        (under_way(state=RunState.STOPPING), 13, Health.LOST),
        (under_way(after_boot="boot-1"), 1, Health.RUNNING),
        (under_way(after_boot="boot-1"), 13, Health.AFTER_BOOT),
        (under_way(state=RunState.WAITING, outcome="the API"), 1, Health.WAITING),
        (under_way(state=RunState.STOPPING), 1, Health.STOPPING),
        (under_way(state=RunState.DONE), 999, Health.DONE),
        (under_way(state=RunState.PARTIAL), 999, Health.PARTIAL),
        (under_way(state=RunState.REFUSED), 999, Health.REFUSED),
    ],
)
def test_how_a_run_stands(run: Run, seconds: float, expected: Health) -> None:
    """A silent runner is lost whatever it said last; what ended is never lost; a run that waits for a boot is not called lost."""
    assert health(run, RunBoard((run,)), NOW + timedelta(seconds=seconds)) is expected


def test_a_runner_whose_process_is_gone_is_lost_before_its_beat_is_old() -> None:
    """The board says so, and that is enough."""
    run = under_way()
    assert health(run, RunBoard((run,), lost=frozenset({run.id})), NOW) is Health.LOST


def test_a_lost_runner_is_critical_and_names_the_way_out() -> None:
    """Which run, at which step, since when, and the command that goes on with it."""
    (problem,) = found(RunBoard((under_way(),), NOW), 20)
    assert problem.severity is Severity.CRITICAL
    assert problem.sentence == "Drain k3s-worker-1: runner lost at step 2 Evict 2 pods"
    assert problem.since == NOW
    assert problem.hits == "nodes/k3s-worker-1"
    assert problem.cause == "go on with: coldtui run resume 20261124-140210-7f3a"


def test_a_runner_that_never_came_up() -> None:
    """A confirmed run without a runner does not say that a step was reached."""
    (problem,) = found(RunBoard((a_run(),), NOW), 20)
    assert problem.sentence == "Drain k3s-worker-1: runner lost before its first step"


def test_a_wait_is_told_after_a_minute() -> None:
    """Up to a minute a run may wait; then for what and since when, as a warning with the way out."""
    run = under_way(state=RunState.WAITING, beat=NOW + timedelta(seconds=60))
    board = RunBoard((run,), NOW, waits={run.id: Wait("the API: connection refused", NOW)})
    assert found(board, 59) == ()
    (problem,) = found(board, 61)
    assert problem.severity is Severity.WARNING
    assert problem.sentence == "Drain k3s-worker-1 waits: the API: connection refused"
    assert problem.since == NOW
    assert "coldtui run cancel" in problem.cause


def test_a_run_that_waits_for_a_resume_after_boot() -> None:
    """Not lost, but nobody goes on with it by itself: a warning that names machine and command."""
    (problem,) = found(RunBoard((under_way(after_boot="boot-1"),), NOW), 30)
    assert problem.severity is Severity.WARNING
    assert problem.sentence == "Drain k3s-worker-1 waits to be resumed since k3s-master booted"
    assert "coldtui run resume" in problem.cause


def test_a_journal_that_cannot_be_read_is_one_problem_and_nobody_is_lost() -> None:
    """Without the journal no beat can be seen: that is said, and no runner is called lost."""
    board = RunBoard((under_way(),), NOW, TROUBLE, NOW)
    (problem,) = found(board, 300)
    assert problem.severity is Severity.WARNING
    assert problem.sentence == "the journal cannot be read: disk I/O error"
    assert problem.cause == "look at dmesg"
    assert health(board.runs[0], board, NOW + timedelta(seconds=300)) is Health.RUNNING


def test_what_the_journal_has_to_say_is_a_warning() -> None:
    """A journal on its reserve, or a corrupt one that lies aside, must be seen."""
    (problem,) = found(RunBoard((), NOW, notice="the disk is full: the journal lives on its reserve"))
    assert (problem.severity, problem.sentence) == (Severity.WARNING, "journal: the disk is full: the journal lives on its reserve")


def test_a_bad_end_is_told_for_an_hour_unless_something_later_ended_there() -> None:
    """Failed and partial runs stay on the list of problems for an hour; a later run on the same object replaces them."""
    bad = under_way(state=RunState.PARTIAL, ended=NOW, outcome="out of time; k3s-worker-1 is still cordoned")
    (problem,) = found(RunBoard((bad,), NOW), 60)
    assert (problem.severity, problem.sentence) == (Severity.NOTICE, f"Drain k3s-worker-1: {bad.outcome}")
    assert found(RunBoard((bad,), NOW), 3601) == ()
    later = replace(bad, id="20261124-150000-0000", state=RunState.DONE, created=NOW + timedelta(minutes=5))
    assert found(RunBoard((later, bad), NOW), 600) == ()
    elsewhere = replace(later, object="nodes/k3s-worker-2")
    assert len(found(RunBoard((elsewhere, bad), NOW), 600)) == 1


def test_done_cancelled_and_refused_runs_are_no_problem() -> None:
    """What ended as it should, or changed nothing, asks for nobody."""
    runs = tuple(under_way(id=f"r{i}", state=s, ended=NOW) for i, s in enumerate((RunState.DONE, RunState.CANCELLED, RunState.REFUSED)))
    assert found(RunBoard(runs, NOW), 10) == ()


def test_the_place_of_a_run() -> None:
    """Before the first step, in a step, and in a step whose title is not known."""
    assert place(a_run()) == "its first step"
    assert place(under_way(step=2)) == f"step 3 {STEPS[2]}"
    assert place(under_way(step=7)) == "step 8"
