"""The Lease of a cluster: who may be its primary. Made by the operator; taken, renewed and given back by instance managers."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from coldtui.lab.client import LEASES, ApiError, Json, Key, KubeClient
from coldtui.lab.controllers.base import Lab, micro, reference


@dataclass(frozen=True, slots=True)
class Held:
    """As it stands."""

    holder: str
    renewed: str
    """As written there: compared, never reckoned with, since clocks differ."""
    version: str
    transitions: int


async def ensure(client: KubeClient, cluster: Json) -> None:
    """What the operator does: a Lease without a holder, if there is none."""
    meta = cluster["metadata"]
    if await client.find(LEASES, meta["name"], meta["namespace"]) is not None:
        return
    made = {
        "name": meta["name"], "namespace": meta["namespace"], "labels": {"cnpg.io/cluster": meta["name"]},
        "annotations": {"cnpg.io/operatorVersion": "1.30.0"}, "ownerReferences": [reference(cluster)],
    }  # fmt: skip
    try:
        await client.create(LEASES, {"metadata": made, "spec": {}})
    except ApiError as error:
        if not error.conflict:
            raise


@dataclass(slots=True)
class PrimaryLease:
    """One cluster's, as one instance manager sees it."""

    lab: Lab
    key: Key
    _seen: tuple[str, str] = ("", "")
    """The holder and renewal that we saw last ..."""
    _since: float = field(default=0.0)
    """... and from when on it has been that."""

    @property
    def client(self) -> KubeClient:
        return self.lab.client

    async def read(self) -> Held | None:
        found = await self.client.find(LEASES, self.key[1], self.key[0])
        if found is None:
            return None
        spec = found.get("spec") or {}
        holder, renewed = str(spec.get("holderIdentity") or ""), str(spec.get("renewTime") or "")
        return Held(holder, renewed, found["metadata"]["resourceVersion"], int(spec.get("leaseTransitions") or 0))

    async def take(self, name: str) -> bool:
        """Whether ``name`` holds it now: it was free or its own, or we have seen it unchanged for its whole duration."""
        held = await self.read()
        if held is None:
            self.forget()
            return False
        if held.holder not in ("", name) and not self._left_alone(held):
            return False
        now = micro(self.lab.now())
        spec: Json = {"holderIdentity": name, "renewTime": now, "leaseDurationSeconds": max(1, round(self.lab.pace.lease))}
        if held.holder != name:
            spec |= {"acquireTime": now, "leaseTransitions": held.transitions + 1}
        self.forget()
        return await self._write(held, spec)

    def _left_alone(self, held: Held) -> bool:
        clock, seen = asyncio.get_running_loop().time(), (held.holder, held.renewed)
        if seen != self._seen:
            self._seen, self._since = seen, clock
        return clock - self._since >= self.lab.pace.lease

    def forget(self) -> None:
        """Whatever was seen counts no more: a manager that starts anew waits anew."""
        self._seen = ("", "")

    async def release(self, name: str) -> None:
        """Give it back, if it is held by ``name``."""
        held = await self.read()
        if held is not None and held.holder == name:
            now = micro(self.lab.now())
            await self._write(held, {"holderIdentity": "", "renewTime": now, "acquireTime": now, "leaseDurationSeconds": 1})

    async def _write(self, held: Held, spec: Json) -> bool:
        try:
            await self.client.patch(LEASES, self.key[1], {"metadata": {"resourceVersion": held.version}, "spec": spec}, self.key[0])
        except ApiError as error:
            if error.conflict:
                return False  # somebody was faster
            raise
        return True
