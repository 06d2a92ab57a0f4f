"""Drain a node: kubectl's algorithm, with a plan before it that says of each pod what will happen, and a run that survives its terminal."""

from __future__ import annotations

from ...domain.plans import Rung
from ..engine import Operation
from ..nodes import CORDON_STEP, address
from ..postgres.switchover import SWITCHOVER_STEPS
from .evict import EvictPods, SeeGone
from .facts import DrainFacts
from .params import DrainNode
from .plan import NAME, plan_drain
from .primaries import gather_all

DRAIN: Operation[DrainNode, DrainFacts] = Operation(
    name=NAME,
    title="Drain node",
    about="move every pod that can move off a node, and leave it cordoned",
    params=DrainNode,
    rung=Rung.DISRUPTIVE,
    gather=gather_all,
    plan=plan_drain,
    steps=(*SWITCHOVER_STEPS, CORDON_STEP, EvictPods(), SeeGone()),
    object=lambda params: address(params.node),
)
