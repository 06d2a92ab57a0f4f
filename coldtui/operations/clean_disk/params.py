"""What may be cleaned."""

from __future__ import annotations

from ...domain.values import dataclass
from ..params import param


@dataclass(frozen=True, slots=True)
class CleanDisk:
    """Make room on the disk of a node. What is removed can be had again: images are pulled, packages are fetched."""

    node: str = param("the node")
    images: bool = param("remove images that no container uses", True)
    journal: bool = param("cut the system journal down", True)
    journal_mb: int = param("how much of the journal stays", 200, unit="MB", least=16, most=100_000)
    apt: bool = param("empty the cache of downloaded packages", True)
    data: bool = param("remove unpacked K3s releases other than the present and the previous one", True)
    airgap: bool = param("remove archives with K3s images: without internet, images cannot be had again then", False)
    timeout: int = param("seconds after which it gives up, 0 never does", 900, unit="s", least=0)
