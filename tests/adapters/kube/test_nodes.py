from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from coldtui.adapters.kube.decoding import UNDECODABLE
from coldtui.adapters.kube.nodes import node_stats
from coldtui.domain.nodes import Lease, NodeUsage, Size, Taint, VolumeFill
from tests.adapters.kube.shapes import NOW, Json, decode, meta, true

NODE: Json = {
    "metadata": meta("k3s-master", labels={"node-role.kubernetes.io/control-plane": "true", "node-role.kubernetes.io/etcd": "", "kubernetes.io/role": "old"}),
    "spec": {"podCIDR": "10.42.0.0/24", "unschedulable": True, "taints": [{"key": "k", "value": "v", "effect": "NoSchedule"}, {"key": "n", "effect": "NoExecute"}]},
    "status": {
        "capacity": {"cpu": "4", "memory": "8Gi", "ephemeral-storage": "100G", "pods": "110"},
        "allocatable": {"cpu": "3900m", "memory": "7Gi", "pods": "110"},
        "conditions": [true("Ready", reason="KubeletReady", message="kubelet is posting\nready status")],
        "addresses": [{"type": "Hostname", "address": "master"}, {"type": "InternalIP", "address": "192.168.15.110"}],
        "nodeInfo": {"bootID": "b-1", "kubeletVersion": "v1.34.4+k3s1", "osImage": "Debian", "containerRuntimeVersion": "containerd://2", "kernelVersion": "6.1", "architecture": "amd64"},
        "images": [{"names": ["x"]}],
    },
}  # fmt: skip


def test_a_node() -> None:
    """Roles from its labels, sizes in millicores and bytes, taints, addresses, versions."""
    found = decode("nodes", NODE)
    assert found.roles == ("control-plane", "etcd", "old")
    assert found.status == "Ready,SchedulingDisabled"
    assert found.taints == (Taint("k", "v", "NoSchedule"), Taint("n", "", "NoExecute"))
    assert found.capacity == Size(4000, 8 * 2**30, 100 * 10**9, 110)
    assert found.allocatable == Size(3900, 7 * 2**30, 0, 110)
    assert (found.internal_ip, found.hostname, found.pod_cidr, found.boot_id) == ("192.168.15.110", "master", "10.42.0.0/24", "b-1")
    assert found.conditions[0].message == "kubelet is posting ready status"


def test_a_node_that_never_reported() -> None:
    """A node without status is unknown, not ready, and no garbage."""
    found = decode("nodes", {"metadata": {"name": "new"}})
    assert (found.ready, found.status, found.capacity) == ("Unknown", "Unknown", Size())


def test_a_lease_is_observed_when_it_is_read() -> None:
    """The age of a heartbeat counts from our own clock."""
    item = {"metadata": meta("n1", "kube-node-lease"), "spec": {"renewTime": "2026-03-01T11:59:50.123456Z", "holderIdentity": "n1"}}
    found = decode("leases", item)
    assert found == Lease("n1", datetime(2026, 3, 1, 11, 59, 50, 123456, UTC), NOW, "n1")
    assert found.key == "n1"


def test_node_usage() -> None:
    """Nanocores become millicores, Ki bytes."""
    item = {
        "metadata": {"name": "n1"},
        "timestamp": "2026-03-01T12:00:00Z",
        "window": "15s",
        "usage": {"cpu": "156340000n", "memory": "2Ki"},
    }
    assert decode("node_usage", item) == NodeUsage("n1", 157, 2048, NOW)


SUMMARY: Json = {
    "node": {
        "nodeName": "n1",
        "cpu": {"time": "2026-03-01T11:59:58Z", "usageNanoCores": 1_500_001},
        "memory": {"workingSetBytes": 100, "availableBytes": 200},
        "fs": {"capacityBytes": 1000, "usedBytes": 400, "availableBytes": 500, "inodes": 10, "inodesFree": 4},
        "network": {"time": "2026-03-01T11:59:59Z", "name": "eth0", "rxBytes": 7, "txBytes": 8},
        "runtime": {"imageFs": {"capacityBytes": 1000, "usedBytes": 300}},
    },
    "pods": [
        {"volume": [{"name": "v", "pvcRef": {"name": "c", "namespace": "d"}, "capacityBytes": 10, "usedBytes": 3}, {"name": "tmp", "capacityBytes": 1}]},
        {"volume": [{"name": "v", "pvcRef": {"name": "c", "namespace": "d"}, "capacityBytes": 10, "usedBytes": 3}]},
        {"podRef": {}},
    ],
}  # fmt: skip


def test_the_kubelets_summary() -> None:
    """Disk, images, network, CPU and each claim once; the time is that of the network counters."""
    found = node_stats(json.dumps(SUMMARY).encode(), NOW)
    assert (found.name, found.at) == ("n1", datetime(2026, 3, 1, 11, 59, 59, tzinfo=UTC))
    assert (found.disk_used_b, found.disk_available_b, found.inodes_free, found.image_used_b) == (400, 500, 4, 300)
    assert (found.rx_b, found.tx_b, found.cpu_m, found.memory_working_b, found.memory_available_b) == (7, 8, 2, 100, 200)
    assert found.volumes == (VolumeFill("d", "c", 10, 3),)


def test_what_the_kubelet_does_not_say_is_unknown_not_zero() -> None:
    """An absent figure is None."""
    found = node_stats(b'{"node":{"nodeName":"n1"}}', NOW)
    assert (found.at, found.disk_used_b, found.rx_b, found.cpu_m, found.disk_fraction, found.volumes) == (NOW, None, None, None, None, ())


def test_a_summary_that_is_none_is_refused() -> None:
    """An HTML page of a proxy does not become an empty summary."""
    with pytest.raises(UNDECODABLE):
        node_stats(b"<html>", NOW)
