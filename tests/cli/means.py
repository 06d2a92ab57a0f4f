"""The command line in this process, over a fake API server."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from coldtui.cli.run import main
from coldtui.lab.fakes import FakeKube
from coldtui.ports import Kube
from tests.tui.worlds import healthy

KUBECONFIG = """\
apiVersion: v1
kind: Config
current-context: cold
contexts: [{name: cold, context: {cluster: c, user: u}}]
clusters: [{name: c, cluster: {server: "https://127.0.0.1:6443"}}]
users: [{name: u, user: {token: abc}}]
"""


@dataclass(frozen=True, slots=True)
class Result:
    """What one call left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def rows(self) -> list[list[str]]:
        """The table's cells, split where kubectl's are: at two blanks and more."""
        return [[cell.strip() for cell in line.split("   ") if cell.strip()] for line in self.out.splitlines()]


@dataclass
class Cli:
    """Calls `coldtui ARGS` with an environment of its own."""

    folder: Path
    capture: pytest.CaptureFixture[str]
    environ: dict[str, str]

    def __call__(self, *argv: str, kube: Kube | None = None, connector: Callable[[], Kube] | None = None) -> Result:
        make = connector or ((lambda: kube) if kube is not None else None)
        self.capture.readouterr()
        code = main(list(argv), self.environ, connector=make)
        said = self.capture.readouterr()
        return Result(code, said.out, said.err)


def a_site(**objects: Any) -> FakeKube:
    """The healthy site of five nodes as an API server; `objects` replace whole kinds."""
    world = healthy()
    kinds: dict[str, Any] = {
        kind: list(world.shelf(kind).items.values())
        for kind in ("nodes", "leases", "pods", "deployments", "events", "pg_clusters", "node_usage", "pod_usage", "namespaces")
    }
    kube = FakeKube({**kinds, **objects})
    kube.stats = {name: reading.value for name, reading in world.node_stats.items() if hasattr(reading, "value")}
    return kube
