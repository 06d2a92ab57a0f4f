"""The runs as a console shows them: those under way and the newest ended ones, and what is wrong with them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

from .objects import Ref
from .problems import Problem, Severity
from .readings import Trouble
from .runs import Run, RunState
from .runs import lost as silent
from .values import dataclass

if TYPE_CHECKING:
    from .world import World

PATIENCE = timedelta(minutes=1)
"""A run that waits longer than this wants to be seen."""
FRESH = timedelta(hours=1)
"""So long the bad end of a run is told, unless a later run on the same object ended."""
JOURNAL = "journal"
"""Name of the source that runs and audit are read from."""


class Health(StrEnum):
    """How a run stands as it is shown: its state in the journal, or what is judged of it."""

    STARTING = "starting"
    RUNNING = "running"
    WAITING = "waiting"
    STOPPING = "stopping"
    LOST = "runner lost"
    AFTER_BOOT = "after boot"
    """It marked itself for resume after a boot of its machine, and no runner has taken it up."""
    DONE = "done"
    FAILED = "failed"
    REFUSED = "refused"
    CANCELLED = "cancelled"
    PARTIAL = "partial"


@dataclass(frozen=True, slots=True)
class Wait:
    """What a run waits for."""

    text: str
    since: datetime


@dataclass(frozen=True, slots=True)
class RunBoard:
    """What was read of the journal last."""

    runs: tuple[Run, ...] = ()
    """All that are under way and the newest ended ones, newest first."""
    as_of: datetime | None = None
    """When it was read, or found not to be there; None: never."""
    trouble: Trouble | None = None
    """Why it cannot be read now; what was read before stays."""
    since: datetime | None = None
    """Since when the trouble lasts."""
    notice: str = ""
    """What an operator must know of the journal: it lives on its reserve, the old file was corrupt and lies aside."""
    lost: frozenset[str] = frozenset()
    """Ids of runs whose runner is gone: its process is not there, or it has been silent for too long."""
    waits: Mapping[str, Wait] = field(default_factory=dict)
    """By id, for runs under way."""
    roster: int = 0
    """Rises when a run comes or changes its state, so that a table orders its rows anew only then."""

    @property
    def by_id(self) -> dict[str, Run]:
        return {run.id: run for run in self.runs}

    @property
    def active(self) -> tuple[Run, ...]:
        return tuple(run for run in self.runs if run.active)


_STATES = {
    RunState.CONFIRMED: Health.STARTING,
    RunState.RUNNING: Health.RUNNING,
    RunState.WAITING: Health.WAITING,
    RunState.STOPPING: Health.STOPPING,
    RunState.DONE: Health.DONE,
    RunState.FAILED: Health.FAILED,
    RunState.REFUSED: Health.REFUSED,
    RunState.CANCELLED: Health.CANCELLED,
    RunState.PARTIAL: Health.PARTIAL,
}


def health(run: Run, board: RunBoard, now: datetime) -> Health:
    """A lost runner goes before whatever it last said of itself. While the journal cannot be read nobody is called lost: its beats are in there."""
    if run.active and board.trouble is None and (run.id in board.lost or silent(run, now)):
        return Health.AFTER_BOOT if run.after_boot else Health.LOST
    if run.state is RunState.RUNNING and run.id in board.waits:
        return Health.WAITING
    return _STATES[run.state]


def place(run: Run) -> str:
    """Where a run is or was last: `step 2 Evict pods`, `its first step`."""
    if run.step < 0:
        return "its first step"
    title = run.steps[run.step] if run.step < len(run.steps) else ""
    return f"step {run.step + 1} {title}".rstrip()


def problems(world: World, now: datetime) -> tuple[Problem, ...]:
    """Lost and waiting runs, a journal that cannot be used, and the bad ends of the last hour."""
    board = world.runs
    return (*_journal(board), *(p for run in board.runs for p in problems_of(run, board, now)))


def problems_of(run: Run, board: RunBoard, now: datetime) -> tuple[Problem, ...]:
    """What is wrong with one run."""
    return tuple(_active(run, board, now) if run.active else _bad_end(run, board, now))


def _journal(board: RunBoard) -> Iterator[Problem]:
    ref = Ref("sources", JOURNAL)
    if board.trouble is not None:
        hits = "runs are shown as last read, new ones cannot be confirmed" if board.as_of else "runs are not shown, none can be confirmed"
        yield Problem(ref, Severity.WARNING, _named(board.trouble.words), board.since, hits, board.trouble.hint)
    if board.notice:
        yield Problem(ref, Severity.WARNING, _named(board.notice), None, "runs and audit", "")


def _named(words: str) -> str:
    return words if "journal" in words.partition(":")[0] else f"journal: {words}"


def _active(run: Run, board: RunBoard, now: datetime) -> Iterator[Problem]:
    ref, remedy = Ref("runs", run.id), f"go on with: coldtui run resume {run.id}"
    match health(run, board, now):
        case Health.LOST:
            at = f"at {place(run)}" if run.step >= 0 else "before its first step"
            yield Problem(ref, Severity.CRITICAL, f"{run.title}: runner lost {at}", run.beat or run.created, run.object, remedy)
        case Health.AFTER_BOOT:
            machine = run.runner_host or "this machine"
            yield Problem(ref, Severity.WARNING, f"{run.title} waits to be resumed since {machine} booted", run.beat, run.object, remedy)
        case Health.WAITING:
            wait = board.waits.get(run.id) or Wait(run.outcome, run.started or run.created)
            if now - wait.since > PATIENCE:
                said = f"{run.title} waits" + (f": {wait.text}" if wait.text else "")
                yield Problem(ref, Severity.WARNING, said, wait.since, run.object, f"stop it with: coldtui run cancel {run.id}")
        case _:
            return


def _bad_end(run: Run, board: RunBoard, now: datetime) -> Iterator[Problem]:
    if run.state not in (RunState.FAILED, RunState.PARTIAL) or now - (run.ended or run.created) >= FRESH:
        return
    newest = next(other for other in board.runs if other.object == run.object)
    if newest.id == run.id:
        yield Problem(Ref("runs", run.id), Severity.NOTICE, f"{run.title}: {run.outcome or run.state}", run.ended, run.object, "")
