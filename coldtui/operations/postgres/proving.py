"""The proof that the old primary of a failover is stopped: nobody is promoted on a guess that it is dead."""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass, field

from ...domain.errors import ColdError, NotFound, StepFailed, Unauthorized, Unreachable
from ...domain.kinds import NODES, PG_CLUSTERS, PODS
from ...domain.nodes import Node
from ...domain.plans import PlannedStep
from ...domain.pods import Pod
from ...domain.postgres import PgCluster
from ...domain.readings import Known
from ...ports import HeldLease
from ..engine import RunContext, Step
from ..host_steps import kept
from .failover_facts import moved
from .failover_ways import DELETE, POWER, Proof, container_stopped
from .following import _or_none
from .hosted import CONTAINER, server_on_host
from .stopping import FailoverPace, well_again

TOLD_S = 5
"""What is left is told in such steps: each change is a line of the log."""
RETRY_S = 2.0
"""A living manager renews its Lease so often (primaryLease.retryPeriodSeconds)."""
LEASE_S = 15
"""Of a Lease that does not say how long it holds (primaryLease.leaseDurationSeconds)."""


@dataclass
class Watch:
    """A Lease looked at again and again, by our own clock. Only time counts in which its holder could have renewed it."""

    first: HeldLease | None = None
    alone_s: float = 0.0
    """So long it was seen to be left alone."""
    renewals: int = 0
    _looked: float | None = None

    def see(self, lease: HeldLease | None, now: float) -> None:
        """`now`: monotonic. Between two looks no more counts than a living holder needs to renew it."""
        if self.first is None or lease is None or lease.holder != self.first.holder or moved(self.first, lease):
            self.renewals += self.first is not None and lease is not None and moved(self.first, lease)
            self.first, self.alone_s = lease, 0.0
        elif self._looked is not None:
            self.alone_s += min(now - self._looked, RETRY_S)
        self._looked = now

    def away(self) -> None:
        """The API did not answer: nobody could have renewed it meanwhile, so it is watched anew."""
        self.alone_s, self._looked = 0.0, None

    @property
    def left_s(self) -> float:
        """Until it has been left alone for its whole duration."""
        return ((self.first.duration_s if self.first is not None else 0) or LEASE_S) - self.alone_s


@dataclass
class Look:
    """One look at what may prove it; None: not told."""

    cluster: PgCluster
    pod: Pod | None
    gone: bool
    """There is no pod of that name."""
    node: Node | None
    lease: HeldLease | None
    lease_read: bool


@dataclass
class Proving:
    planned: PlannedStep
    ctx: RunContext
    pace: FailoverPace
    watch: Watch = field(default_factory=Watch)
    asked_host: float | None = None
    pod: Pod | None = None
    """As it was last seen, for the name of its node."""

    async def run(self) -> Proof:
        """Waits until there is a proof. Raises StepFailed when the old primary lives, or the run is out of time."""
        lacking, began = "", self.ctx.means.clock.monotonic()
        try:
            while True:
                look = await self.ctx.patiently(self._look)
                proof = await self._proof(look)
                if proof is not None:
                    return proof
                lacking = self._lacking(look)
                await self.ctx.waiting(lacking)
                await self._lives(look, self.ctx.means.clock.monotonic() - began)
                await self.ctx.sleep(self.pace.look_s)
        except StepFailed as error:
            if self.ctx.deadline is None or self.ctx.now < self.ctx.deadline:
                raise
            hint = "see that its machine is off, then answer for it with --old-primary-is-off"
            raise StepFailed(f"it was not proven in time that {self.old} is stopped", detail=lacking, hint=hint) from error

    @property
    def old(self) -> str:
        return str(self.planned.args["from"])

    @property
    def way(self) -> str:
        return str(self.planned.args["way"])

    async def _look(self) -> Look:
        try:
            return await self._looked()
        except Unreachable:
            self.watch.away()
            raise

    async def _well_again(self) -> bool:
        """No answer is no proof of anything here: the next look waits for the API."""
        try:
            return await well_again(self.planned, self.ctx)
        except Unauthorized:
            raise
        except Unreachable:
            self.watch.away()
            return False

    async def _looked(self) -> Look:
        args, kube, s = self.planned.args, self.ctx.means.kube, self.pace.answer_s
        cluster: PgCluster = await kube.read(PG_CLUSTERS, args["cluster"], args["namespace"], deadline_s=s)
        (pod, gone), (lease, told) = await asyncio.gather(self._pod(), self._lease())
        self.pod = pod or self.pod
        name = pod.node if pod is not None else str(args["node"])
        node = await _or_none(kube.read(NODES, name, deadline_s=s)) if name else await self._any_node()
        return Look(cluster, pod, gone, node, lease, told)

    async def _any_node(self) -> Node | None:
        """Of a pod that nobody knows the node of: one that is not Ready, where there is any."""
        every: tuple[Node, ...] = await _or_none(self.ctx.means.kube.read_all(NODES, deadline_s=self.pace.answer_s)) or ()
        return next((node for node in every if node.ready != "True"), next(iter(every), None))

    async def _pod(self) -> tuple[Pod | None, bool]:
        args = self.planned.args
        try:
            return await self.ctx.means.kube.read(PODS, args["from"], args["namespace"], deadline_s=self.pace.answer_s), False
        except NotFound:
            return None, True
        except ColdError as error:
            if isinstance(error, Unreachable):
                raise
            return None, False

    async def _lease(self) -> tuple[HeldLease | None, bool]:
        args = self.planned.args
        try:
            return await self.ctx.means.kube.lease(args["namespace"], args["cluster"], deadline_s=self.pace.answer_s), True
        except ColdError as error:
            if isinstance(error, Unreachable):
                raise
            return None, False

    async def _proof(self, look: Look) -> Proof | None:
        if self.planned.args["off"]:
            return Proof("declared", f"whoever confirmed answers for it that {self.old} is off")
        if self.way == POWER:
            return await self._by_host(look)
        return self._by_lease(look) or self._by_kubelet(look) or await self._by_host(look)

    def _by_kubelet(self, look: Look) -> Proof | None:
        pod, ready = look.pod, look.node is not None and look.node.ready == "True"
        where = look.node.name if look.node is not None else ""
        if self.way == DELETE and (deleted := str(kept(self.ctx, "uid") or "")):
            return self._after_deletion(look, deleted, ready)
        if not ready:
            return None
        if pod is not None and (stopped := container_stopped(pod)):
            return Proof("container", f"the kubelet of {where} says that container {CONTAINER} of {self.old} {stopped}")
        return Proof("gone", f"{self.old} has no pod, and the kubelet of {where} answers") if look.gone else None

    def _after_deletion(self, look: Look, deleted: str, ready: bool) -> Proof | None:
        """A pod that was removed without grace is gone from the API at once, and may still be ending: where there is a Lease, that tells."""
        pod = look.pod
        if pod is not None and pod.uid != deleted and pod.is_ready:
            return Proof("gone", f"a new pod of {self.old} runs in the place of the one that was deleted")
        away = look.gone or (pod is not None and pod.uid != deleted)
        if away and ready and look.lease_read and look.lease is None:
            return Proof("gone", f"the pod of {self.old} is gone, and its kubelet answers")
        return None

    def _by_lease(self, look: Look) -> Proof | None:
        if not look.lease_read:
            return None
        lease, now = look.lease, self.ctx.means.clock.monotonic()
        if lease is None:
            return None
        if not lease.holder:
            return Proof("released", f"{self.old} has given the lease back, which it does once its server is down")
        if lease.holder != self.old:
            return Proof("taken", f"{lease.holder} has taken the lease")
        self.watch.see(lease, now)
        if self.watch.left_s > 0:
            return None
        return Proof(
            "lease",
            f"the lease of {self.old} was not renewed for {self.watch.alone_s:.0f} s, and it holds for {lease.duration_s}",
            hard=False,
        )

    async def _by_host(self, look: Look) -> Proof | None:
        now = self.ctx.means.clock.monotonic()
        troubled = look.node is None or look.node.ready != "True"
        if not troubled or self.pod is None or (self.asked_host is not None and now - self.asked_host < self.pace.host_s):
            return None
        self.asked_host = now
        runs = await server_on_host(self.ctx.means, self.pod, look.node, self.pace.answer_s)
        if isinstance(runs, Known) and not runs.value:
            return Proof("host", f"no container {CONTAINER} of {self.old} runs on {self.pod.node}, by its container runtime over SSH")
        return None

    def _lacking(self, look: Look) -> str:
        if self.way == POWER:
            return f"{self.planned.args['node']} to answer over SSH without a server of {self.old}"
        if look.lease is not None and look.lease.holder == self.old:
            left = max(1, math.ceil(self.watch.left_s / TOLD_S)) * TOLD_S
            return f"the lease of {self.old} to run out: up to {left:.0f} s more without a renewal"
        return f"{self.old} to stop"

    async def _lives(self, look: Look, after_s: float) -> None:
        """Raises StepFailed when nobody needs to be promoted, or nobody can be."""
        if self.way != DELETE and look.cluster.current_primary == self.old and await self._well_again():
            raise StepFailed(f"{self.old} is well again: nobody was promoted", hint="switch over instead, if another one is to lead")
        if self.watch.renewals > 1 and after_s > self.pace.alive_s:
            detail = f"its lease was renewed {self.watch.renewals} times in {after_s:.0f} s"
            raise StepFailed(f"the manager of {self.old} lives", detail=detail, hint="stop it first: --way delete-pod, or its machine")


class ProveStopped(Step):
    """Arguments: those of the failover. Memo: `proof` (its kind), `sentence`, `hard`, `proven` (at what time)."""

    name = "postgres.prove-stopped"

    def __init__(self, pace: FailoverPace | None = None) -> None:
        self.pace = pace or FailoverPace()

    async def done(self, planned: PlannedStep, ctx: RunContext) -> bool:
        """A proof of an earlier attempt stands: what was stopped then is watched by the promotion itself."""
        return bool(ctx.memo_of(planned).get("proven"))

    async def run(self, planned: PlannedStep, ctx: RunContext) -> None:
        proof = await Proving(planned, ctx, self.pace).run()
        await ctx.waiting("")
        await ctx.remember(proof=proof.kind, sentence=proof.sentence, hard=proof.hard, proven=ctx.now.isoformat())
        await ctx.say(f"{planned.args['from']} is stopped: {proof.sentence}")
