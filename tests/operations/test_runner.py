"""What a runner does with a confirmed run, in this process: the toy operation, a real journal, a cluster in memory."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from threading import Thread

import pytest

from coldtui.config import logs
from coldtui.domain.errors import Exit, Refused, Unreachable
from coldtui.domain.runs import RunState, What
from coldtui.operations.runner import Handle, execute
from tests.operations.means import Stage, soon
from tests.operations.toys import acts


async def test_a_run_that_reaches_its_end_is_told_in_order(stage: Stage) -> None:
    """Runner, plan, then for each step its beginning (with memo) before its end; journal and audit agree that it is done."""
    run = await stage.begun(steps=2)
    assert await stage.execute(run) == Exit.DONE
    assert [(e.what, e.step) for e in stage.events(run)] == [
        (What.RUNNER, -1), (What.PLAN, -1),
        (What.STARTED, 0), (What.MEMO, 0), (What.FINISHED, 0),
        (What.STARTED, 1), (What.MEMO, 1), (What.FINISHED, 1),
        (What.ENDED, -1),
    ]  # fmt: skip
    assert stage.now(run).state is RunState.DONE
    assert stage.now(run).outcome.startswith("done in ")
    assert stage.audit("ended") == [stage.now(run).outcome]
    assert acts(stage.world) == ["0", "1"]
    assert stage.journal.holder("site") is None
    assert stage.journal.verify().whole


async def test_a_step_that_fails_ends_the_run_with_what_stands(stage: Stage) -> None:
    """After an act had its effect the end is `partial`, says what stands and what to do; the same is in the audit."""
    run = await stage.begun(fail=2)
    assert await stage.execute(run) == Exit.FAILED
    now = stage.now(run)
    assert now.state is RunState.PARTIAL
    assert now.outcome == "act 1 failed: no paint; what stands: act 0 is painted · buy some"
    assert stage.audit("ended") == [f"partial: {now.outcome}"]
    assert stage.journal.holder("site") is None


async def test_a_failure_before_anything_had_an_effect_is_no_partial_end(stage: Stage) -> None:
    """The first act fails: `failed`, nothing stands."""
    run = await stage.begun(fail=1)
    assert await stage.execute(run) == Exit.FAILED
    assert stage.now(run).state is RunState.FAILED
    assert stage.now(run).outcome == "act 0 failed: no paint · buy some"


async def test_a_plan_that_got_worse_stops_the_run_before_its_first_act(stage: Stage) -> None:
    """Between confirmation and first act the world got worse: refused, the difference in outcome, log and audit, and nothing was changed."""
    run = await stage.begun()
    (stage.world / "trouble").write_text("the wall is wet")
    assert await stage.execute(run) == Exit.REFUSED
    now = stage.now(run)
    assert now.state is RunState.REFUSED
    assert "the wall is wet" in now.outcome
    assert now.outcome.endswith("nothing was changed · look at the plan again")
    assert stage.audit("ended") == [f"refused: {now.outcome}"]
    assert "the wall is wet" in stage.told(run)
    assert not stage.events(run, What.STARTED)
    assert not acts(stage.world)
    assert not stage.kube.did("patch")
    assert stage.journal.holder("site") is None


async def test_nothing_left_to_do_is_a_good_end(stage: Stage) -> None:
    """Somebody else did it between confirmation and first act: done, and why; no step was begun."""
    run = await stage.begun(steps=1)
    (stage.world / "acts").write_text("0\n")
    assert await stage.execute(run) == Exit.DONE
    assert stage.now(run).outcome == "done: all is painted"
    assert not stage.events(run, What.STARTED)


async def test_cancel_stops_before_the_next_act(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked for in the journal by another process while act 1 is under way: act 1 is finished, act 2 is never begun."""
    monkeypatch.setenv("TOY_HOLD", "acted:1")
    run = await stage.begun()
    task = asyncio.create_task(stage.execute(run))
    await soon((stage.world / "at-acted-1").exists)
    other = stage.another_journal()
    other.ask_cancel(run.id, "ben from 10.0.0.6")
    other.close()
    await soon(lambda: stage.now(run).state is RunState.STOPPING)
    (stage.world / "go-acted-1").touch()
    assert await task == Exit.CANCELLED
    assert acts(stage.world) == ["0", "1"]
    assert stage.now(run).state is RunState.PARTIAL
    assert stage.now(run).outcome == "stopped before the next act, as asked; what stands: act 0 is painted; act 1 is painted"
    assert [e.step for e in stage.events(run, What.STARTED)] == [0, 1]


async def test_cancel_before_the_first_act_leaves_nothing(stage: Stage) -> None:
    """Cancelled before a runner came up: `cancelled`, nothing was changed."""
    run = await stage.begun()
    stage.journal.ask_cancel(run.id, "anna")
    assert await stage.execute(run) == Exit.CANCELLED
    assert stage.now(run).state is RunState.CANCELLED
    assert stage.now(run).outcome.endswith("nothing was changed")
    assert not acts(stage.world)


async def test_a_run_has_its_limit(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """`timeout` of the parameters ends it before the next act, with what stands and the remedy."""
    monkeypatch.setenv("TOY_HOLD", "acted:0")
    run = await stage.begun(timeout=5)
    task = asyncio.create_task(stage.execute(run))
    await soon((stage.world / "at-acted-0").exists)
    limit = stage.clock.monotonic() + 5.05
    await soon(lambda: stage.clock.monotonic() > limit)
    (stage.world / "go-acted-0").touch()
    assert await task == Exit.FAILED
    assert stage.now(run).state is RunState.PARTIAL
    assert stage.now(run).outcome.startswith("out of time")
    assert "act 0 is painted" in stage.now(run).outcome
    assert stage.now(run).outcome.endswith("begin again with a longer --timeout")
    assert acts(stage.world) == ["0"]


async def test_an_api_that_is_lost_before_the_first_act_is_waited_for(stage: Stage) -> None:
    """The plan cannot be made again: the run says what it waits for, changes nothing, and goes on when the API is back."""
    run = await stage.begun(steps=1)
    stage.kube.kill()
    task = asyncio.create_task(stage.execute(run))
    await soon(lambda: stage.now(run).state is RunState.WAITING)
    assert "the world cannot be read" in stage.now(run).outcome
    assert not acts(stage.world)
    stage.kube.revive()
    assert await task == Exit.DONE
    assert [e.text for e in stage.events(run, What.WAITING)] == ["the Kubernetes API: the world cannot be read", ""]


async def test_out_of_time_says_what_it_waited_for(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A longer limit alone does not help when something else was in the way."""
    monkeypatch.setattr("coldtui.operations.runner.RETRY_FIRST_S", 0.05)
    run = await stage.begun(steps=1, timeout=3)
    stage.kube.kill()
    assert await stage.execute(run) == Exit.FAILED
    assert "; it was waiting: the Kubernetes API: the world cannot be read" in stage.now(run).outcome
    assert not acts(stage.world)


async def test_who_waits_for_the_api_can_be_cancelled(stage: Stage) -> None:
    """Cancel ends the waiting at once, as `cancelled`."""
    run = await stage.begun()
    stage.kube.kill()
    task = asyncio.create_task(stage.execute(run))
    await soon(lambda: stage.now(run).state is RunState.WAITING)
    stage.journal.ask_cancel(run.id, "anna")
    assert await task == Exit.CANCELLED
    assert stage.now(run).state is RunState.CANCELLED


async def test_a_client_that_cannot_be_made_yet_is_waited_for(stage: Stage) -> None:
    """Opening the means fails twice (a credential plugin does not answer): said, tried again, done."""
    run = await stage.begun(steps=1)
    tries = [Unreachable("the plugin does not answer"), Unreachable("the plugin does not answer")]

    async def means() -> object:
        if tries:
            raise tries.pop()
        return stage.means()

    assert await execute(replace(stage.bench(), means=means), run.id) == Exit.DONE  # type: ignore[arg-type]
    assert [e.text for e in stage.events(run, What.WAITING)] == ["no client: the plugin does not answer", ""]


async def test_a_fault_of_ours_ends_the_run_too(stage: Stage, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An unexpected exception in mid-run: an end with what stands in the journal, one line, the traceback in the program's log."""
    monkeypatch.setenv("TOY_FAULT", "started:1")
    log = tmp_path / "program.log"
    logs.start(str(log))
    try:
        run = await stage.begun()
        assert await stage.execute(run) == Exit.FAILED
    finally:
        logs.stop()
    now = stage.now(run)
    assert now.state is RunState.PARTIAL
    assert now.outcome.startswith("a fault of this program: ZeroDivisionError: a fault of the toy; what stands: act 0 is painted")
    assert str(log) in now.outcome
    assert "\n" not in now.outcome
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert any("ZeroDivisionError" in line.get("traceback", "") and line["run"] == run.id for line in lines)


async def test_another_runner_that_lives_is_left_alone(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second runner of the same run is refused while the first one's beat is fresh, and touches nothing."""
    monkeypatch.setenv("TOY_HOLD", "started:0")
    monkeypatch.setattr("coldtui.operations.bench.TAKE_UP_S", 0.3)
    run = await stage.begun(steps=1)
    task = asyncio.create_task(stage.execute(run))
    await soon((stage.world / "at-started-0").exists)
    other = Stage(stage.folder, pid=stage.pid + 1)
    with pytest.raises(Refused, match="has a runner already"):
        await other.execute(run)
    (stage.world / "go-started-0").touch()
    assert await task == Exit.DONE
    assert stage.now(run).attempts == 1
    other.journal.close()


async def test_a_new_runner_waits_until_the_beat_of_the_dead_one_is_old(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Resumed a moment after a kill -9: the run is taken up as soon as it counts as lost, not before, and nobody has to ask again."""
    monkeypatch.setattr("coldtui.adapters.journal.runs.LOST_AFTER", timedelta(seconds=1.0))
    run = await stage.begun(steps=1)
    stage.journal.take_up(run.id, pid=1, host="k3s-master")
    beat = stage.now(run).beat
    assert beat is not None
    assert await stage.execute(run) == Exit.DONE
    (taken,) = stage.events(run, What.RUNNER)
    assert taken.at - beat >= timedelta(seconds=1.0)
    assert stage.now(run).attempts == 2


async def test_a_runner_that_was_replaced_acts_no_more(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """It hung, was taken for lost, and another runner ended the run: when it wakes it does nothing and writes no end of its own."""
    monkeypatch.setenv("TOY_HOLD", "started:0")
    run = await stage.begun(steps=1, busy=True)
    codes: list[int] = []
    first = Thread(target=lambda: codes.append(asyncio.run(stage.execute(run))))
    first.start()
    await soon((stage.world / "at-started-0").exists)
    monkeypatch.setenv("TOY_HOLD", "")
    stage.age(run)
    other = Stage(stage.folder, pid=stage.pid + 1)
    assert await other.execute(run) == Exit.DONE
    (stage.world / "go-started-0").touch()
    await asyncio.to_thread(first.join)
    assert codes == [Exit.FAILED]
    assert acts(stage.world) == ["0"]
    assert [e.what for e in stage.events(run, What.ENDED)] == [What.ENDED]
    assert stage.now(run).state is RunState.DONE
    assert len(stage.audit("ended")) == 1
    other.journal.close()


async def test_a_journal_that_is_taken_away_ends_the_run_with_a_word(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody deletes the journal in mid-run: it stops before its next act, its log says what stands, and its leases are given back."""
    monkeypatch.setenv("TOY_HOLD", "acted:0")
    run = await stage.begun(steps=2)
    task = asyncio.create_task(stage.execute(run))
    await soon((stage.world / "at-acted-0").exists)
    for path in stage.folder.glob("journal.db*"):
        path.unlink()
    (stage.world / "go-acted-0").touch()
    assert await task == Exit.FAILED
    assert acts(stage.world) == ["0"]
    told = stage.told(run)[-1]
    assert "what stands: act 0 is painted" in told
    assert told.endswith("the journal has lost this run: it cannot be resumed")
    lease = await stage.kube.lease("kube-system", "coldtui-site")
    assert lease is not None
    assert lease.holder == ""


async def test_another_cluster_behind_the_same_name_is_refused(stage: Stage) -> None:
    """The kubeconfig leads to another cluster than at the confirmation: nothing is done there."""
    run = await stage.begun()
    stage.kube.uid = "00000000-0000-4000-8000-00000000beef"
    assert await stage.execute(run) == Exit.REFUSED
    assert "another cluster" in stage.now(run).outcome
    assert not acts(stage.world)


async def test_the_same_cluster_under_another_address_is_accepted(stage: Stage) -> None:
    """A kubeconfig that was re-copied with another address of the same cluster: its UID decides. While that cannot be asked, the address does."""
    run = await stage.begun(steps=1)
    stage.kube._server = "https://10.0.0.1:6443"
    stage.kube.fail("facts", lambda: Unreachable("connection refused"))
    assert await stage.execute(run) == Exit.REFUSED
    assert stage.now(run).outcome.startswith("the configuration leads to https://10.0.0.1:6443 now: this run is for https://127.0.0.1:6443")
    stage.kube._server = "https://127.0.0.1:6443"
    run = await stage.begun(steps=1)
    stage.kube._server = "https://10.0.0.1:6443"
    assert await stage.execute(run) == Exit.DONE


async def test_a_small_run_whose_process_is_closed_says_how_it_ended(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """The console is quit while it performs a run itself: the end is in the journal before it goes, with what stands."""
    monkeypatch.setenv("TOY_HOLD", "acted:0")
    run = await stage.begun(steps=2)
    task = asyncio.create_task(execute(stage.bench(), run.id, here=True))
    await soon((stage.world / "at-acted-0").exists)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert stage.now(run).state is RunState.PARTIAL
    assert stage.now(run).outcome == "stopped: the process that performed it was closed; what stands: act 0 is painted"
    assert stage.journal.holder("site") is None


async def test_a_run_with_many_events_is_read_whole(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """More than one page of them: the memo of an early page is not forgotten by a resume."""
    monkeypatch.setattr("coldtui.operations.ends.PAGE", 3)
    monkeypatch.setenv("TOY_HOLD", "started:2")
    run = await stage.begun()
    handle = Handle()
    task = asyncio.create_task(stage.execute(run, handle))
    await soon((stage.world / "at-started-2").exists)
    handle.let_go()
    await task
    monkeypatch.setenv("TOY_HOLD", "")
    assert await stage.execute(run) == Exit.DONE
    assert len(stage.events(run)) > 12
    memo = [e.memo for e in stage.events(run, What.STARTED)]
    assert [m.get("2/seen") for m in memo] == [None, None, 2, None], "what was before the act was asked once"


async def test_a_plan_that_was_altered_in_the_journal_is_refused(stage: Stage) -> None:
    """The digest says what was confirmed: steps that were edited afterwards are not walked."""
    run = await stage.begun()
    plan = {**run.plan, "steps": [["toy.act", "Act 9", {"n": 9, "world": str(stage.world)}]], "notes": [""]}
    stage.journal._store.write(lambda db: db.execute("UPDATE runs SET plan = ? WHERE id = ?", (json.dumps(plan), run.id)))
    assert await stage.execute(run) == Exit.REFUSED
    assert "not the one that was confirmed" in stage.now(run).outcome
    assert not acts(stage.world)


async def test_a_handle_that_was_cancelled_early_is_not_forgotten(stage: Stage) -> None:
    """A signal that comes before the run is taken up still stops it."""
    run = await stage.begun()
    handle = Handle()
    handle.cancel()
    assert await stage.execute(run, handle) == Exit.CANCELLED
    assert not acts(stage.world)


@pytest.mark.parametrize("at", [0, 1, 2])
async def test_a_resume_in_this_process_walks_the_plan_of_the_first_attempt(stage: Stage, monkeypatch: pytest.MonkeyPatch, at: int) -> None:
    """A run whose runner let go in mid-step is taken up: steps done by then are passed over, none is repeated, the plan is not compared any
    more."""
    monkeypatch.setenv("TOY_HOLD", f"started:{at}")
    run = await stage.begun()
    handle = Handle()
    task = asyncio.create_task(stage.execute(run, handle))
    await soon((stage.world / f"at-started-{at}").exists)
    handle.let_go()
    assert await task == Exit.FAILED
    assert not stage.now(run).state.ended
    monkeypatch.setenv("TOY_HOLD", "")
    (stage.world / "trouble").write_text("the wall is wet")
    assert await stage.execute(run) == Exit.DONE
    assert acts(stage.world) == ["0", "1", "2"]
    assert stage.now(run).attempts == 2
    assert [e.step for e in stage.events(run, What.ALREADY)] == list(range(at))
    assert "taken up again, attempt 2" in [e.text for e in stage.events(run, What.SAID)]
