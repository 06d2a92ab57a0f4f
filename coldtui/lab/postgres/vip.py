"""The database's VIP: a real address that follows the announcer that MetalLB elected and the endpoint of the Service behind it."""

from __future__ import annotations

from coldtui.lab.client import L2_STATUSES, SLICES, Json, Key
from coldtui.lab.controllers.base import Controller, Lab
from coldtui.lab.postgres.forward import Forwarder
from coldtui.lab.postgres.servers import Servers
from coldtui.lab.seeds.postgres import CLUSTER, NAMESPACE

SERVICE = f"{CLUSTER}-vip"


class Vip(Controller):
    """Mutes the forwarder while nobody that has power announces the address; breaks what was open when another node takes over."""

    name = "vip"

    def __init__(self, lab: Lab, servers: Servers) -> None:
        super().__init__(lab)
        self.servers = servers
        self.forwarder = Forwarder(self._port)
        self.slices = self.follow(SLICES, lambda obj: [(NAMESPACE, SERVICE)] if _of_service(obj) else [])
        self.statuses = self.follow(L2_STATUSES, lambda obj: [(NAMESPACE, SERVICE)])
        self._announcer = ""
        lab.machines.listen(lambda machine: self.enqueue((NAMESPACE, SERVICE)))

    def _port(self) -> int | None:
        """Of the one ready endpoint; None when there is none, so that clients are refused."""
        for obj in self.slices.values():
            for endpoint in (obj.get("endpoints") or ()) if _of_service(obj) else ():
                name = (endpoint.get("targetRef") or {}).get("name", "")
                if (endpoint.get("conditions") or {}).get("ready") and name in self.servers:
                    return self.servers[name].port
        return None

    def announcer(self) -> str:
        """The node that answers for the address now."""
        found = [s for s in self.statuses.values() if (s.get("status") or {}).get("serviceName") == SERVICE]
        newest = max(found, key=lambda s: int(s["metadata"]["resourceVersion"]), default=None)
        return str(newest["status"].get("node", "")) if newest is not None else ""

    async def reconcile(self, key: Key) -> None:
        node = self.announcer()
        self.forwarder.mute(not node or node in self.lab.machines.down)
        if node and self._announcer and node != self._announcer:
            self.forwarder.cut()
        self._announcer = node or self._announcer


def _of_service(obj: Json) -> bool:
    meta = obj["metadata"]
    return bool(meta["namespace"] == NAMESPACE and (meta.get("labels") or {}).get("kubernetes.io/service-name") == SERVICE)
