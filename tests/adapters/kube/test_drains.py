"""Pods, budgets and volumes in the detail of a drain, from JSON as the API sends it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from coldtui.adapters.kube.decoders import DECODERS, registered
from coldtui.domain.drains import DRAIN_KINDS, DrainPod, EmptyDir, NodeTerm, Requirement, Ticket, Toleration
from coldtui.domain.kinds import KINDS
from coldtui.domain.selectors import Expression, Selector
from tests.adapters.kube.shapes import NOW, Json, listing, meta, pod


def read(kind: str, raw: Json) -> Any:
    decoder = registered(kind)
    assert decoder is not None
    return decoder.item(json.dumps(raw).encode(), NOW)


def detail(name: str = "web-0", **more: Any) -> DrainPod:
    found: DrainPod = read("drain_pods", pod(name, **more))
    return found


@pytest.mark.parametrize("name", sorted(DRAIN_KINDS))
def test_every_kind_of_a_drain_can_be_read(name: str) -> None:
    """Each has a decoder, and none of them is one that the console watches."""
    decoder = registered(name)
    assert decoder is not None
    assert decoder.listing(json.dumps(listing()).encode(), NOW).items == ()
    assert name not in KINDS
    assert name not in DECODERS


def test_a_bare_pod_has_the_defaults_of_the_api() -> None:
    """Nothing set: 30 s of grace, no rules about nodes, nothing that dies with it."""
    found = detail()
    assert (found.grace_s, found.empty_dirs, found.node_terms, found.host_ports, found.serial) == (30, (), None, (), None)
    assert found.key == "default/web-0"
    assert found.address == "pods/default/web-0"
    assert found.pod.name == "web-0"


def test_the_pod_inside_is_the_one_of_every_screen() -> None:
    """State, claims and requests are decoded by the same code as for the console."""
    raw = pod(
        spec={
            "volumes": [{"name": "d", "persistentVolumeClaim": {"claimName": "data"}}],
            "containers": [{"name": "app", "resources": {"requests": {"cpu": "1", "memory": "1Gi"}}}],
        }
    )
    assert read("drain_pods", raw).pod == read("pods", raw)


def test_what_dies_with_a_pod() -> None:
    """emptyDir volumes with medium and limit; other volumes are none."""
    volumes = [
        {"name": "cache", "emptyDir": {}},
        {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "64Mi"}},
        {"name": "cfg", "configMap": {"name": "c"}},
        {"name": "d", "persistentVolumeClaim": {"claimName": "data"}},
    ]
    found = detail(spec={"volumes": volumes})
    assert found.empty_dirs == (EmptyDir("cache"), EmptyDir("shm", True, 64 << 20))
    assert [str(e) for e in found.empty_dirs] == ["cache", "shm (memory)"]
    assert found.pod.claims == ("data",)


def test_where_a_pod_may_run() -> None:
    """Selector, affinity, tolerations, spreading, host ports."""
    spec = {
        "nodeSelector": {"disk": "ssd"},
        "tolerations": [{"key": "a", "operator": "Exists"}, {"key": "b", "value": "c", "effect": "NoSchedule"}],
        "affinity": {
            "nodeAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": {
                    "nodeSelectorTerms": [{"matchExpressions": [{"key": "zone", "operator": "In", "values": ["x"]}]}, {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n"]}]}]
                }
            },
            "podAntiAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": [
                    {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "web"}}, "matchLabelKeys": ["hash"]}
                ]
            },
            "podAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": [
                    {"topologyKey": "zone", "labelSelector": {"matchExpressions": [{"key": "app", "operator": "Exists"}]}, "namespaceSelector": {}}
                ]
            },
        },
        "topologySpreadConstraints": [
            {"topologyKey": "zone", "maxSkew": 2, "whenUnsatisfiable": "DoNotSchedule", "labelSelector": {"matchLabels": {"app": "web"}}, "nodeTaintsPolicy": "Honor"},
            {"topologyKey": "zone", "maxSkew": 1, "whenUnsatisfiable": "ScheduleAnyway", "labelSelector": {}},
        ],
        "containers": [{"name": "app", "ports": [{"containerPort": 80, "hostPort": 8080}, {"containerPort": 81}]}],
    }  # fmt: skip
    found = detail(spec=spec, metadata={"labels": {"hash": "5d"}})
    assert found.node_labels == {"disk": "ssd"}
    assert found.tolerations == (Toleration("a", "Exists"), Toleration("b", "Equal", "c", "NoSchedule"))
    assert found.node_terms == (
        NodeTerm((Requirement("zone", "In", ("x",)),)),
        NodeTerm(fields=(Requirement("metadata.name", "In", ("n",)),)),
    )
    (apart,), (beside,) = found.apart, found.beside
    assert apart.selector == Selector({"app": "web"}, (Expression("hash", "In", ("5d",)),))
    assert (apart.namespaces, apart.everywhere) == (("default",), False)
    assert (beside.namespaces, beside.everywhere) == ((), True)
    (spread,) = found.spreads
    assert (spread.topology, spread.max_skew, spread.heeds_taints, spread.heeds_affinity) == ("zone", 2, True, True)
    assert found.host_ports == (("TCP", 8080),)


def test_who_owns_and_holds_a_pod() -> None:
    """The controller's API version, finalizers, grace, and CloudNativePG's number of the instance."""
    owners = [{"apiVersion": "v1", "kind": "X", "name": "x", "uid": "1"}, {"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "d", "uid": "2", "controller": True}]  # fmt: skip
    found = detail(
        metadata={
            "ownerReferences": owners,
            "finalizers": ["a/b"],
            "annotations": {"cnpg.io/nodeSerial": "3", "kubernetes.io/config.mirror": "x"},
        },
        spec={"terminationGracePeriodSeconds": 1800},
    )
    assert (found.owner_api, found.pod.owner.name if found.pod.owner else "") == ("apps/v1", "d")
    assert (found.finalizers, found.grace_s, found.serial, found.pod.mirror) == (("a/b",), 1800, 3, True)


def test_outside_text_is_made_plain() -> None:
    """Names of volumes, finalizers, labels and messages cannot move a cursor."""
    evil = "a\x1b[31mb"
    found = detail(
        metadata={"finalizers": [evil], "labels": {evil: evil}},
        spec={"volumes": [{"name": evil, "emptyDir": {}}], "nodeSelector": {evil: evil}, "tolerations": [{"key": evil}]},
    )
    raw = {"metadata": meta(evil), "spec": {"selector": {"matchLabels": {evil: evil}}}, "status": {"conditions": [{"type": "DisruptionAllowed", "reason": "SyncFailed", "message": evil}]}}  # fmt: skip
    assert "\x1b" not in repr((found, read("drain_budgets", raw))).replace("\\x1b", "\x1b")


def test_budgets() -> None:
    """Rule, selector with expressions, policy, generations and numbers; and why its controller cannot count."""
    raw: Json = {
        "metadata": meta("b", generation=3),
        "spec": {
            "maxUnavailable": "30%", "unhealthyPodEvictionPolicy": "AlwaysAllow",
            "selector": {"matchLabels": {"a": "b"}, "matchExpressions": [{"key": "tier", "operator": "In", "values": ["web"]}]},
        },
        "status": {"observedGeneration": 2, "disruptionsAllowed": 1, "currentHealthy": 3, "desiredHealthy": 2, "expectedPods": 3},
    }  # fmt: skip
    found = read("drain_budgets", raw)
    assert (found.max_unavailable, found.min_available, found.policy, found.counted) == ("30%", "", "AlwaysAllow", False)
    assert found.selector == Selector({"a": "b"}, (Expression("tier", "In", ("web",)),))
    assert found.numbers == "1 of 3 may go now; 3 healthy, 2 needed"
    assert found.sync_error == ""
    raw["status"]["conditions"] = [
        {"type": "DisruptionAllowed", "status": "False", "reason": "SyncFailed", "message": "found no controllers"}
    ]
    assert read("drain_budgets", raw).sync_error == "found no controllers"
    del raw["spec"]["selector"]
    assert read("drain_budgets", raw).selector is None


def test_volumes_know_their_places() -> None:
    """A local volume is usable on its node only; one over the network everywhere."""
    terms = [{"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": ["n1"]}]}]
    raw = {
        "metadata": {"name": "pv"},
        "spec": {"capacity": {"storage": "2Gi"}, "claimRef": {"namespace": "shop", "name": "data"}, "local": {"path": "/x"}, "nodeAffinity": {"required": {"nodeSelectorTerms": terms}}},
    }  # fmt: skip
    found = read("drain_volumes", raw)
    near, far = (read("nodes", {"metadata": {"name": n, "labels": {"kubernetes.io/hostname": n}}}) for n in ("n1", "n2"))
    assert (found.claim, found.local, found.capacity_b) == ("shop/data", True, 2 << 30)
    assert found.usable_on(near)
    assert not found.usable_on(far)
    assert read("drain_volumes", {"metadata": {"name": "pv"}, "spec": {"csi": {"driver": "d"}}}).usable_on(far)


def test_longhorn_attachments() -> None:
    """Who wants a volume attached to which node."""
    raw = {"metadata": meta("v"), "spec": {"volume": "v", "attachmentTickets": {"b": {"id": "b", "type": "csi-attacher", "nodeID": "n1"}, "a": {"id": "a", "type": "longhorn-api", "nodeID": "n2"}, "c": None}}}  # fmt: skip
    assert read("lh_attachments", raw).tickets == (Ticket("a", "longhorn-api", "n2"), Ticket("b", "csi-attacher", "n1"))
