"""Make room on the disk of a node: estimated before, measured after, and never near the data of volumes or the cluster's datastore."""

from __future__ import annotations

from ...domain.plans import Rung
from ..engine import Operation
from ..nodes import address
from .facts import DiskFacts, gather
from .params import CleanDisk
from .plan import NAME, plan_clean
from .steps import STEPS

CLEAN: Operation[CleanDisk, DiskFacts] = Operation(
    name=NAME,
    title="Clean disk",
    about="remove unused images, old journal, package cache and stale K3s releases from the disk of a node",
    params=CleanDisk,
    rung=Rung.VISIBLE,
    gather=gather,
    plan=plan_clean,
    steps=STEPS,
    object=lambda params: address(params.node),
)
