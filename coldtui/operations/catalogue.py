"""Every operation there is, by name. A name costs nothing: the module behind it is imported when the operation is asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

from ..domain.text import one_of, plain
from ..domain.values import dataclass

if TYPE_CHECKING:
    from .engine import Operation, Step


@dataclass(frozen=True, slots=True)
class Entry:
    name: str
    """`node.drain`: the command `coldtui node drain`."""
    where: str
    """`module:NAME` under coldtui.operations."""


OPERATIONS: tuple[Entry, ...] = (
    Entry("node.cordon", "nodes:CORDON"),
    Entry("node.uncordon", "nodes:UNCORDON"),
    Entry("node.drain", "drain:DRAIN"),
    Entry("node.reboot", "reboot:REBOOT"),
    Entry("node.restart-k3s", "restart_k3s:RESTART"),
    Entry("node.clean-disk", "clean_disk:CLEAN"),
    Entry("postgres.switchover", "postgres.switchover:SWITCHOVER"),
    Entry("postgres.failover", "postgres.failover:FAILOVER"),
    Entry("postgres.restart-instance", "postgres.restarting:RESTART_INSTANCE"),
    Entry("postgres.fence", "postgres.fencing:FENCE_INSTANCE"),
    Entry("postgres.unfence", "postgres.fencing:UNFENCE_INSTANCE"),
    Entry("postgres.hibernate", "postgres.hibernating:HIBERNATE_CLUSTER"),
    Entry("postgres.wake", "postgres.hibernating:WAKE_CLUSTER"),
    Entry("postgres.reclone-instance", "postgres.recloning:RECLONE_INSTANCE"),
    Entry("postgres.cancel-query", "postgres.sessions:CANCEL_QUERY"),
    Entry("postgres.terminate-session", "postgres.sessions:TERMINATE_SESSION"),
    Entry("postgres.maintenance", "postgres.maintenance:MAINTENANCE"),
)
"""In the order in which help and menus show them."""


class Catalogue(Mapping[str, "Operation[Any, Any]"]):
    """Operations by name; looking at names imports nothing."""

    def __init__(self, entries: tuple[Entry, ...] = OPERATIONS) -> None:
        self._where = {entry.name: entry.where for entry in entries}
        self._loaded: dict[str, Operation[Any, Any]] = {}

    def __getitem__(self, name: str) -> Operation[Any, Any]:
        found = self._loaded.get(name)
        if found is None:
            module, _, attribute = self._where[name].partition(":")
            found = self._loaded[name] = getattr(import_module(f"coldtui.operations.{module}"), attribute)
        return found

    def __contains__(self, name: object) -> bool:
        return name in self._where

    def __iter__(self) -> Iterator[str]:
        return iter(self._where)

    def __len__(self) -> int:
        return len(self._where)


CATALOGUE = Catalogue()


def find(name: str, operations: Mapping[str, Operation[Any, Any]] = CATALOGUE) -> Operation[Any, Any]:
    """By its name. Raises UsageError with the nearest."""
    if name in operations:
        return operations[name]
    from ..domain.errors import UsageError

    near = one_of(tuple(operations), name)
    raise UsageError(f"unknown operation {plain(name)}", hint=f"did you mean {near}?" if near else f"known: {', '.join(operations)}")


def steps_of(operation: Operation[Any, Any]) -> dict[str, Step]:
    """The steps that the operation's plans may name, by their names."""
    return {step.name: step for step in operation.steps}
