"""EndpointSlices: which pods answer for a Service."""

from __future__ import annotations

from coldtui.lab.client import PODS, SERVICES, SLICES, ApiError, Json, Key
from coldtui.lab.controllers.base import Controller, Lab, deleting, finished, is_true

MANAGED_BY = "endpointslice-controller.k8s.io"


class Endpoints(Controller):
    """One slice a Service with a selector; a site of this size never needs two."""

    name = "endpointslice-controller"

    def __init__(self, lab: Lab) -> None:
        super().__init__(lab)
        self.services = self.follow(SERVICES)
        self.pods = self.follow(PODS, self._of_pod)
        self.slices = lab.informers.of(SLICES)

    def _of_pod(self, pod: Json) -> list[Key]:
        labels, namespace = pod["metadata"].get("labels") or {}, pod["metadata"]["namespace"]
        return [key for key, service in self.services.items.items() if key[0] == namespace and _selects(service, labels)]

    async def reconcile(self, key: Key) -> None:
        service = self.services.items.get(key)
        if service is None or not service["spec"].get("selector") or deleting(service):
            return
        name = slice_name(service)
        wanted = make_slice(service, [pod for k, pod in self.pods.items.items() if k[0] == key[0]])
        known = self.slices.get(name, key[0])
        if known is None:
            try:
                self.slices.offer(await self.client.create(SLICES, wanted))
            except ApiError as error:
                if not error.conflict:
                    raise
        elif known.get("endpoints") != wanted["endpoints"] or known.get("ports") != wanted["ports"]:
            patch = {"endpoints": wanted["endpoints"], "ports": wanted["ports"]}
            self.slices.offer(await self.client.patch(SLICES, name, patch, key[0]))


def _selects(service: Json, labels: Json) -> bool:
    selector = service["spec"].get("selector") or {}
    return bool(selector) and all(labels.get(k) == v for k, v in selector.items())


def slice_name(service: Json) -> str:
    """Stable, as if the random part had been drawn once."""
    return f"{service['metadata']['name']}-{service['metadata']['uid'].replace('-', '')[:5]}"


def make_slice(service: Json, pods: list[Json]) -> Json:
    """The EndpointSlice of a Service over the pods of its namespace."""
    meta = service["metadata"]
    labels = {"kubernetes.io/service-name": meta["name"], "endpointslice.kubernetes.io/managed-by": MANAGED_BY}
    owner = {
        "apiVersion": "v1",
        "kind": "Service",
        "name": meta["name"],
        "uid": meta["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }
    chosen = [
        p for p in pods
        if _selects(service, p["metadata"].get("labels") or {}) and (p.get("status") or {}).get("podIP") and not finished(p)
    ]  # fmt: skip
    ports = [
        {"name": port.get("name", ""), "port": _target_port(port, chosen), "protocol": port.get("protocol", "TCP")}
        for port in service["spec"].get("ports") or ()
    ]  # fmt: skip
    return {
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": slice_name(service), "namespace": meta["namespace"], "labels": labels, "ownerReferences": [owner]},
        "endpoints": [_endpoint(p, service) for p in sorted(chosen, key=lambda p: str(p["metadata"]["name"]))], "ports": ports,
    }  # fmt: skip


def _endpoint(pod: Json, service: Json) -> Json:
    ready, gone = is_true(pod, "Ready"), deleting(pod)
    always = bool(service["spec"].get("publishNotReadyAddresses"))
    target = {"kind": "Pod", "name": pod["metadata"]["name"], "namespace": pod["metadata"]["namespace"], "uid": pod["metadata"]["uid"]}
    conditions = {"ready": always or (ready and not gone), "serving": ready, "terminating": gone}
    return {
        "addresses": [pod["status"]["podIP"]],
        "conditions": conditions,
        "nodeName": pod["spec"].get("nodeName", ""),
        "targetRef": target,
    }


def _target_port(port: Json, pods: list[Json]) -> int:
    target = port.get("targetPort", port["port"])
    if isinstance(target, int):
        return target
    for pod in pods:
        for container in pod["spec"]["containers"]:
            for offered in container.get("ports") or ():
                if offered.get("name") == target:
                    return int(offered["containerPort"])
    return int(port["port"])
