"""Runs on the command line: listed, shown, followed from anywhere, cancelled and resumed. Runners are real processes of a toy operation."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from coldtui.adapters.journal import SqliteJournal
from coldtui.cli.follow import Follower, exit_of, merged
from coldtui.domain.errors import Exit
from coldtui.domain.runs import Run, RunEvent, RunLine, RunState, What
from tests.cli.means import Cli
from tests.journals import NOW, Wall, a_journal, a_run, an_entry, begin, end, under_way, write
from tests.operations.means import ROOT, Stage, soon, until


@pytest.fixture
def state(cli: Cli) -> Path:
    """The state folder of the command line."""
    path = Path(cli.environ["COLDTUI_STATE"])
    path.mkdir()
    return path


@pytest.fixture
def journal(state: Path) -> Iterator[SqliteJournal]:
    """Its clock stands in the past: whoever has not ended was not heard of since."""
    made = a_journal(state, Wall(NOW.replace(year=2025)))
    yield made
    made.close()


# ------------------------------------------------------------ list and show


def test_on_a_fresh_machine_there_are_no_runs_and_none_are_made(cli: Cli) -> None:
    """Listing makes no journal; nor do show, cancel or resume of a run that is not there."""
    for listing in ("runs", "run list", "audit list", "audit verify"):
        result = cli(*listing.split())
        assert (result.code, result.out) == (0, ""), listing
        assert result.err
    for verb in ("show", "follow", "cancel", "resume"):
        result = cli("run", verb, "2026")
        assert result.code == 1, verb
        assert "no runs" in result.err
    assert not list(Path(cli.environ["COLDTUI_STATE"]).glob("journal*"))


def test_runs_are_listed_with_their_ids(cli: Cli, journal: SqliteJournal) -> None:
    """Newest first, what is under way before; `runs` and `run list` are the same; columns, filter and JSON as in every listing."""
    end(journal, begin(journal, a_run("20261124-130000-0001", title="Cordon k3s-worker-3", locks=())))
    under_way(journal)
    result = cli("runs")
    assert result.code == 0
    assert [row[0] for row in result.rows] == ["ID", "20261124-140210-7f3a", "20261124-130000-0001"]
    assert cli("run", "list").out == result.out
    assert [row[0] for row in cli("runs", "--filter", "cordon k3s", "--no-headers").rows] == ["20261124-130000-0001"]
    assert cli("runs", "-o", "name").out.split() == ["20261124-140210-7f3a", "20261124-130000-0001"]
    made = cli("runs", "--json").json
    assert [run["state"] for run in made["runs"]] == ["runner lost", "done"]
    assert made["_whole"] is True
    assert cli("runs", "--sort", "nope").code == 2


def test_a_run_is_shown_whole(cli: Cli, journal: SqliteJournal) -> None:
    """Who, from where, why, steps, things and plan; by the beginning of its id too; the JSON has the plan and the path of the log."""
    run = under_way(journal)
    result = cli("run", "show", "20261124-1402")
    assert result.code == 0
    for words in (
        "anna from 10.0.0.5",
        "kernel update",
        "✓ 1 Cordon k3s-worker-1",
        "redis-0  evicted, stops",
        "budget redis allows 1 of 3",
    ):
        assert words in result.out
    made = cli("run", "show", run.id, "--json").json
    assert made["plan"]["confirm"] == "k3s-worker-1"
    assert Path(made["log"]).read_text().endswith("evicted, stops\n")
    assert [step["state"] for step in made["progress"]] == ["done", "under way", "ahead"]


def test_an_unknown_run_offers_the_nearest(cli: Cli, journal: SqliteJournal) -> None:
    """A slip in the id ends with 1 and the id that was perhaps meant."""
    run = begin(journal)
    result = cli("run", "show", "20261124-140210-7f3b")
    assert result.code == 1
    assert run.id in result.err


def test_a_journal_that_cannot_be_read_is_a_failure(cli: Cli, journal: SqliteJournal) -> None:
    """Of a newer version: exit 1, what and remedy on stderr, with --json the document says null."""
    import sqlite3

    begin(journal)
    journal.close()
    with sqlite3.connect(journal.path) as db:
        db.execute("PRAGMA user_version=99")
    db.close()
    result = cli("runs")
    assert (result.code, result.out) == (1, "")
    assert "newer" in result.err
    made = cli("runs", "--json")
    assert made.code == 1
    assert made.json["runs"] is None
    assert cli("audit", "verify").code == 1
    assert cli("run", "show", "2026").code == 1


def test_watch_prints_again_when_something_changed(cli: Cli, journal: SqliteJournal) -> None:
    """A run that another process begins is printed within moments; ctrl-c ends it with 0."""
    process = subprocess.Popen(
        [sys.executable, "-m", "coldtui", "runs", "--watch", "--json"], stdout=subprocess.PIPE, env={**os.environ, **cli.environ}, cwd=ROOT
    )
    assert process.stdout is not None
    with process.stdout:
        assert json.loads(process.stdout.readline())["runs"] == []
        begin(journal)
        assert [run["title"] for run in json.loads(process.stdout.readline())["runs"]] == ["Drain k3s-worker-1"]
        process.send_signal(signal.SIGINT)
    assert process.wait(10) == 0


# ------------------------------------------------------------ follow


def test_a_run_that_ended_is_followed_to_its_end(cli: Cli, journal: SqliteJournal) -> None:
    """Log on stdout, steps and end on stderr, and its exit code."""
    run = under_way(journal)
    write(journal, run, "redis-1: gone", stream="out")
    end(journal, run)
    result = cli("run", "follow", run.id)
    assert result.code == 0
    assert result.out.splitlines() == ["14:02:10Z pods/production/redis-0: evicted, stops", "14:02:10Z redis-1: gone"]
    assert "step 2 of 3: Evict 2 pods" in result.err
    assert result.err.splitlines()[-1].startswith("coldtui: Drain k3s-worker-1: done")


def test_only_the_last_lines(cli: Cli, journal: SqliteJournal) -> None:
    """`--tail 2` leaves out what was before, lines and steps."""
    run = under_way(journal)
    write(journal, run, *(f"line {n}" for n in range(50)))
    end(journal, run)
    result = cli("run", "follow", run.id, "--tail", "2")
    assert [line.partition(" ")[2] for line in result.out.splitlines()] == ["line 48", "line 49"]
    assert "Cordon" not in result.err


def test_json_has_events_and_the_output_of_commands(cli: Cli, journal: SqliteJournal) -> None:
    """What the run says itself comes as events, what its commands put out as lines, how it ended as the last line."""
    run = under_way(journal)
    write(journal, run, "Stopping k3s", stream="out")
    end(journal, run, RunState.FAILED, "no answer")
    result = cli("run", "follow", run.id, "--json")
    told = [json.loads(line) for line in result.out.splitlines()]
    assert result.code == 1
    assert [line["text"] for line in told if line["event"] == "line"] == ["Stopping k3s"]
    assert told[-1] == {"event": "result", "run": run.id, "state": "failed", "outcome": "no answer", "exit": 1}


@pytest.mark.parametrize(
    ("state", "cancelled", "code"),
    [
        (RunState.DONE, False, Exit.DONE), (RunState.FAILED, False, Exit.FAILED), (RunState.REFUSED, False, Exit.REFUSED),
        (RunState.CANCELLED, True, Exit.CANCELLED), (RunState.PARTIAL, False, Exit.FAILED), (RunState.PARTIAL, True, Exit.CANCELLED),
    ],
)  # fmt: skip
def test_the_exit_code_is_the_runs_own(state: RunState, cancelled: bool, code: Exit) -> None:
    """A run that an operator stopped is cancelled even where something had been changed before."""
    assert exit_of(a_run(state=state, cancel_by="ben" if cancelled else "")) is code


@pytest.mark.parametrize(("own", "code"), [(5, 5), (4, 4), (1, 1), (3, 1)])
def test_what_was_not_permitted_says_so(cli: Cli, journal: SqliteJournal, own: int, code: int) -> None:
    """A script can tell a missing right, or a site that does not answer, from a step that failed."""
    run = under_way(journal)
    journal.record(run.id, What.ENDED, text="needs patch on nodes", memo={"exit": own})
    journal.set_state(run.id, RunState.FAILED, outcome="needs patch on nodes")
    assert cli("run", "follow", run.id).code == code


def test_a_lost_runner_ends_following(cli: Cli, journal: SqliteJournal) -> None:
    """Nobody waits for ever for a runner that is gone: exit 1, where it was, and how to go on."""
    run = under_way(journal)
    result = cli("run", "follow", run.id)
    assert result.code == 1
    assert "runner lost at step 2 Evict 2 pods" in result.err
    assert f"coldtui run resume {run.id}" in result.err


def test_events_and_lines_in_the_order_of_their_times() -> None:
    """What announces an act comes before what it put out."""
    at = [NOW + timedelta(seconds=n) for n in range(4)]
    events = [RunEvent(1, "r", at[0], What.STARTED, 0, "a"), RunEvent(2, "r", at[2], What.FINISHED, 0, "a")]
    lines = [RunLine(at[0], 0, "out", "x"), RunLine(at[1], 0, "out", "y"), RunLine(at[3], 0, "out", "z")]
    assert [one.text for one in merged(events, lines)] == ["a", "x", "y", "a", "z"]


# ------------------------------------------------------------ with runners


@pytest.fixture
def stage(state: Path) -> Iterator[Stage]:
    """The toy operation with its journal where the command line looks."""
    made = Stage(state)
    yield made
    for run in made.journal.runs(active=True):
        if run.runner_pid and made.launcher().lives(run):
            os.kill(run.runner_pid, signal.SIGKILL)
    made.journal.close()


def follow(cli: Cli, id: str, *more: str) -> subprocess.Popen[str]:
    """`run follow` in a process of its own, as another session would."""
    return subprocess.Popen(
        [sys.executable, "-m", "coldtui", "run", "follow", id, *more], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, **cli.environ}, cwd=ROOT,
    )  # fmt: skip


def held(stage: Stage, at: str = "started:1") -> Run:
    """A run whose process waits at a moment of a step."""
    run = asyncio.run(stage.begun())
    stage.start(run, TOY_HOLD=at)
    until((stage.world / f"at-{at.replace(':', '-')}").exists)
    return run


def go(stage: Stage, at: str = "started:1") -> None:
    (stage.world / f"go-{at.replace(':', '-')}").touch()


def test_another_session_follows_a_run_to_its_end(cli: Cli, stage: Stage) -> None:
    """A follower that came in the middle sees all of it and ends with the run's exit code."""
    run = held(stage)
    process = follow(cli, run.id)
    assert process.stderr is not None
    assert "step 1 of 3" in process.stderr.readline()
    go(stage)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 0
    assert "step 3 of 3: Act 2 is done" in err


def test_whoever_looks_on_ends_nothing_by_leaving(cli: Cli, stage: Stage) -> None:
    """ctrl-c on `run follow` only stops following: the run goes on, nobody asked it to stop."""
    run = held(stage)
    process = follow(cli, run.id)
    assert process.stderr is not None
    process.stderr.readline()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 0
    assert f"the run goes on: coldtui run follow {run.id}" in err
    assert stage.now(run).cancel_by == ""
    go(stage)
    assert stage.ended(run).state is RunState.DONE


def test_ctrl_c_asks_for_cancel_and_a_second_one_stops_following(cli: Cli, stage: Stage) -> None:
    """Of a run that was started here: asked to stop before its next act, which is in the journal; then only following ends, with 6."""
    run = held(stage)

    async def scene() -> Exit:
        follower = Follower(stage.desk(), stage.journal, run, json=False, started=True)
        task = asyncio.create_task(follower.run())
        await soon(lambda: follower._following.seq > 0)
        os.kill(os.getpid(), signal.SIGINT)
        await soon(lambda: stage.now(run).cancel_by)
        assert not task.done()
        os.kill(os.getpid(), signal.SIGINT)
        return await asyncio.wait_for(task, 10)

    assert asyncio.run(scene()) is Exit.CANCELLED
    err = cli.capture.readouterr().err
    assert "asked to stop before its next act; what was accepted cannot be recalled" in err
    assert f"the run goes on: coldtui run follow {run.id}" in err
    go(stage)
    assert stage.ended(run).state in (RunState.PARTIAL, RunState.CANCELLED)


def test_cancel_stops_a_run_before_its_next_act(cli: Cli, stage: Stage) -> None:
    """`run cancel` is asked from another session, read-only or not; the follower ends with 6; it stands in the audit; a second one is refused."""
    run = held(stage)
    process = follow(cli, run.id)
    result = cli("--read-only", "run", "cancel", run.id)
    assert result.code == 0, result.err
    assert "what was accepted cannot be recalled" in result.err
    go(stage)
    process.communicate(timeout=20)
    assert process.returncode == 6
    assert "cancel" in [entry["what"] for entry in cli("audit", "list", "--json").json["audit"]]
    again = cli("run", "cancel", run.id)
    assert again.code == 3


def test_a_lost_run_is_ended_by_cancel(cli: Cli, stage: Stage) -> None:
    """Nobody goes on with it: cancel ends it here."""
    run = held(stage)
    os.kill(stage.now(run).runner_pid, signal.SIGKILL)
    until(lambda: stage.launcher().lives(stage.now(run)) is False)
    stage.age(run)
    # The command line knows no toys: what an operation leaves behind cannot be told, and that is an error of this test's making.
    asyncio.run(stage.desk().cancel(run.id))
    assert stage.now(run).state.ended
    assert cli("run", "show", run.id).code == 0


def test_resume_of_what_needs_none_is_refused(cli: Cli, journal: SqliteJournal) -> None:
    """A run that ended, and with --read-only any run, is not resumed; the refusal says why."""
    run = end(journal, begin(journal))
    result = cli("run", "resume", run.id)
    assert result.code == 3
    assert "it has ended: done" in result.err
    lost = under_way(journal, a_run("20261124-150000-aaaa"))
    result = cli("--read-only", "run", "resume", lost.id)
    assert result.code == 3
    assert "read_only" in result.err


def test_refusals_are_in_the_audit(cli: Cli, journal: SqliteJournal) -> None:
    """Who asked for a resume that was refused is not forgotten."""
    run = end(journal, begin(journal))
    journal.audit(an_entry(run, "cancel"))
    cli("run", "resume", run.id)
    newest: dict[str, Any] = cli("audit", "list", "--json").json["audit"][0]
    assert newest["what"] == "refused"
    assert newest["run"] == run.id


def test_resume_after_boot_asks_for_no_id(cli: Cli, journal: SqliteJournal) -> None:
    """A unit that runs at each boot is no error when nothing waits, makes no journal, and an ID beside it is a mistake."""
    assert cli("run", "resume", "--after-boot").code == 0
    assert cli("run", "resume", "--after-boot", "2026").code == 2
    assert cli("run", "resume").code == 2
