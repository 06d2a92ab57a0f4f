"""All hosts of a site together: keys, ports, what reboots and faults do to them. Power is `Machines`' matter: it is followed here."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import secrets
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from coldtui.domain.errors import ColdError, NotFound, Unreachable
from coldtui.lab.client import LH_NODES, NODES, PODS, ApiError, Json
from coldtui.lab.controllers.base import Lab, finished
from coldtui.lab.hosts import build, lines
from coldtui.lab.hosts.machine import Hooks, Machine, Timing

if TYPE_CHECKING:
    from coldtui.lab.hosts.server import HostServer

log = logging.getLogger(__name__)

USER = "lab"
FREED, FREED_IMAGES = "lab.coldtui/freed", "lab.coldtui/freed-images"
"""Annotations of a Node: bytes that were cleaned on its host, so that the kubelet's figures know of them."""
ANY = "*"
ANSWER_S = 2.0
GOODBYE_S = 0.3
"""From the order to reboot until connections are dropped: its answer still leaves."""


async def _no_api(up: bool) -> None:
    """A control plane that is not ours is not taken down."""


@dataclass(slots=True)
class Fleet:
    """The hosts of a lab. `start` brings them up; every host is reached at 127.0.0.1 by a port of its own."""

    lab: Lab
    folder: Path
    """Where keys and passwords lie; made if need be, for this user only."""
    api: Callable[[bool], Awaitable[None]] = _no_api
    """Told False when the host of the control plane takes the API server down with it, True when it is there again."""
    machines: dict[str, Machine] = field(default_factory=dict)
    servers: dict[str, HostServer] = field(default_factory=dict)
    stuck: set[str] = field(default_factory=set)
    """Machines that stay off after their next reboot; `ANY`: whichever is next."""
    stranded: set[str] = field(default_factory=set)
    """Those that did."""
    _down: set[str] = field(default_factory=set)
    """Hosts whose SSH is down by a fault."""
    _returning: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def start(self) -> None:
        """Make the hosts of all nodes there are now and listen. Raises ColdError."""
        from coldtui.lab.hosts import server  # asyncssh takes its time to load

        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        login = server.public(server.key_pair(self.key, "lab"))
        ports = self._known_ports()
        for node in sorted(self._nodes(), key=lambda n: str(n["metadata"]["name"])):
            name = node["metadata"]["name"]
            host_key = server.key_pair(self.folder / "hosts" / f"{name}_ed25519", name)
            made = self.machines[name] = self._machine(node)
            try:
                self.servers[name] = server.HostServer(made, ports.get(name, 0), host_key, login)
                await self.servers[name].open()
            except OSError as error:
                raise ColdError(f"the SSH server of {name} did not start", detail=str(error)) from error
        self._write_files()
        self.lab.machines.listen(self._switched)
        if not self.lab.still:
            self._spawn(self._murmur())

    def _nodes(self) -> Iterable[Json]:
        return self.lab.informers.of(NODES).values()

    def _machine(self, node: Json) -> Machine:
        name = node["metadata"]["name"]
        pace = self.lab.pace
        hooks = Hooks(
            kubelet=lambda running: self._kubelet(name, running), reboot=lambda: self.reboot(name), halt=lambda: self.reboot(name, back=False),
            api_answers=self._api_answers, cleaned=lambda: self._cleaned(name),
        )  # fmt: skip
        timing = Timing(stop=pace.restart / 5, start=pace.restart, retry=pace.restart)
        made = build.machine(node, lambda: self._pods(name), hooks, timing, frozen=datetime.now(UTC) if self.lab.still else None)
        made.storage_disk = lambda: self._storage_disk(name)
        return made

    def _pods(self, name: str) -> list[Json]:
        return [p for p in self.lab.informers.of(PODS).values() if p["spec"].get("nodeName") == name and not finished(p)]

    def _storage_disk(self, name: str) -> tuple[int, int]:
        node = self.lab.informers.of(LH_NODES).get(name, "longhorn-system")
        for held in ((node or {}).get("status") or {}).get("diskStatus", {}).values():
            return held["storageMaximum"], held["storageMaximum"] - held["storageAvailable"]
        return 0, 0

    # --- files

    @property
    def key(self) -> Path:
        """The private key that is let in."""
        return self.folder / "id_ed25519"

    @property
    def known_hosts(self) -> Path:
        return self.folder / "known_hosts"

    @property
    def password_file(self) -> Path:
        """The password that sudo wants where it wants one."""
        return self.folder / "sudo_password"

    def addresses(self) -> dict[str, str]:
        """Node -> `127.0.0.1:PORT`."""
        return {name: server.address for name, server in self.servers.items()}

    def settings(self) -> Json:
        """The part of the console's configuration that leads here."""
        return {
            "ssh": {"user": USER, "keys": [str(self.key)], "known_hosts": [str(self.known_hosts)], "agent": False},
            "nodes": {name: {"ssh": address} for name, address in self.addresses().items()},
        }

    def _known_ports(self) -> dict[str, int]:
        try:
            found = json.loads((self.folder / "ports.json").read_text())
            return {str(name): int(port) for name, port in found.items()}
        except (OSError, ValueError, AttributeError):
            return {}

    def _write_files(self) -> None:
        from coldtui.lab.hosts.server import public

        ports = {name: server.port for name, server in self.servers.items()}
        (self.folder / "ports.json").write_text(json.dumps(ports))
        known = [f"[127.0.0.1]:{port} {public(self.servers[name].host_key)}\n" for name, port in ports.items()]
        self.known_hosts.write_text("".join(known))
        entries = [
            f"Host {name}\n  HostName 127.0.0.1\n  Port {port}\n  User {USER}\n  IdentityFile {self.key}\n  IdentitiesOnly yes\n"
            f"  UserKnownHostsFile {self.known_hosts}\n"
            for name, port in ports.items()
        ]
        (self.folder / "config").write_text("".join(entries))
        if not self.password_file.exists():
            handle = os.open(self.password_file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(handle, "w") as file:
                file.write(secrets.token_hex(6) + "\n")

    # --- power

    def reboot(self, name: str, *, back: bool = True) -> None:
        """Down in a moment and, with ``back``, up again after `Pace.reboot`."""
        if name in self._returning or name in self.lab.machines.down:
            return
        self._returning[name] = self._spawn(self._reboot(name, back))

    async def _reboot(self, name: str, back: bool) -> None:
        try:
            self.machines[name].shut_down()
            await asyncio.sleep(GOODBYE_S)
            self.lab.machines.power_off(name)
            if not back:
                return
            await asyncio.sleep(self.lab.pace.reboot)
            if stays := self.stuck & {name, ANY}:
                self.stuck -= stays
                self.stranded.add(name)
                return
            self.lab.machines.power_on(name)
        finally:
            self._returning.pop(name, None)

    def hold(self, name: str) -> None:
        """A machine that is rebooting stays off: it has lost its power meanwhile."""
        if (task := self._returning.pop(name, None)) is not None:
            task.cancel()

    def release(self) -> list[str]:
        """Machines that did not come back come back now; none stays off after its next reboot. Returns their names."""
        self.stuck.clear()
        found = sorted(self.stranded & self.lab.machines.down)
        self.stranded.clear()
        for name in found:
            self.lab.machines.power_on(name)
        return found

    def _switched(self, name: str) -> None:
        machine = self.machines.get(name)
        if machine is None:
            return
        if name in self.lab.machines.down:
            machine.power_off()
            self.servers[name].close()
            self._spawn(self._kubelet(name, False))
        elif not machine.up:
            self.lab.machines.stop_kubelet(name)  # until K3s says that it runs
            machine.power_on(self.lab.machines.boots[name], self.lab.pace.boot)
            if name not in self._down:
                self._spawn(self.servers[name].open())

    async def _kubelet(self, name: str, running: bool) -> None:
        """K3s of a host stops or runs; on the control plane's host the API server goes with it."""
        if not running:
            self.lab.machines.stop_kubelet(name)
        if self.machines[name].identity.server:
            try:
                await self.api(running)
            except ColdError as error:
                log.warning("%s: the API server does not follow its host: %s", name, error)
        if running:
            self.lab.machines.start_kubelet(name)

    async def _api_answers(self) -> bool:
        try:
            await self.lab.client.request("GET", "/readyz", deadline_s=ANSWER_S)
        except (Unreachable, ApiError):
            return False
        return True

    # --- faults

    def server(self, name: str) -> HostServer:
        """Raises NotFound."""
        if name not in self.servers:
            raise NotFound(f"there is no host {name}", hint="known: " + ", ".join(sorted(self.servers)))
        return self.servers[name]

    async def refuse(self, name: str, on: bool) -> None:
        """SSH of a host refuses connections, or answers again."""
        server = self.server(name)
        (self._down.add if on else self._down.discard)(name)
        if on:
            server.close()
        elif self.machines[name].up:
            await server.open()

    async def change_key(self, name: str, on: bool) -> None:
        """A host shows another key than the one that is in known_hosts, or its own again. Connections are dropped."""
        from coldtui.lab.hosts.server import key_pair

        server = self.server(name)
        which = f"{name}_other_ed25519" if on else f"{name}_ed25519"
        server.close()
        server.host_key = key_pair(self.folder / "hosts" / which, name)
        if name not in self._down and self.machines[name].up:
            await server.open()

    def want_password(self, name: str, on: bool) -> None:
        """sudo of a host wants a password, or none again."""
        self.server(name)
        self.machines[name].sudo_password = self.password_file.read_text().strip() if on else ""

    # --- background

    def _cleaned(self, name: str) -> None:
        self._spawn(self._tell_freed(name))

    async def _tell_freed(self, name: str) -> None:
        machine = self.machines[name]
        note = {"metadata": {"annotations": {FREED: str(machine.freed()), FREED_IMAGES: str(machine.freed_images())}}}
        try:
            await self.lab.client.patch(NODES, name, note)
        except (ApiError, Unreachable) as error:
            log.warning("%s: the kubelet's figures do not know what was cleaned: %s", name, error)

    async def _murmur(self) -> None:
        """Now and then a host writes a line."""
        while True:
            await asyncio.sleep(self.lab.pace.murmur / 6 * self.lab.dice.uniform(0.5, 1.5))
            machine = self.lab.dice.choice(list(self.machines.values()))
            if machine.up and machine.k3s.active == "active":
                ident, words = lines.murmur(machine.identity.server, machine.dice)
                unit = machine.k3s if ident == "k3s" else None
                machine.say(ident, lines.klog(machine.now(), words) if unit else words, unit=unit, pid=unit.pid if unit else 1)

    def _spawn(self, work: Awaitable[None]) -> asyncio.Task[None]:
        task = asyncio.ensure_future(work)
        assert isinstance(task, asyncio.Task)
        self._tasks.add(task)
        task.add_done_callback(self._finished)
        return task

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("hosts: %s", error, exc_info=error)

    async def aclose(self) -> None:
        """Everything down, nothing left."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for machine in self.machines.values():
            await machine.aclose()
        for server in self.servers.values():
            await server.aclose()
