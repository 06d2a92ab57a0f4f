"""The acts, one by one, each measured. They remove what can be had again, and can be begun again at any point."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...domain.errors import StepFailed
from ...domain.hosts import NEVER, forbidden
from ...domain.plans import PlannedStep
from ...domain.text import plain
from ...ports import Command, Finished, Output
from ...present.words import size
from ..engine import RunContext, Step
from ..host_steps import kept, on_host
from .facts import measure, real
from .items import AIRGAP, ARCHIVE, DATA, RELEASE, stale_releases

ACT_S = 900.0
"""For one command: containerd takes its time over hundreds of images."""
ANSWER_S = 60.0


class CleanStep(Step):
    """Arguments: `node`, `ip`, `frees` (the estimate), and what the act itself needs. Memo: `used` (bytes before, by mount point), `freed`."""

    async def before(self, planned: PlannedStep, ctx: RunContext) -> Mapping[str, Any]:
        return {"used": await used(planned, ctx)}

    async def done(self, planned: PlannedStep, ctx: RunContext) -> bool:
        return "freed" in ctx.memo_of(planned)

    async def run(self, planned: PlannedStep, ctx: RunContext) -> None:
        await ctx.ready()
        await self.act(planned, ctx)
        freed = gained(ctx.memo_of(planned).get("used") or {}, await used(planned, ctx))
        expected = int(planned.args.get("frees") or 0)
        told = f", expected about {size(expected)}" if expected else ""
        await ctx.say(f"{planned.title}: freed {size(freed)}{told}" if freed is not None else f"{planned.title}: done, not measured")
        await ctx.remember(freed=freed)  # after it was said: twice is better than never

    async def act(self, planned: PlannedStep, ctx: RunContext) -> None:
        raise NotImplementedError


async def used(planned: PlannedStep, ctx: RunContext) -> dict[str, int]:
    found = await measure(ctx.means.shell, str(planned.args["node"]), planned.args.get("ip", ""))
    return {target: system.used_b for target, system in found.items()}


def gained(before: Mapping[str, int], after: Mapping[str, int]) -> int | None:
    """Bytes that came free over all file systems that were measured both times; None: none was. Less than nothing when more was written."""
    both = [target for target in before if target in after]
    return sum(before[target] - after[target] for target in both) if both else None


async def on_disk(planned: PlannedStep, ctx: RunContext, *argv: str) -> Finished:
    """Run an act as root, its output in the log. Raises StepFailed when it fails."""
    node, lines = str(planned.args["node"]), list[str]()
    await ctx.write((f"{node}: {' '.join(argv)}",), stream="say")
    command = Command(argv, mutates=True, root=True)

    async def once() -> Finished:
        return await ctx.means.shell.run(node, command, ip=planned.args.get("ip", ""), on_line=take, deadline_s=ACT_S)

    def take(line: Output) -> None:
        lines.append(line.text)

    try:
        done = await on_host(ctx, node, once, ANSWER_S)
    finally:
        await ctx.write(tuple(lines))
    if not done.ok:
        said = (done.err or done.out or (f"exit {done.exit}",))[-1]
        raise StepFailed(f"{planned.title}: {argv[0]} failed", detail=said)
    return done


class Images(CleanStep):
    name = "disk.images"

    async def act(self, planned: PlannedStep, ctx: RunContext) -> None:
        await on_disk(planned, ctx, "k3s", "crictl", "rmi", "--prune")


class Journal(CleanStep):
    """Arguments besides: `keep_mb`."""

    name = "disk.journal"

    async def act(self, planned: PlannedStep, ctx: RunContext) -> None:
        await on_disk(planned, ctx, "journalctl", f"--vacuum-size={int(planned.args['keep_mb'])}M")


class Apt(CleanStep):
    name = "disk.apt"

    async def act(self, planned: PlannedStep, ctx: RunContext) -> None:
        await on_disk(planned, ctx, "apt-get", "clean")


class Releases(CleanStep):
    """Arguments besides: `paths`, as they were confirmed. The links are read again: what they name now is left."""

    name = "disk.data"

    async def act(self, planned: PlannedStep, ctx: RunContext) -> None:
        node, ip, shell = str(planned.args["node"]), planned.args.get("ip", ""), ctx.means.shell
        look = Command(("ls", "-1A", DATA), mutates=False, root=True)
        names = await on_host(ctx, node, lambda: shell.run(node, look, ip=ip), ANSWER_S)
        links = [await followed(planned, ctx, f"{DATA}/{name}") for name in ("current", "previous")]
        try:
            stale = stale_releases(names.out, *links)
        except ValueError as error:
            raise StepFailed(f"{planned.title}: nothing was removed", detail=str(error)) from None
        confirmed = [str(path) for path in planned.args.get("paths") or ()]
        for path in (p for p in confirmed if p in stale):
            await safe(planned, ctx, path, DATA, RELEASE.fullmatch(path.rpartition("/")[2]) is not None)
            await ctx.ready()
            await on_disk(planned, ctx, "rm", "-rf", "--one-file-system", "--", path)


class Archives(CleanStep):
    """Arguments besides: `paths`, as they were confirmed."""

    name = "disk.airgap"

    async def act(self, planned: PlannedStep, ctx: RunContext) -> None:
        for path in [str(path) for path in planned.args.get("paths") or ()]:
            await safe(planned, ctx, path, AIRGAP, ARCHIVE.fullmatch(path.rpartition("/")[2]) is not None)
            await ctx.ready()
            await on_disk(planned, ctx, "rm", "-f", "--", path)


async def safe(planned: PlannedStep, ctx: RunContext, path: str, folder: str, shaped: bool) -> None:
    """Raises StepFailed unless the path is what it seems, with all links followed on the host: directly in its folder, and neither on nor
    around anything that is never touched."""
    node, ip, shell = str(planned.args["node"]), planned.args.get("ip", ""), ctx.means.shell

    async def ask(what: str) -> str:
        return await on_host(ctx, node, lambda: real(shell, node, ip, what), ANSWER_S)

    refusal = StepFailed(
        f"{plain(path)} is not removed", detail="it may lead to data of volumes or the datastore", hint=f"look at it on {node}"
    )
    if not shaped or path.rpartition("/")[0] != folder or forbidden([path]):
        raise refusal
    target, base = await followed(planned, ctx, path), await followed(planned, ctx, folder)
    if not target:
        return  # gone already
    if not base or target != f"{base}/{path.rpartition('/')[2]}" or near(target, [await followed(planned, ctx, never) for never in NEVER]):
        raise refusal


async def followed(planned: PlannedStep, ctx: RunContext, path: str) -> str:
    """The path with all links followed on the host, waited for."""
    node, ip = str(planned.args["node"]), planned.args.get("ip", "")
    return await on_host(ctx, node, lambda: real(ctx.means.shell, node, ip, path), ANSWER_S)


def near(path: str, others: Sequence[str]) -> bool:
    """Whether one path is, holds or lies in another. All are real."""
    return any(other and (path == other or path.startswith(f"{other}/") or other.startswith(f"{path}/")) for other in others)


class Measure(Step):
    """Arguments: `node`, `ip`. Says what came free in all, against the first memo of this run."""

    name = "disk.measure"

    async def done(self, planned: PlannedStep, ctx: RunContext) -> bool:
        return "total" in ctx.memo_of(planned)

    async def run(self, planned: PlannedStep, ctx: RunContext) -> None:
        node = str(planned.args["node"])
        found = await measure(ctx.means.shell, node, planned.args.get("ip", ""))
        total = gained(kept(ctx, "used") or {}, {target: system.used_b for target, system in found.items()})
        now = "; ".join(f"{s.target} is {s.fraction:.0%} full, {size(s.available_b)} free" for s in found.values())
        await ctx.say(
            f"{node}: freed {size(total)} in all; {now}" if total is not None else f"{node}: what came free could not be measured"
        )


STEPS: tuple[Step, ...] = (Images(), Journal(), Apt(), Releases(), Archives(), Measure())
