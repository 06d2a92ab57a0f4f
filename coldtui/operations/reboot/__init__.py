"""Reboot the host of a node: announced, ordered over SSH, and proven by what came back."""

from __future__ import annotations

from ...domain.plans import Rung
from ..engine import Operation
from ..nodes import CORDON_STEP, UNCORDON_STEP, address
from .back import SeeBack
from .facts import RebootFacts, gather
from .health import SeeWell
from .order import OrderReboot
from .params import RebootNode
from .plan import NAME, plan_reboot

REBOOT: Operation[RebootNode, RebootFacts] = Operation(
    name=NAME,
    title="Reboot node",
    about="reboot the host of a node over SSH, and see that all of it came back",
    params=RebootNode,
    rung=Rung.DISRUPTIVE,
    gather=gather,
    plan=plan_reboot,
    steps=(CORDON_STEP, OrderReboot(), SeeBack(), UNCORDON_STEP, SeeWell()),
    object=lambda params: address(params.node),
)
