"""The plan of a cleaning: what each part frees, what is left alone and why. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from ...domain.plans import Fate, Finding, Plan, PlanItem, PlannedStep, Rung, Weight, outlook_of
from ...present.words import size
from ..hosts import blocked_by, findings_of
from ..nodes import address
from .facts import DiskFacts
from .items import DiskItem
from .params import CleanDisk

NAME = "node.clean-disk"
ACTS = {
    "images": "Remove unused images",
    "journal": "Cut the journal down",
    "apt": "Empty the package cache",
    "data": "Remove stale K3s releases",
    "airgap": "Remove archives with K3s images",
}


def plan_clean(facts: DiskFacts, params: CleanDisk, now: datetime) -> Plan:
    chosen = [item for item in facts.items if getattr(params, item.name) and item.worth]
    findings = tuple(_findings(facts, params, chosen))
    blocked = blocked_by(findings)
    nothing = not chosen and facts.host.reached and facts.host.root is None
    return Plan(
        operation=NAME,
        title=f"Clean the disk of {facts.name}",
        object=address(facts.name),
        findings=findings,
        steps=() if nothing else steps_of(facts, params, chosen),
        locks=(f"node:{facts.name}",),
        rung=Rung.VISIBLE,
        verb="clean",
        confirm=facts.name,
        items=tuple(_item(facts.name, item, params) for item in facts.items),
        premises=facts.premises,
        outlook=outlook_of(findings),
        blocked="" if nothing and not blocked else blocked,
        done=f"nothing worth cleaning on {facts.name}" if nothing and not blocked else "",
    )


def steps_of(facts: DiskFacts, params: CleanDisk, chosen: list[DiskItem]) -> tuple[PlannedStep, ...]:
    there = {"node": facts.name, "ip": facts.node.internal_ip if facts.node is not None else ""}
    if not facts.items:  # root is wanted first: the runner plans again with the password, and says what it finds
        chosen = [DiskItem(name, "") for name in ACTS if getattr(params, name)]
    steps = []
    for item in chosen:
        args = {**there, "frees": item.frees_b or 0}
        if item.name == "journal":
            args["keep_mb"] = params.journal_mb
        if item.name in ("data", "airgap"):
            args["paths"] = list(item.paths)
        steps.append(PlannedStep(f"disk.{item.name}", f"{ACTS[item.name]} on {facts.name}", args, "cannot be undone"))
    return (*steps, PlannedStep("disk.measure", f"Measure what came free on {facts.name}", there))


def _item(node: str, item: DiskItem, params: CleanDisk) -> PlanItem:
    where = f"{address(node)}/disk/{item.name}"
    if item.frees_b is None:
        return PlanItem(where, Fate.STAYS, f"not evaluated: {item.reason}")
    facts = (("what", item.what), ("frees about", size(item.frees_b)), *(("path", path) for path in item.paths))
    if not getattr(params, item.name):
        return PlanItem(where, Fate.STAYS, "not asked for", facts=facts)
    if not item.worth:
        return PlanItem(where, Fate.STAYS, "nothing worth it", facts=facts)
    return PlanItem(where, Fate.GOES, f"frees about {size(item.frees_b)}: {item.what}", facts=facts)


def _findings(facts: DiskFacts, params: CleanDisk, chosen: list[DiskItem]) -> Iterator[Finding]:
    """How full the disk is warns of nothing here: it is why somebody cleans."""
    where = address(facts.name)
    yield from findings_of(facts.host, facts.node, facts.me)
    if params.airgap:
        sentence = "archives with K3s images are removed: without internet K3s cannot have its own images again"
        yield Finding("disk.airgap", Weight.WARNING, sentence, where)
    for system in facts.systems.values():
        sentence = (
            f"{system.target} of {facts.name} is {system.fraction:.0%} full: {size(system.available_b)} free of {size(system.size_b)}"
        )
        yield Finding("disk.full", Weight.NOTE, sentence, f"{where}{system.target}")
    if facts.node is not None and any(c.type == "DiskPressure" for c in facts.node.pressures):
        yield Finding("disk.pressure", Weight.NOTE, f"{facts.name} has DiskPressure: it ends about 5 min after there is room", where)
    if chosen:
        total = sum(item.frees_b or 0 for item in chosen)
        yield Finding("disk.frees", Weight.GOOD, f"about {size(total)} come free; what images share with others stays", where)
    for item in facts.items:
        if item.frees_b is None and getattr(params, item.name):
            yield Finding("disk.unread", Weight.NOTE, f"{item.title}: left alone, {item.reason}", where)
        if item.name == "airgap" and item.worth and not params.airgap:
            yield Finding(
                "disk.airgap-left", Weight.NOTE, f"{item.what} with K3s images, {size(item.frees_b or 0)}, would go with --airgap", where
            )
