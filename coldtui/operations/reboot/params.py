"""What may be asked of a reboot."""

from __future__ import annotations

from ...domain.values import dataclass
from ..params import param


@dataclass(frozen=True, slots=True)
class RebootNode:
    """Reboot the host of a node. Its pods stop without being asked for, and start again with it: drain it first if they must not."""

    node: str = param("the node")
    cordon: bool = param("let it take no new pods until it is back", True)
    timeout: int = param("seconds after which it gives up waiting, 0 never does", 900, unit="s", least=0)
