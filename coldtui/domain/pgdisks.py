"""The disks of a PostgreSQL instance: its data and, where it has a volume of its own, its WAL, as the kubelets measure them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .postgres import Instance, PgCluster
from .readings import Known, Reading, Unknown
from .values import dataclass

if TYPE_CHECKING:
    from .world import World

WARNING, CRITICAL = 0.80, 0.90


@dataclass(frozen=True, slots=True)
class PgDisk:
    what: str
    """`PGDATA` or `WAL`."""
    claim: str
    used: Reading[int]
    """Bytes."""
    capacity_b: int | None
    """Of the filesystem, else of the claim; None: neither is told."""

    @property
    def fraction(self) -> float | None:
        return self.used.value / self.capacity_b if isinstance(self.used, Known) and self.capacity_b else None


def disks(world: World, c: PgCluster, i: Instance) -> tuple[PgDisk, ...]:
    """CloudNativePG names the claims after the instance (pkg/specs/pvcs.go)."""
    names = {"PGDATA": i.name, **({"WAL": f"{i.name}-wal"} if c.wal_size else {})}
    return tuple(_disk(world, c, i, what, claim) for what, claim in names.items())


def fullest(found: tuple[PgDisk, ...]) -> PgDisk | None:
    """None: nobody tells of any."""
    return max((d for d in found if d.fraction is not None), key=lambda d: d.fraction or 0.0, default=None)


def _disk(world: World, c: PgCluster, i: Instance, what: str, claim: str) -> PgDisk:
    known = world.claims.items.get(f"{c.namespace}/{claim}")
    size = known.capacity_b or known.requested_b if known is not None else None
    stats = world.node_stats.get(i.node)
    if stats is None:
        nowhere = "it is on no node" if i.pods_known else "which node it is on is not known"
        return PgDisk(what, claim, Unknown("kubelet", f"the kubelet of {i.node} was not asked" if i.node else nowhere), size)
    if isinstance(stats, Unknown):
        return PgDisk(what, claim, Unknown("kubelet", stats.reason), size)
    fill = next((v for v in stats.value.volumes if (v.namespace, v.claim) == (c.namespace, claim)), None)
    if fill is None:
        return PgDisk(what, claim, Unknown("kubelet", f"the kubelet of {i.node} does not tell of claim {claim}"), size)
    return PgDisk(what, claim, Known(fill.used_b, "kubelet", stats.as_of), fill.capacity_b or size)
