"""One look of the operator: the Cluster, its pods, and what each instance manager says."""

from __future__ import annotations

from dataclasses import dataclass

from coldtui.lab.client import Json
from coldtui.lab.controllers.base import deleting, pod_ready
from coldtui.lab.controllers.cnpg import Instances
from coldtui.lab.postgres.manager import fenced

PENDING = "pending"


@dataclass(frozen=True, slots=True)
class Scene:
    """``facts``: what each instance manager says (None: nothing)."""

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
    def phase(self) -> str:
        return str(self.cluster["status"].get("phase", ""))

    def says(self, name: str) -> Json:
        """What its manager says; empty: nothing."""
        return self.facts.get(name) or {}

    def claims(self, name: str) -> bool:
        """Whether it says that it is primary."""
        return bool(self.says(name).get("isPrimary"))

    @property
    def claimants(self) -> list[str]:
        return [name for name in self.facts if self.claims(name)]

    @property
    def order(self) -> list[str]:
        """Who answers, as the operator has them in line: a primary, then who has received most, replayed most, by name."""

        def key(name: str) -> tuple[bool, int, int, str]:
            said = self.says(name)
            return (not self.claims(name), -position(said, "receivedLsn"), -position(said, "replayLsn"), name)

        return sorted((n for n, said in self.facts.items() if said is not None and n in self.found.active), key=key)

    @property
    def first(self) -> str:
        return next(iter(self.order), "")

    @property
    def candidates(self) -> list[str]:
        """Who could be elected: a ready instance that answers, without the current primary."""
        return [n for n, said in self.facts.items() if said is not None and n != self.current and n in self.found.ready]

    @property
    def primary_fenced(self) -> bool:
        """Or about to come out of it, or restarting in place: that it does not answer is no reason for a failover."""
        names = fenced(self.cluster)
        return self.current in names or "*" in names or bool(self.says(self.current).get("mightBeUnavailable"))

    @property
    def reporting(self) -> int:
        """How many instances are ready, or say that they might be unavailable."""
        return sum(n in self.found.ready or bool(self.says(n).get("mightBeUnavailable")) for n in self.found.active)

    @property
    def receiving(self) -> list[str]:
        """Whose WAL receiver runs, the primary aside."""
        return [n for n in self.order if n != self.current and self.says(n)["isWalReceiverActive"]]

    @property
    def primary_gone(self) -> bool:
        """There is no pod of the primary, or it is about to end: nothing to wait for."""
        pod = self.found.pods.get(self.current)
        return pod is None or deleting(pod)

    @property
    def primary_silent(self) -> bool:
        """Kubernetes calls the primary's pod ready, and its manager does not answer."""
        pod = self.found.pods.get(self.current)
        return pod is not None and pod_ready(pod) and self.facts.get(self.current) is None

    def annotation(self, key: str) -> str:
        return str((self.cluster["metadata"].get("annotations") or {}).get(key, ""))


def position(said: Json, key: str) -> int:
    """An LSN of a status as a number; 0 when it is not there."""
    high, _, low = str(said.get(key, "")).partition("/")
    return (int(high, 16) << 32) | int(low, 16) if low else 0
