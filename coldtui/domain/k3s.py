"""K3s itself: datastore snapshots and upgrade plans."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from .objects import Condition, Ref
from .problems import Problem
from .selectors import Selector

if TYPE_CHECKING:
    from .world import World


@dataclass(frozen=True, slots=True)
class EtcdSnapshot:
    """An ETCDSnapshotFile: one copy of the datastore, on a server's disk or in a bucket."""

    name: str
    snapshot: str = ""
    """spec.snapshotName: what a restore asks for."""
    node: str = ""
    """Server that holds it; `s3` for a remote copy."""
    location: str = ""
    bucket: str = ""
    """Set for a copy in S3."""
    ready: bool | None = None
    size_b: int | None = None
    created: datetime | None = None
    """When it was taken, else when the object appeared."""
    error: str = ""

    @property
    def key(self) -> str:
        return self.name

    @property
    def ref(self) -> Ref:
        return Ref("etcd_snapshots", self.name)

    @property
    def remote(self) -> bool:
        return self.node == "s3" or bool(self.bucket)

    @property
    def good(self) -> bool:
        return self.ready is True and not self.error


@dataclass(frozen=True, slots=True)
class UpgradePlan:
    """A Plan of the system-upgrade-controller."""

    namespace: str
    name: str
    created: datetime | None = None
    version: str = ""
    channel: str = ""
    concurrency: int = 1
    cordon: bool = False
    drains: bool = False
    exclusive: bool = False
    image: str = ""
    selector: Selector | None = None
    """Nodes it upgrades; None: none."""
    applying: tuple[str, ...] = ()
    """Nodes being upgraded now."""
    latest_version: str = ""
    latest_hash: str = ""
    conditions: tuple[Condition, ...] = ()

    @property
    def key(self) -> str:
        return f"{self.namespace}/{self.name}"

    @property
    def ref(self) -> Ref:
        return Ref("upgrade_plans", self.name, self.namespace)

    def condition(self, type_: str) -> Condition | None:
        return next((c for c in self.conditions if c.type == type_), None)

    @property
    def wanted(self) -> str:
        """The version it goes to, as K3s writes it (`v1.34.4+k3s1`)."""
        return (self.latest_version or self.version).replace("-k3s", "+k3s")


def problems(world: World, now: datetime) -> tuple[Problem, ...]:
    return ()
