"""What the tests of the journal share: a clock that can be set, and values to write."""

from __future__ import annotations

import itertools
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from coldtui.domain.runs import AuditEntry, Run, RunSite, RunState, Who

START = datetime(2026, 11, 24, 14, 2, 10, tzinfo=UTC)
ANN = Who("ann", "root", "10.1.2.3", "k3s-master", "console")
BOB = Who("bob", "bob", "", "k3s-master", "command line")
_numbers = itertools.count(1)


class HandClock:
    """Stands still until it is moved."""

    def __init__(self, at: datetime = START) -> None:
        self.at = at

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return self.at.timestamp()

    def move(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


class RealClock:
    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()


def a_run(
    id: str = "", *, locks: tuple[str, ...] = ("site",), who: Who = ANN, created: datetime = START, node: str = "k3s-worker-1"
) -> Run:
    """A drain that was confirmed."""
    return Run(
        id=id or f"20261124-140210-{next(_numbers):04x}",
        operation="node.drain",
        title=f"Drain {node}",
        object=f"nodes/{node}",
        params={"node": node, "grace": 30},
        plan={"outlook": "go", "items": [["pods/production/redis-0", "goes", ""]]},
        digest="ab" * 32,
        rung=2,
        reason="kernel update",
        who=who,
        site=RunSite(config="/etc/coldtui/config.yaml", context="cold", name="cold-site"),
        created=created,
        locks=locks,
        state=RunState.CONFIRMED,
        steps=("Cordon k3s-worker-1", "Evict 6 pods"),
    )


def an_entry(run: Run | None = None, *, what: str = "confirmed", outcome: str = "", params: Mapping[str, Any] | None = None) -> AuditEntry:
    run = run or a_run()
    return AuditEntry(
        0, run.created, what, run.who, run.operation, run.object, run.params if params is None else params, run.digest, run.reason,
        (("pods of k3s-worker-1", "0.4 s"),), outcome, run.id, "cold-site",
    )  # fmt: skip
