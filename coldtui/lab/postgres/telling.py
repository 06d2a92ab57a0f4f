"""What the operator writes into the status of a Cluster, from one look at it. Pure; ``now`` is a time as the API writes it."""

from __future__ import annotations

from coldtui.lab.client import Json
from coldtui.lab.controllers.base import pod_ready, set_condition
from coldtui.lab.controllers.cnpg import HEALTHY, SILENT, UNRECOVERABLE, WAITING
from coldtui.lab.postgres.manager import RESTARTING, fenced
from coldtui.lab.postgres.scene import Scene

GIVEN_UP = 3
"""After so many restarts in a row a standby is no reason any more to call the cluster unhealthy."""


def told(scene: Scene, now: str) -> Json:
    """Phase, counts, conditions and what the instances report of themselves."""
    old, found = scene.cluster["status"], scene.found
    healthy = well(scene)
    phase = HEALTHY if healthy else WAITING if found.active else UNRECOVERABLE
    groups = {
        "healthy": list(found.ready) or None, "replicating": [n for n in found.active if n not in found.ready] or None,
        "failed": [n for n in found.names if n not in found.active] or None,
    }  # fmt: skip
    status: Json = {
        "readyInstances": len(found.ready), "instances": len(found.names), "instancesStatus": groups, **_reported(scene),
        "conditions": _conditions(scene, healthy, now),
        "topology": {**(old.get("topology") or {}), "nodesUsed": len({found.pods[n]["spec"]["nodeName"] for n in found.active})},
    }  # fmt: skip
    if old.get("phase") != RESTARTING:
        reason = None if healthy else f"{len(found.ready)} of {len(found.names)} instances are ready"
        status |= {"phase": phase, "phaseReason": reason}
    return status


def well(scene: Scene) -> bool:
    """What the phase calls healthy: it takes no notice of a fenced instance, nor of a standby that crashes again and again."""
    names = fenced(scene.cluster)
    missing = [n for n in scene.found.names if n not in scene.found.ready]
    if scene.current in missing and not scene.primary_fenced:
        return False
    return len(scene.found.names) == scene.cluster["spec"]["instances"] and all(
        n in names or "*" in names or _gives_up(scene.found.pods.get(n)) for n in missing
    )


def _gives_up(pod: Json | None) -> bool:
    if pod is None or pod_ready(pod):
        return False
    status: Json = next(iter((pod.get("status") or {}).get("containerStatuses") or ()), {})
    return int(status.get("restartCount") or 0) >= GIVEN_UP and bool((status.get("state") or {}).get("waiting"))


def _reported(scene: Scene) -> Json:
    reported: Json = {name: {**SILENT, "ip": _address(pod)} for name, pod in scene.found.pods.items()}
    found: Json = {}
    for name, said in scene.facts.items():
        if said is None or not said["systemID"]:
            continue
        timeline = said.get("timeLineID") or scene.cluster["status"].get("timelineID", 1)
        reported[name] = {"isPrimary": said["isPrimary"], "timeLineID": timeline, "ip": _address(scene.found.pods.get(name))}
        if said["isPrimary"] and name == scene.current:
            found = {"timelineID": timeline, "systemID": said["systemID"]}
    return {"instancesReportedState": reported, **found}


def _address(pod: Json | None) -> str:
    return str(((pod or {}).get("status") or {}).get("podIP", ""))


def _conditions(scene: Scene, healthy: bool, now: str) -> list[Json]:
    words = ("ClusterIsReady", "Cluster is Ready") if healthy else ("ClusterIsNotReady", "Cluster Is Not Ready")
    made = [_condition("Ready", healthy, *words), *_identity(scene), *_archiving(scene)]
    conditions = list(scene.cluster["status"].get("conditions") or ())
    for condition in made:
        conditions = set_condition(conditions, condition, now)
    return conditions


def _identity(scene: Scene) -> list[Json]:
    ids = {said["systemID"] for said in scene.facts.values() if said is not None and said["systemID"]}
    if not ids:
        return []
    if len(ids) == 1:
        return [_condition("ConsistentSystemID", True, "Unique", "A single, unique system ID was found across reporting instances.")]
    return [_condition("ConsistentSystemID", False, "Mismatch", f"Multiple differing system IDs reported: {sorted(ids)}")]


def _archiving(scene: Scene) -> list[Json]:
    primary = scene.facts.get(scene.current)
    if primary is None or primary.get("isArchivingWAL") is None or not (primary.get("lastArchivedWAL") or primary.get("lastFailedWAL")):
        return []
    if primary["isArchivingWAL"]:
        return [_condition("ContinuousArchiving", True, "ContinuousArchivingSuccess", "Continuous archiving is working")]
    failed = "unexpected failure invoking barman-cloud-wal-archive: exit status 1"
    return [_condition("ContinuousArchiving", False, "ContinuousArchivingFailing", failed)]


def _condition(type_: str, holds: bool, reason: str, message: str) -> Json:
    return {"type": type_, "status": "True" if holds else "False", "reason": reason, "message": message}
