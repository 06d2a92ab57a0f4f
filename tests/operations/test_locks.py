"""Leases between machines, on a cluster in memory whose every write is versioned, and on a clock that is moved by hand."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from coldtui.domain.errors import Exit, Forbidden, Locked, Unauthorized
from coldtui.domain.runs import RunState, What
from coldtui.lab.fakes import FakeClock, FakeKube
from coldtui.operations.locks import Leases, LeaseTimes, holder_name, lease_name, words_of_holder
from coldtui.ports import HeldLease
from tests.operations.means import Stage, soon
from tests.operations.toys import acts

SITE = "kube-system/coldtui-site"
FAST = LeaseTimes(renew_s=0.02, retry_s=0.02)


class Desk:
    """Two machines' Leases over one cluster; waiting moves the clock."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.kube = FakeKube(clock=self.clock)
        self.said: list[str] = []
        self.waits: list[str] = []
        self.over: set[str] = set()

    def leases(self, host: str, run: str = "20261124-140210-aaaa", locks: tuple[str, ...] = ("site",)) -> Leases:
        async def say(text: str) -> None:
            self.said.append(text)

        async def ended(run: str) -> bool:
            return run in self.over

        return Leases(self.kube, self.clock, "kube-system", holder_name(host, "anna", run), locks, say, ended)

    async def wait(self, why: str, seconds: float) -> None:
        self.waits.append(why)
        self.clock.advance(seconds)

    @property
    def holder(self) -> str:
        return self.kube.leases[SITE].holder


@pytest.mark.parametrize(
    ("lock", "name"),
    [
        ("site", "coldtui-site"),
        ("node:k3s-worker-1", "coldtui-node-k3s-worker-1"),
        ("node:K3s_Worker.lan", "coldtui-node-k3s-worker.lan"),
        ("deployment:production/web", "coldtui-deployment-production.web"),
        ("deployment:prod/uction-web", "coldtui-deployment-prod.uction-web"),
        ("node:" + "x" * 300, "coldtui-node-" + "x" * 240),
        ("node:ä-", "coldtui-node"),
    ],
)
def test_names_of_leases_are_names_for_dns(lock: str, name: str) -> None:
    """Lower case, letters, digits, dots and dashes, at most 253, and not two locks under one name."""
    assert lease_name(lock) == name
    assert len(lease_name(lock)) <= 253


def test_a_holder_is_read_back_in_words() -> None:
    """host/user/run, also when a part holds a slash or nothing; a stranger's identity is left as it is."""
    assert holder_name("k3s-master", "anna", "r1") == "k3s-master/anna/r1"
    assert holder_name("a/b", "", "r1") == "a_b/?/r1"
    assert words_of_holder("k3s-master/anna/r1") == "anna on k3s-master (run r1)"
    assert words_of_holder("kube-controller-manager_77") == "kube-controller-manager_77"


async def test_a_free_lease_is_taken_renewed_and_given_back() -> None:
    """Created, renewed without a read, and left empty: the next machine takes it at once."""
    desk = Desk()
    one = desk.leases("one")
    await one.acquire(desk.wait)
    assert desk.kube.leases[SITE].holder == "one/anna/20261124-140210-aaaa"
    assert desk.kube.leases[SITE].duration_s == 30
    reads = desk.kube.count("lease", SITE)
    desk.clock.advance(10)
    await one._renew_all()
    assert desk.kube.leases[SITE].renewed == desk.clock.now()
    assert desk.kube.count("lease", SITE) - reads == 1, "one write, no read"
    await one.release()
    assert desk.holder == ""
    two = desk.leases("two", "20261124-150000-bbbb")
    await two.acquire(desk.wait)
    assert desk.holder.startswith("two/")
    assert not desk.waits
    assert not desk.said


async def test_a_living_holder_is_named_with_its_time() -> None:
    """Its record changes while we watch: refused, with who, which run and since when; nothing of ours stays behind."""
    desk = Desk()
    one, two = desk.leases("one"), desk.leases("two", "20261124-150000-bbbb")
    await one.acquire(desk.wait)

    async def wait(why: str, seconds: float) -> None:
        await desk.wait(why, seconds)
        await one._renew_all()

    with pytest.raises(Locked, match=r"site is held by anna on one \(run 20261124-140210-aaaa\) since 2026-05-04 12:00:00Z") as caught:
        await two.acquire(wait)
    assert caught.value.holder == "20261124-140210-aaaa"
    hint = "coldtui run cancel 20261124-140210-aaaa stops its waiting, what it asked for goes on by itself"
    assert f"on one: coldtui run follow 20261124-140210-aaaa; {hint}" in caught.value.hint
    assert len(desk.waits) == 1
    assert "watching whether that run lives" in desk.waits[0]
    await two.release()
    assert desk.holder.startswith("one/")


async def test_a_cancel_stops_a_statement_elsewhere() -> None:
    """Of another machine's maintenance nothing is said to go on by itself."""
    desk = Desk()
    locks = ("database:shop",)
    one, two = desk.leases("one", locks=locks), desk.leases("two", "20261124-150000-bbbb", locks)
    await one.acquire(desk.wait)

    async def wait(why: str, seconds: float) -> None:
        await desk.wait(why, seconds)
        await one._renew_all()

    with pytest.raises(Locked) as caught:
        await two.acquire(wait)
    assert caught.value.hint.endswith("; coldtui run cancel 20261124-140210-aaaa stops it")


async def test_a_dead_holder_is_taken_over_only_after_it_was_watched() -> None:
    """Not by its time, however old that is: the record must have stood still for its whole duration before our eyes."""
    desk = Desk()
    one, two = desk.leases("one"), desk.leases("two", "20261124-150000-bbbb")
    await one.acquire(desk.wait)
    desk.clock.advance(86_400)
    begun = desk.clock.monotonic()
    await two.acquire(desk.wait)
    assert 30 < desk.clock.monotonic() - begun <= 33
    assert desk.holder.startswith("two/")
    assert desk.kube.leases[SITE].transitions == 1


async def test_a_clock_that_is_ahead_makes_no_holder_live_or_die() -> None:
    """A renewTime of tomorrow is no life: only its change counts."""
    desk = Desk()
    two = desk.leases("two")
    one = desk.leases("one", "20261124-130000-cccc")
    await one.acquire(desk.wait)
    held = desk.kube.leases[SITE]
    desk.kube.leases[SITE] = replace(held, renewed=desk.clock.now().replace(year=2027))
    await two.acquire(desk.wait)
    assert desk.holder.startswith("two/")


async def test_a_holder_with_a_very_long_lease_is_not_waited_for() -> None:
    """Somebody's lease of an hour that stands still: refused after half a minute, not taken and not watched for an hour."""
    desk = Desk()
    desk.kube.leases[SITE] = HeldLease("kube-system", "coldtui-site", "stranger", "7", desk.clock.now(), 3600)
    begun = desk.clock.monotonic()
    with pytest.raises(Locked, match="site is held by stranger"):
        await desk.leases("two").acquire(desk.wait)
    assert desk.clock.monotonic() - begun <= 36


async def test_a_run_of_this_machine_that_ended_is_not_watched() -> None:
    """Its runner was killed between its end and the return of the lease: this machine's journal knows, and the next run begins at once."""
    desk = Desk()
    one, two = desk.leases("one"), desk.leases("one", "20261124-150000-bbbb")
    await one.acquire(desk.wait)
    desk.over.add("20261124-140210-aaaa")
    await two.acquire(desk.wait)
    assert not desk.waits
    assert desk.holder == "one/anna/20261124-150000-bbbb"


async def test_the_same_run_takes_its_own_lease_up() -> None:
    """After a resume the holder is already we: no watching."""
    desk = Desk()
    await desk.leases("one").acquire(desk.wait)
    await desk.leases("one").acquire(desk.wait)
    assert not desk.waits


async def test_two_locks_are_taken_in_one_order_and_given_back_together() -> None:
    """So that no two runs wait for each other; a refusal at the second lets the first go."""
    desk = Desk()
    stranger = HeldLease("kube-system", "coldtui-site", "stranger", "7", desk.clock.now(), 3600)
    desk.kube.leases[SITE] = stranger
    both = desk.leases("one", locks=("site", "node:a"))
    with pytest.raises(Locked):
        await both.acquire(desk.wait)
    assert desk.kube.leases["kube-system/coldtui-node-a"].holder.startswith("one/")
    await both.release()
    assert desk.kube.leases["kube-system/coldtui-node-a"].holder == ""


async def test_an_api_that_is_away_holds_nobody_up() -> None:
    """Said once; the lease is taken as soon as the API is back, and that is said too."""
    desk = Desk()
    one = desk.leases("one")
    desk.kube.kill()
    await one.acquire(desk.wait)
    await one._renew_all()
    assert desk.said == ["the leases cannot be written (connection refused): the run goes on, locked on this machine only"]
    assert await one.gate() == ""
    desk.kube.revive()
    desk.clock.advance(2)
    assert await one.gate() == ""
    assert desk.holder.startswith("one/")
    assert desk.said[1:] == ["the API answers again: coldtui-site is held"]


async def test_a_short_absence_is_not_worth_a_word() -> None:
    """Nobody can have taken the lease within its duration: a renewal that fails in between is tried again in silence."""
    desk = Desk()
    one = desk.leases("one")
    await one.acquire(desk.wait)
    desk.kube.kill()
    desk.clock.advance(10)
    await one._renew_all()
    desk.kube.revive()
    await one._renew_all()
    assert not desk.said


async def test_whoever_took_the_lease_meanwhile_stops_the_next_act() -> None:
    """The API was away for longer than the lease lasts, and another took it: the gate says who, until it is free; then it is ours again."""
    desk = Desk()
    one, two = desk.leases("one"), desk.leases("two", "20261124-150000-bbbb")
    await one.acquire(desk.wait)
    await two.acquire(desk.wait)  # one does not renew: its API is away
    desk.clock.advance(10)
    why = await one.gate()
    assert why.startswith("site was taken over by anna on two (run 20261124-150000-bbbb) since ")
    assert why.endswith("waiting until it is free")
    desk.clock.advance(2)
    await two._renew_all()
    assert await one.gate()
    await two.release()
    desk.clock.advance(2)
    assert await one.gate() == ""
    assert desk.holder.startswith("one/")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            Forbidden("needs create on leases in kube-system", verb="create", resource="leases"),
            "no lease in kube-system: needs create on leases",
        ),
        (Unauthorized("the credentials are refused"), "the leases cannot be written (the credentials are refused)"),
    ],
)
async def test_who_may_not_write_leases_is_told_once(error: Exception, said: str) -> None:
    """The run goes on, locked on this machine; nothing is repeated at every renewal."""
    desk = Desk()
    desk.kube.fail("lease", lambda: error, times=None)
    one = desk.leases("one")
    await one.acquire(desk.wait)
    for _ in range(3):
        desk.clock.advance(10)
        await one._renew_all()
        assert await one.gate() == ""
    assert len(desk.said) == 1
    assert desk.said[0].startswith(said)
    assert desk.said[0].endswith("locked on this machine only")


async def test_a_deleted_lease_is_made_again() -> None:
    """Somebody deleted the object: the next renewal makes it anew, without a pause."""
    desk = Desk()
    one = desk.leases("one")
    await one.acquire(desk.wait)
    del desk.kube.leases[SITE]
    await one._renew_all()
    assert desk.holder.startswith("one/")
    assert await one.gate() == ""


# ------------------------------------------------------------ in a run


@asynccontextmanager
async def running(stage: Stage, monkeypatch: pytest.MonkeyPatch, hold: str) -> AsyncIterator[tuple[str, asyncio.Task[int]]]:
    monkeypatch.setenv("TOY_HOLD", hold)
    run = await stage.begun()
    task = asyncio.create_task(stage.execute(run, leases=FAST))
    await soon((stage.world / f"at-{hold.replace(':', '-')}").exists)
    try:
        yield run.id, task
    finally:
        (stage.world / f"go-{hold.replace(':', '-')}").touch()
        await task


async def test_a_run_holds_its_lease_while_a_step_works_and_gives_it_back(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Renewed again and again during one long step, by host, user and run; empty when the end is told."""
    async with running(stage, monkeypatch, "started:0") as (id, _):
        first = stage.kube.leases[SITE]
        assert first.holder == f"k3s-master/anna/{id}"
        await soon(lambda: int(stage.kube.leases[SITE].version) > int(first.version) + 3)
    assert stage.kube.leases[SITE].holder == ""


async def test_a_run_that_finds_another_machine_at_work_is_refused(stage: Stage) -> None:
    """The other's lease changes under its eyes: refused before the first act, by name; the journal's lock is free again."""
    run = await stage.begun()
    other = HeldLease("kube-system", "coldtui-site", "k3s-worker-9/ben/20261124-120000-dead", "1", stage.clock.now(), 30)
    stage.kube.leases[SITE] = other
    task = asyncio.create_task(stage.execute(run, leases=FAST))
    await soon(lambda: stage.now(run).state is RunState.WAITING)
    assert "ben on k3s-worker-9 (run 20261124-120000-dead) holds lease coldtui-site" in stage.now(run).outcome
    stage.kube.leases[SITE] = replace(other, renewed=stage.clock.now(), version="2")
    assert await task == Exit.REFUSED
    assert stage.now(run).outcome.startswith("site is held by ben on k3s-worker-9 (run 20261124-120000-dead); nothing was changed")
    assert not acts(stage.world)
    assert stage.kube.leases[SITE].holder == other.holder
    assert stage.journal.holder("site") is None
    assert any("ben on k3s-worker-9" in text for text in stage.audit("ended"))


async def test_a_lease_lost_in_mid_run_holds_the_next_act(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another holds it when the API returns: the run says so and waits; once it is free the run goes on to its end."""
    async with running(stage, monkeypatch, "acted:0") as (id, task):
        run = stage.journal.run(id)
        stage.kube.kill()
        stage.kube.leases[SITE] = HeldLease("kube-system", "coldtui-site", "k3s-worker-9/ben/r9", "99999", stage.clock.now(), 30)
        stage.kube.revive()
        (stage.world / "go-acted-0").touch()
        await soon(lambda: stage.now(run).state is RunState.WAITING)
        assert stage.now(run).outcome == "site was taken over by ben on k3s-worker-9 (run r9): waiting until it is free"
        assert acts(stage.world) == ["0"]
        stage.kube.leases[SITE] = replace(stage.kube.leases[SITE], holder="", version="100000")
        assert await task == Exit.DONE
    assert [e.text for e in stage.events(run, What.WAITING)][-1] == ""
    assert json.dumps(stage.kube.leases[SITE].holder) == '""'
