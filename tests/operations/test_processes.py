"""Runners as processes of their own: killed with -9 at every moment, left by their terminal, racing, and with secrets that nobody sees."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from coldtui.domain.errors import ColdError, Locked, StepFailed
from coldtui.domain.runs import Run, RunState, What, lost
from coldtui.domain.secret import Secret
from tests.operations.means import ROOT, WHO, Stage, dead, until
from tests.operations.toys import acts

MOMENTS = ("before", "started", "memo", "acted")


@pytest.fixture
def started(stage: Stage) -> Iterator[list[Run]]:
    """Runs whose processes are ended after the test, whatever became of it."""
    runs: list[Run] = []
    yield runs
    for run in runs:
        pid = stage.now(run).runner_pid
        if pid and stage.launcher().lives(stage.now(run)):
            os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("step", [0, 2])
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_killed_runner_is_resumed_without_repeating_or_skipping(stage: Stage, started: list[Run], moment: str, step: int) -> None:
    """kill -9 at a moment of a step: every act that was done had been announced on disk; the resumed run does the rest and nothing twice."""
    run = asyncio.run(stage.begun())
    started.append(run)
    pid = stage.start(run, TOY_KILL=f"{moment}:{step}")
    until(lambda: dead(pid))
    begun = {e.step for e in stage.events(run, What.STARTED)}
    done = {int(line) for line in acts(stage.world)}
    assert done <= begun
    assert done == set(range(step + 1 if moment == "acted" else step))
    assert step not in begun if moment == "before" else step in begun
    assert not stage.now(run).state.ended
    until(lambda: stage.launcher().lives(stage.now(run)) is False)
    desk = stage.desk()
    asyncio.run(desk.resume(run.id))
    assert stage.ended(run).state is RunState.DONE
    assert acts(stage.world) == ["0", "1", "2"]
    assert stage.now(run).attempts == 2
    assert [e.what for e in stage.journal.audit_entries()] == ["confirmed", "resumed", "ended"]


def test_a_killed_runner_is_seen_as_lost_by_its_beat(stage: Stage, started: list[Run]) -> None:
    """Killed with -9: nobody has to look at processes, the beat that stays away says it after 12 s; before that its pid does."""
    run = asyncio.run(stage.begun())
    started.append(run)
    pid = stage.start(run, TOY_HOLD="started:1")
    until((stage.world / "at-started-1").exists)
    assert stage.launcher().lives(stage.now(run)) is True
    os.kill(pid, signal.SIGKILL)
    until(lambda: stage.launcher().lives(stage.now(run)) is False)
    now = stage.now(run)
    assert now.beat is not None
    assert not lost(now, now.beat + timedelta(seconds=11.9))
    assert lost(now, now.beat + timedelta(seconds=12.1))
    assert now.step == 1


def test_a_runner_beats_while_its_loop_is_busy(stage: Stage, started: list[Run]) -> None:
    """A step that holds the loop for longer than two beats does not look lost."""
    run = asyncio.run(stage.begun(steps=1, busy=True))
    started.append(run)
    stage.start(run, TOY_HOLD="started:0")
    until((stage.world / "at-started-0").exists)
    first = stage.now(run).beat
    second = until(lambda: (now := stage.now(run).beat) != first and now)
    until(lambda: stage.now(run).beat not in (first, second))
    (stage.world / "go-started-0").touch()
    assert stage.ended(run).state is RunState.DONE


def test_a_run_outlives_the_process_group_that_started_it(stage: Stage, started: list[Run]) -> None:
    """SIGHUP, then -9, to the whole process group of the console: the run goes on to its end, with every event."""
    run = asyncio.run(stage.begun())
    started.append(run)
    console = subprocess.Popen(
        [sys.executable, "-c", CONSOLE, str(stage.folder), run.id], cwd=ROOT, env={**os.environ, "TOY_HOLD": "acted:0"}, start_new_session=True,
        stdout=subprocess.PIPE,
    )  # fmt: skip
    try:
        assert console.stdout is not None
        pid = int(console.stdout.readline())
        until((stage.world / "at-acted-0").exists)
        assert os.getsid(pid) == pid != os.getsid(console.pid)
        assert os.readlink(f"/proc/{pid}/fd/0") == "/dev/null"
        assert os.readlink(f"/proc/{pid}/cwd") == "/"
        os.killpg(console.pid, signal.SIGHUP)
        assert console.wait(10) == -signal.SIGHUP
        os.kill(pid, signal.SIGHUP)
        (stage.world / "go-acted-0").touch()
        assert stage.ended(run).state is RunState.DONE
    finally:
        console.kill()
        console.wait()
        console.stdout.close()  # type: ignore[union-attr]
    assert acts(stage.world) == ["0", "1", "2"]
    assert [e.step for e in stage.events(run, What.FINISHED)] == [0, 1, 2]


CONSOLE = """
import sys, time
from pathlib import Path
from tests.operations.means import Stage
stage = Stage(Path(sys.argv[1]))
print(stage.start(stage.journal.run(sys.argv[2])), flush=True)
time.sleep(60)
"""


def test_sigterm_asks_for_cancel(stage: Stage, started: list[Run]) -> None:
    """SIGTERM to a runner stops it before its next act, with what stands; who asked is in the journal."""
    run = asyncio.run(stage.begun())
    started.append(run)
    pid = stage.start(run, TOY_HOLD="acted:0")
    until((stage.world / "at-acted-0").exists)
    os.kill(pid, signal.SIGTERM)
    until(lambda: stage.now(run).cancel_by)
    (stage.world / "go-acted-0").touch()
    assert stage.ended(run).state is RunState.PARTIAL
    assert stage.now(run).cancel_by == "signal TERM"
    assert acts(stage.world) == ["0"]


def test_sigterm_of_the_shutdown_that_a_run_ordered_does_not_cancel_it(stage: Stage, started: list[Run]) -> None:
    """A run that is marked for resume after a boot lets go when the machine goes down, and is resumed on the new boot."""
    run = asyncio.run(stage.begun())
    started.append(run)
    pid = stage.start(run, TOY_HOLD="started:1")
    until((stage.world / "at-started-1").exists)
    stage.journal.set_state(run.id, RunState.WAITING, outcome="for the boot", after_boot="boot-0")
    os.kill(pid, signal.SIGTERM)
    until(lambda: dead(pid))
    now = stage.now(run)
    assert (now.state, now.cancel_by, now.after_boot) == (RunState.WAITING, "", "boot-0")
    assert not asyncio.run(stage.desk(boot_id="boot-0").resume_after_boot())
    assert "let go" in stage.events(run, What.RUNNER)[-1].text
    until(lambda: stage.launcher().lives(now) is False)
    resumed = asyncio.run(stage.desk(boot_id="boot-1", who=replace(WHO, host=now.runner_host)).resume_after_boot())
    assert [r.id for r in resumed] == [run.id]
    assert stage.ended(run).state is RunState.DONE
    assert acts(stage.world) == ["0", "1", "2"]


def test_two_processes_race_for_one_lock(stage: Stage) -> None:
    """Both confirm at the same moment: exactly one begins, the other is told who holds it since when, and leaves a refusal in the audit."""
    racers = [
        subprocess.Popen([sys.executable, "-c", RACER, str(stage.folder), name], cwd=ROOT, stdout=subprocess.PIPE, stdin=subprocess.PIPE)
        for name in ("anna", "ben")
    ]
    try:
        for racer in racers:
            assert racer.stdout is not None
            assert racer.stdout.readline() == b"ready\n"
        for racer in racers:
            assert racer.stdin is not None
            racer.stdin.write(b"go\n")
            racer.stdin.flush()
        said = [json.loads(racer.communicate(timeout=30)[0]) for racer in racers]
    finally:
        for racer in racers:
            racer.kill()
            racer.wait()
    winners = [s for s in said if "run" in s]
    losers = [s for s in said if "locked" in s]
    assert (len(winners), len(losers)) == (1, 1)
    assert losers[0]["holder"] == winners[0]["run"]
    assert losers[0]["locked"].startswith("site is held by Paint")
    assert winners[0]["who"] in losers[0]["locked"]
    holder = stage.journal.holder("site")
    assert holder is not None
    assert holder.id == winners[0]["run"]
    assert sorted(e.what for e in stage.journal.audit_entries()) == ["confirmed", "refused"]
    assert stage.journal.verify().whole


RACER = """
import asyncio, json, sys
from dataclasses import replace
from pathlib import Path
from coldtui.domain.errors import Locked
from tests.operations.means import Stage, WHO

async def main():
    stage = Stage(Path(sys.argv[1]))
    desk = stage.desk(who=replace(WHO, login=sys.argv[2]), launcher=Nobody())
    prepared = await desk.prepare("toy.paint", {"world": str(stage.world)})
    print("ready", flush=True)
    sys.stdin.readline()
    try:
        run = await desk.confirm(prepared)
        return {"run": run.id, "who": str(run.who)}
    except Locked as error:
        return {"locked": str(error), "holder": error.holder}

class Nobody:
    def launch(self, run, *, secrets, deadline_s=15.0, confirm=lambda: None):
        confirm()
        return 0
    def lives(self, run):
        return None

print(json.dumps(asyncio.run(main())))
"""


@pytest.mark.parametrize("when", ["before", "after"])
def test_whoever_is_killed_while_confirming_has_confirmed_nothing_or_has_a_runner(stage: Stage, started: list[Run], when: str) -> None:
    """kill -9 on either side of the write that confirms: before it no run is there and the waiting runner ends without a word; after it the run
    goes to its end, with its secrets."""
    killed = subprocess.run([sys.executable, "-c", KILLED, str(stage.folder), when], cwd=ROOT, capture_output=True, timeout=30, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    if when == "before":
        until(lambda: not _runners(stage))
        assert stage.journal.runs() == ()
        assert stage.journal.audit_entries() == ()
        assert [path.read_text() for path in (stage.folder / "runs").glob("*.err")] in ([], [""])
        return
    (run,) = stage.journal.runs()
    started.append(run)
    assert stage.ended(run).state is RunState.DONE
    assert acts(stage.world) == ["0", "1", "2"]


def _runners(stage: Stage) -> list[int]:
    """Processes of runs of this journal."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if b"exec" in words and stage.journal.path.encode() in words:
            found.append(int(path.parent.name))
    return found


KILLED = """
import asyncio, os, signal, sys
from pathlib import Path
from coldtui.domain.secret import Secret
from tests.operations.means import Stage

stage = Stage(Path(sys.argv[1]))
begin = stage.journal.begin
def killing(run, entry):
    if sys.argv[2] == "after":
        begin(run, entry)
    os.kill(os.getpid(), signal.SIGKILL)
stage.journal.begin = killing

async def main():
    desk = stage.desk()
    await desk.confirm(await desk.prepare("toy.paint", {"world": str(stage.world)}), secrets={"sudo": Secret("x")})

asyncio.run(main())
"""


def test_a_refused_confirmation_leaves_no_process(stage: Stage) -> None:
    """What the journal refuses in the moment of confirming is raised as it is, and the runner that waited for it ends."""

    def refuse() -> None:
        assert _runners(stage)
        raise Locked("site is held by somebody quicker")

    run = asyncio.run(stage.begun())
    other = replace(run, id="20261124-140211-ffff")
    with pytest.raises(Locked, match="somebody quicker"):
        stage.launcher().launch(other, secrets={}, confirm=refuse)
    until(lambda: not _runners(stage))
    until(lambda: not list((stage.folder / "runs").glob("*.err")))  # whoever reaped it looks a moment later


def test_secrets_reach_the_runner_and_nobody_else(stage: Stage, started: list[Run]) -> None:
    """They are in no argument, no environment, no journal, no log; the pipe that brought them is closed in the runner. The environment's own
    secrets do not go along."""
    secret, other = "s3cr3t-of-sudo-7291", "t0ken-of-k3s-4410"
    run = asyncio.run(stage.begun())
    started.append(run)
    launcher = stage.launcher(TOY_HOLD="acted:0", COLDTUI_VAULT_PASSPHRASE=other, K3S_TOKEN=other)
    launcher._hidden = frozenset({"K3S_TOKEN"})
    pid = launcher.launch(run, secrets={"sudo": Secret(secret)})
    until((stage.world / "at-acted-0").exists)
    seen = (Path(f"/proc/{pid}/cmdline").read_bytes(), Path(f"/proc/{pid}/environ").read_bytes())
    fds = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd") if os.path.islink(f"/proc/{pid}/fd/{fd}")]
    assert b"COLDTUI_SECRETS_FD=" in seen[1]
    assert not any(path.startswith("pipe:") for path in fds)
    (stage.world / "go-acted-0").touch()
    assert stage.ended(run).state is RunState.DONE
    kept = [path.read_bytes() for path in stage.folder.rglob("*") if path.is_file()]
    assert not [text for text in (*seen, *kept) if secret.encode() in text or other.encode() in text]


def test_the_runner_gets_the_secrets_whole(stage: Stage, tmp_path: Path) -> None:
    """Also more than a pipe holds at once (a key file is some kB, a pipe 64)."""
    program = tmp_path / "prints.py"
    program.write_text(
        "import os, sys, hashlib\nfrom coldtui.adapters.launch import FD, take_secrets\nfound = take_secrets(os.environ)\n"
        "print(FD in os.environ, sorted(found), hashlib.sha256(found['key/a'].reveal().encode()).hexdigest(), file=sys.stderr)\nsys.exit(3)\n"
    )
    launcher = stage.launcher()
    launcher._argv = (sys.executable, str(program))
    run = asyncio.run(stage.begun())
    key = "k" * 300_000
    with pytest.raises(StepFailed) as caught:
        launcher.launch(run, secrets={"key/a": Secret(key), "sudo": Secret("x")})
    assert caught.value.detail == f"False ['key/a', 'sudo'] {hashlib.sha256(key.encode()).hexdigest()}"


def test_a_runner_that_does_not_come_up_says_why_and_frees_its_locks(stage: Stage) -> None:
    """The last words of its process are the detail; the run is ended as failed, in the audit too, and holds nothing."""
    stage.environ["TOY_REFUSES_TO_START"] = "the moon is in the wrong house"
    desk = stage.desk()

    async def confirm() -> None:
        prepared = await desk.prepare("toy.paint", {"world": str(stage.world)})
        await desk.confirm(prepared)

    with pytest.raises(StepFailed, match="the runner ended before it began") as caught:
        asyncio.run(confirm())
    assert caught.value.detail == "the moon is in the wrong house"
    (run,) = stage.journal.runs()
    assert run.state is RunState.FAILED
    assert stage.journal.holder("site") is None
    assert [e.what for e in stage.journal.audit_entries()] == ["confirmed", "ended"]


def test_a_runner_that_hangs_at_its_start_is_ended(stage: Stage, tmp_path: Path) -> None:
    """Not up within the deadline: its process does not linger to act later."""
    program = tmp_path / "hangs.py"
    program.write_text(f"import os, time\nopen({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))\ntime.sleep(60)\n")
    launcher = stage.launcher()
    launcher._argv = (sys.executable, str(program))
    run = asyncio.run(stage.begun())
    with pytest.raises(StepFailed, match="not up within 1 s"):
        launcher.launch(run, secrets={}, deadline_s=1.0)
    until(lambda: dead(int((tmp_path / "pid").read_text())))


def test_a_console_keeps_no_zombies(stage: Stage) -> None:
    """The runner's process is reaped by whoever started it and stays open."""
    run = asyncio.run(stage.begun(steps=1))
    pid = stage.start(run)
    stage.ended(run)
    until(lambda: not Path(f"/proc/{pid}").exists())
    until(lambda: not list((stage.folder / "runs").glob("*.err")))


def test_the_confirmed_run_goes_through_the_desk(stage: Stage, started: list[Run]) -> None:
    """Prepare, confirm, and the process does the rest; meanwhile a second one is refused by name and time; both are in the audit."""
    stage.environ["TOY_HOLD"] = "started:0"
    desk = stage.desk()

    async def two() -> Run:
        prepared = await desk.prepare("toy.paint", {"world": str(stage.world)})
        run = await desk.confirm(prepared, reason="kernel")
        with pytest.raises(Locked, match="site is held by Paint") as caught:
            await desk.confirm(prepared)
        assert caught.value.holder == run.id
        return run

    run = asyncio.run(two())
    started.append(run)
    (stage.world / "go-started-0").touch()
    assert stage.ended(run).state is RunState.DONE
    entries = stage.journal.audit_entries()
    assert [e.what for e in entries] == ["confirmed", "refused", "ended"]
    assert entries[0].reason == "kernel"
    assert entries[0].premises[0][0] == "the world"


def test_cancelling_a_lost_run_ends_it_here(stage: Stage, started: list[Run]) -> None:
    """Nobody else will: with what it left behind, in journal and audit, and its locks are free."""
    run = asyncio.run(stage.begun())
    started.append(run)
    pid = stage.start(run, TOY_KILL="acted:1")
    until(lambda: dead(pid))
    until(lambda: stage.launcher().lives(stage.now(run)) is False)
    now = asyncio.run(stage.desk().cancel(run.id))
    assert now.state is RunState.PARTIAL
    assert now.outcome == "its runner was lost and anna ended it; what stands: act 0 is painted; act 1 is painted"
    assert [e.what for e in stage.journal.audit_entries()] == ["confirmed", "cancel", "ended"]
    assert stage.journal.holder("site") is None
    with pytest.raises(ColdError, match="is not resumed"):
        asyncio.run(stage.desk().resume(run.id))
