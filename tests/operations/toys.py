"""A toy operation whose world is a folder, and a program that runs it as `coldtui run exec` runs a real one.

World: `acts` has a line for each act that was done. `trouble` (if there) makes the plan worse. `gone` makes the world unreachable.
A test stops a runner at a named moment: environment TOY_KILL=moment:step kills it with -9, TOY_HOLD=moment:step lets it wait for the file
`go-moment-step` after it made `at-moment-step`. Moments of a step: `before` (its memo is not written yet), `started` (the event is on disk, the
act is not done), `memo` (a further memo is on disk), `acted` (done, nothing more is written).
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from coldtui.domain.errors import NotFound, StepFailed, Unreachable
from coldtui.domain.plans import Finding, Outlook, Plan, PlannedStep, Premise, Rung, Weight, outlook_of
from coldtui.operations.engine import Operation, RunContext, Step
from coldtui.operations.params import param
from coldtui.ports import Means


@dataclass(frozen=True, slots=True)
class Paint:
    world: str = param("folder of the world")
    steps: int = param("how many acts", 3)
    timeout: int = param("limit", 0, unit="s")
    fail: int = param("the act that fails; 0: none", 0)
    busy: bool = param("hold the loop instead of waiting", False)


@dataclass(frozen=True, slots=True)
class Seen:
    trouble: str
    at: datetime
    reachable: bool


def acts(world: str | Path) -> list[str]:
    path = Path(world) / "acts"
    return path.read_text().split() if path.exists() else []


async def gather(params: Paint, means: Means, deadline_s: float) -> Seen:
    if not _there(params.world):
        raise NotFound(f"no world {params.world}")
    try:
        await means.kube.alive()
    except Unreachable:
        return Seen("", means.clock.now(), False)
    return Seen(_trouble(params.world), means.clock.now(), True)


def _there(world: str) -> bool:
    return Path(world).is_dir()


def _trouble(world: str) -> str:
    path = Path(world) / "trouble"
    return path.read_text() if path.exists() else ""


def plan(seen: Seen, params: Paint, now: datetime) -> Plan:
    findings = (Finding("toy.trouble", Weight.WARNING, seen.trouble, "toys/world", "wait", Outlook.WOULD_HANG),) if seen.trouble else ()
    done = "" if len(acts(params.world)) < params.steps else "all is painted"
    steps = tuple(PlannedStep("toy.act", f"Act {n}", {"n": n, "world": params.world}) for n in range(params.steps))
    premise = Premise("the world", seen.at) if seen.reachable else Premise("the world", None, "the API does not answer")
    return Plan(
        "toy.paint", "Paint", "toys/world", findings, () if done else steps, ("site",), Rung.DISRUPTIVE, "paint", "world",
        premises=(premise,), outlook=outlook_of(findings) if seen.reachable else Outlook.NOT_EVALUATED, done=done,
    )  # fmt: skip


class Act(Step):
    name = "toy.act"

    async def before(self, planned: PlannedStep, ctx: RunContext) -> Mapping[str, Any]:
        await moment("before", planned, ctx)
        return {"seen": len(acts(planned.args["world"]))}

    async def done(self, planned: PlannedStep, ctx: RunContext) -> bool:
        return str(planned.args["n"]) in acts(planned.args["world"])

    async def run(self, planned: PlannedStep, ctx: RunContext) -> None:
        await moment("started", planned, ctx)
        await ctx.ready()
        await ctx.remember(asked=True)
        await moment("memo", planned, ctx)
        if ctx.params.fail == planned.args["n"] + 1:
            raise StepFailed(f"act {planned.args['n']} failed", detail="no paint", hint="buy some")
        with (Path(planned.args["world"]) / "acts").open("a") as file:
            file.write(f"{planned.args['n']}\n")
            file.flush()
            os.fsync(file.fileno())
        await moment("acted", planned, ctx)

    def left_behind(self, planned: PlannedStep, ctx: RunContext) -> str:
        n = planned.args["n"]
        return f"act {n} is painted" if str(n) in acts(planned.args["world"]) else ""


async def moment(name: str, planned: PlannedStep, ctx: RunContext) -> None:
    here = f"{name}:{planned.args['n']}"
    if os.environ.get("TOY_KILL") == here:
        os.kill(os.getpid(), signal.SIGKILL)
    if os.environ.get("TOY_FAULT") == here:
        raise ZeroDivisionError("a fault of the toy")
    if os.environ.get("TOY_HOLD") != here:
        return
    world = Path(planned.args["world"])
    (world / f"at-{here.replace(':', '-')}").touch()
    while not (world / f"go-{here.replace(':', '-')}").exists():
        if ctx.params.busy:
            time.sleep(0.02)  # noqa: ASYNC251 (a step that holds the loop is what is tested)
        else:
            await asyncio.sleep(0.02)


PAINT: Operation[Paint, Seen] = Operation(
    name="toy.paint",
    title="Paint",
    about="paint the world",
    params=Paint,
    rung=Rung.DISRUPTIVE,
    gather=gather,
    plan=plan,
    steps=(Act(),),
    object=lambda params: "toys/world",
)
TOYS: Mapping[str, Operation[Any, Any]] = {"toy.paint": PAINT}


def main(argv: list[str]) -> int:
    """The runner's program: `... --journal PATH run exec ID`, as the launcher starts it, on the toy and a cluster in memory."""
    from coldtui.adapters.journal import open_journal
    from coldtui.adapters.launch import lives, me, take_secrets
    from coldtui.cli.exec import perform
    from coldtui.lab.fakes import FakeKube
    from coldtui.live.pace import SystemClock
    from coldtui.operations.runner import Bench

    secrets = take_secrets(os.environ)
    if word := os.environ.get("TOY_REFUSES_TO_START"):
        print(word, file=sys.stderr)
        return 9
    clock = SystemClock()
    journal = open_journal(argv[argv.index("--journal") + 1], clock=clock, reserve_b=0)
    who = me("runner")

    async def means() -> Means:
        from coldtui.operations.engine import offline

        made = offline(clock, who)
        return Means(FakeKube(), made.shell, clock, who, secrets=secrets)

    async def close(_: Means) -> None:
        return

    return int(asyncio.run(perform(Bench(journal, means, who, os.getpid(), clock, TOYS, close=close, lives=lives), argv[-1])))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
