"""Cordon and uncordon: whether a node takes new pods. Small acts by themselves, and the first and last step of larger ones."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import datetime
from difflib import get_close_matches
from typing import Any

from ..domain.errors import ColdError, Conflict, Forbidden, Invalid, JournalTrouble, NotFound, Refused, StepFailed, Unauthorized
from ..domain.kinds import NODES
from ..domain.nodes import Node
from ..domain.plans import Finding, Plan, PlannedStep, Premise, Rung, Weight, outlook_of
from ..domain.runs import Run
from ..domain.text import counted, plain
from ..domain.values import dataclass
from ..ports import Means, PatchForm
from .engine import Operation, RunContext, Step
from .locks import lease_name, words_of_holder
from .params import param

UNSCHEDULABLE = "node.kubernetes.io/unschedulable"


@dataclass(frozen=True, slots=True)
class CordonNode:
    """Let a node take no new pods; what runs there stays."""

    node: str = param("the node")


@dataclass(frozen=True, slots=True)
class UncordonNode:
    """Let a node take new pods again."""

    node: str = param("the node")


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """What is read before a node is cordoned or uncordoned."""

    node: Node
    others: tuple[Node, ...] | None
    """None: not readable, and `others_reason` says why."""
    read_at: datetime
    others_reason: str = ""
    runs: tuple[Run, ...] = ()
    """Under way by this machine's journal."""
    holder: str = ""
    """Of the site's lease: host/user/run; empty: nobody."""
    holder_reason: str = ""
    """Why the lease could not be read."""


async def gather(params: CordonNode | UncordonNode, means: Means, deadline_s: float) -> NodeFacts:
    """Raises NotFound (with the nearest names), and Unreachable: without the node there is nothing to plan."""
    (node, others, reason), (holder, holder_reason), runs = await asyncio.gather(
        _nodes(params.node, means, deadline_s), _site_holder(means, deadline_s), _under_way(means)
    )
    return NodeFacts(node, others, means.clock.now(), reason, runs, holder, holder_reason)


async def _nodes(name: str, means: Means, deadline_s: float) -> tuple[Node, tuple[Node, ...] | None, str]:
    try:
        every: tuple[Node, ...] = await means.kube.read_all(NODES, deadline_s=deadline_s)
    except Forbidden as error:
        return await means.kube.read(NODES, name, deadline_s=deadline_s), None, error.title
    for node in every:
        if node.name == name:
            return node, tuple(other for other in every if other is not node), ""
    raise unknown_node(name, tuple(node.name for node in every))


def unknown_node(name: str, known: tuple[str, ...]) -> NotFound:
    """Says which names are near."""
    near = get_close_matches(name, known, n=3, cutoff=0.4)
    hint = f"did you mean {' or '.join(near)}?" if near else f"there are: {', '.join(sorted(known)[:12])}" if known else ""
    return NotFound(f"no node {plain(name)}", hint=hint)


async def _site_holder(means: Means, deadline_s: float) -> tuple[str, str]:
    try:
        lease = await means.kube.lease(means.lease_namespace, lease_name("site"), deadline_s=min(5.0, deadline_s))
    except ColdError as error:
        return "", error.title
    return (lease.holder if lease is not None else ""), ""


async def _under_way(means: Means) -> tuple[Run, ...]:
    try:
        return await asyncio.to_thread(means.under_way)
    except JournalTrouble:
        return ()  # whoever confirms is told: the journal takes no run then


# ------------------------------------------------------------ plans


def plan_cordon(facts: NodeFacts, params: CordonNode, now: datetime) -> Plan:
    node, findings = facts.node, [*_condition(facts.node, "what runs there is not moved by this"), *_elsewhere(facts), *_busy(facts, "")]
    done = f"{node.name} is cordoned already" if node.unschedulable else ""
    return _plan("node.cordon", "Cordon", "cordon", facts, tuple(findings), done)


def plan_uncordon(facts: NodeFacts, params: UncordonNode, now: datetime) -> Plan:
    node = facts.node
    findings = [*_condition(node, "no pod starts there until it is Ready"), *_taints(node), *_busy(facts, "may count on it being cordoned")]
    done = "" if node.unschedulable else f"{node.name} is not cordoned"
    return _plan("node.uncordon", "Uncordon", "uncordon", facts, tuple(findings), done)


def _plan(operation: str, word: str, verb: str, facts: NodeFacts, findings: tuple[Finding, ...], done: str) -> Plan:
    name = facts.node.name
    title = f"{word} {name}"
    premises = [
        Premise(f"node {name}", facts.read_at),
        Premise("the other nodes", facts.read_at if facts.others is not None else None, facts.others_reason),
        Premise("who holds the site", None if facts.holder_reason else facts.read_at, facts.holder_reason),
    ]
    return Plan(
        operation=operation,
        title=title,
        object=address(name),
        findings=findings,
        steps=() if done else (PlannedStep(operation, title, {"node": name}),),
        locks=(),
        rung=Rung.SMALL,
        verb=verb,
        confirm=name,
        premises=tuple(premises),
        outlook=outlook_of(findings),
        done=done,
    )


def address(name: str) -> str:
    return f"nodes/{name}"


def _condition(node: Node, what: str) -> list[Finding]:
    if node.ready == "True":
        return []
    word = node.status.split(",")[0]
    return [Finding("node.not-ready", Weight.NOTE, f"{node.name} is {word}: {what}", address(node.name))]


def takes_pods(node: Node) -> bool:
    """Ready, not cordoned, and without a taint that keeps ordinary pods away."""
    return node.ready == "True" and not node.unschedulable and not any(t.effect in ("NoSchedule", "NoExecute") for t in node.taints)


def _elsewhere(facts: NodeFacts) -> list[Finding]:
    name, where = facts.node.name, address(facts.node.name)
    if facts.others is None:
        return [Finding("node.others-unknown", Weight.NOTE, f"other nodes: not evaluated, {facts.others_reason}", where)]
    open_to_pods = sum(1 for node in facts.others if takes_pods(node))
    if open_to_pods:
        word = "takes" if open_to_pods == 1 else "take"
        return [Finding("node.others", Weight.GOOD, f"{counted(open_to_pods, 'other node')} {word} new pods", where)]
    remedy = "uncordon or mend another node first"
    return [Finding("node.last-schedulable", Weight.WARNING, f"no other node takes new pods: {name} is the last", where, remedy)]


def _taints(node: Node) -> list[Finding]:
    left = [str(t) for t in node.taints if t.effect in ("NoSchedule", "NoExecute") and t.key != UNSCHEDULABLE]
    if not left:
        return []
    sentence = f"{node.name} keeps {counted(len(left), 'taint')}: {', '.join(left)}"
    return [Finding("node.tainted", Weight.NOTE, sentence, address(node.name), "pods without a matching toleration stay away")]


def _busy(facts: NodeFacts, why: str) -> list[Finding]:
    """Who holds the site. `why`: what makes it a warning when that run acts on this node."""
    where, found = address(facts.node.name), []
    disruptive = [run for run in facts.runs if "site" in run.locks]
    for run in disruptive:
        grave = bool(why) and run.object == where
        sentence = f"{run.title} is under way: {run.id}, {run.who}, since {run.created:%H:%M:%S}Z"
        found.append(
            Finding(
                "node.run-under-way",
                Weight.WARNING if grave else Weight.NOTE,
                f"{sentence}; it {why}" if grave else sentence,
                where,
                f"coldtui run cancel {run.id} stops it first" if grave else "",
            )
        )
    if facts.holder and not any(facts.holder.endswith(f"/{run.id}") for run in disruptive):
        found.append(Finding("node.site-held", Weight.NOTE, f"the site is held by {words_of_holder(facts.holder)}", where))
    return found


# ------------------------------------------------------------ steps


class Schedulable(Step):
    """Sets `spec.unschedulable` as kubectl does: a strategic patch, `true` to cordon, `null` to uncordon.

    Memo: `was` (cordoned before this run began) and, once this run asked for it, `cordoned` or `uncordoned` with the node's name.
    """

    def __init__(self, name: str, *, cordon: bool) -> None:
        self.name = name
        self.cordon = cordon
        self.mark = "cordoned" if cordon else "uncordoned"

    async def before(self, planned: PlannedStep, ctx: RunContext) -> Mapping[str, Any]:
        node = await _read(planned, ctx)
        return {"was": node.unschedulable, "uid": node.uid}

    async def done(self, planned: PlannedStep, ctx: RunContext) -> bool:
        if not self.cordon and planned.args.get("only_ours") and not cordoned_by(ctx, planned.args["node"]):
            return True
        return (await _read(planned, ctx)).unschedulable is self.cordon

    async def run(self, planned: PlannedStep, ctx: RunContext) -> None:
        name = planned.args["node"]
        await ctx.ready()
        await ctx.remember(**{self.mark: name})
        try:
            await ctx.patiently(lambda: self._ask(planned, ctx))
        except (Forbidden, Unauthorized, Invalid, NotFound, Conflict, Refused):
            await ctx.remember(**{self.mark: ""})  # a plain no: nothing stands
            raise
        node = await ctx.patiently(lambda: _read(planned, ctx))
        if node.unschedulable is not self.cordon:
            raise StepFailed(
                f"{name} was {'un' if self.cordon else ''}cordoned by somebody else at once",
                hint="find out who: kubectl get events, other consoles",
            )

    async def _ask(self, planned: PlannedStep, ctx: RunContext) -> None:
        """Reads first: of an earlier try the outcome may be unknown, and somebody may have been quicker."""
        if (await _read(planned, ctx)).unschedulable is not self.cordon:
            body = {"spec": {"unschedulable": True if self.cordon else None}}
            await ctx.means.kube.patch(NODES, planned.args["node"], body, form=PatchForm.STRATEGIC)

    def left_behind(self, planned: PlannedStep, ctx: RunContext) -> str:
        name = planned.args["node"]
        if not ctx.memo_of(planned).get(self.mark):
            return ""
        if not self.cordon:
            return f"{name} takes new pods again"
        if any(key.endswith("/uncordoned") and value == name for key, value in ctx.memo.items()):
            return ""
        return f"{name} is still cordoned: coldtui node uncordon {name}"


async def _read(planned: PlannedStep, ctx: RunContext) -> Node:
    found: Node = await ctx.means.kube.read(NODES, planned.args["node"])
    return found


def cordoned_by(ctx: RunContext, node: str) -> bool:
    """Whether this run, over all its attempts, cordoned the node: it was schedulable before, and this run asked."""
    for key, value in ctx.memo.items():
        index, _, name = key.partition("/")
        if name == "cordoned" and value == node and ctx.memo.get(f"{index}/was") is False:
            return True
    return False


CORDON_STEP = Schedulable("node.cordon", cordon=True)
"""Arguments: `node`."""
UNCORDON_STEP = Schedulable("node.uncordon", cordon=False)
"""Arguments: `node`; `only_ours` true: only when this run cordoned it."""

CORDON: Operation[CordonNode, NodeFacts] = Operation(
    name="node.cordon",
    title="Cordon node",
    about="let a node take no new pods; what runs there stays",
    params=CordonNode,
    rung=Rung.SMALL,
    gather=gather,
    plan=plan_cordon,
    steps=(CORDON_STEP,),
    object=lambda params: address(params.node),
    undo="node.uncordon",
)
UNCORDON: Operation[UncordonNode, NodeFacts] = Operation(
    name="node.uncordon",
    title="Uncordon node",
    about="let a node take new pods again",
    params=UncordonNode,
    rung=Rung.SMALL,
    gather=gather,
    plan=plan_uncordon,
    steps=(UNCORDON_STEP,),
    object=lambda params: address(params.node),
    undo="node.cordon",
)
