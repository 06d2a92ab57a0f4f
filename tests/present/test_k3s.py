"""Upgrade plans and datastore snapshots as rows and lines."""

from __future__ import annotations

from coldtui.domain.readings import Freshness
from coldtui.present import k3s
from coldtui.present.lines import plain_text
from tests.sample import NOW, ago, broken, build, etcd_snapshot, healthy, node, plan, state


def test_a_plan_row() -> None:
    """State, version and how many nodes are done; a plan under way names the node."""
    world = build(healthy())
    (item,) = k3s.PLANS.items(world).values()
    assert [c.text for c in k3s.PLANS.row(world, item, NOW).cells][:4] == ["agents", "● done", "v1.34.4+k3s1", "4/4"]
    site = broken()
    site["upgrade_plans"] = [plan(applying=["k3s-worker-1"])]
    site["nodes"][1] = node("k3s-worker-1", version="v1.33.0+k3s1")
    world = build(site)
    (item,) = k3s.PLANS.items(world).values()
    assert [c.text for c in k3s.PLANS.row(world, item, NOW).cells][1:5] == ["◐ applying", "v1.34.4+k3s1", "3/4", "k3s-worker-1"]
    assert "drains" in plain_text(k3s.describe_plan(world, item, NOW))


def test_a_snapshot_row() -> None:
    """Age, size and place; a failed one is in trouble."""
    site = broken()
    site["etcd_snapshots"].append(etcd_snapshot("bad", creationTime=ago(hours=1), error={"message": "no space"}, readyToUse=False))
    world = build(site)
    rows = {s.snapshot: [c.text for c in k3s.SNAPSHOTS.row(world, s, NOW).cells] for s in k3s.SNAPSHOTS.items(world).values()}
    assert rows["etcd-snapshot-k3s-master-1"][1:5] == ["● ready", "5h", "12 MiB", "k3s-master"]
    assert rows["bad"][1] == "▲ failed"
    assert [s.snapshot for s in k3s.SNAPSHOTS.items(world).values() if k3s.SNAPSHOTS.trouble(world, s, NOW)] == ["bad"]


def test_the_datastore_line() -> None:
    """The newest snapshot's age and place; no etcd, no snapshot and a stale source read differently."""
    assert plain_text([k3s.datastore_line(build(healthy()), NOW)]).split(maxsplit=2)[2] == "snapshot 5h ago on k3s-master"
    site = broken()
    site["etcd_snapshots"] = []
    assert "no good snapshot" in plain_text([k3s.datastore_line(build(site), NOW)])
    site["nodes"][0] = node("k3s-master", "control-plane")
    assert "not etcd" in plain_text([k3s.datastore_line(build(site), NOW)])
    stale = build(healthy(), sources={"nodes": state("nodes", Freshness.STALE)})
    assert "nodes are stale" in plain_text([k3s.datastore_line(stale, NOW)])
