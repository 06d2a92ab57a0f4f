"""The CloudNativePG operator over real servers: it decides and labels; instance managers stop, promote and rewind.

The order of events is that of replicas.go and cluster_controller.go of CloudNativePG 1.30: a target is written, the old primary's pod is labelled
``unhealthy``, and the rest is waited for.
"""

from __future__ import annotations

import asyncio
import dataclasses

from coldtui.domain.errors import Unreachable
from coldtui.lab.client import CLAIMS, PG_CLUSTERS, PODS, ApiError, Json, Key
from coldtui.lab.controllers.base import Lab, deleting, micro, moment
from coldtui.lab.controllers.cnpg import COMPONENT, FAILOVER, HEALTHY, LOOP, RESTARTED, SWITCHOVER, Instances, Operator, differs
from coldtui.lab.postgres import hibernation, lease
from coldtui.lab.postgres.manager import MADE_ANEW
from coldtui.lab.postgres.managers import Managers
from coldtui.lab.postgres.quorum import Quorum, Synchronous
from coldtui.lab.postgres.scene import PENDING, Scene
from coldtui.lab.postgres.telling import counted, entered, phase, told

JOINING = "Creating a new replica"
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

    async def _make(self, cluster: Json, name: str) -> None:
        """A claim that is not there any more is made with the instance: it is a new one, of a base backup."""
        claim = self.claims.get(name, cluster["metadata"]["namespace"])
        if claim is not None and deleting(claim):
            return  # it is waited for
        if (old := self._lost_claims.pop(name, None)) is not None:
            await self._claim(old)
            await self._patch(cluster, {"phase": JOINING, "phaseReason": f"Creating replica {name}-join"})
            await self.lab.event(cluster, "CreatingInstance", f"Creating instance {name}", component=COMPONENT)
        await super()._make(cluster, name)

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
        await lease.ensure(self.client, cluster)
        await self._keep_quorum(key, cluster)
        if scene.target != scene.current:
            if self._waits(scene):
                await self._wait(scene)
                return
            scene = await self._aim(scene, scene.current)  # and the look goes on
        scene = dataclasses.replace(scene, facts=await self._ask(scene.found))
        scene = await self._tell(scene, told(scene, self.lab.stamp()))
        await self._decide(key, scene)

    def _waits(self, scene: Scene) -> bool:
        """A role change goes on for as long as its target has a running pod, and anybody is ready. ``pending`` has no pod: it lasts one look."""
        if scene.target == PENDING and self._just_aimed(scene):
            return True
        return self.managers.orders.ignore_target or bool(scene.target in scene.found.active and scene.found.ready)

    async def _wait(self, scene: Scene) -> None:
        """For the target to say that it leads; the old primary is out of the service meanwhile, and no other label changes."""
        if not self.managers.orders.ignore_target:
            await self._role(scene.found.pods.get(scene.current), "unhealthy")
        await self._tell(scene, counted(scene))

    async def _decide(self, key: Key, scene: Scene) -> None:
        if len(scene.claimants) > 1:
            return  # more than one claims to be primary: nothing is done until that has ended
        await self._label(scene.cluster, scene.found)
        if await self._guarded_off(key, scene) or await self._fail_over(key, scene) or await self._leave_node(key, scene):
            return
        await self._keep(scene)

    async def _keep(self, scene: Scene) -> None:
        """Nobody is to lead instead: instances, and at the end the phase."""
        await self._recreate_missing(scene)
        if await self._replace_lost(scene) or await self._roll(scene):
            return
        await self._tell(scene, phase(scene, self.lab.stamp()))

    async def _recreate_missing(self, scene: Scene) -> None:
        """While an instance is fenced nothing is made: it reports and is not ready."""
        if scene.reporting == len(scene.found.ready):
            await self._recreate(scene.cluster, scene.found)

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

    async def _aim(self, scene: Scene, target: str) -> Scene:
        """Write the target."""
        return await self._conclude(scene, {"targetPrimary": target, "targetPrimaryTimestamp": micro(self.lab.now())})

    def _just_aimed(self, scene: Scene) -> bool:
        since = moment(scene.cluster["status"].get("targetPrimaryTimestamp"))
        return since is not None and (self.lab.now() - since).total_seconds() < self.pace.notice

    async def _enter(self, scene: Scene, phase: str, reason: str) -> Scene:
        return await self._tell(scene, entered(scene, phase, reason, self.lab.stamp()))

    async def _tell(self, scene: Scene, status: Json) -> Scene:
        """Write what is news."""
        return await self._conclude(scene, status) if differs(scene.cluster["status"], status) else scene

    async def _conclude(self, scene: Scene, status: Json) -> Scene:
        """Write what follows from one look. A Cluster that has changed since is looked at again: somebody else may have chosen a target."""
        meta = scene.cluster["metadata"]
        body = {"metadata": {"resourceVersion": meta["resourceVersion"]}, "status": status}
        done = await self.client.patch(PG_CLUSTERS, meta["name"], body, meta["namespace"], sub="status")
        self.clusters.offer(done)
        return dataclasses.replace(scene, cluster=done)

    async def _guarded_off(self, key: Key, scene: Scene) -> bool:
        """Whether readiness forbids to do anything (evaluatePodReadinessGuards): who is first in line is waited for, whoever else is ready; and
        a primary that is ready for Kubernetes and does not answer us is left alone, with a warning."""
        if scene.first and scene.first not in scene.found.ready:
            return True
        silent = scene.primary_silent
        if not self._after(key, self._silent_since, silent, self.pace.notice):
            self._warn_again.pop(key, None)
            return silent
        clock = asyncio.get_running_loop().time()
        if clock >= self._warn_again.get(key, 0.0):
            self._warn_again[key] = clock + self.pace.notice * 10
            said = (
                f"Primary pod {scene.current} is Ready but the operator's /pg/status check failed; failover deferred until Kubernetes marks the "
                "primary as not Ready. See operator logs for the underlying error."
            )
            await self.lab.event(scene.cluster, "PrimaryStatusCheckFailed", said, warning=True, component=COMPONENT)
        return True

    async def _fail_over(self, key: Key, scene: Scene) -> bool:
        """Begin a failover when somebody else is first in line, and it may be done; and end it in the same look if no WAL receiver runs."""
        if scene.primary_fenced:
            return False
        if scene.phase == MADE_ANEW:
            if len(scene.found.ready) == scene.cluster["spec"]["instances"]:
                await self._enter(scene, HEALTHY, "")
            return False
        if scene.first in ("", scene.current):
            self._unready_since.pop(key, None)
            if scene.cluster["status"].get("currentPrimaryFailingSinceTimestamp"):
                await self._conclude(scene, {"currentPrimaryFailingSinceTimestamp": None})
                return True
            return False
        if not await self._late_enough(key, scene):
            return True
        if self._guarded and not await Quorum(self.client, key).allows(set(scene.candidates)):
            return False
        await self._elect(scene)
        return True

    async def _late_enough(self, key: Key, scene: Scene) -> bool:
        """The failover delay of the Cluster is over, and a container that was started again would be back."""
        delay = float(scene.cluster["spec"].get("failoverDelay") or 0)
        if delay and not scene.cluster["status"].get("currentPrimaryFailingSinceTimestamp"):
            await self._conclude(scene, {"currentPrimaryFailingSinceTimestamp": micro(self.lab.now())})
            return False
        patience = 0.0 if scene.primary_gone or scene.phase == FAILOVER else self.pace.unready
        return self._after(key, self._unready_since, True, patience + delay)

    async def _elect(self, scene: Scene) -> None:
        """``pending`` first; with a WAL receiver that runs it stays so until the next look, which takes it for a target without a pod and begins
        anew (issue 11346 of 1.30.0); without one the first in line is named at once."""
        old, winner = scene.current, scene.first
        said = f"Current primary isn't healthy, initiating a failover from {old}"
        await self.lab.event(scene.cluster, "FailingOver", said, component=COMPONENT)
        scene = await self._enter(scene, FAILOVER, f"Initiating a failover from {old}")
        if scene.cluster["status"].get("currentPrimaryFailingSinceTimestamp"):
            scene = await self._conclude(scene, {"currentPrimaryFailingSinceTimestamp": None})
        scene = await self._aim(scene, PENDING)
        await self._role(scene.found.pods.get(old), "unhealthy")
        if self.managers.orders.stalls or scene.receiving:
            return
        said = f"Failing over from {old} to {winner}"
        await self.lab.event(scene.cluster, "FailoverTarget", said, component=COMPONENT)
        await self._aim(await self._enter(scene, FAILOVER, said), winner)

    async def _leave_node(self, key: Key, scene: Scene) -> bool:
        """Switch over from a node that is to be drained."""
        current, found = scene.current, scene.found
        if scene.first != current or not self._to_be_drained(found.pods[current]):
            self._leaving_since.pop(key, None)
            return False
        healthy = [n for n in scene.order if n in scene.receiving and n in found.ready and not self._to_be_drained(found.pods[n])]
        if not self._after(key, self._leaving_since, self._may_leave(found, current, healthy), self.pace.notice):
            return False
        here = found.pods[current]["spec"]["nodeName"]
        target = next(n for n in healthy if found.pods[n]["spec"]["nodeName"] != here)
        said = f"Current primary is running on unschedulable node {here}, switching over from {current} to {target}"
        await self.lab.event(scene.cluster, "SwitchingOver", said, component=COMPONENT)
        why = f"Switching over to {target}, because primary instance was running on unschedulable node {here}"
        await self._aim(await self._enter(scene, SWITCHOVER, why), target)
        return True

    # --- instances

    async def _put_to_sleep(self, scene: Scene) -> None:
        if (pod := hibernation.next_to_go(scene)) is not None:
            await self.client.delete(PODS, pod["metadata"]["name"], pod["metadata"]["namespace"], uid=pod["metadata"]["uid"])

    async def _replace_lost(self, scene: Scene) -> bool:
        """An instance that is marked unrecoverable is made anew from nothing."""
        for name, pod in scene.found.pods.items():
            marked = (pod["metadata"].get("annotations") or {}).get(UNRECOVERABLE_POD) == "true"
            if marked and name != scene.current and not deleting(pod):
                await self.client.delete(CLAIMS, name, pod["metadata"]["namespace"])
                await self.client.delete(PODS, name, pod["metadata"]["namespace"], grace_s=0, uid=pod["metadata"]["uid"])
                return True
        return False

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
            await self._aim(await self._enter(scene, SWITCHOVER, f"Switching over to {fresh}"), fresh)
            return True
        return False
