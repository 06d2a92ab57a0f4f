"""Hibernation as the operator has it: begun only on a healthy cluster, one pod at a time, the primary first; volumes stay. Pure."""

from __future__ import annotations

from coldtui.lab.client import Json
from coldtui.lab.controllers.base import deleting, set_condition
from coldtui.lab.controllers.cnpg import HEALTHY
from coldtui.lab.postgres.scene import Scene

HIBERNATION = "cnpg.io/hibernation"
"""Annotation (on, off) and type of the condition."""
WAITING, STOPPING, DELETING, DONE = "WaitingForHealthy", "WaitingPodsDeletion", "DeletingPods", "Hibernated"
WORDS = {
    WAITING: "Waiting for the cluster to be healthy before proceeding with hibernation",
    DELETING: "Hibernation is in progress",
    DONE: "Cluster has been hibernated",
}


def reason(scene: Scene) -> str:
    """Of the condition as it should be; empty: hibernation is not asked for, and there is no condition."""
    if scene.annotation(HIBERNATION) != "on":
        return ""
    if scene.phase != HEALTHY and _said(scene) in ("", WAITING):
        return WAITING
    if any(map(deleting, scene.found.pods.values())):
        return STOPPING
    return DELETING if scene.found.pods else DONE


def _said(scene: Scene) -> str:
    known = scene.cluster["status"].get("conditions") or ()
    return next((str(c["reason"]) for c in known if c["type"] == HIBERNATION), "")


def status(scene: Scene, now: str) -> Json:
    """What the operator writes of it; empty: it is written already."""
    why, before = reason(scene), list(scene.cluster["status"].get("conditions") or ())
    if why == _said(scene):
        return {}
    if not why:
        return {"conditions": [c for c in before if c["type"] != HIBERNATION]}
    going = next((name for name, pod in sorted(scene.found.pods.items()) if deleting(pod)), "")
    words = f"Waiting for {going} to be deleted" if why == STOPPING else WORDS[why]
    condition = {"type": HIBERNATION, "status": "True" if why == DONE else "False", "reason": why, "message": words}
    return {"readyInstances": len(scene.found.ready), "conditions": set_condition(before, condition, now)}


def next_to_go(scene: Scene) -> Json | None:
    """The pod to delete now."""
    if reason(scene) != DELETING:
        return None
    return scene.found.pods[min(scene.found.pods, key=lambda n: (n != scene.current, n))]
