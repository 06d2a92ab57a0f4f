"""The nodes of the cluster for plans that can do without them."""

from __future__ import annotations

from ..domain.errors import Forbidden, Unreachable
from ..domain.kinds import NODES
from ..domain.nodes import Node
from ..domain.readings import Known, Reading, Unknown
from ..domain.troubles import trouble_of
from ..ports import Means
from .nodes import unknown_node


async def nodes_with(name: str, means: Means, deadline_s: float) -> Reading[tuple[Node, ...]]:
    """All nodes, or the one alone where no list may be read; Unknown when the API does not answer. Raises NotFound, with the nearest names."""
    try:
        try:
            found: tuple[Node, ...] = await means.kube.read_all(NODES, deadline_s=deadline_s)
        except Forbidden:
            found = (await means.kube.read(NODES, name, deadline_s=deadline_s),)
    except (Unreachable, Forbidden) as error:
        return Unknown("nodes", trouble_of(error).words)
    if not any(node.name == name for node in found):
        raise unknown_node(name, tuple(node.name for node in found))
    return Known(found, "nodes", means.clock.now())
