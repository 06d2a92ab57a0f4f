"""Claims and Longhorn objects as bytes in, values out."""

from __future__ import annotations

from tests.sample import GIB, HOSTILE, NOW, decode, healthy, lh_engine, lh_node, lh_replica, lh_volume, meta


def test_a_longhorn_node_joins_spec_and_status_of_a_disk() -> None:
    """What is reserved stands in the spec, what is free in the status: one disk carries both."""
    n = decode("lh_nodes", lh_node("w"))
    (d,) = n.disks
    assert (d.maximum_b, d.available_b, d.reserved_b, d.scheduled_b, d.replicas) == (100 * GIB, 70 * GIB, 30 * GIB, 20 * GIB, 2)
    assert (n.ready, d.schedulable, d.known) == ("True", True, True)


def test_a_disk_without_information_is_unknown_not_empty() -> None:
    """A disk that reports zeros is not a disk of size 0."""
    n = decode("lh_nodes", lh_node("w", 0, 0))
    assert not n.disks[0].known
    assert n.disks[0].fraction is None


def test_a_volume_names_its_claim_until_that_is_history() -> None:
    """lastPVCRefAt makes the claim named beside it a thing of the past."""
    v = decode("lh_volumes", lh_volume())
    assert (v.claim_key, v.size_b, v.actual_b, v.last_degraded_at) == ("cold/postgres-1", 10 * GIB, 4 * GIB, None)
    raw = lh_volume()
    raw["status"]["kubernetesStatus"]["lastPVCRefAt"] = "2026-11-01T00:00:00Z"
    assert decode("lh_volumes", raw).claim_key == ""


def test_a_replica_is_good_only_with_data_and_without_failure() -> None:
    """healthyAt and failedAt decide; a failure time that cannot be read still is a failure."""
    assert decode("lh_replicas", lh_replica(1, "w")).good
    assert not decode("lh_replicas", lh_replica(1, "w", healthyAt="")).good
    broken = decode("lh_replicas", lh_replica(1, "w", failedAt="yesterday"))
    assert not broken.good
    assert broken.failed_at == NOW


def test_an_engine_tells_modes_progress_and_snapshots() -> None:
    """A rebuild's progress is found under its address; the live head is no snapshot."""
    e = decode(
        "lh_engines",
        lh_engine(
            rebuildStatus={"tcp://10.42.0.5:1": {"isRebuilding": True, "progress": 40, "error": "", "state": "in_progress"}, "b": None}
        ),
    )
    assert (len(e.modes), e.snapshots, [(r.percent, r.running) for r in e.rebuilds]) == (3, 1, [(40, True)])


def test_claims_and_volumes() -> None:
    """Sizes are bytes, and a CSI volume knows its Longhorn volume."""
    c = decode("claims", healthy()["claims"][0])
    assert (c.phase, c.requested_b, c.capacity_b, c.storage_class) == ("Bound", 10 * GIB, 10 * GIB, "longhorn")
    v = decode(
        "volumes",
        {
            "metadata": meta("pvc-7f31"),
            "spec": {
                "capacity": {"storage": "10Gi"},
                "csi": {"driver": "driver.longhorn.io", "volumeHandle": "pvc-7f31"},
                "claimRef": {"namespace": "cold", "name": "x"},
            },
            "status": {"phase": "Bound"},
        },
    )
    assert (v.handle, v.claim, v.capacity_b) == ("pvc-7f31", "cold/x", 10 * GIB)


def test_snapshots_and_settings() -> None:
    """A snapshot's own bytes and a setting's value, which is no `spec`, arrive."""
    s = decode(
        "lh_snapshots",
        {
            "metadata": meta("s1", "longhorn-system"),
            "spec": {"volume": "pvc-7f31"},
            "status": {"size": 5, "readyToUse": True, "userCreated": True},
        },
    )
    assert (s.volume, s.size_b, s.ready) == ("pvc-7f31", 5, True)
    assert (
        decode("lh_settings", {"metadata": meta("node-drain-policy", "longhorn-system"), "value": "always-allow"}).value == "always-allow"
    )


def test_hostile_names_are_made_plain() -> None:
    """Disk paths, workloads and messages come from outside and are cleaned."""
    raw = lh_volume(claim=HOSTILE, currentNodeID=HOSTILE)
    v = decode("lh_volumes", raw)
    assert not any(c in v.claim_key + v.node + v.workloads[0].pod for c in "\x1b\u202e")
