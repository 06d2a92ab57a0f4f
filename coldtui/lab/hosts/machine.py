"""The state of one host: its boot, its services, its journal, its disk. No network: what reaches outside goes through `Hooks`."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from coldtui.lab.client import Json
from coldtui.lab.hosts import lines
from coldtui.lab.hosts.files import Tree
from coldtui.lab.hosts.images import Image, pulled
from coldtui.lab.hosts.journal import Journal
from coldtui.lab.hosts.units import Unit

log = logging.getLogger(__name__)

CONTAINERD = "/var/lib/rancher/k3s/agent/containerd"


async def _yes() -> bool:
    return True


async def _nothing(running: bool) -> None:
    return None


@dataclass(slots=True)
class Hooks:
    """What a host does to the world around it; by default nothing."""

    kubelet: Callable[[bool], Awaitable[None]] = _nothing
    """K3s has started, or is about to stop."""
    reboot: Callable[[], None] = lambda: None
    halt: Callable[[], None] = lambda: None
    api_answers: Callable[[], Awaitable[bool]] = _yes
    """Whether the API server can be reached: an agent does not start without it."""
    cleaned: Callable[[], None] = lambda: None
    """Something was removed from the disk."""
    pods: Callable[[], list[Json]] = list
    """The pods that run here."""


@dataclass(frozen=True, slots=True)
class Timing:
    """In seconds."""

    stop: float = 0.4
    start: float = 2.0
    """Until K3s says that it is ready."""
    retry: float = 2.0
    """Between two tries of an agent to reach its server."""


@dataclass(frozen=True, slots=True)
class Identity:
    """What does not change while the lab lives."""

    name: str
    ip: str
    server: bool
    """Runs the control plane: its unit is `k3s`, else `k3s-agent`."""
    version: str
    kernel: str
    os_image: str
    machine_id: str
    """Without dashes."""

    @property
    def unit(self) -> str:
        return "k3s.service" if self.server else "k3s-agent.service"


@dataclass(slots=True)
class Session:
    """Somebody who is logged in."""

    user: str
    terminal: str
    since: datetime
    peer: str
    """Address that the connection comes from."""


@dataclass(slots=True)
class Machine:
    """One host."""

    identity: Identity
    boot_id: str
    booted: datetime
    journal: Journal
    tree: Tree
    images: list[Image]
    capacity: int
    """Bytes of the root file system."""
    base: Callable[[], int]
    """Bytes that would be in use there if nothing had been cleaned."""
    hooks: Hooks = field(default_factory=Hooks)
    timing: Timing = field(default_factory=Timing)
    sudo_password: str = ""
    """Empty: sudo asks for none."""
    up: bool = True
    units: dict[str, Unit] = field(default_factory=dict)
    sessions: list[Session] = field(default_factory=list)
    dice: random.Random = field(default_factory=random.Random)
    storage_disk: Callable[[], tuple[int, int]] = lambda: (0, 0)
    """Size and use of the file system at /var/lib/longhorn; size 0: it is on the root file system."""
    _pid: int = 900
    _jobs: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    _at_first: int = 0
    _images_at_first: int = 0

    def __post_init__(self) -> None:
        self._at_first, self._images_at_first = self.tracked(), self.image_bytes()

    @property
    def name(self) -> str:
        return self.identity.name

    @property
    def k3s(self) -> Unit:
        return self.units[self.identity.unit]

    def now(self) -> datetime:
        return datetime.now(UTC)

    def next_pid(self) -> int:
        self._pid += self.dice.randrange(3, 40)
        return self._pid

    # --- disk

    def tracked(self) -> int:
        """Bytes of all that can be cleaned: files and images."""
        return self.tree.size("/") + self.image_bytes()

    def image_bytes(self) -> int:
        return sum(image.size for image in self.images)

    def freed_images(self) -> int:
        """The part of `freed` that were images."""
        return self._images_at_first - self.image_bytes()

    def freed(self) -> int:
        """Bytes that were cleaned since the lab began; less than nothing when more has come than gone."""
        return self._at_first - self.tracked()

    def used(self) -> int:
        """Bytes in use on the root file system."""
        return max(0, self.base() - self.freed())

    def pulls(self) -> None:
        """Take note of images that came with new pods."""
        known = {image.reference for image in self.images}
        self.images += [pulled(reference) for reference in sorted(self.in_use() - known)]

    def in_use(self) -> set[str]:
        """References of the images that pods here use."""
        return used_images(self.hooks.pods())

    def prune(self) -> list[Image]:
        """Remove every image that no pod uses; returns them."""
        self.pulls()
        held = self.in_use()
        gone = [image for image in self.images if image.reference not in held]
        self.images = [image for image in self.images if image.reference in held]
        if gone:
            self.hooks.cleaned()
        return gone

    # --- journal

    def say(self, ident: str, message: str, *, unit: Unit | None = None, pid: int = 0, priority: int = 6) -> None:
        """Write a line into the journal, as of now."""
        name, invocation = (unit.name, unit.invocation) if unit is not None else ("", "")
        self.journal.write(self.now(), self.boot_id, ident, pid, message, unit=name, priority=priority, invocation=invocation)

    def _manager(self, message: str, unit: Unit) -> None:
        self.say("systemd", message, unit=unit, pid=1)

    # --- services

    def job(self, unit: Unit, what: str) -> asyncio.Task[None]:
        """Start, stop or restart a service in the background; a job that is under way is replaced, as systemd does."""
        if (old := self._jobs.get(unit.name)) is not None:
            old.cancel()
        work = {"start": self._start, "stop": self._stop, "restart": self._restart}[what]
        task = self._jobs[unit.name] = asyncio.create_task(work(unit), name=f"{self.name}: {what} {unit.name}")
        task.add_done_callback(lambda done: self._forget(unit.name, done))
        return task

    def _forget(self, name: str, task: asyncio.Task[None]) -> None:
        if self._jobs.get(name) is task:
            del self._jobs[name]
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("%s failed", task.get_name(), exc_info=error)

    def jobs(self) -> list[str]:
        """Units with a job under way."""
        return sorted(self._jobs)

    async def _restart(self, unit: Unit) -> None:
        await self._stop(unit)
        await self._start(unit)

    async def _stop(self, unit: Unit) -> None:
        if unit.active in ("inactive", "failed"):
            return
        self._manager(f"Stopping {unit.name} - {unit.about}...", unit)
        unit.turn("deactivating", self.now())
        if unit is self.k3s:
            for line in lines.stopping(unit.pid):
                self.say("k3s", line, unit=unit, pid=unit.pid)
            await self.hooks.kubelet(False)
            await asyncio.sleep(self.timing.stop)
        self._manager(f"{unit.name}: Deactivated successfully.", unit)
        if unit is self.k3s:
            for line in lines.left_over(unit.name, self.dice):
                self._manager(line, unit)
        unit.turn("inactive", self.now())
        self._manager(f"Stopped {unit.name} - {unit.about}.", unit)

    async def _start(self, unit: Unit) -> None:
        if unit.active == "active":
            return
        if unit.active != "activating":
            unit.begin(self.now(), self.next_pid())
        self._manager(f"Starting {unit.name} - {unit.about}...", unit)
        if unit is self.k3s:
            await self._start_k3s(unit)
        unit.turn("active", self.now())
        self._manager(f"Started {unit.name} - {unit.about}.", unit)

    async def _start_k3s(self, unit: Unit) -> None:
        """Say what K3s says, over the time that it takes; an agent waits for its server without limit."""
        me = self.identity
        said = lines.starting(me.server, me.version, me.name, me.ip)
        for index, line in enumerate(said):
            self.say("k3s", lines.klog(self.now(), line), unit=unit, pid=unit.pid)
            if index == 0 and not me.server:
                await self._wait_for_server(unit)
            await asyncio.sleep(self.timing.start / len(said))
        await self.hooks.kubelet(True)

    async def _wait_for_server(self, unit: Unit) -> None:
        while not await self.hooks.api_answers():
            self.say("k3s", lines.klog(self.now(), lines.NO_SERVER, "error"), unit=unit, pid=unit.pid, priority=3)
            await asyncio.sleep(self.timing.retry)

    def state(self) -> str:
        """As ``systemctl is-system-running`` says it."""
        if any(unit.active == "failed" for unit in self.units.values()):
            return "degraded"
        return "starting" if self._jobs and self.k3s.active == "activating" else "running"

    # --- power

    def shut_down(self) -> None:
        """What the journal says of an orderly end."""
        self.say("systemd-logind", "The system will reboot now!", pid=611)
        self.say("systemd-logind", "System is rebooting.", pid=611)
        self.say("systemd", "Stopping session-1.scope - Session 1 of User lab...", pid=1)
        self._manager(f"Stopping {self.k3s.name} - {self.k3s.about}...", self.k3s)
        self.say("systemd", "Reached target reboot.target - System Reboot.", pid=1)
        self.say("systemd-journald", "Received SIGTERM from PID 1 (systemd-shutdow).", pid=320)

    def power_off(self) -> None:
        """Everything that ran is gone."""
        self.up = False
        for task in list(self._jobs.values()):
            task.cancel()
        self._jobs.clear()
        for unit in self.units.values():
            unit.turn("inactive", self.now())
        self.sessions.clear()

    def power_on(self, boot_id: str, after_s: float) -> None:
        """A new boot: services start again, K3s last, ``after_s`` seconds from now (and in its own time)."""
        self.up, self.boot_id, self.booted = True, boot_id, self.now()
        self._pid = 400
        for line in lines.booting(self.identity.kernel):
            self.say("kernel", line)
        for unit in self.units.values():
            unit.begin(self.now(), self.next_pid())
            if unit is not self.k3s:
                unit.turn("active", self.now())
                self._manager(f"Started {unit.name} - {unit.about}.", unit)
        task = self._jobs[self.k3s.name] = asyncio.create_task(self._start_later(after_s), name=f"{self.name}: boot")
        task.add_done_callback(lambda done: self._forget(self.k3s.name, done))

    async def _start_later(self, after_s: float) -> None:
        await asyncio.sleep(max(0.0, after_s - self.timing.start))
        await self._start(self.k3s)

    async def aclose(self) -> None:
        """End what is under way."""
        tasks = list(self._jobs.values())
        for task in tasks:
            task.cancel()
        for task in tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task


def used_images(pods: Iterable[Json]) -> set[str]:
    """References of the images of pods."""
    return {c["image"] for pod in pods for c in pod["spec"].get("containers") or ()}
