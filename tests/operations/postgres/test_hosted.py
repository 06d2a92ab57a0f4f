"""Whether the server of an instance runs on its host, asked over SSH on a host of the lab."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from coldtui.domain.kinds import NODES, PODS
from coldtui.domain.nodes import Node
from coldtui.domain.pods import Pod
from coldtui.domain.readings import Known, Unknown
from coldtui.lab.apiserver.process import ApiServerProcess
from coldtui.operations.postgres.hosted import server_on_host
from tests.operations.host_ground import host_ground

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ApiServerProcess]:
    with ApiServerProcess(tmp_path / "api", arguments=("--still",)) as running:
        yield running


async def test_a_server_on_its_host(server: ApiServerProcess, tmp_path: Path) -> None:
    """By the containers there; with k3s stopped by its processes, which outlive it. Silence proves nothing, and neither does a host that is another."""
    async with host_ground(server, tmp_path) as on:
        means = on.means(writable=False)
        pod: Pod = await means.kube.read(PODS, "postgres-1", "database")
        node: Node = await means.kube.read(NODES, pod.node)
        gone = replace(pod, name="postgres-9")
        assert _told(await server_on_host(means, pod, node, 5.0)) is True
        assert _told(await server_on_host(means, gone, node, 5.0)) is False

        machine = on.fleet.machines[pod.node]
        machine.k3s.active = "inactive"
        found = await server_on_host(means, gone, node, 5.0)
        assert isinstance(found, Unknown)  # a process runs, and whose cannot be told
        assert "crictl on" in found.reason

        stranger = replace(node, boot_id="00000000-0000-0000-0000-000000000000", name="elsewhere", hostname="elsewhere")
        assert isinstance(await server_on_host(means, pod, stranger, 5.0), Unknown)
        nobody = await server_on_host(means, replace(pod, node="k3s-nowhere"), None, 5.0)
        assert isinstance(nobody, Unknown)
        assert "k3s-nowhere" in nobody.reason


def _told(reading: Known[bool] | Unknown) -> bool:
    assert isinstance(reading, Known), reading
    return reading.value
