"""What the operator writes into the status of a Cluster, from one look at it. Pure; ``now`` is a time as the API writes it.

The phase is another matter than the counts: it is written at the end of a look that came so far, and else stays what it is."""

from __future__ import annotations

from coldtui.lab.client import Json
from coldtui.lab.controllers.base import set_condition
from coldtui.lab.controllers.cnpg import HEALTHY, NOT_YET, SILENT, WAITING, ready_condition
from coldtui.lab.postgres.manager import MADE_ANEW, RESTARTING
from coldtui.lab.postgres.scene import Scene


def counted(scene: Scene) -> Json:
    """How many instances there are and how they are, by their pods alone."""
    found = scene.found
    groups = {
        "healthy": list(found.ready) or None, "replicating": [n for n in found.active if n not in found.ready] or None,
        "failed": found.inactive or None,
    }  # fmt: skip
    nodes = {found.pods[n]["spec"]["nodeName"] for n in found.active}
    topology = {**(scene.cluster["status"].get("topology") or {}), "nodesUsed": len(nodes)}
    return {"readyInstances": len(found.ready), "instances": len(found.names), "instancesStatus": groups, "topology": topology}


def told(scene: Scene, now: str) -> Json:
    """The counts, and what the instances report of themselves."""
    return {**counted(scene), **_reported(scene), "conditions": _conditions(scene, [*_identity(scene), *_archiving(scene)], now)}


def phase(scene: Scene, now: str) -> Json:
    """What a look that came to its end calls the cluster; empty: it stays as it is, with an instance that is not ready or fenced, say."""
    found = scene.found
    if found.inactive:
        return {} if scene.phase in (RESTARTING, MADE_ANEW) else entered(scene, WAITING, NOT_YET, now)
    whole = (
        found.all_ready
        and len(found.names) == scene.cluster["spec"]["instances"]
        and all(scene.facts.get(n) is not None for n in found.names)
    )
    if scene.phase == RESTARTING or not whole:
        return {}
    return entered(scene, HEALTHY, "", now)


def entered(scene: Scene, phase: str, reason: str, now: str) -> Json:
    """A phase and what goes with it."""
    return {"phase": phase, "phaseReason": reason or None, "conditions": _conditions(scene, [ready_condition(phase == HEALTHY)], now)}


def _reported(scene: Scene) -> Json:
    reported: Json = dict.fromkeys(scene.cluster["status"].get("instancesReportedState") or {})
    ids, timeline = set(), None
    for name in scene.found.active:
        said = scene.says(name)
        reported[name] = {**SILENT, "ip": str((scene.found.pods[name].get("status") or {}).get("podIP", ""))}
        if said:
            reported[name] |= {"isPrimary": said["isPrimary"], "timeLineID": said.get("timeLineID")}
            ids |= {said["systemID"]} - {""}
            timeline = said.get("timeLineID") if said["isPrimary"] and said.get("timeLineID") else timeline
    found: Json = {"instancesReportedState": reported, "systemID": next(iter(ids)) if len(ids) == 1 else None}
    return found | ({"timelineID": timeline} if timeline else {})


def _conditions(scene: Scene, made: list[Json], now: str) -> list[Json]:
    conditions = list(scene.cluster["status"].get("conditions") or ())
    for condition in made:
        conditions = set_condition(conditions, condition, now)
    return conditions


def _identity(scene: Scene) -> list[Json]:
    ids = {said["systemID"] for said in scene.facts.values() if said is not None and said["systemID"]}
    if len(ids) == 1:
        return [_condition("ConsistentSystemID", True, "Unique", "A single, unique system ID was found across reporting instances.")]
    if ids:
        names = " ".join(f'"{name}"' for name in sorted(ids))
        return [_condition("ConsistentSystemID", False, "Mismatch", f"Multiple differing system IDs reported by instances: [{names}]")]
    there = "Instances are present, but none have reported a system ID."
    none = "No instances are present in the cluster to report a system ID."
    return [_condition("ConsistentSystemID", False, "NotFound", there if scene.found.active else none)]


def _archiving(scene: Scene) -> list[Json]:
    primary = scene.says(scene.current)
    if not (primary.get("lastArchivedWAL") or primary.get("lastFailedWAL")):
        return []
    if primary.get("isArchivingWAL"):
        return [_condition("ContinuousArchiving", True, "ContinuousArchivingSuccess", "Continuous archiving is working")]
    failed = "unexpected failure invoking barman-cloud-wal-archive: exit status 1"
    return [_condition("ContinuousArchiving", False, "ContinuousArchivingFailing", failed)]


def _condition(type_: str, holds: bool, reason: str, message: str) -> Json:
    return {"type": type_, "status": "True" if holds else "False", "reason": reason, "message": message}
