"""What is seen on the side of a drain: the node itself, the budgets that hold pods, the pods that came elsewhere.

All of it is for words: not being able to read it ends nothing. That the API is away is said by the look at the node's pods.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from ...domain.drains import DRAIN_BUDGETS, DrainBudget
from ...domain.errors import ColdError, NotFound
from ...domain.kinds import NODES
from ...domain.text import counted
from ..engine import RunContext
from .refill import named
from .successors import Successors
from .targets import State, Target


class Surroundings:
    """Looks now and then, and says what changed."""

    def __init__(self, ctx: RunContext, node: str, known: frozenset[str], every_s: float) -> None:
        """`known`: UIDs of the pods that are drained. `every_s`: between two looks."""
        self._ctx, self._kube, self._node, self._every = ctx, ctx.means.kube, node, timedelta(seconds=every_s)
        self._next = ctx.now
        self._said = ""
        self._successors = Successors(self._kube, node, known)

    async def look(self, targets: Sequence[Target]) -> None:
        """Names budgets and successors in the targets, says what became of the node, and what the run waits for."""
        if self._ctx.now < self._next:
            return
        self._next = self._ctx.now + self._every
        await self._look_at_node()
        held = [t for t in targets if t.state is State.REFUSED]
        if held:
            await self._name_budgets(held)
        await self.successors(targets)
        only_held = held and all(t.state.final or t.state is State.REFUSED for t in targets)
        text = f"{counted(len(held), 'pod')} held by disruption budgets: {named([t.key for t in held])}" if only_held else ""
        await self._ctx.waiting(text)

    async def successors(self, targets: Sequence[Target]) -> None:
        await self._successors.find([t for t in targets if t.state is State.GONE])

    async def _look_at_node(self) -> None:
        try:
            node = await self._kube.read(NODES, self._node)
        except NotFound:
            said = f"{self._node} was removed from the cluster: its pods end with it"
        except ColdError:
            return
        else:
            said = "" if node.unschedulable else f"{self._node} was uncordoned by somebody: new pods may come"
            if node.ready != "True":
                said = f"{self._node} is {node.status.partition(',')[0]}: its kubelet cannot confirm that pods have ended"
        if said and said != self._said:
            await self._ctx.say(said)
        self._said = said

    async def _name_budgets(self, held: Sequence[Target]) -> None:
        try:
            budgets: tuple[DrainBudget, ...] = await self._kube.read_all(DRAIN_BUDGETS)
        except ColdError:
            return  # the server's own words stay
        for target in held:
            mine = [b for b in budgets if target.pod is not None and b.selects(target.pod.pod)]
            target.budgets = tuple(b.name for b in mine)
            if mine:
                target.numbers = f"{mine[0].healthy} healthy, {mine[0].desired} needed"
