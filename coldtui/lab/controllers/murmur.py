"""Now and then something harmless happens on a living site."""

from __future__ import annotations

from coldtui.lab.client import PODS, Json, Key
from coldtui.lab.controllers.base import Controller, Lab, pod_ready

SAYINGS: tuple[tuple[str, str, str, str], ...] = (
    # name of the container, component, reason, message
    ("metrics-server", "kubelet", "Pulled", "Container image already present on machine"),
    ("postgres", "cloudnative-pg", "Checkpoint", "checkpoint complete"),
    ("longhorn-manager", "longhorn-node-controller", "Ready", "Disk is ready"),
    ("cold-backend", "kubelet", "ProbeWarning", "Readiness probe answered with a warning: slow start of the report worker"),
    ("speaker", "metallb-speaker", "MemberlistSync", "memberlist synchronised, 5 members"),
    ("traefik", "traefik", "ConfigReloaded", "dynamic configuration reloaded"),
)


class Murmur(Controller):
    """One event of no importance about once a minute; none on a still site."""

    name = "murmur"
    key: Key = ("", "*")

    def __init__(self, lab: Lab) -> None:
        super().__init__(lab)
        self.pods = lab.informers.of(PODS)

    async def run(self) -> None:
        if not self.lab.still:
            self.enqueue(self.key, self.pace.murmur / 2)
        await super().run()

    async def reconcile(self, key: Key) -> None:
        container, component, reason, message = self.lab.dice.choice(SAYINGS)
        fitting = [p for p in self.pods.values() if pod_ready(p) and _runs(p, container)]
        if fitting:
            await self.lab.event(self.lab.dice.choice(fitting), reason, message, component=component)
        self.enqueue(key, self.pace.murmur * self.lab.dice.uniform(0.5, 1.5))


def _runs(pod: Json, container: str) -> bool:
    return any(c["name"] == container for c in pod["spec"]["containers"])
