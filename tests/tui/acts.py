"""A desk over toy operations and a real journal, and plans of every outlook, for tests of what acts in the console."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textual import events

from coldtui.adapters.journal import open_journal
from coldtui.domain.plans import Fate, Finding, Outlook, Plan, PlanItem, PlannedStep, Premise, Rung, Weight, outlook_of
from coldtui.domain.runs import Run, RunSite, RunState, Who
from coldtui.domain.secret import Secret
from coldtui.domain.world import World
from coldtui.lab.fakes import FakeClock, FakeKube
from coldtui.operations.desk import Desk
from coldtui.operations.engine import Operation, RunContext, Step
from coldtui.operations.params import param
from coldtui.ports import Journal, Means, Self
from coldtui.tui.dialogs.base import Fresh
from coldtui.tui.site import Options
from tests.tui import worlds
from tests.tui.consoles import Console, console
from tests.tui.worlds import NOW

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

NODE = "k3s-worker-1"
READ = NOW - timedelta(seconds=2)
ME = Who("root", "root", "192.168.15.9", "k3s-master", "console")


@dataclass(frozen=True)
class OfNode:
    node: str = param("The node")


@dataclass(frozen=True)
class DrainNode:
    node: str = param("The node")
    grace: int = param("Seconds that each pod gets to stop; -1: its own", -1, unit="s", least=-1, most=3600)
    timeout: int = param("Seconds after which it gives up", 900, unit="s", least=0)
    delete_emptydir: bool = param("Go on although emptyDir data is lost", True)
    selector: str = param("Only pods with these labels", "")
    on_trouble: str = param("What becomes of pods that can never go", "refuse", choices=("refuse", "skip", "go on"))
    disable_eviction: bool = param("Delete instead of evicting: budgets are not asked, and can be broken", False, grave=True)


class ToyStep(Step):
    name = "toy"

    async def done(self, planned: PlannedStep, ctx: RunContext) -> bool:
        return True


@dataclass
class Scene:
    """What the toy operations find, and what was asked of them."""

    plans: dict[str, Plan] = field(default_factory=dict)
    errors: dict[str, Exception] = field(default_factory=dict)
    gate: asyncio.Event | None = None
    """Reading waits until it is set."""
    asked: list[tuple[str, Any]] = field(default_factory=list)
    """(operation, params), for each plan that was made."""
    secrets: list[Mapping[str, Secret]] = field(default_factory=list)
    launched: list[Run] = field(default_factory=list)
    here: list[Run] = field(default_factory=list)
    end: RunState = RunState.DONE
    journal: Journal | None = None
    broken: Exception | None = None
    """The journal cannot be opened."""
    production: bool = False
    forbidden: str = ""
    at_plan: Callable[[str], None] = lambda name: None

    def operation(self, name: str, title: str, about: str, rung: Rung, params: type[Any] = OfNode, undo: str = "") -> Operation[Any, Any]:
        async def gather(given: Any, means: Means, deadline_s: float) -> Any:
            self.asked.append((name, given))
            if self.gate is not None:
                await self.gate.wait()
            if name in self.errors:
                raise self.errors[name]
            self.at_plan(name)
            return None

        def plan(facts: Any, given: Any, now: datetime) -> Plan:
            made = self.plans.get(name)
            if made is None:
                made = simple(name, given.node, title, rung)
            return made

        return Operation(name, title, about, params, rung, gather, plan, (ToyStep(),), lambda p: f"nodes/{p.node}", undo)

    def operations(self) -> dict[str, Operation[Any, Any]]:
        made = (
            self.operation("node.cordon", "Cordon node", "No new pods are put on it", Rung.SMALL, undo="node.uncordon"),
            self.operation("node.uncordon", "Uncordon node", "New pods may be put on it again", Rung.SMALL, undo="node.cordon"),
            self.operation("node.drain", "Drain node", "Move every workload off and leave it cordoned", Rung.DISRUPTIVE, DrainNode),
            self.operation("node.reboot", "Reboot node", "systemctl reboot, and wait until it is Ready again", Rung.DISRUPTIVE),
            self.operation("node.clean-disk", "Clean disk of node", "Remove unused images and old logs", Rung.VISIBLE),
            self.operation("node.remove", "Remove node", "Take it out of the cluster for good", Rung.DESTRUCTIVE),
        )
        return {operation.name: operation for operation in made}

    # ------------------------------------------------------------ the desk's means

    def open(self) -> Journal:
        if self.broken is not None:
            raise self.broken
        assert self.journal is not None
        return self.journal

    async def run_here(self, run: Run) -> Run:
        self.here.append(run)
        journal = self.open()
        await asyncio.to_thread(journal.take_up, run.id, pid=os.getpid(), host="k3s-master")
        await asyncio.to_thread(
            journal.set_state, run.id, self.end, outcome=str(self.end) if self.end is RunState.DONE else "the API said no"
        )
        return await asyncio.to_thread(journal.run, run.id)

    def launch(
        self, run: Run, *, secrets: Mapping[str, Secret], deadline_s: float = 15.0, confirm: Callable[[], object] | None = None
    ) -> int:
        if confirm is not None:
            confirm()
        self.launched.append(run)
        self.secrets.append(dict(secrets))
        self.open().take_up(run.id, pid=os.getpid(), host="k3s-master")
        return os.getpid()

    def lives(self, run: Run) -> bool | None:
        return None

    def desk(self) -> Desk:
        clock = FakeClock(NOW)
        means = Means(FakeKube(), None, clock, Self(ME, "k3s-master", "boot"))  # type: ignore[arg-type]  # no toy operation runs a command

        async def ready() -> Means:
            return means

        site = RunSite(context="cold", name="cold-site", server="https://127.0.0.1:6443", cluster_uid="c0ffee")
        return Desk(
            self.operations(), ready, self.open, self, self.run_here, ME, site, forbidden=self.forbidden, production=self.production, clock=clock
        )  # fmt: skip


# ------------------------------------------------------------ plans


def simple(name: str, node: str, title: str, rung: Rung) -> Plan:
    """One step, nothing to say."""
    verb = name.partition(".")[2]
    shown = f"{title.removesuffix(' node').removesuffix(' of node')} {node}"
    step = PlannedStep("toy", shown)
    premises = (Premise(f"node {node}", READ),)
    return Plan(name, shown, f"nodes/{node}", (), (step,), (), rung, verb, node, premises=premises, took_s=0.1)


def drain_items() -> tuple[PlanItem, ...]:
    goes = [
        PlanItem(
            f"pods/cold-prod/cold-backend-7d9f6c-{i}x2", Fate.GOES, "",
            facts=(("owner", "ReplicaSet cold-backend-7d9f6c"), ("budget", "cold-backend 1 of 3"), ("can go to", "k3s-worker-2, k3s-worker-3")),
        )
        for i in range(6)
    ]  # fmt: skip
    stays = [
        PlanItem(f"pods/kube-system/{name}-4k7xq", Fate.STAYS, "DaemonSet", facts=(("owner", f"DaemonSet {name}"),))
        for name in ("svclb-traefik", "node-exporter", "longhorn-manager")
    ]
    return (*goes, *stays)


DRAIN_STEPS = (
    PlannedStep("toy", f"Cordon {NODE}"),
    PlannedStep("toy", "Evict 9 pods", note="accepted evictions cannot be recalled"),
    PlannedStep("toy", "Wait until they are gone"),
)
GOODS = (
    Finding("drain.replicas", Weight.GOOD, "volume pvc-7f31 keeps 2 of 3 healthy copies elsewhere", "lh_volumes/pvc-7f31"),
    Finding("drain.vip", Weight.GOOD, "VIP 192.168.15.200 is announced by k3s-worker-3", "services/traefik"),
    Finding("drain.quorum", Weight.GOOD, "all other 4 nodes are Ready"),
)


def drain(*findings: Finding, items: tuple[PlanItem, ...] | None = None, rung: Rung = Rung.DISRUPTIVE, **rest: Any) -> Plan:
    shown = drain_items() if items is None else items
    every = (*findings, *GOODS)
    premises = tuple(Premise(name, READ) for name in (f"pods of {NODE}", "budgets", "volumes"))
    made = Plan(
        "node.drain", f"Drain {NODE}", f"nodes/{NODE}", every, DRAIN_STEPS, ("site",), rung, "drain", NODE, items=shown, premises=premises,
        outlook=outlook_of(every, shown), took_s=0.4,
    )  # fmt: skip
    return replace(made, **rest)


PRIMARY = Finding(
    "drain.pg-primary", Weight.WARNING, "cold-postgres-1 is the PRIMARY of cold-postgres and runs here: a switchover comes first, to cold-postgres-2 (0 B behind)",
    "pods/postgres/cold-postgres-1", outlook=Outlook.GO_AFTER,
)  # fmt: skip
EMPTYDIR = Finding(
    "drain.emptydir",
    Weight.NOTE,
    "1 emptyDir is lost: cache of cold-prod/customer-portal-5c4b-0k8 (412 MiB)",
    "pods/cold-prod/customer-portal-5c4b-0k8",
)
WAITS = PlanItem(
    "pods/longhorn-system/instance-manager-2f9c1a", Fate.WAITS, "its budget allows it once every volume has left this node",
    facts=(("budget", "instance-manager 0 of 1"),),
)  # fmt: skip
NEVER = PlanItem(
    "pods/production/redis-0", Fate.NEVER, "budget redis-pdb needs 1 healthy and there is 1: it never allows an eviction",
    "scale redis to 2, or drain with --skip-pods redis-0", (("owner", "StatefulSet redis"), ("budget", "redis-pdb 0 of 1")),
)  # fmt: skip
HANGS = Finding(
    "drain.budget-never", Weight.STOP, "production/redis-0 can never be evicted: budget redis-pdb needs 1 healthy pod and has 1", "pods/production/redis-0",
    "scale redis to 2 replicas first, or choose in the options (ctrl-o) to skip pods that can never go", Outlook.WOULD_HANG,
)  # fmt: skip
UNREAD = Finding(
    "drain.budgets-unread", Weight.STOP, "not evaluated: budgets of 3 namespaces could not be read: needs list on poddisruptionbudgets",
    "", "ask for a role that may list poddisruptionbudgets", Outlook.NOT_EVALUATED,
)  # fmt: skip


def go() -> Plan:
    return drain(EMPTYDIR)


def go_after() -> Plan:
    return drain(PRIMARY, EMPTYDIR, items=(*drain_items(), WAITS))


def would_hang() -> Plan:
    plan = drain(HANGS, PRIMARY, EMPTYDIR, items=(*drain_items(), WAITS, NEVER))
    return replace(plan, blocked="1 pod can never go; scale redis to 2, or set on-trouble to skip in the options (ctrl-o)")


def not_evaluated() -> Plan:
    items = tuple(
        replace(i, fate=Fate.NOT_EVALUATED, why="its budgets could not be read") if i.fate is Fate.GOES else i for i in drain_items()
    )
    premises = (
        Premise(f"pods of {NODE}", READ),
        Premise("budgets", None, "403: needs list on poddisruptionbudgets"),
        Premise("volumes", READ),
    )
    return replace(
        drain(UNREAD, items=items), premises=premises, blocked="6 pods are not evaluated; choose in the options (ctrl-o) to go on"
    )


def refused() -> Plan:
    stop = Finding(
        "drain.other-down", Weight.STOP, "k3s-worker-2 is already down: a second node would break the quorum of 3 volumes", "nodes/k3s-worker-2",
        "bring k3s-worker-2 back first", Outlook.REFUSED,
    )  # fmt: skip
    return drain(stop)


def destructive(*more: Finding) -> Plan:
    """Rung 3."""
    lost = Finding(
        "remove.last-copy", Weight.STOP, "volume pvc-1c09 has its last healthy copy here: it is lost", "lh_volumes/pvc-1c09",
        "rebuild it elsewhere first", Outlook.WOULD_LOSE,
    )  # fmt: skip
    steps = (PlannedStep("toy", f"Cordon {NODE}"), PlannedStep("toy", f"Delete node {NODE}", note="cannot be undone"))
    findings = (lost, *more, *GOODS)
    premises = (Premise(f"pods of {NODE}", READ),)
    return Plan(
        "node.remove", f"Remove {NODE}", f"nodes/{NODE}", findings, steps, ("site",), Rung.DESTRUCTIVE, "remove", NODE, premises=premises,
        outlook=outlook_of(findings), took_s=0.3, needs_reason=True,
    )  # fmt: skip


# ------------------------------------------------------------ the console


@dataclass
class Stage:
    """A console that can act, and what it acts on."""

    c: Console
    scene: Scene
    ticks: float = 0.0

    async def hand(self, *keys: str, gap: float = 0.15) -> None:
        """Press keys as a hand does: one after the other, meant for what is there now."""
        await hand(self.c, *keys, gap=gap)

    async def later(self, seconds: float) -> None:
        """Time passes for what is counted down, and the timer of the second comes."""
        self.ticks += seconds
        self.c.moment += timedelta(seconds=seconds)
        self.c.app.acting.arming.tick()
        await self.c.settle()

    async def arm(self) -> None:
        """Armed, in the audit too."""
        await self.c.app.acting.arming._arm()
        await self.c.settle()


_clock = [time.monotonic()]


async def hand(c: Console, *keys: str, gap: float = 0.15) -> None:
    """Keys with the times at which a hand presses them, later than whatever was opened before."""
    _clock[0] = max(_clock[0], time.monotonic()) + 2.0
    for key in keys:
        _clock[0] += gap
        send(c, key, _clock[0])
        await c.settle()


async def held(c: Console, key: str) -> None:
    """A key that has been down since half a second ago: its first repeat."""
    _clock[0] = max(_clock[0], time.monotonic()) + 2.0
    c.app.hand.saw(key, _clock[0] - 0.5)
    send(c, key, _clock[0])
    await c.settle()


def send(c: Console, key: str, at: float) -> None:
    """One key that came at a moment."""
    names = {"-": "minus", " ": "space", ".": "full_stop"}
    event = events.Key(names.get(key, key), key if len(key) == 1 else " " if key == "space" else None)
    event.time = at
    event.set_sender(c.app)
    assert c.app._driver is not None
    c.app._driver.send_message(event)


def paste(c: Console, text: str) -> None:
    _clock[0] = max(_clock[0], time.monotonic()) + 2.0
    event = events.Paste(text)
    event.time = _clock[0]
    event.set_sender(c.app)
    assert c.app._driver is not None
    c.app._driver.send_message(event)


@asynccontextmanager
async def stage(
    tmp_path: Path,
    *,
    world: World | None = None,
    size: tuple[int, int] = (80, 24),
    start: str = "nodes",
    scene: Scene | None = None,
    read_only: bool = False,
    errors: int = 0,
) -> AsyncIterator[Stage]:
    found = scene or Scene()
    if found.journal is None:
        found.journal = open_journal(str(tmp_path / "journal.db"), clock=FakeClock(NOW))
    made: list[Stage] = []
    options = Options(read_only=read_only, monotonic=lambda: made[0].ticks if made else 0.0)
    try:
        async with console(world or worlds.healthy(), size=size, start=start, options=options, errors=errors, desk=found.desk()) as c:
            made.append(Stage(c, found))
            yield made[0]
    finally:
        found.journal.close()


def dialog(c: Console) -> Fresh[Any]:
    screen = c.app.screen
    assert isinstance(screen, Fresh), screen
    return screen
