"""Capacity, health of volumes and disks, and their problems."""

from __future__ import annotations

from typing import Any

import pytest

from coldtui.domain import storage, storage_troubles
from coldtui.domain.nodes import VolumeFill
from coldtui.domain.problems import Severity
from coldtui.domain.readings import Freshness, Known, Unknown
from tests.sample import GIB, NOW, Site, ago, broken, build, healthy, lh_engine, lh_node, lh_replica, lh_volume, meta, node, state


def told(site: Site, **more: Any) -> list[tuple[Severity, str]]:
    return [(p.severity, p.sentence) for p in storage_troubles.problems(build(site, **more), NOW)]


def test_capacity_is_the_sum_of_the_disks() -> None:
    """Total, used and available of three disks, and what may be promised: (100 - 30 reserved) GiB x 100 % each."""
    found = storage.capacity(build(healthy()))
    assert isinstance(found, Known)
    c = found.value
    assert (c.total_b, c.used_b, c.available_b, c.limit_b, c.whole) == (300 * GIB, 90 * GIB, 210 * GIB, 210 * GIB, True)


def test_a_disk_that_tells_nothing_makes_the_sum_a_lower_bound() -> None:
    """An unknown disk is left out and said, never added as 0."""
    site = broken()
    site["lh_nodes"][0] = lh_node("k3s-worker-1", 0, 0)
    found = storage.capacity(build(site))
    assert isinstance(found, Known)
    assert (found.value.total_b, found.value.unknown_disks, found.value.whole) == (200 * GIB, 1, False)


@pytest.mark.parametrize("fresh", [f for f in Freshness if f is not Freshness.LIVE])
def test_capacity_is_whole_only_while_live(fresh: Freshness) -> None:
    """In every other state the sums are either unknown with the reason, or marked as not exact."""
    found = storage.capacity(build(healthy(), sources={"lh_nodes": state("lh_nodes", fresh)}))
    assert isinstance(found, Unknown) or not found.value.whole
    assert found.reason if isinstance(found, Unknown) else found.value.why


def test_without_longhorn_there_is_no_guess() -> None:
    """Not installed is said in words, and nothing else is made up."""
    found = storage.capacity(build({}, sources={"lh_nodes": state("lh_nodes", Freshness.NOT_INSTALLED)}))
    assert found == Unknown("lh_nodes", "Longhorn nodes are not installed here")


def test_two_disks_of_one_file_system_are_suspected() -> None:
    """Equal size and equal room on one node are said to be perhaps one disk counted twice."""
    site = broken()
    raw = site["lh_nodes"][0]
    raw["spec"]["disks"]["second"] = dict(raw["spec"]["disks"]["default"], path="/mnt/x")
    raw["status"]["diskStatus"]["second"] = dict(raw["status"]["diskStatus"]["default"])
    found = storage.capacity(build(site))
    assert isinstance(found, Known)
    assert found.value.doubled == ("k3s-worker-1",)


def test_a_degraded_volume_counts_its_copies_and_names_the_rebuild() -> None:
    """A copy being built does not count; its progress is the cause."""
    site = broken()
    modes = {"pvc-7f31-r-1": "RW", "pvc-7f31-r-2": "RW", "pvc-7f31-r-3": "WO"}
    site["lh_volumes"] = [lh_volume(robustness="degraded", lastDegradedAt=ago(minutes=5))]
    site["lh_engines"] = [lh_engine(modes=modes, rebuildStatus={"tcp://a:1": {"isRebuilding": True, "progress": 40}})]
    (found,) = storage_troubles.problems(build(site), NOW)
    assert (found.severity, found.sentence, found.cause) == (
        Severity.WARNING,
        "volume cold/postgres-1 has 2 of 3 copies",
        "rebuilding 40 %",
    )
    assert found.hits == "cold-postgres"
    (rebuild,) = storage.rebuilding(build(site))
    assert (rebuild.percent, rebuild.replicas) == (40, 1)


def test_copies_are_not_counted_while_replicas_are_not_read() -> None:
    """Without replicas the number of copies is unknown, and the sentence claims no number."""
    site = broken()
    site["lh_volumes"] = [lh_volume(robustness="degraded")]
    site["lh_replicas"] = []
    assert told(site, sources={"lh_replicas": state("lh_replicas", Freshness.LOADING)}) == [
        (Severity.WARNING, "volume cold/postgres-1 has fewer than 3 copies")
    ]


def test_a_faulted_volume_is_critical() -> None:
    """No usable copy is the worst there is, and the workload is named."""
    site = broken()
    site["lh_volumes"] = [lh_volume(robustness="faulted", state="detached")]
    (found,) = storage_troubles.problems(build(site), NOW)
    assert (found.severity, found.hits) == (Severity.CRITICAL, "cold-postgres")


def test_the_only_good_copy_on_a_dead_node_is_critical() -> None:
    """One good copy on a node that does not answer is about to be lost."""
    site = broken()
    site["lh_volumes"] = [lh_volume(robustness="degraded")]
    site["lh_replicas"] = [
        lh_replica(1, "k3s-worker-1"),
        lh_replica(2, "k3s-worker-2", failedAt=ago(hours=1)),
        lh_replica(3, "k3s-worker-3", healthyAt=""),
    ]
    site["nodes"] = [node("k3s-worker-1", ready="Unknown"), node("k3s-worker-2"), node("k3s-worker-3")]
    assert (Severity.CRITICAL, "volume cold/postgres-1: the only good copy is on k3s-worker-1, which is NotReady") in told(site)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (lh_node("w", available=25 * GIB), (Severity.WARNING, "disk /var/lib/longhorn/ of w is 75% full")),
        (lh_node("w", available=5 * GIB), (Severity.CRITICAL, "disk /var/lib/longhorn/ of w is 95% full")),
        (lh_node("w", 0, 0), (Severity.WARNING, "disk /var/lib/longhorn/ of w tells nothing")),
        (lh_node("w", ready={"status": "False", "reason": "ManagerPodDown"}), (Severity.WARNING, "Longhorn on w is not ready")),
        (lh_node("w", placing={"status": "False", "reason": "DiskPressure", "message": "no room"}), (Severity.WARNING, "disk /var/lib/longhorn/ of w takes no new copies")),
        (lh_node("w", spec={"allowScheduling": False}), (Severity.NOTICE, "Longhorn puts no new copies on w")),
    ],
)  # fmt: skip
def test_nodes_and_disks(raw: dict[str, Any], expected: tuple[Severity, str]) -> None:
    """Each trouble of a Longhorn node or disk is said once, with its number."""
    assert expected in told({"lh_nodes": [raw]})
    assert len([p for p in told({"lh_nodes": [raw]}) if "promised" not in p[1]]) == 1


def test_claims() -> None:
    """A lost claim is critical; a pending one is a notice unless a pod waits for it; a full one is named with its share."""
    pending = {"metadata": meta("data", "cold"), "spec": {"resources": {"requests": {"storage": "1Gi"}}}, "status": {"phase": "Pending"}}
    lost = {"metadata": meta("gone", "cold"), "spec": {"volumeName": "pv"}, "status": {"phase": "Lost"}}
    assert set(told({"claims": [pending, lost]})) == {
        (Severity.NOTICE, "claim cold/data is pending"),
        (Severity.CRITICAL, "claim cold/gone has lost its volume"),
    }
    waiting = {
        "metadata": meta("web-1", "cold"),
        "spec": {"containers": [], "volumes": [{"name": "d", "persistentVolumeClaim": {"claimName": "data"}}]},
        "status": {"phase": "Pending"},
    }
    assert told({"claims": [pending], "pods": [waiting]}) == [(Severity.WARNING, "claim cold/data is pending")]
    fresh = {**pending, "metadata": meta("data", "cold", creationTimestamp=ago(seconds=30))}
    assert told({"claims": [fresh]}) == []
    assert told({}, fills=(VolumeFill("cold", "postgres-1", 100, 96),)) == [(Severity.CRITICAL, "claim cold/postgres-1 is 96% full")]


def test_detached_is_not_bad() -> None:
    """Robustness is unknown while detached: that is normal and no problem."""
    assert told({"lh_volumes": [lh_volume(state="detached", robustness="unknown")]}) == []


def test_promises_near_the_limit_and_settings_that_bite() -> None:
    """More than 90 % promised, rebuilding switched off, and the flag that lets Longhorn be uninstalled are seen."""
    site = broken()
    for raw in site["lh_nodes"]:
        raw["status"]["diskStatus"]["default"]["storageScheduled"] = 65 * GIB
    site["lh_settings"] += [
        {"metadata": meta("concurrent-replica-rebuild-per-node-limit", "longhorn-system"), "value": "0"},
        {"metadata": meta("deleting-confirmation-flag", "longhorn-system"), "value": "true"},
    ]
    assert {s for _, s in told(site)} == {
        "Longhorn has promised 93% of what it may",
        "Longhorn rebuilds nothing",
        "Longhorn may be uninstalled without asking",
    }


def test_a_setting_per_engine() -> None:
    """A value in JSON per data engine counts by v1; nonsense counts as unknown."""
    world = build(healthy())
    assert storage.number_setting(world, "storage-over-provisioning-percentage") == 100
    assert storage.number_setting(build({"lh_settings": [{"metadata": meta("x", "l"), "value": "{]"}]}), "x") is None
    assert storage.number_setting(world, "not-read") is None


def test_the_index_follows_the_world() -> None:
    """Replicas are looked up in an index kept for the last World; another World gets its own."""
    first, second = build(healthy()), build({**healthy(), "lh_replicas": []})
    volume = first.lh_volumes.items["longhorn-system/pvc-7f31"]
    assert [storage.healthy_copies(w, volume) for w in (first, second, first)] == [3, 0, 3]
