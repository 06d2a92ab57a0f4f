"""One patch of the Cluster, sent only while it is the one that was judged; of an unknown outcome the caller looks at the world."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

from ...domain.errors import Conflict, Forbidden, Invalid, NotFound, Refused, StepFailed, Unauthorized, Unreachable
from ...domain.kinds import PG_CLUSTERS
from ...domain.plans import Finding, Outlook, PlannedStep
from ...domain.troubles import trouble_of
from ..engine import GATHER_S, RunContext
from .facts import PgFacts, gather_cluster

TRIES = 3
"""A Cluster that changes while we look is looked at anew so often."""


async def order(
    planned: PlannedStep,
    ctx: RunContext,
    *,
    judge: Callable[[PgFacts], Iterable[Finding]],
    body: Callable[[Mapping[str, Any]], Mapping[str, Any]],
    subresource: str = "",
) -> None:
    """Judge, then patch exactly that version. Memo: `asked`, the time at which it was about to be sent (empty: it was
    refused); `sent`, that it was taken.

    Arguments of the step: `namespace`, `cluster`, `doubts`. Raises Refused where something speaks against it that the plan did not have.
    """
    args, kube = planned.args, ctx.means.kube
    name, namespace = str(args["cluster"]), str(args["namespace"])
    for _ in range(TRIES):
        raw = await ctx.patiently(lambda: kube.fetch(PG_CLUSTERS, name, namespace))
        facts = await ctx.patiently(lambda: facts_of(planned, ctx))
        refuse(judge(facts), planned)
        await ctx.ready()
        await ctx.remember(asked=ctx.now.isoformat())
        wanted = body(raw)
        try:
            await kube.patch(PG_CLUSTERS, name, wanted, namespace, subresource=subresource)
        except Conflict:
            stands = await ctx.patiently(lambda: kube.fetch(PG_CLUSTERS, name, namespace))
            if holds(stands, wanted):  # sent twice over a line that broke in between, or by somebody else at the same time
                await ctx.remember(sent=True)
                return
            await ctx.remember(asked="")
            await ctx.say(f"{name} changed while it was looked at: nothing was sent, it is judged anew")
            continue
        except Unreachable as error:
            await ctx.say(f"whether {name} took it is not known: {trouble_of(error).words}")
            await ctx.sleep(1.0)
        except (Unauthorized, Forbidden, Invalid, NotFound, Refused):
            await ctx.remember(asked="")
            raise
        else:
            await ctx.remember(sent=True)
        return
    raise Refused(f"{name} changed each time it was looked at", detail=f"{TRIES} times in a row", hint="plan again")


def holds(raw: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Whether a Cluster has what a patch asks for; its version and its lists (whole conditions) aside."""
    for key, value in wanted.items():
        if key == "resourceVersion" or isinstance(value, list):
            continue
        found = raw.get(key)
        if isinstance(value, Mapping):
            if not holds(found or {}, value):
                return False
        elif found != value:
            return False
    return True


async def facts_of(planned: PlannedStep, ctx: RunContext) -> PgFacts:
    return await gather_cluster(f"{planned.args['namespace']}/{planned.args['cluster']}", ctx.means, GATHER_S)


def refuse(findings: Iterable[Finding], planned: PlannedStep) -> None:
    """Raises Refused with what speaks against it now, and was neither so nor in doubt when it was planned."""
    doubts = set(planned.args.get("doubts") or ())
    against = [
        f.sentence for f in findings if f.outlook is Outlook.REFUSED or (f.outlook is Outlook.NOT_EVALUATED and f.code not in doubts)
    ]
    if against:
        raise Refused("it may not be done any more", detail="; ".join(against), hint="plan again")


def doubts_of(findings: Iterable[Finding]) -> list[str]:
    """Codes of what could not be evaluated, for the arguments of a step."""
    return sorted({f.code for f in findings if f.outlook is Outlook.NOT_EVALUATED})


def guarded(raw: Mapping[str, Any], **annotations: str | None) -> dict[str, Any]:
    """A merge patch of annotations, of exactly the version that was read."""
    marks = {f"cnpg.io/{key}": value for key, value in annotations.items()}
    return {"metadata": {"resourceVersion": raw["metadata"]["resourceVersion"], "annotations": marks}}


async def waited(ctx: RunContext, lacking: Callable[[], Awaitable[str]], *, look_s: float, late: Callable[[str], Exception]) -> None:
    """Until nothing is lacking, with what is said as what the run waits for. Raises what `late` makes of it when the time is over."""
    left = ""
    try:
        while left := await ctx.patiently(lacking):
            await ctx.waiting(left)
            await ctx.sleep(look_s)
    except StepFailed as error:
        if ctx.deadline is None or ctx.now < ctx.deadline:
            raise
        raise late(left) from error
    await ctx.waiting("")
