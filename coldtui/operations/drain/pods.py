"""kubectl's chain of filters (kubectl/pkg/drain/filters.go, v0.34): which pods of a node a drain deletes, and what it wants to be told first.

kubectl lets each later verdict overwrite the earlier one; here every warning is kept.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from enum import Enum

from ...domain.drains import DrainPod
from ...domain.pods import FINISHED
from ...domain.readings import Reading, Unknown
from ...domain.values import dataclass

Sets = Reading[frozenset[str]]
"""Keys of the DaemonSets that exist."""


class Flag(Enum):
    """What must be permitted before a pod is deleted; the value is the option of the command line."""

    EMPTY_DIR = "--delete-emptydir"
    FORCE = "--force"


@dataclass(frozen=True, slots=True)
class Permits:
    """The options that the chain looks at."""

    delete_emptydir: bool = False
    force: bool = False
    skip_wait_s: int = 0


@dataclass(frozen=True, slots=True)
class Filtered:
    """The verdict on one pod."""

    pod: DrainPod
    delete: bool
    """As kubectl would list it. False with `needs` or `unknown`: kubectl stops there."""
    stays: str = ""
    """Why it is left alone."""
    warnings: tuple[str, ...] = ()
    needs: tuple[Flag, ...] = ()
    """What must be permitted first."""
    unknown: str = ""
    """Why no verdict is possible."""

    @property
    def key(self) -> str:
        return self.pod.key


def overdue(pod: DrainPod, skip_wait_s: int, now: datetime) -> bool:
    """Being deleted for so long that nobody shall wait for it; as kubectl counts, in whole seconds since deletionTimestamp."""
    deleted = pod.pod.deleted
    return skip_wait_s > 0 and deleted is not None and int((now - deleted).total_seconds()) > skip_wait_s


def verdict(pod: DrainPod, permits: Permits, sets: Sets, now: datetime) -> Filtered:
    """One pod through all filters, in kubectl's order; the first that says "do not delete" ends it, except that missing permits are all told."""
    if overdue(pod, permits.skip_wait_s, now):
        return Filtered(pod, False, f"its deletion is older than {permits.skip_wait_s} s: not waited for")
    finished = pod.pod.phase in FINISHED
    warnings: list[str] = []
    needs: list[Flag] = []
    if pod.of_daemon_set and not finished:
        owner = pod.pod.owner
        assert owner is not None
        if isinstance(sets, Unknown):
            return Filtered(pod, False, unknown=f"DaemonSet {owner.name}: {sets.reason}")
        if f"{pod.pod.namespace}/{owner.name}" in sets.value:
            return Filtered(pod, False, f"DaemonSet {owner.name} would make it again at once")
        gone = f"its DaemonSet {owner.name} does not exist any more"
        if not permits.force:
            return Filtered(pod, False, needs=(Flag.FORCE,), warnings=(gone,))
        warnings.append(gone)
    if pod.pod.mirror:
        return Filtered(pod, False, "mirror of a static pod: its kubelet keeps it")
    if pod.empty_dirs and not finished:
        if permits.delete_emptydir:
            warnings.append(f"emptyDir data is deleted: {', '.join(str(e) for e in pod.empty_dirs)}")
        else:
            needs.append(Flag.EMPTY_DIR)
    if pod.pod.owner is None and not finished:
        if permits.force:
            warnings.append("no controller makes it again")
        else:
            needs.append(Flag.FORCE)
    return Filtered(pod, not needs, warnings=tuple(warnings), needs=tuple(needs))


def filtered(pods: Iterable[DrainPod], permits: Permits, sets: Sets, now: datetime) -> tuple[Filtered, ...]:
    """All pods of a node, by key."""
    return tuple(verdict(pod, permits, sets, now) for pod in sorted(pods, key=lambda p: p.key))
