"""The plan of a reboot. Pure."""

from __future__ import annotations

from datetime import datetime

from ...domain.plans import Plan, PlannedStep, Rung, outlook_of
from ..hosts import blocked_by
from ..nodes import address
from . import findings as found
from .facts import RebootFacts
from .params import RebootNode

NAME = "node.reboot"


def plan_reboot(facts: RebootFacts, params: RebootNode, now: datetime) -> Plan:
    name, findings = facts.cluster.name, found.all_of(facts)
    return Plan(
        operation=NAME,
        title=f"Reboot {name}",
        object=address(name),
        findings=findings,
        steps=steps_of(facts, params),
        locks=("site",),
        rung=Rung.DISRUPTIVE,
        verb="reboot",
        confirm=name,
        premises=facts.premises,
        outlook=outlook_of(findings),
        blocked=blocked_by(findings),
    )


def steps_of(facts: RebootFacts, params: RebootNode) -> tuple[PlannedStep, ...]:
    """Without an API nothing can be cordoned: the reboot itself needs none."""
    node, name = facts.node, facts.cluster.name
    there = {"node": name, "ip": node.internal_ip if node is not None else ""}
    own = params.cordon and node is not None
    before = (PlannedStep("node.cordon", f"Cordon {name}", {"node": name}, f"undone by coldtui node uncordon {name}"),)
    after = (PlannedStep("node.uncordon", f"Uncordon {name}", {"node": name, "only_ours": True}, "only if this run cordoned it"),)
    return (
        *(before if own else ()),
        PlannedStep("host.reboot", f"Reboot the host of {name}", there, "cannot be recalled"),
        PlannedStep("host.back", f"See that {name} is back", there),
        *(after if own else ()),
        PlannedStep("host.well", f"See that storage and database of {name} are well again", {"node": name}),
    )
