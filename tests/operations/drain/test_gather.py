"""Reading for the plan: all sources at once, each for itself, nothing changed."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from coldtui.domain.errors import Forbidden, Invalid, NotFound, NotInstalled, Unauthorized, Unreachable, UsageError
from coldtui.domain.kinds import Kind
from coldtui.domain.plans import Outlook
from coldtui.domain.readings import Known, Unknown
from coldtui.lab.fakes import FakeClock, FakeKube
from coldtui.operations.drain import DRAIN
from coldtui.operations.drain.params import DrainNode
from coldtui.operations.engine import offline
from coldtui.ports import Means
from tests.operations.drain.scene import NOW, Scene, item, slot_kinds
from tests.operations.means import ME

W1 = "k3s-worker-1"


class Kube(FakeKube):
    """Closed to every act; answers about some kinds only after a long time."""

    slow: frozenset[str] = frozenset()

    async def read_all(self, kind: Kind, **options: Any) -> tuple[Any, ...]:
        if kind.name in self.slow:
            await asyncio.sleep(60)
        return await super().read_all(kind, **options)


@pytest.fixture
def kube() -> Kube:
    """The whole site, as domain values."""
    scene = Scene(W1)
    made = Kube(clock=FakeClock(NOW))
    made.writable = False
    for kind in slot_kinds().values():
        read = scene.read("-", kind)
        made.put(kind.name, *(read.value or ()))
    return made


def means(kube: FakeKube) -> Means:
    clock = FakeClock(NOW)
    return Means(kube, offline(clock, ME).shell, clock, ME)


async def plan(kube: FakeKube, node: str = W1, deadline_s: float = 5.0, **params: Any) -> Any:
    given = DrainNode(node=node, delete_emptydir=True, **params)
    return DRAIN.plan(await DRAIN.gather(given, means(kube), deadline_s), given, NOW)


async def test_the_plan_of_a_live_site(kube: Kube) -> None:
    """Read through the port it is the same as from the raw objects, and nothing was changed or even tried."""
    found = await plan(kube)
    alike = replace(
        found, findings=tuple(f for f in found.findings if f.code != "drain.pg-no-switchover")
    )  # no instance manager answers here
    assert alike.digest == Scene(W1).plan(delete_emptydir=True).digest
    assert kube.acts == []


async def test_an_unknown_node_names_its_neighbours(kube: Kube) -> None:
    """A slip of the finger costs one look."""
    with pytest.raises(NotFound, match="no node k3s-wroker-1") as caught:
        await plan(kube, "k3s-wroker-1")
    assert "did you mean k3s-worker-1" in caught.value.hint
    with pytest.raises(NotFound, match="no node zzz") as caught:
        await plan(kube, "zzz")
    assert "k3s-master" in caught.value.hint


async def test_a_slow_source_holds_no_other(kube: Kube) -> None:
    """At the deadline it is unknown, and all others are there."""
    kube.slow = frozenset({"lh_replicas"})
    given = DrainNode(node=W1)
    facts = await DRAIN.gather(given, means(kube), 0.2)
    assert [(p.name, p.reason) for p in facts.premises if p.as_of is None] == [("Longhorn replicas", "no answer within 0 s")]
    assert isinstance(facts.pods, Known)


async def test_every_list_is_asked_once(kube: Kube) -> None:
    """One request a kind and two for pods, whatever the number of pods; and what a switchover rests on, once for the cluster that is led from here."""
    await plan(kube)
    asked = [kind for call, kind in kube.calls if call == "read_all"]
    for_switchover = ["pods", "deployments", "endpointslices", "pg_backups", "nodes", "services", "pg_clusters"]
    assert sorted(asked) == sorted([*(kind.name for kind in slot_kinds().values()), "drain_pods", *for_switchover])


async def test_a_forbidden_node_is_taken_from_the_list_of_all(kube: Kube) -> None:
    """Whoever may list nodes may know one."""
    kube.fail("read", lambda: Forbidden("needs get on nodes"), "nodes")
    assert (await plan(kube)).outlook is Outlook.GO_AFTER


async def test_a_forbidden_list_of_nodes_is_one_unknown(kube: Kube) -> None:
    """The node itself was read by its name."""
    kube.fail("read_all", lambda: Forbidden("needs list on nodes"), "nodes")
    facts = await DRAIN.gather(DrainNode(node=W1), means(kube), 5.0)
    assert isinstance(facts.node, Known)
    assert [p.name for p in facts.premises if p.as_of is None] == ["nodes"]


async def test_missing_kinds_are_known_to_be_empty(kube: Kube) -> None:
    """No Longhorn attachments on this cluster: nothing is unknown about them."""
    kube.fail("read_all", lambda: NotInstalled("not there"), "lh_attachments")
    facts = await DRAIN.gather(DrainNode(node=W1), means(kube), 5.0)
    assert isinstance(facts.attachments, Known)
    assert facts.attachments.value == ()


@pytest.mark.parametrize("error", [Unreachable("connection refused"), Unauthorized("credentials are refused")])
async def test_a_lost_api_is_no_plan(kube: Kube, error: Unreachable) -> None:
    """Neither node nor pods: the error itself is told, with its exit code."""
    kube.fail("*", lambda: error, times=None)
    with pytest.raises(type(error), match=error.title):
        await plan(kube)


async def test_a_selector_that_is_none(kube: Kube) -> None:
    """The parameter is named, before anything else."""
    kube.fail("read_all", lambda: Invalid("bad request", detail="unable to parse requirement"), "drain_pods", times=2)
    with pytest.raises(UsageError, match="pod_selector 'a=b=c' is no label selector") as caught:
        await plan(kube, pod_selector="a=b=c")
    assert "unable to parse" in caught.value.detail


async def test_the_selector_is_the_servers_matter(kube: Kube) -> None:
    """Only the chosen pods are in the plan; the others are counted."""
    found = await plan(kube, pod_selector="app=cold-backend")
    assert [i.object.rpartition("/")[2].partition("-pk")[0] for i in found.items] == ["cold-backend"]
    assert item(found, "cold-backend").fate.value == "goes"


async def test_pods_that_may_not_be_listed_everywhere(kube: Kube) -> None:
    """The ones on the node suffice for a plan, which says what it lacks."""

    class Half(Kube):
        async def read_all(self, kind: Kind, **options: Any) -> tuple[Any, ...]:
            if kind.name == "drain_pods" and not options.get("fields"):
                raise Forbidden("needs list on pods")
            return await super().read_all(kind, **options)

    half = Half(clock=FakeClock(NOW))
    for kind in slot_kinds():
        half.put(slot_kinds()[kind].name, *kube.objects(slot_kinds()[kind].name).values())
    facts = await DRAIN.gather(DrainNode(node=W1), means(half), 5.0)
    assert isinstance(facts.every, Unknown)
    assert isinstance(facts.pods, Known)
