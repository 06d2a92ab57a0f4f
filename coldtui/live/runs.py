"""The journal on this machine, watched: runs that any console or command line began are on every screen within moments.

Looking never makes a journal, and never changes one.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from threading import Event, Thread

from coldtui.domain.values import dataclass

from ..domain.errors import ColdError, JournalTrouble
from ..domain.progress import Progress, fold
from ..domain.readings import Trouble
from ..domain.runboard import RunBoard, Wait
from ..domain.runs import Run
from ..domain.runs import lost as silent
from ..ports import Clock, Journal

log = logging.getLogger("coldtui.live")

SHOWN = 200
"""Runs on the board; older ones are in the journal."""
PULSE_S = 1.0
"""How often runs under way are judged, and a journal in trouble is tried again."""


@dataclass(frozen=True, slots=True)
class RunSource:
    """Where runs are read from."""

    look: Callable[[], Journal | None]
    """Opens the journal that is there; None: there is none. Raises JournalTrouble."""
    lives: Callable[[Run], bool | None] = lambda run: None
    """Whether the process of a run's runner is there. None: it cannot be told from here."""


class RunWatch:
    """Polls the journal in a thread of its own and tells of each new board. `journal` is for reading more of it."""

    def __init__(
        self, source: RunSource, tell: Callable[[RunBoard], None], clock: Clock, *, poll_s: float = 0.2, pulse_s: float = PULSE_S
    ) -> None:
        self._source, self._tell, self._clock = source, tell, clock
        self._poll_s, self._pulse_s = poll_s, pulse_s
        self.journal: Journal | None = None
        self.board = RunBoard()
        self._told: RunBoard | None = None
        self._seen = -1
        self._pulsed = float("-inf")
        self._ended: tuple[Run, ...] = ()
        self._known: tuple[frozenset[str], str] = (frozenset(), "")
        self._progress: dict[str, Progress] = {}
        self._over = Event()
        self.thread = Thread(target=self._run, name="live-runs", daemon=True)

    def start(self) -> None:
        self.thread.start()

    def close(self) -> None:
        self._over.set()

    # ------------------------------------------------------------ the thread

    def _run(self) -> None:
        try:
            while not self._over.is_set():
                self.turn()
                self._over.wait(self._poll_s)
        finally:
            self.let_go()

    def turn(self) -> None:
        """One look."""
        pulse = self._clock.monotonic() - self._pulsed >= self._pulse_s
        if pulse:
            self._pulsed = self._clock.monotonic()
        try:
            self._look(pulse)
        except JournalTrouble as error:
            self._troubled(error)
        except Exception as error:  # the boundary of a thread: shown, logged, tried again
            log.error("journal: fault of this program, tried again", exc_info=error)
            self._troubled(JournalTrouble(f"a fault of this program: {type(error).__name__}: {error}"))

    def _look(self, pulse: bool) -> None:
        if self.journal is not None and not os.path.exists(self.journal.path):
            self.let_go()  # asked for more, it would make a new one
        if self.journal is None:
            if self.board.trouble is not None and not pulse:
                return
            self.journal = self._source.look()
            if self.journal is None:
                self._none()
                return
        changed = self.journal.changed()
        if changed != self._seen:
            self._read(self.journal)
            self._seen = changed
        elif pulse and self.board.active:
            self._publish(self.board)

    def _none(self) -> None:
        self._forget()
        if self.board.as_of is None or self.board.runs or self.board.trouble is not None:
            self._publish(RunBoard(as_of=self._clock.now(), roster=self.board.roster + 1))

    def _troubled(self, error: ColdError) -> None:
        self.let_go()
        words = f"{error.title}: {error.detail}" if error.detail else error.title
        since = (self.board.since if self.board.trouble else None) or self._clock.now()
        self._publish(replace(self.board, trouble=Trouble("journal", words, error.hint), since=since))

    def let_go(self) -> None:
        """Close what is open. (For whoever turns it by hand: the thread does it at its end.)"""
        journal, self.journal = self.journal, None
        if journal is not None:
            try:
                journal.close()
            except JournalTrouble as error:
                log.info("closing the journal: %s", error)
        self._forget()

    def _forget(self) -> None:
        self._seen, self._ended, self._known, self._progress = -1, (), (frozenset(), ""), {}

    # ------------------------------------------------------------ reading

    def _read(self, journal: Journal) -> None:
        """Runs under way, and the ended ones only when one began or ended: they do not change any more."""
        active = journal.runs(active=True, limit=10_000)
        newest = journal.runs(limit=1)
        known = (frozenset(run.id for run in active), newest[0].id if newest else "")
        if known != self._known:
            self._ended = journal.runs(active=False, limit=SHOWN)
            # One that ended between the two looks is in both.
            ended = {run.id for run in self._ended}
            active = tuple(run for run in active if run.id not in ended)
            self._known = known
        runs = tuple(sorted((*active, *self._ended), key=lambda run: (run.created, run.id), reverse=True))
        self._publish(
            RunBoard(runs, self._clock.now(), notice=journal.notice, waits=self._waits(journal, active), roster=self.board.roster)
        )

    def _waits(self, journal: Journal, active: tuple[Run, ...]) -> Mapping[str, Wait]:
        """What runs under way wait for, from their events; each event is read once."""
        self._progress = {run.id: self._progress.get(run.id, Progress()) for run in active}
        for run in active:
            progress = self._progress[run.id]
            while events := journal.events(run.id, after=progress.seq):
                progress = fold(progress, events)
            self._progress[run.id] = progress
        return {
            id: Wait(progress.waiting, progress.waiting_since)
            for id, progress in self._progress.items()
            if progress.waiting and progress.waiting_since is not None
        }

    def _publish(self, board: RunBoard) -> None:
        """Judge, and tell when that is news."""
        now, before = self._clock.now(), self._told
        if board.trouble is None:  # without the journal nobody can tell whether a runner still beats
            board = replace(board, lost=frozenset(run.id for run in board.active if silent(run, now) or self._source.lives(run) is False))
        moved = before is None or _states(before) != _states(board)
        self.board = board = replace(board, roster=board.roster + moved)
        if before is None or _news(before) != _news(board):
            self._told = board
            self._tell(board)


def _states(board: RunBoard) -> tuple[tuple[str, str], ...]:
    return tuple((run.id, run.state.value) for run in board.runs)


def _news(board: RunBoard) -> tuple[object, ...]:
    """All but when it was read."""
    return (board.runs, board.trouble, board.notice, board.lost, board.waits)


def read_once(source: RunSource, clock: Clock) -> RunBoard:
    """One look, for a listing. Blocking; never raises: trouble is on the board."""
    watch = RunWatch(source, lambda board: None, clock)
    watch.turn()
    watch.let_go()
    return watch.board
