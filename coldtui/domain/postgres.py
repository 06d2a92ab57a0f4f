"""CloudNativePG clusters as the API describes them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from .objects import Ref
from .problems import Problem

if TYPE_CHECKING:
    from .world import World


@dataclass(frozen=True, slots=True)
class PgCluster:
    namespace: str
    name: str
    uid: str
    created: datetime
    phase: str
    current_primary: str
    target_primary: str

    @property
    def key(self) -> str:
        return f"{self.namespace}/{self.name}"

    @property
    def ref(self) -> Ref:
        return Ref("pg_clusters", self.name, self.namespace)


@dataclass(frozen=True, slots=True)
class PgPooler:
    namespace: str
    name: str
    cluster: str

    @property
    def key(self) -> str:
        return f"{self.namespace}/{self.name}"


def problems(world: World, now: datetime) -> tuple[Problem, ...]:
    return ()
