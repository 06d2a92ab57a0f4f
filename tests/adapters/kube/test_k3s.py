"""K3s objects as bytes in, values out."""

from __future__ import annotations

from tests.sample import HOSTILE, decode, etcd_snapshot, plan


def test_a_snapshot_of_the_datastore() -> None:
    """Name, server, size and time arrive; a remote copy and a failed one are told apart from good local ones."""
    s = decode("etcd_snapshots", etcd_snapshot())
    assert (s.snapshot, s.node, s.size_b, s.good, s.remote) == ("etcd-snapshot-k3s-master-1", "k3s-master", 12 << 20, True, False)
    raw = etcd_snapshot(readyToUse=False, error={"message": HOSTILE, "time": "2026-11-24T00:00:00Z"})
    raw["spec"] |= {"nodeName": "s3", "s3": {"bucket": "cold"}}
    bad = decode("etcd_snapshots", raw)
    assert (bad.good, bad.remote, bad.bucket) == (False, True, "cold")
    assert "\x1b" not in bad.error


def test_an_upgrade_plan() -> None:
    """The version is written as K3s writes it, and draining is seen."""
    p = decode("upgrade_plans", plan(applying=["k3s-worker-1"]))
    assert (p.wanted, p.applying, p.drains, p.cordon) == ("v1.34.4+k3s1", ("k3s-worker-1",), True, True)
    assert p.selector is not None
    assert p.selector.matches({})
    assert not p.selector.matches({"node-role.kubernetes.io/control-plane": "true"})
