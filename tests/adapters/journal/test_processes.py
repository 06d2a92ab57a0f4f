"""Several processes at once on one journal."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from coldtui.adapters.journal import SqliteJournal
from coldtui.domain.runs import RunState
from tests.adapters.journal.means import a_run, an_entry

ROOT = Path(__file__).parents[3]

WORKER = """
import sys
sys.path.insert(0, sys.argv[2])
from coldtui.adapters.journal import open_journal
from coldtui.domain.errors import ColdError
from coldtui.domain.runs import RunState, What
from tests.adapters.journal.means import RealClock, a_run, an_entry
journal = open_journal(sys.argv[1], clock=RealClock(), reserve_b=65536)
print("ready", flush=True)
for line in sys.stdin:
    verb, id = line.split()
    try:
        if verb == "begin":
            run = a_run(id)
            journal.begin(run, an_entry(run))
            print("won", flush=True)
        else:
            for n in range(300):
                journal.record(id, What.STARTED, step=n)
                if n % 3 == 0:
                    journal.beat(id)
                if n % 10 == 0:
                    journal.audit(an_entry(what="started"))
            print("done", flush=True)
    except ColdError as error:
        print(type(error).__name__, error, flush=True)
"""


class Worker:
    def __init__(self, path: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", WORKER, path, str(ROOT)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.heard() == "ready"

    def tell(self, words: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(words + "\n")
        self._process.stdin.flush()

    def heard(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def end(self) -> None:
        self._process.communicate(timeout=30)


@contextmanager
def workers(path: str, n: int) -> Iterator[list[Worker]]:
    made = [Worker(path) for _ in range(n)]
    try:
        yield made
    finally:
        for worker in made:
            worker.end()


def test_of_two_who_confirm_at_the_same_instant_one_wins(journal: SqliteJournal) -> None:
    """Thirty times, in two processes: one has the lock, the other is told by whom it is held."""
    with workers(journal.path, 2) as pair:
        for n in range(30):
            for which, worker in enumerate(pair):
                worker.tell(f"begin {n:04}-{which}")
            heard = sorted(worker.heard() for worker in pair)
            assert heard[0].startswith("Locked site is held by Drain k3s-worker-1 · run " + f"{n:04}")
            assert heard[1] == "won"
            (held,) = journal.runs(active=True)
            journal.set_state(held.id, RunState.DONE)
    assert journal.verify().whole
    assert journal.verify().entries == 30


def test_processes_that_write_at_once_lose_nothing(journal: SqliteJournal) -> None:
    """Three runners beside one another, each with events, beats and audit entries: no call fails, nothing is missing, the chain holds."""
    runs = [a_run(f"run-{n}", locks=()) for n in range(3)]
    for run in runs:
        journal.begin(run, an_entry(run))
    with workers(journal.path, 3) as made:
        for run, worker in zip(runs, made, strict=True):
            worker.tell(f"write {run.id}")
        assert [worker.heard() for worker in made] == ["done"] * 3
    for run in runs:
        assert [event.step for event in journal.events(run.id)] == list(range(300))
    assert journal.verify().whole
    assert journal.verify().entries == 3 + 90
