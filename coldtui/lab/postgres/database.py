"""The whole database of a lab: servers, their managers, the operator over them, and the VIP."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from coldtui.lab.client import Json
from coldtui.lab.controllers.base import Controller, Lab
from coldtui.lab.keeper import Keeper
from coldtui.lab.postgres.managers import Managers
from coldtui.lab.postgres.operator import RealOperator
from coldtui.lab.postgres.programs import Programs
from coldtui.lab.postgres.server import HOST
from coldtui.lab.postgres.servers import Servers
from coldtui.lab.postgres.vip import Vip

DATABASE = "app"


@dataclass(slots=True)
class Database:
    """Order: `prepare` (a thread will do), `attach`, the controllers, `start`; at the end `aclose`."""

    servers: Servers
    managers: Managers
    _vip: Vip | None = None

    @classmethod
    def prepare(cls, folder: Path, keeper: Keeper | None = None, programs: Programs | None = None) -> Database:
        """Blocks. Raises ColdError."""
        programs = programs or Programs()
        if keeper is not None:
            programs = dataclasses.replace(programs, watch=keeper.add, unwatch=keeper.drop)
        servers = Servers.prepare(folder, programs)
        if keeper is not None and servers.work != servers.folder:
            keeper.remove(str(servers.work))
        return cls(servers, Managers(servers, folder / "pki"))

    def attach(self, lab: Lab) -> None:
        self.managers.attach(lab)

    def operator(self, lab: Lab) -> Controller:
        return RealOperator(lab, self.managers)

    def vip(self, lab: Lab) -> Controller:
        self._vip = Vip(lab, self.servers)
        return self._vip

    async def start(self) -> None:
        """The servers start on; the VIP listens when this returns."""
        assert self._vip is not None
        await self._vip.forwarder.start()
        await self.managers.start()

    async def aclose(self) -> None:
        """Stop everything and remove the data where it lies outside of the lab's folder."""
        if self._vip is not None:
            await self._vip.forwarder.close()
        await self.managers.aclose()

    # --- for clients

    @property
    def vip_port(self) -> int:
        assert self._vip is not None
        return self._vip.forwarder.port

    @property
    def dsn(self) -> str:
        """Of the VIP, without the password."""
        return f"host={HOST} port={self.vip_port} dbname={DATABASE} user=coldtui"

    @property
    def app_dsn(self) -> str:
        """The same for the owner of the tables."""
        return f"host={HOST} port={self.vip_port} dbname={DATABASE} user=app"

    @property
    def announcer(self) -> str:
        """The node that answers for the VIP; empty: nobody."""
        return self._vip.announcer() if self._vip is not None else ""

    @property
    def silent(self) -> bool:
        """Nobody answers for the VIP now: connections hang."""
        return self._vip is None or self._vip.forwarder.silent

    def settings(self) -> Json:
        """Sections of the console's configuration."""
        instances = {name: f"{HOST}:{server.port}" for name, server in self.servers.items()}
        section = {
            "cluster": "/".join(self.managers.cluster_key), "user": "coldtui", "password_file": str(self.servers.password_file),
            "database": DATABASE, "instances": instances,
        }  # fmt: skip
        return {"postgres": section, "vip": {"probe": f"{HOST}:{self.vip_port}"}}
