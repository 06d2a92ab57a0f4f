"""The desk: what may be confirmed, what is refused and recorded, and what can be done to runs that are there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from coldtui.domain.errors import ColdError, JournalTrouble, NotFound, Refused, StepFailed, UsageError
from coldtui.domain.plans import Finding, Outlook, Rung, Weight
from coldtui.domain.runs import Run, RunSite, RunState, What
from coldtui.domain.secret import Secret
from coldtui.live.pace import SystemClock
from coldtui.operations.desk import Desk, Prepared, pending_after_boot
from tests.operations.means import Stage


class Recorder:
    """A launcher that starts nothing."""

    def __init__(self, alive: bool | None = None, fails: bool = False) -> None:
        self.launched: list[tuple[str, tuple[str, ...]]] = []
        self.alive, self.fails = alive, fails

    def launch(
        self, run: Run, *, secrets: dict[str, Secret], deadline_s: float = 15.0, confirm: Callable[[], object] = lambda: None
    ) -> int:
        confirm()
        if self.fails:
            raise StepFailed("the runner cannot be started", detail="no memory")
        self.launched.append((run.id, tuple(secrets)))
        return 1

    def lives(self, run: Run) -> bool | None:
        return self.alive


class Later(SystemClock):
    """A clock that stands at another time."""

    def __init__(self, at: datetime) -> None:
        self._at = at

    def now(self) -> datetime:
        return self._at


async def prepared(stage: Stage, desk: Desk, **values: Any) -> Prepared:
    return await desk.prepare("toy.paint", {"world": str(stage.world), **values})


async def test_preparing_changes_nothing(stage: Stage) -> None:
    """Zero mutating calls, no journal entry, no lock: however often a plan is looked at."""
    desk = stage.desk(launcher=Recorder())
    found = [await prepared(stage, desk) for _ in range(3)]
    assert stage.kube.acts == []
    assert stage.journal.runs() == ()
    assert stage.journal.audit_entries() == ()
    assert len({p.plan.digest for p in found}) == 1


async def test_what_was_confirmed_is_in_the_journal(stage: Stage) -> None:
    """Who, what, where, why, the plan with its digest, the cluster, and the age of each premise; secrets only by way of the launcher."""
    launcher = Recorder()
    desk = stage.desk(launcher=launcher)
    run = await desk.confirm(await prepared(stage, desk), reason="a kernel\nupdate", secrets={"sudo": Secret("hush")})
    assert launcher.launched == [(run.id, ("sudo",))]
    entry = stage.journal.audit_entries()[0]
    assert (entry.what, entry.run, entry.operation, entry.object) == ("confirmed", run.id, "toy.paint", "toys/world")
    assert entry.digest == run.digest
    assert entry.reason == "a kernel update"
    assert entry.premises[0][0] == "the world"
    assert entry.premises[0][1].endswith(" s")
    assert str(entry.who) == "anna (as root) from 10.0.0.5"
    assert run.site.cluster_uid == stage.kube.uid
    assert "hush" not in repr(stage.journal.runs()) + repr(stage.journal.audit_entries())


@pytest.mark.parametrize(("changes", "plan", "reason", "said"), [
    ({"forbidden": "nothing may be changed: read_only is set (flag --read-only)"}, {}, "x", "read_only is set"),
    ({}, {"blocked": "the node is the last: add another"}, "x", "the node is the last"),
    (
        {}, {"outlook": Outlook.REFUSED, "findings": (Finding("a", Weight.STOP, "quorum would be lost", outlook=Outlook.REFUSED),)}, "x",
        "quorum would be lost",
    ),
    ({}, {"needs_reason": True}, "  ", "a reason is needed"),
])  # fmt: skip
async def test_refusals_are_in_the_audit(stage: Stage, changes: dict[str, Any], plan: dict[str, Any], reason: str, said: str) -> None:
    """Nothing is begun, and who wanted what is kept."""
    launcher = Recorder()
    desk = stage.desk(launcher=launcher, **changes)
    found = await prepared(stage, desk)
    with pytest.raises(Refused, match=said):
        await desk.confirm(replace(found, plan=replace(found.plan, **plan)), reason=reason)
    (entry,) = stage.journal.audit_entries()
    assert (entry.what, entry.object, entry.run) == ("refused", "toys/world", "")
    assert said in entry.outcome
    assert stage.journal.runs() == ()
    assert launcher.launched == []


@pytest.mark.parametrize(("rung", "raised"), [(0, 1), (1, 2), (2, 2), (3, 3)])
async def test_production_raises_the_two_lower_rungs(stage: Stage, rung: int, raised: int) -> None:
    """By one; and rung 3 always wants a reason."""
    toy = stage.operations["toy.paint"]
    lower = replace(toy, rung=Rung(rung), plan=lambda f, p, now: replace(toy.plan(f, p, now), rung=Rung(rung)))
    stage.operations = {"toy.paint": lower}
    found = await prepared(stage, stage.desk(production=True))
    assert found.rung == raised
    assert found.plan.needs_reason is (raised == 3)
    assert (await prepared(stage, stage.desk())).rung == rung


async def test_a_small_act_runs_here_also_in_production(stage: Stage) -> None:
    """Raised to y/N, it still needs no process of its own."""
    toy = stage.operations["toy.paint"]
    stage.operations = {"toy.paint": replace(toy, rung=Rung.SMALL, plan=lambda f, p, now: replace(toy.plan(f, p, now), rung=Rung.SMALL))}
    launcher = Recorder()
    desk = stage.desk(production=True, launcher=launcher)
    run = await desk.confirm(await prepared(stage, desk))
    assert (run.rung, run.state) == (1, RunState.DONE)
    assert launcher.launched == []


async def test_parameters_that_cannot_be_are_refused_with_their_name(stage: Stage) -> None:
    """Unknown, missing, of the wrong kind: before anything is read."""
    desk = stage.desk()
    for values, said in (
        ({"wrld": "x"}, "did you mean world"),
        ({}, "world is missing"),
        ({"world": "x", "steps": "many"}, "steps must be a whole number"),
    ):
        with pytest.raises(UsageError, match=said):
            await desk.prepare("toy.paint", values)
    assert stage.kube.calls == []


async def test_a_launch_that_fails_ends_the_run(stage: Stage) -> None:
    """Failed, in the audit too, and its lock is free for the next try."""
    desk = stage.desk(launcher=Recorder(fails=True))
    with pytest.raises(StepFailed, match="no memory"):
        await desk.confirm(await prepared(stage, desk))
    (run,) = stage.journal.runs()
    assert run.state is RunState.FAILED
    assert run.outcome == "its runner did not start: the runner cannot be started · no memory; nothing was changed"
    assert stage.audit("ended") == [f"failed: {run.outcome}"]
    assert stage.journal.holder("site") is None


async def test_a_journal_that_cannot_be_opened_refuses(stage: Stage) -> None:
    """What disrupts is not begun without a record."""

    def none() -> Any:
        raise JournalTrouble("there is no journal", detail="/x is not writable", hint="join group coldtui")

    launcher = Recorder()
    desk = stage.desk(launcher=launcher, journal=none)
    with pytest.raises(JournalTrouble, match="join group coldtui"):
        await desk.confirm(await prepared(stage, desk))
    assert launcher.launched == []


# ------------------------------------------------------------ runs that are there


async def test_cancel_of_a_run_that_lives_only_asks(stage: Stage) -> None:
    """Its runner stops it; who asked is kept, once."""
    run = await stage.begun()
    stage.journal.take_up(run.id, pid=1, host="k3s-master")
    now = await stage.desk(launcher=Recorder(alive=True)).cancel(run.id[:12])
    assert (now.state, now.cancel_by) == (RunState.STOPPING, "anna (as root) from 10.0.0.5")
    assert [e.what for e in stage.journal.audit_entries()] == ["confirmed", "cancel"]
    assert stage.journal.holder("site") is not None


@pytest.mark.parametrize(("alive", "aged"), [(False, False), (None, True), (True, True)])
async def test_cancel_of_a_lost_run_ends_it(stage: Stage, alive: bool | None, aged: bool) -> None:
    """Its process is gone from this machine, or its beat is old wherever it is."""
    run = await stage.begun()
    stage.journal.take_up(run.id, pid=1, host="k3s-master")
    if aged:
        stage.age(run)
    now = await stage.desk(launcher=Recorder(alive=alive)).cancel(run.id)
    assert now.state is RunState.CANCELLED
    assert now.outcome == "its runner was lost and anna ended it; nothing was changed"
    assert stage.journal.holder("site") is None


async def test_cancel_of_a_lost_run_that_was_in_mid_step_is_careful(stage: Stage) -> None:
    """Begun, and nobody knows whether the act was done: it is not called `cancelled`, and says where to look."""
    run = await stage.begun()
    stage.journal.take_up(run.id, pid=1, host="k3s-master")
    stage.journal.record(run.id, What.STARTED, step=0, text="Act 0", memo={"0/begun": True})
    stage.age(run)
    now = await stage.desk(launcher=Recorder()).cancel(run.id)
    assert now.state is RunState.PARTIAL
    assert now.outcome.endswith("the step that was under way may have been done: look at toys/world")


async def test_a_run_that_ended_is_neither_cancelled_nor_resumed(stage: Stage) -> None:
    """Refused with its end."""
    run = await stage.begun(steps=1)
    await stage.execute(run)
    with pytest.raises(Refused, match="has ended"):
        await stage.desk().cancel(run.id)
    with pytest.raises(Refused, match="it has ended: done"):
        await stage.desk().resume(run.id)


async def test_only_a_lost_run_is_resumed(stage: Stage) -> None:
    """While its runner lives: refused with process, machine and age, and the refusal is kept. In read-only: refused too."""
    run = await stage.begun()
    stage.journal.take_up(run.id, pid=4711, host="k3s-master")
    launcher = Recorder(alive=True)
    with pytest.raises(Refused, match="its runner lives: process 4711 on k3s-master, heard of 0 s ago"):
        await stage.desk(launcher=launcher).resume(run.id)
    stage.age(run)
    with pytest.raises(Refused, match="read_only"):
        await stage.desk(launcher=launcher, forbidden="read_only is set").resume(run.id)
    assert launcher.launched == []
    await stage.desk(launcher=launcher).resume(run.id, secrets={"sudo": Secret("x")})
    assert launcher.launched == [(run.id, ("sudo",))]
    assert [e.what for e in stage.journal.audit_entries()] == ["confirmed", "refused", "refused", "resumed"]


async def test_a_run_whose_runner_never_came_is_resumed_once_that_is_sure(stage: Stage) -> None:
    """Confirmed, and the console died before it had started a runner: at first it may still come, then the run is taken for lost."""
    run = await stage.begun()
    launcher = Recorder()
    with pytest.raises(Refused, match="its runner is only just being started"):
        await stage.desk(launcher=launcher).resume(run.id)
    later = Later(stage.clock.now() + timedelta(seconds=13))
    await stage.desk(launcher=launcher, clock=later).resume(run.id)
    assert launcher.launched == [(run.id, ())]


async def test_runs_that_waited_for_a_boot(stage: Stage) -> None:
    """Only those of this machine that were marked under another boot ID; a run of another machine's is left to it."""
    run = await stage.begun()
    stage.journal.take_up(run.id, pid=1, host="k3s-master")
    assert pending_after_boot(stage.journal, "boot-2") == ()
    stage.journal.set_state(run.id, RunState.WAITING, after_boot="boot-1")
    assert pending_after_boot(stage.journal, "boot-1") == ()
    assert [r.id for r in pending_after_boot(stage.journal, "boot-2")] == [run.id]
    assert pending_after_boot(stage.journal, "boot-2", "k3s-worker-9") == ()
    assert pending_after_boot(stage.journal, "") == ()


async def test_an_unknown_run_is_said_with_the_nearest(stage: Stage) -> None:
    """NotFound, as everywhere."""
    run = await stage.begun()
    for ask in (stage.desk().cancel, stage.desk().resume):
        with pytest.raises(NotFound, match=run.id):
            await ask("20991231-000000-0000")


async def test_arming_is_noted(stage: Stage) -> None:
    """An audit entry of its own, with who."""
    await stage.desk().note("armed", reason="night shift", outcome="for 15 min")
    (entry,) = stage.journal.audit_entries()
    assert (entry.what, entry.reason, entry.outcome, entry.who.login) == ("armed", "night shift", "for 15 min", "anna")


async def test_planning_goes_on_without_the_uid_of_the_cluster(stage: Stage) -> None:
    """Who may not read namespace kube-system still acts; the run then has no UID to compare with."""
    stage.kube.fail("facts", lambda: ColdError("no"), times=None)
    desk = stage.desk(site=RunSite(), launcher=Recorder())
    run = await desk.confirm(await prepared(stage, desk))
    assert run.site.cluster_uid == ""
