"""The seeded site: complete, valid, quick."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
import yaml

from coldtui.lab import crowd, site
from coldtui.lab.apiserver.process import ApiServerProcess
from coldtui.lab.client import CRDS, KubeClient
from coldtui.lab.controllers.metallb import announcer
from coldtui.lab.seeds.parts import Seed, total

NOW = datetime(2026, 11, 24, 9, 30, tzinfo=UTC)
GIB = 2**30


@pytest.fixture(scope="module")
def seed() -> Seed:
    return site.build(NOW)


def _of(seed: Seed, api_version: str, kind: str) -> list[dict[str, Any]]:
    return [o for o in [*seed.objects, *seed.derived] if (o["apiVersion"], o["kind"]) == (api_version, kind)]


def test_every_object_is_known_and_unique(seed: Seed) -> None:
    """No two objects share a name and a uid, and the client knows each kind."""
    site.kinds(seed)
    everything = [*seed.objects, *seed.derived]
    assert len({(o["apiVersion"], o["kind"], o["metadata"].get("namespace"), o["metadata"]["name"]) for o in everything}) == len(everything)


def test_it_is_the_site_of_the_document(seed: Seed) -> None:
    """Five nodes with their addresses, about 65 pods, twelve volumes, and 150 of 500 GiB used."""
    nodes = _of(seed, "v1", "Node")
    assert [n["status"]["addresses"][0]["address"] for n in nodes] == [f"192.168.15.{i}" for i in range(110, 115)]
    assert 60 <= len(_of(seed, "v1", "Pod")) <= 70
    assert len(_of(seed, "longhorn.io/v1beta2", "Volume")) == 12
    disks = [d for n in _of(seed, "longhorn.io/v1beta2", "Node") for d in n["status"]["diskStatus"].values()]
    assert sum(d["storageMaximum"] for d in disks) == 500 * GIB
    assert 140 * GIB < sum(d["storageMaximum"] - d["storageAvailable"] for d in disks) < 160 * GIB
    assert all(d["storageScheduled"] <= 0.7 * d["storageMaximum"] - 4 * GIB for d in disks), "no room left for another claim"


def test_the_pods_fit_on_their_nodes(seed: Seed) -> None:
    """No node is asked for more than it has, so that a drain finds room elsewhere."""
    for host in site.HOSTS:
        mine = [p for p in _of(seed, "v1", "Pod") if p["spec"]["nodeName"] == host.name]
        assert total(mine, "cpu") < 2.5
        assert total(mine, "memory") < 5 * GIB


def test_times_are_relative_to_now() -> None:
    """A site built at another moment has backups of that moment's last night."""
    later = site.build(datetime(2027, 2, 3, 2, 5, tzinfo=UTC))
    daily = sorted(o["metadata"]["name"] for o in _of(later, "postgresql.cnpg.io/v1", "Backup") if "daily" in o["metadata"]["name"])
    assert daily[-1] == "cold-postgres-daily-20270202020000", "at 02:05 the backup of that night is not done yet"


def test_the_vip_is_announced_by_the_elected_node(seed: Seed) -> None:
    """The seeded status says what the election rule says."""
    status = next(s for s in _of(seed, "metallb.io/v1beta1", "ServiceL2Status") if s["status"]["serviceName"] == "cold-postgres-vip")
    assert status["status"]["node"] == announcer([h.name for h in site.HOSTS], "192.168.15.200")


def test_crowd_pods_have_the_size_of_real_ones() -> None:
    """About 6.9 kB each, with a node, a label that keeps them out of the controllers, and names of their own."""
    lines = list(crowd.pods(1000, crowd.hosts(50), NOW))
    assert 6500 < sum(map(len, lines)) / len(lines) < 7300
    pods = [msgspec.json.decode(line) for line in lines]
    assert len({(p["metadata"]["namespace"], p["metadata"]["name"]) for p in pods}) == 1000
    assert Counter(p["spec"]["nodeName"] for p in pods)["node-0007"] == 20
    assert all(
        p["metadata"]["labels"][crowd.LABEL] == "true" and p["status"]["containerStatuses"][0]["restartCount"] in (0, 1, 2) for p in pods
    )


async def _seed_by_requests(server: ApiServerProcess) -> tuple[int, int, list[str]]:
    async with KubeClient.from_kubeconfig(server.kubeconfig) as client:
        made = site.build()
        first = await site.seed_api(client, made)
        again = await site.seed_api(client, made)
        crds = {o["metadata"]["name"] for o in (await client.list(CRDS))[0]}
        return first - len(made.objects), again, sorted(crds)


def test_ordinary_requests_accept_it(server: ApiServerProcess) -> None:
    """Every object passes the validation of the real CRDs, one request at a time, and a second seeding makes nothing."""
    missing, again, crds = asyncio.run(_seed_by_requests(server))
    assert missing >= -4, "only the namespaces that every cluster has were there already"
    assert again == 0
    assert "etcdsnapshotfiles.k3s.cattle.io" in crds
    config = yaml.safe_load(server.kubeconfig.read_text())
    assert config["current-context"]
