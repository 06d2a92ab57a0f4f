"""Events: what the cluster's components say."""

from __future__ import annotations

from datetime import datetime

from .values import dataclass


@dataclass(frozen=True, slots=True)
class Event:
    namespace: str
    name: str
    type: str
    """`Normal` or `Warning`."""
    reason: str
    message: str
    object_kind: str
    """API kind of what it is about, such as `Pod`."""
    object_name: str
    object_namespace: str
    count: int
    first: datetime
    last: datetime
    source: str
    """The component, and the host if it names one."""

    @property
    def key(self) -> str:
        return f"{self.namespace}/{self.name}"
