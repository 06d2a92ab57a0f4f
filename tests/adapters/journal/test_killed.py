"""A writer is killed with -9 at random moments: what it told as written is there."""

from __future__ import annotations

import random
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from coldtui.adapters.journal import open_journal
from coldtui.domain.errors import Locked
from coldtui.domain.runs import RunLine, RunState
from tests.adapters.journal.means import START, RealClock, a_run, an_entry

ROOT = Path(__file__).parents[3]
KILLS = 10

WRITER = """
import sys
sys.path.insert(0, sys.argv[2])
from coldtui.adapters.journal import open_journal
from coldtui.domain.runs import RunLine, RunState, What
from tests.adapters.journal.means import RealClock, a_run, an_entry
journal = open_journal(sys.argv[1], clock=RealClock(), reserve_b=65536)
run = a_run(sys.argv[3], locks=(), created=RealClock().now())
journal.begin(run, an_entry(run))
journal.take_up(run.id, pid=1, host="a")
n = 0
while True:
    n += 1
    event = journal.record(run.id, What.MEMO, step=n, memo={"n": n})
    print("event", event.seq, flush=True)
    entry = journal.audit(an_entry(run, what="started"))
    print("entry", entry.seq, flush=True)
    journal.write_log(run.id, [RunLine(RealClock().now(), n, "out", f"{n} " + "x" * 500)] * 20)
    print("lines", n * 20, flush=True)
    journal.beat(run.id)
"""


def killed(path: Path, run: str, pause_s: float) -> dict[str, int]:
    """The highest number of each kind that a writer told before it was killed."""
    process = subprocess.Popen([sys.executable, "-c", WRITER, str(path), str(ROOT), run], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    told = {"event": 0, "entry": 0, "lines": 0}
    first = process.stdout.readline()  # it writes from here on
    time.sleep(pause_s)  # the moment is what is tried, not something that is waited for
    process.send_signal(signal.SIGKILL)
    for line in (first, *process.stdout.read().split("\n")[:-1]):
        kind, number = line.split()
        told[kind] = int(number)
    process.wait(timeout=30)
    process.stdout.close()
    return told


def test_nothing_that_was_told_as_written_is_missing(tmp_path: Path) -> None:
    """Ten kills: every told event, audit entry and line is there, the file is sound, the chain holds, the journal opens at once."""
    path, dice = tmp_path / "journal.db", random.Random(20261124)
    for n in range(KILLS):
        run = f"run-{n}"
        told = killed(path, run, dice.uniform(0.0, 0.12))
        with closing(open_journal(str(path), clock=RealClock())) as journal:
            assert journal.notice == ""
            assert told["event"] > 0
            events = journal.events(run)
            assert events[-1].seq >= told["event"]
            assert [event.memo["n"] for event in events] == list(range(1, len(events) + 1))
            found = journal.verify()
            assert found.faults == ()
            assert found.entries >= told["entry"]
            lines = [line for line in journal.read_log(run, limit_b=64 << 20).lines if line.at is not None]
            assert len(lines) >= told["lines"]
            journal.set_state(run, RunState.FAILED)
            last = RunLine(START, 0, "say", "its runner is lost")
            journal.write_log(run, [last])  # on a line of its own, also where the writer was ended in mid-line
            assert journal.read_log(run, offset=-2000).lines[-1] == last
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert db.execute("PRAGMA foreign_key_check").fetchall() == []


BEGINNER = """
import sys
sys.path.insert(0, sys.argv[2])
from coldtui.adapters.journal import open_journal
from coldtui.domain.runs import RunLine, RunState
from tests.adapters.journal.means import RealClock, a_run, an_entry
journal = open_journal(sys.argv[1], clock=RealClock(), reserve_b=65536)
print("open", flush=True)
while True:
    run = a_run(f"{sys.argv[3]}-{journal.verify().entries}")
    journal.begin(run, an_entry(run))
    journal.set_state(run.id, RunState.DONE)
"""


def test_a_run_is_begun_whole_or_not_at_all(tmp_path: Path) -> None:
    """Killed in the middle of confirming: there is never a lock without its run, or a run without its audit entry."""
    path, dice = tmp_path / "journal.db", random.Random(5)
    for n in range(KILLS):
        process = subprocess.Popen([sys.executable, "-c", BEGINNER, str(path), str(ROOT), f"r{n}"], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(dice.uniform(0.0, 0.06))
        process.send_signal(signal.SIGKILL)
        process.wait(timeout=30)
        process.stdout.close()
        with closing(open_journal(str(path), clock=RealClock(), reserve_b=65536)) as journal:
            runs = journal.runs(limit=100_000)
            assert {run.id for run in runs} == {entry.run for entry in journal.audit_entries()}
            assert journal.verify().whole
            open_runs = journal.runs(active=True)
            assert len(open_runs) <= 1
            assert journal.holder("site") == (open_runs[0] if open_runs else None)
            if open_runs:
                with pytest.raises(Locked) as held:
                    journal.begin(a_run(), an_entry())
                assert held.value.holder == open_runs[0].id
                journal.set_state(open_runs[0].id, RunState.CANCELLED)
