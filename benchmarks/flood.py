"""A run that puts out so many lines a second, as a process of its own: `python -m benchmarks.flood STATE_DIR LINES_A_SECOND SECONDS`.

Says the run's id when it has begun, and ends it when the time is over.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from coldtui.adapters.journal import SqliteJournal, open_journal
from coldtui.domain.runs import AuditEntry, Run, RunLine, RunSite, RunState, What, Who
from coldtui.live.pace import SystemClock

WHO = Who("bench", "bench", "", socket.gethostname(), "command line")
STEP_S = 0.02


def begin(journal: SqliteJournal, id: str, title: str) -> Run:
    """A run under way, in its second step."""
    now = datetime.now(UTC)
    steps = ("Prepare", "Put out lines", "Tidy up")
    run = Run(id, "node.drain", title, "nodes/k3s-worker-1", {"node": "k3s-worker-1"}, {}, "", 2, "", WHO, RunSite(), now, steps=steps)
    journal.begin(run, AuditEntry(0, now, "confirmed", WHO, run.operation, run.object, run=id))
    journal.take_up(id, pid=os.getpid(), host=socket.gethostname(), steps=steps)
    journal.record(id, What.STARTED, step=0, text=steps[0])
    journal.record(id, What.FINISHED, step=0, text=steps[0])
    journal.record(id, What.STARTED, step=1, text=steps[1])
    return run


def flood(journal: SqliteJournal, id: str, rate: float, seconds: float) -> int:
    """Lines in portions of 20 ms, with a beat each second; returns how many."""
    began = beat = time.monotonic()
    written = 0
    while (spent := time.monotonic() - began) < seconds:
        due = int(spent * rate) - written
        if due > 0:
            now = datetime.now(UTC)
            journal.write_log(
                id, [RunLine(now, 1, "out", f"line {written + n:07} of a step that has much to say for itself") for n in range(due)]
            )
            written += due
        if time.monotonic() - beat > 1:
            beat = time.monotonic()
            journal.beat(id)
        time.sleep(STEP_S)
    return written


def main() -> int:
    folder, rate, seconds = Path(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])
    folder.mkdir(parents=True, exist_ok=True)
    journal = open_journal(str(folder / "journal.db"), clock=SystemClock())
    for n in range(8):
        done = begin(journal, f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{n:04}", f"Drain k3s-worker-{n + 2}")
        journal.set_state(done.id, RunState.DONE, outcome="done in 2.1 s")
    id = f"{datetime.now(UTC):%Y%m%d-%H%M%S}-beef"
    begin(journal, id, "Drain k3s-worker-1")
    print(id, flush=True)
    flood(journal, id, rate, seconds)
    journal.record(id, What.ENDED, text="the time is over")
    journal.set_state(id, RunState.DONE, outcome="the time is over")
    journal.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
