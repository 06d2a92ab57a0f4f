"""The ways in which an operator forces a failover, from the act to a whole cluster."""

from __future__ import annotations

import pytest

from coldtui.lab.client import NODES, PODS, ApiError
from tests.lab.conftest import until
from tests.lab.postgres.conftest import NS, Place, Site

pytestmark = pytest.mark.timeout(180)


async def another(on: Place, old: str, seconds: float = 40.0) -> str:
    """Somebody else has become primary; returns who."""

    async def moved() -> bool:
        return bool((await on.status())["currentPrimary"] != old)

    await until(moved, seconds)
    return str((await on.status())["currentPrimary"])


@pytest.mark.parametrize("grace_s", [None, 0])
def test_the_pod_of_the_primary_is_deleted(real: Site, grace_s: int | None) -> None:
    """With its grace or without, another instance leads on the next timeline, and the old one comes back behind it in a new pod."""

    async def scene(on: Place) -> None:
        before = await on.status()
        old = before["currentPrimary"]
        uid = (await on.pod(old))["metadata"]["uid"]
        await on.client.delete(PODS, old, NS, grace_s=grace_s)
        new = await another(on, old)
        assert await on.until_whole(60) == new
        assert (await on.status())["timelineID"] == before["timelineID"] + 1
        assert (await on.pod(old))["metadata"]["uid"] != uid
        assert await on.endpoints("rw") == [new]

    real.play(scene)


def test_a_target_patched_while_the_primary_is_dead(real: Site) -> None:
    """The promotion runs in the instance: with the operator away it is done as soon as the lease of the dead primary is stale."""

    async def scene(on: Place) -> None:
        old = (await on.status())["currentPrimary"]
        target = next(n for n in on.database.servers if n != old)
        await on.annotate(reconciliationLoop="disabled")
        on.database.managers.orders.lost.add(old)
        on.database.servers[old].kill()
        await on.promote(target)
        assert await another(on, old) == target
        assert (await on.pod(old))["metadata"]["labels"]["cnpg.io/instanceRole"] == "primary"  # nobody moved it
        on.database.managers.orders.lost.discard(old)
        await on.annotate(reconciliationLoop=None)
        assert await on.until_whole(60) == target

    real.play(scene)


def test_a_node_out_of_service(real: Site) -> None:
    """Its machine is off: with the taint its pods are removed at once, the old primary is made again on another node and follows,
    and the node is well when it returns."""

    async def scene(on: Place) -> None:
        old = (await on.status())["currentPrimary"]
        node = (await on.pod(old))["spec"]["nodeName"]
        uid = (await on.pod(old))["metadata"]["uid"]
        on.lab.machines.power_off(node)

        async def away() -> bool:
            conditions = {c["type"]: c["status"] for c in (await on.client.get(NODES, node))["status"]["conditions"]}
            return bool(conditions["Ready"] == "Unknown")

        await until(away)
        held = (await on.client.get(NODES, node))["spec"].get("taints") or []
        mark = {"key": "node.kubernetes.io/out-of-service", "value": "nodeshutdown", "effect": "NoExecute"}
        await on.client.patch(NODES, node, {"spec": {"taints": [*held, mark]}})

        async def elsewhere() -> bool:
            try:
                pod = await on.pod(old)
            except ApiError:
                return False
            return pod["metadata"]["uid"] != uid and pod["spec"].get("nodeName") not in (None, "", node)

        await until(elsewhere, 40)
        new = await another(on, old)
        assert await on.until_whole(60) == new
        kept = [t for t in (await on.client.get(NODES, node))["spec"]["taints"] if t["key"] != mark["key"]]
        await on.client.patch(NODES, node, {"spec": {"taints": kept or None}})
        on.lab.machines.power_on(node)

        async def back() -> bool:
            return not await away() and not (await on.client.get(NODES, node))["spec"].get("taints")

        await until(back, 30)
        assert await on.until_whole(60) == new

    real.play(scene)
