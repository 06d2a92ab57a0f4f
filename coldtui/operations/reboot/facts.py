"""What a reboot rests on: the same picture of the cluster as a drain, and the host itself over SSH. Works without an API, too: then SSH alone."""

from __future__ import annotations

from ...domain.errors import ColdError, Unreachable
from ...domain.nodes import Node
from ...domain.plans import Premise
from ...domain.readings import Unknown
from ...domain.values import dataclass
from ...ports import Means, Self
from ..drain.facts import OWN, WORLD, DrainFacts, Read, assemble
from ..drain.facts import gather as gather_cluster
from ..drain.params import DrainNode
from ..hosts import HostFacts, gather_host
from .params import RebootNode


@dataclass(frozen=True, slots=True)
class RebootFacts:
    cluster: DrainFacts
    host: HostFacts
    me: Self

    @property
    def node(self) -> Node | None:
        return None if isinstance(self.cluster.node, Unknown) else self.cluster.node.value

    @property
    def premises(self) -> tuple[Premise, ...]:
        return (*self.cluster.premises, self.host.premise())


async def gather(params: RebootNode, means: Means, deadline_s: float) -> RebootFacts:
    """Raises NotFound for a node that does not exist, with the nearest names."""
    begun = means.clock.monotonic()
    try:
        cluster = await gather_cluster(DrainNode(params.node), means, deadline_s * 0.6)
    except Unreachable as error:
        cluster = blank(params.node, error, means)
    node = None if isinstance(cluster.node, Unknown) else cluster.node.value
    left_s = max(2.0, deadline_s - (means.clock.monotonic() - begun))
    host = await gather_host(params.node, node.internal_ip if node is not None else "", means, left_s)
    return RebootFacts(cluster, host, means.me)


def blank(node: str, error: ColdError, means: Means) -> DrainFacts:
    """The picture when nobody answers."""
    titles = {"node": f"node {node}", "pods": f"pods of {node}", **{name: kind.title for name, kind in OWN.items()}}
    reads = {name: Read(title, error=error) for name, title in (titles | {kind.name: kind.title for kind in WORLD}).items()}
    return assemble(node, reads, means.clock.now())
