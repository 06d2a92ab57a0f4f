"""K3s itself: datastore snapshots and upgrade plans."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from .problems import Problem

if TYPE_CHECKING:
    from .world import World


@dataclass(frozen=True, slots=True)
class EtcdSnapshot:
    name: str

    @property
    def key(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class UpgradePlan:
    namespace: str
    name: str

    @property
    def key(self) -> str:
        return f"{self.namespace}/{self.name}"


def problems(world: World, now: datetime) -> tuple[Problem, ...]:
    return ()
