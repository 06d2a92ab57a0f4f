"""Failover quorum: the object that says which standbys a commit waits for, and whether an election could lose such a commit.

The operator makes and removes the FailoverQuorum; the primary's instance manager fills it, and sets its server to wait.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from coldtui.lab.client import PG_QUORUMS, ApiError, Json, Key, KubeClient
from coldtui.lab.controllers.base import reference


@dataclass(frozen=True, slots=True)
class Synchronous:
    """``spec.postgresql.synchronous`` of a Cluster, as its primary has to have it."""

    method: str
    number: int
    standbys: tuple[str, ...]
    guarded: bool
    """``failoverQuorum`` is true: an election must be proven safe."""

    @classmethod
    def of(cls, cluster: Json, primary: str) -> Self | None:
        """None: commits wait for nobody."""
        spec = (cluster["spec"].get("postgresql") or {}).get("synchronous")
        if not spec:
            return None
        standbys = tuple(n for n in (cluster.get("status") or {}).get("instanceNames") or () if n != primary)
        return cls(str(spec["method"]), int(spec["number"]), standbys, bool(spec.get("failoverQuorum")))

    @property
    def setting(self) -> str:
        """``synchronous_standby_names``."""
        names = ",".join(f'"{name}"' for name in self.standbys)
        return f"{self.method.upper()} {self.number} ({names})"

    def status(self, primary: str) -> Json:
        """Of the FailoverQuorum."""
        return {"method": self.method, "standbyNumber": self.number, "standbyNames": list(self.standbys), "primary": primary}


@dataclass(frozen=True, slots=True)
class Quorum:
    """The object of one cluster; it has the cluster's name."""

    client: KubeClient
    key: Key

    async def read(self) -> Json | None:
        return await self.client.find(PG_QUORUMS, self.key[1], self.key[0])

    async def keep(self, cluster: Json, wanted: bool) -> None:
        """Make it or remove it."""
        known = await self.read()
        if known is not None and not wanted:
            await self.client.delete(PG_QUORUMS, self.key[1], self.key[0])
        elif known is None and wanted:
            try:
                meta = {"name": self.key[1], "namespace": self.key[0], "ownerReferences": [reference(cluster)]}
                await self.client.create(PG_QUORUMS, {"metadata": meta})
            except ApiError as error:
                if not error.conflict:
                    raise

    async def fill(self, said: Json) -> bool:
        """As the primary's instance manager does; whether the object is there."""
        known = await self.read()
        if known is not None and known.get("status") != said:
            await self.client.patch_status(PG_QUORUMS, self.key[1], said, self.key[0])
        return known is not None

    async def allows(self, promotable: set[str]) -> bool:
        """R + W > N: among those that could be promoted there is one with every commit that was acknowledged."""
        status = ((await self.read()) or {}).get("status") or {}
        names, number = set(status.get("standbyNames") or ()), int(status.get("standbyNumber") or 0)
        return bool(names) and number > 0 and len(names & promotable) + number > len(names)
