"""The CloudNativePG operator over real servers: it decides and labels; instance managers stop, promote and rewind.

The order of events is that of replicas.go and cluster_controller.go of CloudNativePG 1.30: a target is written, the old primary's pod is labelled
``unhealthy``, and the rest is waited for.
"""

from __future__ import annotations

import asyncio

from coldtui.domain.errors import Unreachable
from coldtui.lab.client import CLAIMS, PG_CLUSTERS, PODS, ApiError, Json, Key
from coldtui.lab.controllers.base import Lab, deleting, micro, moment
from coldtui.lab.controllers.cnpg import COMPONENT, FAILOVER, LOOP, RESTARTED, SWITCHOVER, WAITING, Instances, Operator, differs
from coldtui.lab.postgres import hibernation
from coldtui.lab.postgres.manager import RESTARTING, fenced
from coldtui.lab.postgres.managers import Managers
from coldtui.lab.postgres.quorum import Quorum, Synchronous
from coldtui.lab.postgres.scene import PENDING, Scene
from coldtui.lab.postgres.telling import told

UNRECOVERABLE_POD = "alpha.cnpg.io/unrecoverable"


class RealOperator(Operator):
    """Looks at each Cluster every second or so."""

    def __init__(self, lab: Lab, managers: Managers) -> None:
        super().__init__(lab)
        self.managers = managers
        self.claims = lab.informers.of(CLAIMS)
        self.claims.listen(self._claim_changed)
        self._lost_claims: dict[str, Json] = {}
        self._silent_since: dict[Key, float] = {}
        self._warn_again: dict[Key, float] = {}
        self._guarded: bool | None = None
        """Whether there is a FailoverQuorum; None: not looked yet."""

    def _claim_changed(self, before: Json | None, after: Json | None) -> None:
        """A claim that is gone took the data of its instance along."""
        if before is None or after is not None or before["metadata"]["namespace"] != self.managers.cluster_key[0]:
            return
        name = before["metadata"]["name"]
        if (manager := self.managers.by_name.get(name)) is not None:
            self._lost_claims[name] = before
            manager.forget_data()
            self.enqueue(self.managers.cluster_key)

    async def _recreate(self, cluster: Json, found: Instances) -> None:
        for name in found.names:
            if name not in found.pods and (old := self._lost_claims.pop(name, None)) is not None:
                await self._claim(old)
        await super()._recreate(cluster, found)

    async def _claim(self, old: Json) -> None:
        """A new volume for an instance."""
        meta = old["metadata"]
        kept = {key: meta[key] for key in ("name", "namespace", "labels", "annotations") if key in meta}
        spec = {key: value for key, value in old["spec"].items() if key != "volumeName"}
        try:
            await self.client.create(CLAIMS, {"metadata": kept, "spec": spec})
        except ApiError as error:
            if not error.conflict:
                raise

    async def reconcile(self, key: Key) -> None:
        cluster = self.clusters.items.get(key)
        if cluster is None or deleting(cluster) or not (cluster.get("status") or {}).get("instanceNames"):
            return
        self.enqueue(key, self.pace.notice)
        scene = Scene(cluster, self._instances(cluster), {})
        if not self._awake() or scene.annotation(LOOP) == "disabled":
            return
        if said := hibernation.status(scene, self.lab.stamp()):
            await self._conclude(scene, said)
            return
        if hibernation.reason(scene) not in ("", hibernation.WAITING):
            await self._put_to_sleep(scene)
            return
        await self._keep_quorum(key, cluster)
        scene = Scene(cluster, scene.found, await self._ask(scene.found))
        await self._decide(key, scene)

    async def _decide(self, key: Key, scene: Scene) -> None:
        if scene.target != scene.current:
            if scene.target != PENDING or not scene.candidates:  # else the old primary would be back before somebody is elected
                await self._recreate(scene.cluster, scene.found)
            await self._change_role(scene)
        elif len(scene.claimants) > 1:
            await self._recreate(scene.cluster, scene.found)
            await self._report(scene)  # more than one claims to be primary: nothing is done until that has ended
        elif await self._deferred(key, scene) or await self._fail_over(key, scene):
            return
        else:
            await self._recreate(scene.cluster, scene.found)
            if not await self._leave_node(key, scene):
                await self._keep(scene)

    async def _change_role(self, scene: Scene) -> None:
        if self.managers.orders.ignore_target:
            return
        if scene.target == PENDING:
            await self._elect(scene)
        else:
            await self._see_through(scene)

    async def _keep(self, scene: Scene) -> None:
        """Nobody is to lead instead: labels, instances, status."""
        await self._label(scene.cluster, scene.found)
        await self._replace_lost(scene)
        if not await self._roll(scene):
            await self._report(scene)

    async def _keep_quorum(self, key: Key, cluster: Json) -> None:
        found = Synchronous.of(cluster, "")
        wanted = found is not None and found.guarded
        if wanted != self._guarded:
            await Quorum(self.client, key).keep(cluster, wanted)
            self._guarded = wanted

    async def _ask(self, found: Instances) -> dict[str, Json | None]:
        async def ask(name: str) -> Json | None:
            manager = self.managers.by_name.get(name)
            try:
                return await manager.status() if manager is not None else None
            except Unreachable:
                return None

        return dict(zip(found.names, await asyncio.gather(*map(ask, found.names)), strict=True))

    def _streams(self, cluster: Json, pod: Json) -> bool:
        return True  # readiness is the server's own

    # --- role changes

    async def _see_through(self, scene: Scene) -> None:
        """A target was written, by whomever: take the old primary out of the service and wait; give up when the target is lost."""
        target = scene.target
        if target not in scene.found.active or not scene.found.ready:
            await self._aim(scene, scene.current, WAITING, f"{target} is not active")
            return
        await self._role(scene.found.pods.get(scene.current), "unhealthy")
        if scene.phase not in (SWITCHOVER, FAILOVER):
            await self._patch(scene.cluster, {"phase": SWITCHOVER, "phaseReason": f"Switching over to {target}"})

    async def _aim(self, scene: Scene, target: str, phase: str, reason: str, **more: object) -> None:
        """Write the target."""
        status = {"targetPrimary": target, "targetPrimaryTimestamp": micro(self.lab.now()), "phase": phase, "phaseReason": reason, **more}
        await self._conclude(scene, status)

    async def _conclude(self, scene: Scene, status: Json) -> None:
        """Write what follows from one look. A Cluster that has changed since is looked at again: somebody else may have chosen a target."""
        meta = scene.cluster["metadata"]
        body = {"metadata": {"resourceVersion": meta["resourceVersion"]}, "status": status}
        self.clusters.offer(await self.client.patch(PG_CLUSTERS, meta["name"], body, meta["namespace"], sub="status"))

    async def _deferred(self, key: Key, scene: Scene) -> bool:
        """A primary that is ready for Kubernetes and does not answer us is left alone, with a warning (evaluatePodReadinessGuards)."""
        if not self._after(key, self._silent_since, scene.primary_silent and bool(scene.candidates), self.pace.notice):
            self._warn_again.pop(key, None)
            return False
        clock = asyncio.get_running_loop().time()
        if clock >= self._warn_again.get(key, 0.0):
            self._warn_again[key] = clock + self.pace.notice * 10
            said = f"Primary {scene.current} is Ready but its status cannot be read: nothing is done. See operator logs"
            await self.lab.event(scene.cluster, "PrimaryStatusCheckFailed", said, warning=True, component=COMPONENT)
        return True

    async def _fail_over(self, key: Key, scene: Scene) -> bool:
        """Begin a failover when the primary is not ready, and it may be done."""
        if scene.current in scene.found.ready:
            self._unready_since.pop(key, None)
            if scene.cluster["status"].get("currentPrimaryFailingSinceTimestamp"):
                await self._conclude(scene, {"currentPrimaryFailingSinceTimestamp": None})
                return True
            return False
        if scene.primary_fenced or scene.phase == RESTARTING or scene.first not in scene.candidates:
            return False  # the one who is first in line is waited for, whoever else is ready
        if scene.phase == FAILOVER and self._just_aimed(scene):
            return True  # an election was taken back
        delay = float(scene.cluster["spec"].get("failoverDelay") or 0)
        if delay and not scene.cluster["status"].get("currentPrimaryFailingSinceTimestamp"):
            await self._conclude(scene, {"currentPrimaryFailingSinceTimestamp": micro(self.lab.now())})
            return True
        patience = 0.0 if scene.primary_gone else self.pace.unready
        if not self._after(key, self._unready_since, True, patience + delay):
            return False
        if self._guarded and not await Quorum(self.client, key).allows(set(scene.candidates)):
            return False
        said = f"Initiating a failover from {scene.current}"
        await self._aim(scene, PENDING, FAILOVER, said, currentPrimaryFailingSinceTimestamp=None)
        await self._role(scene.found.pods.get(scene.current), "unhealthy")
        await self.lab.event(scene.cluster, "FailingOver", said, component=COMPONENT)
        self.enqueue(key, 0.2)
        return True

    async def _elect(self, scene: Scene) -> None:
        """Once every WAL receiver is down: the first in line."""
        await self._role(scene.found.pods.get(scene.current), "unhealthy")
        if self._just_aimed(scene):
            return
        names = fenced(scene.cluster)
        standing = [n for n in scene.order if n in scene.candidates and n not in names and not scene.claims(n)]
        if self.managers.orders.stalls or any(scene.says(n)["isWalReceiverActive"] for n in standing):
            # Issue 11346 of 1.30.0: ``pending`` is taken for a target whose pod is missing. The next look begins anew.
            await self._aim(scene, scene.current, scene.phase, f"{PENDING} is not active")
        elif standing:
            await self._choose(scene, standing[0])

    def _just_aimed(self, scene: Scene) -> bool:
        """The target was written by the last look: what follows is for the next, as the real one has it."""
        since = moment(scene.cluster["status"].get("targetPrimaryTimestamp"))
        return since is not None and (self.lab.now() - since).total_seconds() < self.pace.notice

    async def _choose(self, scene: Scene, winner: str) -> None:
        said = f"Failing over from {scene.current} to {winner}"
        await self._aim(scene, winner, FAILOVER, said)
        await self.lab.event(scene.cluster, "FailoverTarget", said, component=COMPONENT)

    async def _leave_node(self, key: Key, scene: Scene) -> bool:
        """Switch over from a node that is to be drained."""
        current, found = scene.current, scene.found
        if current not in found.ready:
            return False
        healthy = [n for n in found.ready if n != current and not self._to_be_drained(found.pods[n])]
        leaves = self._to_be_drained(found.pods[current]) and self._may_leave(found, current, healthy)
        if not self._after(key, self._leaving_since, leaves, self.pace.notice):
            return False
        await self._announce(scene.cluster, found, healthy[0], SWITCHOVER)
        return True

    # --- instances

    async def _put_to_sleep(self, scene: Scene) -> None:
        if (pod := hibernation.next_to_go(scene)) is not None:
            await self.client.delete(PODS, pod["metadata"]["name"], pod["metadata"]["namespace"], uid=pod["metadata"]["uid"])

    async def _replace_lost(self, scene: Scene) -> None:
        """An instance that is marked unrecoverable is made anew from nothing."""
        for name, pod in scene.found.pods.items():
            marked = (pod["metadata"].get("annotations") or {}).get(UNRECOVERABLE_POD) == "true"
            if marked and name != scene.current and not deleting(pod):
                await self.client.delete(CLAIMS, name, pod["metadata"]["namespace"])
                await self.client.delete(PODS, name, pod["metadata"]["namespace"], grace_s=0, uid=pod["metadata"]["uid"])
                return

    async def _roll(self, scene: Scene) -> bool:
        """A rolling restart: standbys one at a time, then the primary after a switchover. Whether something was begun."""
        wanted = scene.annotation(RESTARTED)
        if not wanted or not scene.found.all_ready:
            return False
        old = [n for n in scene.found.names if (scene.found.pods[n]["metadata"].get("annotations") or {}).get(RESTARTED) != wanted]
        others = [n for n in old if n != scene.current]
        if others:
            pod = scene.found.pods[others[-1]]
            await self.client.delete(PODS, others[-1], pod["metadata"]["namespace"], uid=pod["metadata"]["uid"])
            return True
        if scene.current in old:
            fresh = next(n for n in scene.found.names if n != scene.current)
            await self._announce(scene.cluster, scene.found, fresh, SWITCHOVER)
            return True
        return False

    # --- status

    async def _report(self, scene: Scene) -> None:
        status = told(scene, self.lab.stamp())
        if differs(scene.cluster["status"], status):
            await self._conclude(scene, status)
