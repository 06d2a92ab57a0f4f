"""What may be asked of a drain: the options of `kubectl drain`, with the same meaning."""

from __future__ import annotations

from ...domain.values import dataclass
from ..params import param


@dataclass(frozen=True, slots=True)
class DrainNode:
    """Move every pod that can move off a node, and leave the node cordoned. DaemonSet pods always stay."""

    node: str = param("the node")
    grace: int = param("seconds that each pod gets to stop, 0 kills at once, -1 is the pod's own", -1, unit="s", least=-1)
    timeout: int = param("seconds after which it gives up, 0 never does", 600, unit="s", least=0)
    delete_emptydir: bool = param("go on although data in emptyDir volumes is deleted with its pod", False)
    force: bool = param("delete pods without a controller too: nothing makes them again", False, grave=True)
    disable_eviction: bool = param("delete instead of evict: no disruption budget is asked", False, grave=True)
    anyway: bool = param("evict what can go although some pod never can, or could not be evaluated", False, grave=True)
    pod_selector: str = param("only pods with these labels, such as app=web", "")
    skip_wait_for_delete: int = param(
        "do not wait for pods whose deletion is older than so many seconds, 0 waits for all", 0, unit="s", least=0
    )
