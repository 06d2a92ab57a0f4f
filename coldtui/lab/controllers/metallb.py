"""MetalLB in layer 2: gives Services their addresses and lets one node announce each."""

from __future__ import annotations

import hashlib
import ipaddress
import uuid
from collections.abc import Iterable, Iterator

from coldtui.lab.client import L2_ADVERTISEMENTS, L2_STATUSES, NODES, PODS, POOLS, SERVICES, ApiError, Json, Key
from coldtui.lab.controllers.base import Controller, Lab, deleting, is_true, matches, pod_ready

NAMESPACE = "metallb-system"
WANTED_IP, FROM_POOL = "metallb.io/loadBalancerIPs", "metallb.io/ip-allocated-from-pool"
EXCLUDED = "node.kubernetes.io/exclude-from-external-load-balancers"
ANY: Key = ("", "*")


def announcer(nodes: Iterable[str], ip: str) -> str:
    """The node that wins the election for an address: the lowest SHA-256 of ``node#ip``. Empty when nobody stands."""
    return min(nodes, key=lambda node: hashlib.sha256(f"{node}#{ip}".encode()).digest(), default="")


def addresses(pool: Json) -> Iterator[str]:
    """The IPv4 addresses of a pool, ranges and CIDRs alike, in order."""
    for text in pool["spec"].get("addresses") or ():
        first, dash, last = text.partition("-")
        if dash:
            low, high = int(ipaddress.IPv4Address(first.strip())), int(ipaddress.IPv4Address(last.strip()))
            yield from (str(ipaddress.IPv4Address(n)) for n in range(low, high + 1))
        else:
            yield from (str(a) for a in ipaddress.IPv4Network(text.strip(), strict=False))


def held(service: Json) -> list[str]:
    """Addresses that a Service has."""
    ingress = ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
    return [str(i["ip"]) for i in ingress if i.get("ip")]


class MetalLB(Controller):
    """Controller and speakers in one."""

    name = "metallb"

    def __init__(self, lab: Lab) -> None:
        super().__init__(lab)
        self.services = self.follow(SERVICES, self._balanced)
        self.pools = self.follow(POOLS, self._all)
        self.advertisements = self.follow(L2_ADVERTISEMENTS, self._all)
        self.statuses = lab.informers.of(L2_STATUSES)
        self.nodes = self.follow(NODES, self._all)
        self.pods = self.follow(PODS, self._of_pod)
        lab.machines.listen(self._switched)

    def _switched(self, _: str) -> None:
        for key in self._all({}):
            self.enqueue(key, self.pace.pod_start)

    def _balanced(self, service: Json) -> list[Key]:
        key = (service["metadata"]["namespace"], service["metadata"]["name"])
        return [key, ANY] if service["spec"].get("type") == "LoadBalancer" else []

    def _all(self, _: Json) -> list[Key]:
        return [k for k, s in self.lab.informers.of(SERVICES).items.items() if s["spec"].get("type") == "LoadBalancer"]

    def _of_pod(self, pod: Json) -> list[Key]:
        labels = pod["metadata"].get("labels") or {}
        if labels.get("component") == "speaker":
            return self._all(pod)
        return [k for k in self._all(pod) if k[0] == pod["metadata"]["namespace"] and _selects(self.services.items[k], labels)]

    async def reconcile(self, key: Key) -> None:
        if key == ANY:
            await self._count()
            return
        service = self.services.items.get(key)
        if service is None or deleting(service) or service["spec"].get("type") != "LoadBalancer":
            await self._silence(key)
            return
        ips = held(service) or await self._assign(service)
        if ips:
            await self._announce(service, ips[0])

    async def _assign(self, service: Json) -> list[str]:
        """The address that the annotation wants, or the first free one of a pool that assigns by itself."""
        annotations = service["metadata"].get("annotations") or {}
        wanted = [ip.strip() for ip in annotations.get(WANTED_IP, "").split(",") if ip.strip()]
        taken = {ip for other in self.services.values() if other is not service for ip in held(other)}
        for pool in sorted(self.pools.values(), key=lambda p: str(p["metadata"]["name"])):
            offered = list(addresses(pool))
            if wanted:
                chosen = wanted[0] if wanted[0] in offered and wanted[0] not in taken else ""
            else:
                chosen = next((ip for ip in offered if ip not in taken), "") if pool["spec"].get("autoAssign", True) else ""
            if chosen:
                await self._give(service, pool, chosen)
                return [chosen]
        why = f'can\'t change sharing key or no available IPs for "{service["metadata"]["namespace"]}/{service["metadata"]["name"]}"'
        await self.lab.event(service, "AllocationFailed", f"Failed to allocate IP: {why}", warning=True, component="metallb-controller")
        return []

    async def _give(self, service: Json, pool: Json, ip: str) -> None:
        namespace, name = service["metadata"]["namespace"], service["metadata"]["name"]
        await self.client.patch(SERVICES, name, {"metadata": {"annotations": {FROM_POOL: pool["metadata"]["name"]}}}, namespace)
        status = {"loadBalancer": {"ingress": [{"ip": ip, "ipMode": "VIP"}]}}
        self.services.offer(await self.client.patch_status(SERVICES, name, status, namespace))
        await self.lab.event(service, "IPAllocated", f'Assigned IP ["{ip}"]', component="metallb-controller")

    async def _announce(self, service: Json, ip: str) -> None:
        namespace, name = service["metadata"]["namespace"], service["metadata"]["name"]
        winner = announcer(self._candidates(service), ip)
        known = self._status(namespace, name)
        if not winner:
            await self._silence((namespace, name))
            return
        if known is not None and (known.get("status") or {}).get("node") == winner:
            return
        labels = {"metallb.io/node": winner, "metallb.io/service-name": name, "metallb.io/service-namespace": namespace}
        if known is not None:  # the node of a status is immutable: each announcement has an object of its own
            await self.client.delete(L2_STATUSES, known["metadata"]["name"], NAMESPACE)
        body = {"metadata": {"name": f"l2-{uuid.uuid4().hex[:5]}", "namespace": NAMESPACE, "labels": labels}, "spec": {}}
        made = await self.client.create(L2_STATUSES, body)
        status = {"node": winner, "serviceName": name, "serviceNamespace": namespace, "interfaces": []}
        self.statuses.offer(await self.client.patch_status(L2_STATUSES, made["metadata"]["name"], status, NAMESPACE))
        await self.lab.event(
            service, "nodeAssigned", f'announcing from node "{winner}" with protocol "layer2"', component="metallb-speaker"
        )

    def _status(self, namespace: str, name: str) -> Json | None:
        wanted = {"metallb.io/service-name": name, "metallb.io/service-namespace": namespace}
        found = [s for s in self.statuses.values() if matches({"matchLabels": wanted}, s["metadata"].get("labels"))]
        return max(found, key=lambda s: int(s["metadata"]["resourceVersion"]), default=None)  # a deleted one may still be cached

    async def _silence(self, key: Key) -> None:
        if (known := self._status(*key)) is not None:
            await self.client.delete(L2_STATUSES, known["metadata"]["name"], NAMESPACE)

    def _candidates(self, service: Json) -> list[str]:
        """Nodes with a live speaker that may announce; none at all without a serving endpoint."""
        serving = [
            p for p in self.pods.values()
            if p["metadata"]["namespace"] == service["metadata"]["namespace"] and _selects(service, p["metadata"].get("labels") or {}) and pod_ready(p)
        ]  # fmt: skip
        if not serving:
            return []
        local = service["spec"].get("externalTrafficPolicy") == "Local"
        near = {p["spec"].get("nodeName") for p in serving}
        pool = (service["metadata"].get("annotations") or {}).get(FROM_POOL, "")
        return [name for name in self._speakers() if (not local or name in near) and self._advertised(name, pool)]

    def _speakers(self) -> list[str]:
        """Speakers that the others hear: memberlist needs seconds where the node life cycle needs most of a minute."""
        names = []
        for pod in self.pods.values():
            labels = pod["metadata"].get("labels") or {}
            name = pod["spec"].get("nodeName", "")
            if (
                labels.get("component") == "speaker"
                and labels.get("app") == "metallb"
                and pod_ready(pod)
                and name not in self.lab.machines.down
            ):
                node = self.nodes.get(name)
                if node is not None and EXCLUDED not in (node["metadata"].get("labels") or {}) and not is_true(node, "NetworkUnavailable"):
                    names.append(name)
        return names

    def _advertised(self, node: str, pool: str) -> bool:
        obj = self.nodes.get(node)
        labels = (obj["metadata"].get("labels") or {}) if obj else {}
        for advertisement in self.advertisements.values():
            spec = advertisement.get("spec") or {}
            pools, nodes = spec.get("ipAddressPools"), spec.get("nodeSelectors")
            if (not pools or pool in pools) and (not nodes or any(matches(s, labels) for s in nodes)):
                return True
        return False

    async def _count(self) -> None:
        """Keep the numbers of the pools."""
        taken = {ip for service in self.services.values() for ip in held(service)}
        for pool in self.pools.values():
            offered = list(addresses(pool))
            used = sum(ip in taken for ip in offered)
            status = {"assignedIPv4": used, "availableIPv4": len(offered) - used, "assignedIPv6": 0, "availableIPv6": 0}
            if (pool.get("status") or {}) != status:
                try:
                    await self.client.patch_status(POOLS, pool["metadata"]["name"], status, pool["metadata"]["namespace"])
                except ApiError as error:
                    if not error.missing:
                        raise


def _selects(service: Json, labels: Json) -> bool:
    selector = service["spec"].get("selector") or {}
    return bool(selector) and all(labels.get(k) == v for k, v in selector.items())
