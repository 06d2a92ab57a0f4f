"""What can be wrong with the operator of CloudNativePG, and what a Cluster can ask of it that keeps it from failing over."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from coldtui.lab.client import DEPLOYMENTS, PG_CLUSTERS, PG_QUORUMS, PODS, Json
from coldtui.lab.controllers.base import Lab, matches
from coldtui.lab.postgres.means import Means, Options, Switch, listed, number, until
from coldtui.lab.seeds.postgres import OPERATOR, OPERATOR_NAMESPACE

DELAY_S = 300
DOWN = "operator-down"
ABOUT: dict[str, str] = {
    "switchover-ignored": "nobody acts when targetPrimary is changed",
    "failover-stalls": "the operator takes the target pending back instead of electing anybody, as version 1.30.0 does; kill the primary under it",
    "failover-delay": f"the Cluster asks for a failover only {DELAY_S} s (seconds=N) after the primary has failed",
    DOWN: "the operator of CloudNativePG does not run",
    "quorum-lost": "failover quorum is on and a standby (instance=NAME) is down: no election can be proven to keep every commit",
}


@dataclass(frozen=True, slots=True)
class OperatorFaults:
    """Each ends with the Cluster as it was."""

    means: Means

    def all(self) -> dict[str, Switch]:
        return {
            "switchover-ignored": self._ignored, "failover-stalls": self._stalls, "failover-delay": self._delay, "quorum-lost": self._quorum,
        }  # fmt: skip

    async def _ignored(self, on: bool, options: Options) -> str:
        self.means.orders.ignore_target = on
        return "a new targetPrimary is not acted on" if on else "a new targetPrimary is acted on"

    async def _stalls(self, on: bool, options: Options) -> str:
        self.means.orders.stalls = on
        return "the operator takes the target pending back: nobody is elected" if on else "the operator elects again"

    async def _delay(self, on: bool, options: Options) -> str:
        seconds = int(number(options, "seconds", DELAY_S)) if on else 0
        await self._spec({"failoverDelay": seconds})
        return f"a failover begins {seconds} s after the primary has failed" if on else "a failover begins at once"

    async def _quorum(self, on: bool, options: Options) -> str:
        means = self.means
        names = means.take("quorum-lost", on, options)
        if on:
            await self._spec({"postgresql": {"synchronous": {"method": "any", "number": 1, "failoverQuorum": True}}})
            await until(self._guarded, "the FailoverQuorum is not filled")
        for name in names:
            (means.orders.lost.add if on else means.orders.lost.discard)(name)
            if on:
                await asyncio.to_thread(means.database.servers[name].kill)
            means.manager(name).wake()
        if not on:
            await self._spec({"postgresql": {"synchronous": None}})
            return f"commits wait for nobody; {listed(names)} starts again after its back-off"
        return f"commits wait for one standby of two, and {listed(names)} is down: with the primary gone, 1 + 1 is not more than 2"

    async def _guarded(self) -> bool:
        namespace, name = self.means.database.managers.cluster_key
        found = await self.means.lab.client.find(PG_QUORUMS, name, namespace)
        return found is not None and bool((found.get("status") or {}).get("standbyNames"))

    async def _spec(self, spec: Json) -> None:
        namespace, name = self.means.database.managers.cluster_key
        await self.means.lab.client.patch(PG_CLUSTERS, name, {"spec": spec}, namespace)


async def operator_down(lab: Lab, on: bool) -> str:
    """Scale its Deployment; this needs no server."""
    await lab.client.patch(DEPLOYMENTS, "cnpg-controller-manager", {"spec": {"replicas": 0 if on else 1}}, OPERATOR_NAMESPACE)

    def settled() -> bool:
        pods = lab.informers.of(PODS).values()
        there = any(_of_operator(p) for p in pods)
        return there != on

    await until(settled, "the operator's pod is not gone" if on else "the operator's pod is not made")
    return "deployment cnpg-controller-manager has 0 replicas" if on else "deployment cnpg-controller-manager has 1 replica again"


def _of_operator(pod: Json) -> bool:
    meta = pod["metadata"]
    return meta["namespace"] == OPERATOR_NAMESPACE and matches({"matchLabels": OPERATOR}, meta.get("labels"))
