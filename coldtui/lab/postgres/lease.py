"""The Lease of a cluster: who may be its primary. Taken and given back by instance managers, never by the operator."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from coldtui.lab.client import LEASES, ApiError, Json, Key, KubeClient
from coldtui.lab.controllers.base import Lab, micro, moment


@dataclass(frozen=True, slots=True)
class Held:
    """As it stands."""

    holder: str
    stale: bool
    """Not renewed for its duration: whoever wants it may take it."""
    version: str
    transitions: int


@dataclass(frozen=True, slots=True)
class PrimaryLease:
    """One cluster's."""

    lab: Lab
    key: Key

    @property
    def client(self) -> KubeClient:
        return self.lab.client

    async def read(self) -> Held | None:
        found = await self.client.find(LEASES, self.key[1], self.key[0])
        if found is None:
            return None
        spec = found.get("spec") or {}
        renewed = moment(spec.get("renewTime"))
        late = renewed is None or self.lab.now() - renewed > timedelta(seconds=self.lab.pace.lease)
        return Held(
            str(spec.get("holderIdentity") or ""), late, found["metadata"]["resourceVersion"], int(spec.get("leaseTransitions") or 0)
        )

    async def take(self, name: str) -> bool:
        """Whether ``name`` holds it now: it was free, stale, or its own already."""
        held = await self.read()
        spec: Json = {
            "holderIdentity": name,
            "renewTime": micro(self.lab.now()),
            "leaseDurationSeconds": max(1, round(self.lab.pace.lease)),
        }
        if held is None:
            await self.client.create(
                LEASES, {"metadata": {"name": self.key[1], "namespace": self.key[0]}, "spec": {**spec, "leaseTransitions": 0}}
            )
            return True
        if held.holder not in ("", name) and not held.stale:
            return False
        if held.holder != name:
            spec |= {"acquireTime": micro(self.lab.now()), "leaseTransitions": held.transitions + 1}
        return await self._write(held, spec)

    async def release(self, name: str) -> None:
        """Give it back, if it is held by ``name``."""
        held = await self.read()
        if held is not None and held.holder == name:
            await self._write(held, {"holderIdentity": "", "renewTime": micro(self.lab.now()), "leaseDurationSeconds": 1})

    async def _write(self, held: Held, spec: Json) -> bool:
        try:
            await self.client.patch(LEASES, self.key[1], {"metadata": {"resourceVersion": held.version}, "spec": spec}, self.key[0])
        except ApiError as error:
            if error.conflict:
                return False  # somebody was faster
            raise
        return True
