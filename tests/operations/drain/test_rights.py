"""What this user may not do is told before anything is done."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from coldtui.domain.errors import Unreachable
from coldtui.domain.plans import Outlook, Plan
from coldtui.lab.fakes import FakeClock, FakeKube
from coldtui.operations.drain.params import DrainNode
from coldtui.operations.drain.plan import plan_drain
from coldtui.operations.drain.rights import Rights, rights_of
from tests.operations.drain.scene import NOW, Scene, codes, deployment, finding

W1, W2 = "k3s-worker-1", "k3s-worker-2"


class Permitting(FakeKube):
    """Answers about rights from a table of `verb plural[/sub] [namespace]`; everything else is denied."""

    given: frozenset[str] = frozenset()
    silent = False

    async def may(self, verb: str, group: str, resource: str, *, namespace: str = "", subresource: str = "", **_: Any) -> bool:
        if self.silent:
            raise Unreachable("no answer")
        return " ".join(filter(None, (verb, f"{resource}/{subresource}".rstrip("/"), namespace))) in self.given


@pytest.fixture
def scene() -> Scene:
    made = Scene().bare()
    deployment(made, "web", [W1, W2])
    return made


async def asked(scene: Scene, *given: str, silent: bool = False, **params: Any) -> Rights:
    kube = Permitting(clock=FakeClock(NOW))
    kube.given, kube.silent = frozenset(given), silent
    pods = scene.facts().pods
    return await rights_of(kube, DrainNode(node=W1, **params), pods.value, 1.0)  # type: ignore[union-attr]


def planned(scene: Scene, rights: Rights, **params: Any) -> Plan:
    return plan_drain(replace(scene.facts(), rights=rights), DrainNode(node=W1, **params), NOW)


async def test_all_rights_say_nothing(scene: Scene) -> None:
    """Whoever may do everything sees no word of it."""
    rights = await asked(scene, "patch nodes", "create pods/eviction")
    assert rights == Rights()
    assert planned(scene, rights).outlook is Outlook.GO


async def test_a_missing_eviction_refuses_before_the_cordon(scene: Scene) -> None:
    """No node is left cordoned by a drain that could evict nothing: the plan refuses and names right and namespace."""
    plan = planned(scene, await asked(scene, "patch nodes"))
    assert plan.outlook is Outlook.REFUSED
    assert finding(plan, "drain.right-evict").sentence == f"evicting 1 pod of {W1} needs create on pods/eviction in shop"


async def test_a_right_in_the_namespace_suffices(scene: Scene) -> None:
    """A RoleBinding in each namespace is as good as one for the cluster."""
    rights = await asked(scene, "patch nodes", "create pods/eviction shop")
    assert not {c for c in codes(planned(scene, rights)) if c.startswith("drain.right")}


async def test_bypassed_budgets_need_the_deletion(scene: Scene) -> None:
    """With --disable-eviction another right is asked for."""
    plan = planned(scene, await asked(scene, "patch nodes", "create pods/eviction", disable_eviction=True), disable_eviction=True)
    assert finding(plan, "drain.right-evict").sentence == f"deleting 1 pod of {W1} needs delete on pods in shop"


async def test_the_cordon_is_asked_for_only_where_it_is_to_be_done(scene: Scene) -> None:
    """Without patch on nodes a node that is cordoned already can still be emptied."""
    rights = await asked(scene, "create pods/eviction")
    assert "drain.right-cordon" in codes(planned(scene, rights))
    scene.node(W1)["spec"]["unschedulable"] = True
    assert planned(scene, rights).outlook is Outlook.GO


async def test_a_server_that_does_not_say_holds_nobody_up(scene: Scene) -> None:
    """Then the act itself tells."""
    assert await asked(scene, silent=True) == Rights()
