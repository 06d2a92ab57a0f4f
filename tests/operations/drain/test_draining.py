"""The loop's table of answers, on an API that says what a test wants; and how pods are told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from coldtui.adapters.journal import SqliteJournal
from coldtui.domain.drains import DRAIN_PODS
from coldtui.domain.errors import (
    BudgetRefused,
    ColdError,
    Conflict,
    EvictionImpossible,
    Forbidden,
    Invalid,
    NamespaceEnds,
    NotFound,
    StepFailed,
    Throttled,
    Unauthorized,
    Unreachable,
)
from coldtui.domain.plans import PlannedStep
from coldtui.domain.runs import What
from coldtui.lab.fakes import FakeKube
from coldtui.live.pace import SystemClock
from coldtui.operations.drain.draining import Pace
from coldtui.operations.drain.evict import EvictPods, SeeGone
from coldtui.operations.drain.targets import State, Target
from coldtui.operations.engine import RunContext, offline
from coldtui.ports import Means
from tests.adapters.kube.test_drains import detail, read
from tests.journals import a_run, an_entry
from tests.operations.drain.ground import journal_in
from tests.operations.means import ME

NODE = "node-1"
FAST = Pace(look_s=0.02, retry_s=0.06, tell_s=0.1, node_s=0.04, answer_s=1.0)
OWNER = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "r", "uid": "u", "controller": True}
NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[SqliteJournal]:
    with journal_in(tmp_path) as made:
        run = replace(a_run(), locks=())
        made.begin(run, an_entry(run))
        yield made


class Kube(FakeKube):
    """Evictions of some pods take long."""

    slow: dict[str, float]
    begun: int = 0
    """Requests that have arrived."""

    async def evict(self, namespace: str, pod: str, **options: Any) -> None:
        self.begun += 1
        await asyncio.sleep(self.slow.get(pod, 0.0))
        await super().evict(namespace, pod, **options)


@pytest.fixture
def kube() -> Kube:
    made = Kube(clock=SystemClock())
    made.slow = {}
    node = {"metadata": {"name": NODE}, "spec": {"unschedulable": True}, "status": {"conditions": [{"type": "Ready", "status": "True"}]}}
    made.put("nodes", read("nodes", node))
    return made


def put(kube: FakeKube, *names: str, **more: Any) -> None:
    for name in names:
        kube.put("drain_pods", detail(name, metadata={"ownerReferences": [OWNER], **more.pop("metadata", {})}, **more))


class Stand:
    """The two steps on one journal."""

    def __init__(self, kube: FakeKube, journal: SqliteJournal, **args: Any) -> None:
        clock = SystemClock()
        self.means = Means(kube, offline(clock, ME).shell, clock, ME)
        self.journal, self.kube = journal, kube
        self.planned = PlannedStep("drain.evict", "Evict", {"node": NODE, "grace": -1, **args})
        self.step = EvictPods(FAST)
        self.ctx = RunContext(a_run().id, None, self.means, journal, step=1)

    async def begin(self) -> None:
        kept = await self.step.before(self.planned, self.ctx)
        self.ctx.memo.update({f"1/{key}": value for key, value in kept.items()})

    async def run(self, seconds: float = 20.0) -> None:
        if "1/pods" not in self.ctx.memo:
            await self.begin()
        async with asyncio.timeout(seconds):
            await self.step.run(self.planned, self.ctx)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[asyncio.Task[None]]:
        task = asyncio.create_task(self.run())
        try:
            yield task
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def told(self, pod: str) -> list[str]:
        return [e.text for e in self.journal.events(a_run().id) if e.what is What.ITEM and e.object.endswith(f"/{pod}")]

    def said(self) -> list[str]:
        return [e.text for e in self.journal.events(a_run().id) if e.what is What.SAID]

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(15):
            while not condition():  # noqa: ASYNC110 (the journal is asked, it does not call)
                await asyncio.sleep(0.01)


async def test_accepted_and_gone(kube: Kube, journal: SqliteJournal) -> None:
    """Both are asked for once, with their UIDs, and remembered before and after."""
    put(kube, "a", "b")
    stand = Stand(kube, journal, grace=7)
    await stand.run()
    assert sorted(kube.did("evict")) == ["default/a", "default/b"]
    assert {str(a.body) for a in kube.acts} == {"{'uid': 'uid-a', 'grace_s': 7}", "{'uid': 'uid-b', 'grace_s': 7}"}
    assert stand.ctx.memo["1/pods"] == {"default/a": "uid-a", "default/b": "uid-b"}
    assert stand.ctx.memo["1/asked"] == stand.ctx.memo["1/accepted"] == ["uid-a", "uid-b"]
    assert stand.told("a")[0] == "evicting"


RETRIED = [
    pytest.param(
        lambda: BudgetRefused("held", detail="needs 1 healthy pods and has 1 currently"), "refused: needs 1 healthy pods", id="budget"
    ),
    pytest.param(lambda: NamespaceEnds("pod goes with its namespace"), "refused: pod goes with its namespace", id="namespace-ends"),
    pytest.param(lambda: Throttled("asked to slow down"), "refused: asked to slow down", id="throttled"),
    pytest.param(lambda: Unreachable("connection lost"), "asked for, no answer: connection lost", id="no-answer"),
]


@pytest.mark.parametrize(("error", "word"), RETRIED)
async def test_answers_after_which_it_is_asked_again(kube: Kube, journal: SqliteJournal, error: Callable[[], ColdError], word: str) -> None:
    """The pod is told what stands in its way, and goes once nothing does."""
    put(kube, "a")
    kube.refuse_eviction("default/a", error)
    stand = Stand(kube, journal)
    async with stand.running() as task:
        await stand.until(lambda: any(word in text for text in stand.told("a")) and len(kube.acts) >= 3)
        kube.refuse_eviction("default/a", None)
        await task
    assert stand.told("a")[-1].startswith("gone after")


FINAL = [
    pytest.param(lambda: EvictionImpossible("two budgets"), id="two-budgets"),
    pytest.param(lambda: Forbidden("needs create on pods/eviction"), id="forbidden"),
    pytest.param(lambda: Invalid("not taken"), id="invalid"),
]


@pytest.mark.parametrize("error", FINAL)
async def test_answers_that_end_it_for_one_pod(kube: Kube, journal: SqliteJournal, error: Callable[[], ColdError]) -> None:
    """The others go on, it is never asked for again, and the error is told at the end."""
    put(kube, "a", "b")
    kube.refuse_eviction("default/a", error)
    stand = Stand(kube, journal)
    with pytest.raises(StepFailed, match="1 of 2 pods not evicted from node-1") as caught:
        await stand.run()
    assert caught.value.detail == f"default/a: {error()}"
    assert [a.key for a in kube.acts].count("default/a") == 1
    assert kube.did("evict") == ["default/b"]


async def test_one_reason_for_many_is_told_once(kube: Kube, journal: SqliteJournal) -> None:
    """A missing right fails each pod with a sentence that differs only by its name: the end has it once, with the names."""
    put(kube, "a", "b", "c")
    for name in ("a", "b"):
        kube.refuse_eviction(f"default/{name}", lambda name=name: Forbidden(f'pods "{name}" is forbidden'))  # type: ignore[misc]
    stand = Stand(kube, journal)
    with pytest.raises(StepFailed, match="2 of 3 pods not evicted from node-1") as caught:
        await stand.run()
    assert caught.value.detail == 'default/a, default/b: pods "it" is forbidden'


@pytest.mark.parametrize("error", [lambda: NotFound("gone"), lambda: Conflict("another one")], ids=["gone", "namesake"])
async def test_a_pod_that_is_gone_already(kube: Kube, journal: SqliteJournal, error: Callable[[], ColdError]) -> None:
    """Not found is as good as evicted; of a namesake the next look tells."""
    put(kube, "a")
    kube.refuse_eviction("default/a", error)
    stand = Stand(kube, journal)
    async with stand.running() as task:
        await stand.until(lambda: bool(kube.acts))
        kube.remove("drain_pods", "default/a")
        await task
    assert stand.told("a")[-1].startswith("gone")


async def test_retry_after_is_heeded(kube: Kube, journal: SqliteJournal) -> None:
    """The server names its time: the pod is not asked for before, while another one is each time."""
    put(kube, "a", "b")
    kube.refuse_eviction("default/a", lambda: BudgetRefused("counting", retry_after_s=60))
    kube.refuse_eviction("default/b", lambda: BudgetRefused("held"))
    stand = Stand(kube, journal)
    async with stand.running():
        await stand.until(lambda: [a.key for a in kube.acts].count("default/b") >= 4)
    assert [a.key for a in kube.acts].count("default/a") == 1


async def test_refused_credentials_end_the_run(kube: Kube, journal: SqliteJournal) -> None:
    """No pod is asked for again and again with credentials that are not taken; what was accepted beside it is remembered."""
    put(kube, "a", "b")
    kube.refuse_eviction("default/a", lambda: Unauthorized("credentials are refused"))
    stand = Stand(kube, journal)
    with pytest.raises(Unauthorized):
        await stand.run()
    assert stand.ctx.memo["1/accepted"] == ["uid-b"]


async def test_a_slow_request_holds_nobody(kube: Kube, journal: SqliteJournal) -> None:
    """While one eviction takes its time in the server, the others go and are told."""
    put(kube, "a", "b")
    kube.slow["a"] = 4.0
    stand = Stand(kube, journal)
    async with stand.running() as task:
        await stand.until(lambda: any(t.startswith("gone") for t in stand.told("b")))
        assert stand.told("a") == ["evicting"]
        await task
    assert len([a for a in kube.acts if a.key == "default/a"]) == 1


async def test_cancel_hears_the_requests_that_are_under_way(kube: Kube, journal: SqliteJournal) -> None:
    """What the server accepts while the run stops is known and told, and nothing new is asked for."""
    put(kube, *(f"p{n:02}" for n in range(12)))
    kube.lingering = True
    kube.slow = {f"p{n:02}": 2.0 for n in range(12)}
    stand = Stand(kube, journal)
    async with stand.running() as task:
        await stand.until(lambda: kube.begun == FAST.at_once)
        stand.ctx.cancel()
        with pytest.raises(ColdError, match="stopped before the next act"):
            await task
    assert len(kube.acts) == FAST.at_once
    assert len(stand.ctx.memo["1/accepted"]) == FAST.at_once
    assert len([n for n in range(12) if "cannot be recalled" in stand.told(f"p{n:02}")[-1]]) == FAST.at_once
    assert "12 pods gone" in stand.said()[-1]


async def test_a_lock_that_was_lost_stops_new_evictions(kube: Kube, journal: SqliteJournal) -> None:
    """While another run holds the site, nothing is asked for; afterwards it goes on."""
    put(kube, "a")
    stand = Stand(kube, journal)
    why = ["the site is held by another run"]
    stand.ctx.pause_for = lambda: why[0] if why else ""
    async with stand.running() as task:
        await asyncio.sleep(0.2)  # a while in which nothing may happen
        assert kube.acts == []
        why.clear()
        await task
    assert kube.did("evict") == ["default/a"]


async def test_deletions_stop_at_the_first_failure(kube: Kube, journal: SqliteJournal) -> None:
    """Without evictions they are sent one by one, as kubectl does; what was accepted is waited for."""
    put(kube, "a", "b", "c")
    kube.put("pods", kube.objects("drain_pods")["default/a"].pod)

    class Picky(Kube):
        async def delete(self, kind: Any, name: str, namespace: str = "", **options: Any) -> None:
            if name == "b":
                raise Forbidden("needs delete on pods")
            await super().delete(kind, name, namespace, **options)

    kube.__class__ = Picky
    stand = Stand(kube, journal, disable_eviction=True)
    with pytest.raises(StepFailed, match="2 of 3 pods not evicted") as caught:
        await stand.run()
    assert caught.value.detail == "default/b: needs delete on pods; default/c: not asked for: default/b failed"
    assert kube.did("delete", "pods") == ["default/a"]


async def test_what_is_seen_of_the_node_is_said_once(kube: Kube, journal: SqliteJournal) -> None:
    """Uncordoned, not Ready, removed: each when it happens."""
    put(kube, "a")
    kube.lingering = True
    stand = Stand(kube, journal)
    node = kube.objects("nodes")[NODE]
    async with stand.running():
        await stand.until(lambda: bool(kube.acts))
        kube.put("nodes", replace(node, unschedulable=False))
        await stand.until(lambda: "node-1 was uncordoned by somebody: new pods may come" in stand.said())
        silent = tuple(replace(c, status="Unknown") for c in node.conditions)
        kube.put("nodes", replace(node, conditions=silent))
        await stand.until(lambda: "node-1 is NotReady: its kubelet cannot confirm that pods have ended" in stand.said())
        kube.remove("nodes", NODE)
        await stand.until(lambda: "node-1 was removed from the cluster: its pods end with it" in stand.said())
        assert len(stand.said()) == 3


async def test_budgets_are_named_where_they_can_be_read(kube: Kube, journal: SqliteJournal) -> None:
    """With their numbers; else the server's own words stay."""
    put(kube, "a", metadata={"labels": {"app": "a"}})
    raw = {"metadata": {"name": "tight", "namespace": "default"}, "spec": {"selector": {"matchLabels": {"app": "a"}}}, "status": {"currentHealthy": 1, "desiredHealthy": 1}}  # fmt: skip
    kube.put("drain_budgets", read("drain_budgets", raw))
    kube.refuse_eviction("default/a", lambda: BudgetRefused("held", detail="the server says no"))
    stand = Stand(kube, journal)
    async with stand.running():
        await stand.until(lambda: any(t.startswith("budget tight refuses (1 healthy, 1 needed)") for t in stand.told("a")))
    kube.fail("read_all", lambda: Forbidden("not permitted"), "drain_budgets", times=None)
    other = Stand(kube, journal)
    async with other.running():
        await other.until(lambda: any(t.startswith("refused: the server says no") for t in other.told("a")))


async def test_it_waits_only_while_nothing_else_moves(kube: Kube, journal: SqliteJournal) -> None:
    """The run is "waiting" when budgets hold all that is left, and names the pods; not while one is ending."""
    put(kube, "a", "b")
    kube.lingering = True
    kube.refuse_eviction("default/a", lambda: BudgetRefused("held"))
    stand = Stand(kube, journal)

    def waits() -> list[str]:
        return [e.text for e in journal.events(a_run().id) if e.what is What.WAITING]

    async with stand.running():
        await stand.until(lambda: any(t.startswith("refused") for t in stand.told("a")))
        await stand.until(lambda: any(t.startswith("terminating") for t in stand.told("b")))
        assert waits() == []
        kube.remove("drain_pods", "default/b")
        await stand.until(lambda: waits() == ["1 pod held by disruption budgets: default/a"])


async def test_the_last_look(kube: Kube, journal: SqliteJournal) -> None:
    """A pod that is still there fails the step; one that came meanwhile is named and fails nothing."""
    put(kube, "a")
    stand = Stand(kube, journal)
    await stand.begin()
    see, planned = SeeGone(), PlannedStep("drain.gone", "See", {"node": NODE})
    stand.ctx.step = 2
    with pytest.raises(StepFailed, match="1 pod still on node-1"):
        await see.run(planned, stand.ctx)
    kube.remove("drain_pods", "default/a")
    put(kube, "late")
    await see.run(planned, stand.ctx)
    assert stand.said() == ["1 pod came to node-1 meanwhile and stays: default/late", "1 pod gone from node-1"]


# ------------------------------------------------------------ words


async def test_what_holds_a_pod_that_has_ended_is_named(kube: Kube) -> None:
    """A pod past its grace with a finalizer waits for a controller, not for its kubelet."""
    put(kube, "a", metadata={"finalizers": ["example.com/backup"]})
    (pod,) = await kube.read_all(DRAIN_PODS)
    late = target(State.ENDING, 45, grace_s=0)
    late.pod = pod
    assert late.text(NOW) == "terminating 45 s, held by finalizer example.com/backup"


def target(state: State, age_s: float, **more: Any) -> Target:
    made = Target("default/a", "uid-a", **more)
    made.begun = NOW - timedelta(seconds=age_s)
    made.become(state, NOW - timedelta(seconds=age_s), more.get("reason", ""))
    return made


WORDS = [
    (target(State.ENDING, 8, grace_s=30), "terminating 8 of 30 s"),
    (target(State.ENDING, 45, grace_s=30), "terminating 45 s, past its 30 s"),
    (target(State.REFUSED, 12, budgets=("redis",), numbers="1 healthy, 1 needed"), "budget redis refuses (1 healthy, 1 needed), 12 s"),
    (target(State.GONE, 0), "gone after 0 s"),
    (target(State.GONE, 0, successor="replaced by b on n2"), "gone after 0 s, replaced by b on n2"),
    (target(State.SKIPPED, 0), "being deleted for long: not waited for"),
    (Target("default/a", "uid-a"), "queued"),
]


@pytest.mark.parametrize(("pod", "text"), WORDS, ids=[text for _, text in WORDS])
def test_how_a_pod_is_told(pod: Target, text: str) -> None:
    """In a few words, with the times that matter."""
    assert pod.text(NOW) == text


def test_an_answer_after_the_end_changes_nothing() -> None:
    """The pod was seen to be gone; a late refusal does not bring it back."""
    pod = target(State.GONE, 0)
    pod.become(State.REFUSED, NOW, "late")
    assert pod.state is State.GONE


@pytest.mark.parametrize(("age_s", "pause_s"), [(10, 5), (90, 15), (600, 60)])
def test_words_grow_rarer_with_time(age_s: float, pause_s: float) -> None:
    """Each five seconds at first; a pod that is held for ten minutes needs no line each five seconds. A new state is told at once."""
    pod = target(State.REFUSED, age_s)
    assert pod.worth_telling(NOW, 5.0)
    pod.told_state, pod.told_at = State.REFUSED, NOW
    assert not pod.worth_telling(NOW + timedelta(seconds=pause_s - 1), 5.0)
    assert pod.worth_telling(NOW + timedelta(seconds=pause_s), 5.0)
    pod.become(State.ENDING, NOW)
    assert pod.worth_telling(NOW, 5.0)
