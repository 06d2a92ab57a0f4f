"""The thread that says that a runner lives and looks whether somebody wants it to stop.

A thread, so that the run does not look lost while its loop is busy.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from time import monotonic

from ..config import logs
from ..domain.errors import ColdError
from ..domain.logkeys import Key
from ..domain.runs import BEAT_S, Run
from ..ports import Journal

LOOK_S = 0.2
"""Between looks into the journal: it costs microseconds."""


def ours(run: Run, attempt: int) -> bool:
    """Whether a run still belongs to the runner that took it up as its `attempt`th."""
    return run.attempts == attempt and not run.state.ended


class Pulse:
    """Beats while it is entered. The callbacks come from its thread, each once."""

    def __init__(
        self,
        journal: Journal,
        run: Run,
        *,
        cancel: Callable[[str], None],
        superseded: Callable[[], None],
        beat_s: float = BEAT_S,
        look_s: float = LOOK_S,
    ) -> None:
        """`run` as it was taken up. `cancel(who)`: somebody asked to stop. `superseded()`: it is another's now."""
        self._journal, self._run = journal, run
        self._cancel, self._superseded = cancel, superseded
        self._beat_s, self._look_s = beat_s, look_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._go, name=f"pulse-{run.id}", daemon=True)
        self._log = logs.get("coldtui.runner")

    def __enter__(self) -> Pulse:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(5.0)

    def _go(self) -> None:
        seen, last, asked, told = -1, monotonic(), False, False
        while not self._stop.wait(self._look_s):
            try:
                if monotonic() - last >= self._beat_s:
                    last = monotonic()
                    self._journal.beat(self._run.id)
                now = self._journal.changed()
                if now == seen:
                    continue
                seen, run = now, self._journal.run(self._run.id)
            except ColdError as error:
                if not told:  # a full disk would fill the log as well
                    told = True
                    self._log.warning("no beat", {Key.RUN: self._run.id, Key.ERROR: error})
                continue
            told = False
            if not ours(run, self._run.attempts):
                self._superseded()
                return
            if run.cancel_by and not asked:
                asked = True
                self._cancel(run.cancel_by)
