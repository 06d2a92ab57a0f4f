"""What every object of the API has in common: an address, an owner, conditions."""

from __future__ import annotations

from datetime import datetime

from .values import dataclass


@dataclass(frozen=True, slots=True)
class Ref:
    """The full address of an object, as problems and links name it."""

    kind: str
    """Name of a `domain.kinds.Kind`, such as `pods`."""
    name: str
    namespace: str = ""

    @property
    def key(self) -> str:
        """The key of the object in its shelf."""
        return f"{self.namespace}/{self.name}" if self.namespace else self.name

    def __str__(self) -> str:
        return f"{self.kind}/{self.key}"


@dataclass(frozen=True, slots=True)
class Owner:
    """The controller ownerReference."""

    kind: str
    """API kind, such as `ReplicaSet`."""
    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class Condition:
    """A status condition. `status` is `True`, `False` or `Unknown`."""

    type: str
    status: str
    reason: str = ""
    message: str = ""
    since: datetime | None = None
    """lastTransitionTime."""
