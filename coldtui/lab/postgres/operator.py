"""The CloudNativePG operator over real servers: it decides and labels; instance managers stop, promote and rewind.

The order of events is that of replicas.go and cluster_controller.go of CloudNativePG 1.30: a target is written, the old primary's pod is labelled
``unhealthy``, and the rest is waited for.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from coldtui.domain.errors import Unreachable
from coldtui.lab.client import CLAIMS, PODS, ApiError, Json, Key
from coldtui.lab.controllers.base import Lab, deleting, micro, moment, pod_ready, set_condition
from coldtui.lab.controllers.cnpg import (
    COMPONENT,
    FAILOVER,
    HEALTHY,
    LOOP,
    RESTARTED,
    SWITCHOVER,
    UNRECOVERABLE,
    WAITING,
    Instances,
    Operator,
    differs,
)
from coldtui.lab.postgres.manager import RESTARTING, fenced
from coldtui.lab.postgres.managers import Managers

PENDING = "pending"
HIBERNATION = "cnpg.io/hibernation"
UNRECOVERABLE_POD = "alpha.cnpg.io/unrecoverable"
GIVEN_UP = 3
"""After so many restarts in a row a standby is no reason any more to call the cluster unhealthy."""


@dataclass(frozen=True, slots=True)
class Scene:
    """One look: the Cluster, its pods, and what each instance manager says (None: nothing)."""

    cluster: Json
    found: Instances
    facts: dict[str, Json | None]

    @property
    def current(self) -> str:
        return str(self.cluster["status"].get("currentPrimary", ""))

    @property
    def target(self) -> str:
        return str(self.cluster["status"].get("targetPrimary") or self.current)

    @property
    def claimants(self) -> list[str]:
        """Those that say they are primary."""
        return [name for name, said in self.facts.items() if said is not None and said["isPrimary"]]

    def annotation(self, key: str) -> str:
        return str((self.cluster["metadata"].get("annotations") or {}).get(key, ""))


def position(said: Json, key: str) -> int:
    """An LSN of a status as a number; 0 when it is not there."""
    high, _, low = str(said.get(key, "")).partition("/")
    return (int(high, 16) << 32) | int(low, 16) if low else 0


class RealOperator(Operator):
    """Looks at each Cluster every second or so."""

    def __init__(self, lab: Lab, managers: Managers) -> None:
        super().__init__(lab)
        self.managers = managers
        self.claims = lab.informers.of(CLAIMS)
        self.claims.listen(self._claim_changed)
        self._lost_claims: dict[str, Json] = {}

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
        if scene.annotation(HIBERNATION) == "on":
            await self._hibernate(scene)
            return
        await self._recreate(cluster, scene.found)
        scene = Scene(cluster, scene.found, await self._ask(scene.found))
        await self._decide(key, scene)

    async def _decide(self, key: Key, scene: Scene) -> None:
        if self.managers.orders.ignore_target and scene.target != scene.current:
            return
        if scene.target == PENDING:
            await self._elect(scene)
        elif scene.target != scene.current:
            await self._see_through(scene)
        elif len(scene.claimants) > 1:
            await self._report(scene)  # more than one claims to be primary: nothing is done until that has ended
        elif not await self._fail_over(key, scene) and not await self._leave_node(key, scene):
            await self._label(scene.cluster, scene.found)
            await self._replace_lost(scene)
            if not await self._roll(scene):
                await self._report(scene)

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
        status, target = scene.cluster["status"], scene.target
        if target not in scene.found.active or not scene.found.ready:
            now = micro(self.lab.now())
            back = {
                "targetPrimary": scene.current,
                "targetPrimaryTimestamp": now,
                "phase": WAITING,
                "phaseReason": f"{target} is not active",
            }
            await self._patch(scene.cluster, back)
            return
        await self._role(scene.found.pods.get(scene.current), "unhealthy")
        if status.get("phase") not in (SWITCHOVER, FAILOVER):
            await self._patch(scene.cluster, {"phase": SWITCHOVER, "phaseReason": f"Switching over to {target}"})

    async def _fail_over(self, key: Key, scene: Scene) -> bool:
        """Begin a failover when the primary is not ready, and it may be done."""
        current = scene.current
        if current in scene.found.ready:
            self._unready_since.pop(key, None)
            if scene.cluster["status"].get("currentPrimaryFailingSinceTimestamp"):
                await self._patch(scene.cluster, {"currentPrimaryFailingSinceTimestamp": None})
            return False
        names = fenced(scene.cluster)
        answering = [n for n, said in scene.facts.items() if said is not None and n != current and n in scene.found.ready]
        stopped = current in names or "*" in names
        if stopped or not answering or scene.cluster["status"].get("phase") == RESTARTING:
            return False
        delay = float(scene.cluster["spec"].get("failoverDelay") or 0)
        if delay and not scene.cluster["status"].get("currentPrimaryFailingSinceTimestamp"):
            await self._patch(scene.cluster, {"currentPrimaryFailingSinceTimestamp": micro(self.lab.now())})
        if not self._after(key, self._unready_since, True, self.pace.unready + delay):
            return False
        await self._role(scene.found.pods.get(current), "unhealthy")
        said = f"Initiating a failover from {current}"
        now = micro(self.lab.now())
        begun = {
            "targetPrimary": PENDING,
            "targetPrimaryTimestamp": now,
            "phase": FAILOVER,
            "phaseReason": said,
            "currentPrimaryFailingSinceTimestamp": None,
        }
        await self._patch(scene.cluster, begun)
        await self.lab.event(scene.cluster, "FailingOver", said, component=COMPONENT)
        self.enqueue(key, 0.2)
        return True

    async def _elect(self, scene: Scene) -> None:
        """Once every WAL receiver is down: the instance that has received most, then replayed most, then by name."""
        await self._role(scene.found.pods.get(scene.current), "unhealthy")
        since = moment(scene.cluster["status"].get("targetPrimaryTimestamp"))
        if since is not None and (self.lab.now() - since).total_seconds() < self.pace.notice:
            return  # the next look, as the real one has it
        names = fenced(scene.cluster)
        standing = {
            n: said for n, said in scene.facts.items()
            if said is not None and n != scene.current and n in scene.found.ready and n not in names and not said["isPrimary"]
        }  # fmt: skip
        if not standing or any(said["isWalReceiverActive"] for said in standing.values()):
            return
        winner = min(standing, key=lambda n: (-position(standing[n], "receivedLsn"), -position(standing[n], "replayLsn"), n))
        said = f"Failing over from {scene.current} to {winner}"
        now = micro(self.lab.now())
        await self._patch(scene.cluster, {"targetPrimary": winner, "targetPrimaryTimestamp": now, "phase": FAILOVER, "phaseReason": said})
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

    async def _hibernate(self, scene: Scene) -> None:
        """Pods go, the primary first; volumes stay."""
        order = sorted(scene.found.pods, key=lambda n: (n != scene.current, n))
        for name in order:
            pod = scene.found.pods[name]
            if not deleting(pod):
                await self.client.delete(PODS, name, pod["metadata"]["namespace"], uid=pod["metadata"]["uid"])
                return
        off = not scene.found.pods
        words = ("Hibernated", "Cluster has been hibernated") if off else ("DeletingPods", "The cluster is being hibernated")
        condition = {"type": HIBERNATION, "status": "True" if off else "False", "reason": words[0], "message": words[1]}
        status: Json = {
            "readyInstances": len(scene.found.ready),
            "conditions": set_condition(scene.cluster["status"].get("conditions") or (), condition, self.lab.stamp()),
        }
        if differs(scene.cluster["status"], status):
            await self._patch(scene.cluster, status)

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
        old, found = scene.cluster["status"], scene.found
        healthy = self._well(scene)
        phase = HEALTHY if healthy else WAITING if found.active else UNRECOVERABLE
        groups = {
            "healthy": list(found.ready) or None, "replicating": [n for n in found.active if n not in found.ready] or None,
            "failed": [n for n in found.names if n not in found.active] or None,
        }  # fmt: skip
        status: Json = {
            "readyInstances": len(found.ready), "instances": len(found.names), "instancesStatus": groups, **self._told(scene),
            "conditions": self._conditions(scene, healthy),
            "topology": {**(old.get("topology") or {}), "nodesUsed": len({found.pods[n]["spec"]["nodeName"] for n in found.active})},
        }  # fmt: skip
        if old.get("phase") != RESTARTING:
            reason = None if healthy else f"{len(found.ready)} of {len(found.names)} instances are ready"
            status |= {"phase": phase, "phaseReason": reason}
        if differs(old, status):
            await self._patch(scene.cluster, status)

    def _well(self, scene: Scene) -> bool:
        """What the phase calls healthy: it takes no notice of a fenced instance, nor of a standby that crashes again and again."""
        names = fenced(scene.cluster)
        missing = [n for n in scene.found.names if n not in scene.found.ready]
        if scene.current in missing and scene.current not in names and "*" not in names:
            return False
        return len(scene.found.names) == scene.cluster["spec"]["instances"] and all(
            n in names or "*" in names or _gives_up(scene.found.pods.get(n)) for n in missing
        )

    def _told(self, scene: Scene) -> Json:
        """What the instances report of themselves."""
        reported = dict(scene.cluster["status"].get("instancesReportedState") or {})
        found: Json = {}
        for name, said in scene.facts.items():
            if said is None or not said["systemID"]:
                continue
            timeline = said.get("timeLineID") or scene.cluster["status"].get("timelineID", 1)
            pod = scene.found.pods.get(name)
            reported[name] = {
                "isPrimary": said["isPrimary"],
                "timeLineID": timeline,
                "ip": ((pod or {}).get("status") or {}).get("podIP", ""),
            }
            if said["isPrimary"] and name == scene.current:
                found = {"timelineID": timeline, "systemID": said["systemID"]}
        return {"instancesReportedState": reported, **found}

    def _conditions(self, scene: Scene, healthy: bool) -> list[Json]:
        now = self.lab.stamp()
        words = ("ClusterIsReady", "Cluster is Ready") if healthy else ("ClusterIsNotReady", "Cluster Is Not Ready")
        made = [{"type": "Ready", "status": "True" if healthy else "False", "reason": words[0], "message": words[1]}]
        ids = {said["systemID"] for said in scene.facts.values() if said is not None and said["systemID"]}
        if ids:
            same = len(ids) == 1
            text = (
                "A single, unique system ID was found across reporting instances."
                if same
                else f"Multiple differing system IDs reported: {sorted(ids)}"
            )
            made.append(
                {
                    "type": "ConsistentSystemID",
                    "status": "True" if same else "False",
                    "reason": "Unique" if same else "Mismatch",
                    "message": text,
                }
            )
        primary = scene.facts.get(scene.current)
        if (
            primary is not None
            and primary.get("isArchivingWAL") is not None
            and (primary.get("lastArchivedWAL") or primary.get("lastFailedWAL"))
        ):
            works = bool(primary["isArchivingWAL"])
            text = "Continuous archiving is working" if works else "unexpected failure invoking barman-cloud-wal-archive: exit status 1"
            reason = "ContinuousArchivingSuccess" if works else "ContinuousArchivingFailing"
            made.append({"type": "ContinuousArchiving", "status": "True" if works else "False", "reason": reason, "message": text})
        conditions = list(scene.cluster["status"].get("conditions") or ())
        for condition in made:
            conditions = set_condition(conditions, condition, now)
        return conditions


def _gives_up(pod: Json | None) -> bool:
    if pod is None or pod_ready(pod):
        return False
    status: Json = next(iter((pod.get("status") or {}).get("containerStatuses") or ()), {})
    return int(status.get("restartCount") or 0) >= GIVEN_UP and bool((status.get("state") or {}).get("waiting"))
