"""What the API server asks of kubelets and of the metrics server, as a port: logs, summaries, usage."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

Json = dict[str, Any]
Line = tuple[datetime, str]
"""When a line was written and its text, without the line end."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What something uses now."""

    cpu_nanocores: int
    memory_bytes: int


class Kubelet(Protocol):
    """The nodes behind the API."""

    async def log_lines(self, pod: Json, container: str, previous: bool) -> list[Line]:
        """The log of a container (of its last instance, when ``previous``), oldest first."""
        ...

    def follow(self, pod: Json, container: str, after: datetime) -> AsyncIterator[Line]:
        """New lines as they are written, without end."""
        ...

    async def summary(self, node: Json, pods: list[Json]) -> Json:
        """``/stats/summary`` of a node that runs ``pods``."""
        ...

    async def node_usage(self, node: Json, pods: list[Json]) -> Usage | None:
        """What a node uses; None when there is no sample (not ready)."""
        ...

    async def pod_usage(self, pod: Json) -> dict[str, Usage]:
        """What each container of a pod uses; empty when there is no sample."""
        ...
