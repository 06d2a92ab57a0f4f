"""A claim that a pod uses is not gone when it is deleted: it ends, and goes with the last pod that uses it (pvc-protection-controller)."""

from __future__ import annotations

from coldtui.lab.client import CLAIMS, PODS, Json, Key
from coldtui.lab.controllers.base import Controller, Lab, deleting, finished

FINALIZER = "kubernetes.io/pvc-protection"


def _claims_of(pod: Json) -> list[Key]:
    volumes = pod["spec"].get("volumes") or ()
    return [(pod["metadata"]["namespace"], v["persistentVolumeClaim"]["claimName"]) for v in volumes if v.get("persistentVolumeClaim")]


class ClaimProtection(Controller):
    """Writes the finalizer on every claim, and takes it off one that ends and is used by nobody."""

    name = "pvc-protection"

    def __init__(self, lab: Lab) -> None:
        super().__init__(lab)
        self.claims = self.follow(CLAIMS)
        self.pods = self.follow(PODS, _claims_of)

    async def reconcile(self, key: Key) -> None:
        claim = self.claims.items.get(key)
        if claim is None:
            return
        has = list(claim["metadata"].get("finalizers") or ())
        used = any(key in _claims_of(pod) and not finished(pod) for pod in self.pods.items.values())
        if deleting(claim):
            wanted = has if used else [f for f in has if f != FINALIZER]
        else:
            wanted = has if FINALIZER in has else [*has, FINALIZER]
        if wanted != has:
            meta = {"resourceVersion": claim["metadata"]["resourceVersion"], "finalizers": wanted or None}
            self.claims.offer(await self.client.patch(CLAIMS, key[1], {"metadata": meta}, key[0]))
