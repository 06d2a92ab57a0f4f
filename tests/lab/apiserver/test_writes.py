"""The write path: creation, generations, conflicts, dry runs, deletion, garbage collection, namespaces."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from coldtui.lab.apiserver.collect import Collector
from coldtui.lab.apiserver.errors import ApiError
from coldtui.lab.apiserver.objects import JSON_PATCH, MERGE, STRATEGIC, Objects, Write
from coldtui.lab.apiserver.resources import Resource
from coldtui.lab.apiserver.store import decode
from tests.lab.apiserver.site import deployment, node, pod, running

Json = dict[str, Any]


def _resource(objects: Objects, plural: str) -> Resource:
    return next(r for (_, _, p), r in objects.registry.by_path.items() if p == plural and not r.virtual)


def _create(objects: Objects, body: Json, namespace: str = "default") -> Json:
    resource = objects.registry.kind(body["apiVersion"], body["kind"])
    assert resource is not None
    made: Json = decode(objects.create(resource, namespace if resource.namespaced else "", copy.deepcopy(body), Write("test")))
    return made


def _owner(obj: Json) -> Json:
    meta = obj["metadata"]
    return {
        "apiVersion": obj["apiVersion"],
        "kind": obj["kind"],
        "name": meta["name"],
        "uid": meta["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def test_defaults_are_filled_in_and_status_starts_empty(objects: Objects) -> None:
    """A client's status is ignored on creation, and the defaults that clients rely on are there."""
    made = _create(objects, running(pod("a")))
    assert made["status"] == {"phase": "Pending", "qosClass": "Burstable"}
    assert made["spec"]["restartPolicy"] == "Always"
    assert {t["key"] for t in made["spec"]["tolerations"]} == {"node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"}
    strategy = _create(objects, deployment("d"))["spec"]["strategy"]
    assert strategy == {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"}}


def test_generate_name_makes_unique_names(objects: Objects) -> None:
    """generateName gets five letters, different each time."""
    body = pod("x")
    del body["metadata"]["name"]
    body["metadata"]["generateName"] = "web-"
    names = {_create(objects, body)["metadata"]["name"] for _ in range(5)}
    assert len(names) == 5
    assert all(n.startswith("web-") and len(n) == 9 for n in names)


def test_generation_counts_spec_changes_only(objects: Objects) -> None:
    """Labels and status leave the generation, the spec raises it, and the same patch again changes nothing at all."""
    deployments = _resource(objects, "deployments")
    _create(objects, deployment("d"))

    def patch(sub: str, body: Json) -> Json:
        found: Json = decode(objects.patch(deployments, "default", "d", sub, MERGE, body, Write("test")))
        meta: Json = found["metadata"]
        return meta

    assert patch("", {"metadata": {"labels": {"a": "b"}}})["generation"] == 1
    assert patch("status", {"status": {"replicas": 2}})["generation"] == 1
    changed = patch("", {"spec": {"replicas": 3}})
    assert changed["generation"] == 2
    assert patch("", {"spec": {"replicas": 3}})["resourceVersion"] == changed["resourceVersion"]


def test_status_and_spec_are_written_apart(objects: Objects) -> None:
    """A write to the object leaves the status, a write to the status leaves the spec."""
    nodes = _resource(objects, "nodes")
    _create(objects, node("n"))
    objects.patch(nodes, "", "n", "", MERGE, {"spec": {"unschedulable": True}, "status": {"capacity": {"cpu": "99"}}}, Write())
    objects.patch(nodes, "", "n", "status", MERGE, {"spec": {"unschedulable": None}, "status": {"capacity": {"memory": "1Gi"}}}, Write())
    found = objects.get(nodes, "", "n").decoded()
    assert found["spec"] == {"unschedulable": True}
    assert (found["status"]["capacity"]["cpu"], found["status"]["capacity"]["memory"]) == ("4", "1Gi")


def test_conflicts_and_preconditions(objects: Objects) -> None:
    """A stale version in a PUT or a patch, and a wrong uid in a delete, are 409; an existing name is 409 AlreadyExists."""
    pods = _resource(objects, "pods")
    made = _create(objects, pod("a"))
    objects.patch(pods, "default", "a", "", MERGE, {"metadata": {"labels": {"x": "y"}}}, Write())
    for call in (
        lambda: objects.update(pods, "default", "a", "", made, Write()),
        lambda: objects.patch(
            pods, "default", "a", "", MERGE, {"metadata": {"resourceVersion": made["metadata"]["resourceVersion"]}}, Write()
        ),
        lambda: objects.delete(pods, "default", "a", {"preconditions": {"uid": "other"}}, Write()),
        lambda: objects.delete(pods, "default", "a", {"preconditions": {"resourceVersion": made["metadata"]["resourceVersion"]}}, Write()),
    ):
        with pytest.raises(ApiError) as refused:
            call()
        assert (refused.value.code, refused.value.reason) == (409, "Conflict")
    with pytest.raises(ApiError) as exists:
        _create(objects, pod("a"))
    assert exists.value.reason == "AlreadyExists"


def test_a_dry_run_stores_nothing(objects: Objects) -> None:
    """dryRun validates and answers like the real thing without a new version."""
    pods, before = _resource(objects, "pods"), objects.store.version
    raw = objects.create(pods, "default", pod("a"), Write(dry_run=True))
    assert decode(raw)["spec"]["restartPolicy"] == "Always"
    assert objects.store.version == before
    with pytest.raises(ApiError):
        objects.get(pods, "default", "a")
    with pytest.raises(ApiError) as refused:
        objects.create(pods, "default", {"metadata": {"name": "A_bad"}, "spec": {}}, Write(dry_run=True))
    assert {c["field"] for c in refused.value.details["causes"]} == {"metadata.name", "spec.containers"}


def test_managed_fields_name_manager_and_time_only(objects: Objects) -> None:
    """Who wrote, how, when and to which subresource; one entry each."""
    pods = _resource(objects, "pods")
    _create(objects, pod("a"))
    for phase in ("Running", "Failed"):
        objects.patch(pods, "default", "a", "status", MERGE, {"status": {"phase": phase}}, Write("kubelet"))
    entries = objects.get(pods, "default", "a").decoded()["metadata"]["managedFields"]
    assert [(e["manager"], e["operation"], e.get("subresource")) for e in entries] == [
        ("test", "Update", None),
        ("kubelet", "Update", "status"),
    ]


def test_unsupported_patch_types(objects: Objects) -> None:
    """Server-side apply is 415 and says what to use instead; strategic patches of custom kinds are 415 too."""
    pods = _resource(objects, "pods")
    _create(objects, pod("a"))
    with pytest.raises(ApiError, match="server-side apply") as refused:
        objects.patch(pods, "default", "a", "", "application/apply-patch+yaml", {}, Write())
    assert refused.value.code == 415


def test_scale_by_any_patch_type(objects: Objects) -> None:
    """The scale subresource takes merge and JSON patches, raises the generation, and refuses a negative number."""
    deployments = _resource(objects, "deployments")
    _create(objects, deployment("d"))
    scale = decode(objects.patch(deployments, "default", "d", "scale", MERGE, {"spec": {"replicas": 5}}, Write()))
    assert (scale["kind"], scale["spec"]["replicas"], scale["status"]["selector"]) == ("Scale", 5, "app=web")
    objects.patch(deployments, "default", "d", "scale", JSON_PATCH, [{"op": "replace", "path": "/spec/replicas", "value": 6}], Write())
    objects.patch(deployments, "default", "d", "scale", STRATEGIC, {"spec": {"replicas": 7}}, Write())
    found = objects.get(deployments, "default", "d").decoded()
    assert (found["spec"]["replicas"], found["metadata"]["generation"]) == (7, 4)
    with pytest.raises(ApiError):
        objects.patch(deployments, "default", "d", "scale", MERGE, {"spec": {"replicas": -1}}, Write())


def test_a_pod_on_a_node_waits_for_its_kubelet(objects: Objects) -> None:
    """A running pod gets a deletion time; a second deletion may shorten the grace; grace 0 removes it; an unscheduled pod goes at once."""
    pods = _resource(objects, "pods")
    objects.store.collection(pods).put({**running(pod("a", on="w1")), "metadata": {**pod("a")["metadata"], "uid": "u"}})
    objects.delete(pods, "default", "a", {"gracePeriodSeconds": 60}, Write())
    assert objects.get(pods, "default", "a").decoded()["metadata"]["deletionGracePeriodSeconds"] == 60
    objects.delete(pods, "default", "a", {"gracePeriodSeconds": 10}, Write())
    assert objects.get(pods, "default", "a").decoded()["metadata"]["deletionGracePeriodSeconds"] == 10
    objects.delete(pods, "default", "a", {"gracePeriodSeconds": 0}, Write())
    _create(objects, pod("b"))
    objects.delete(pods, "default", "b", {}, Write())
    assert not objects.store.collection(pods).items


def test_finalizers_hold_an_object_until_they_are_gone(objects: Objects) -> None:
    """Deletion waits for finalizers, no new ones may come then, and taking the last one off removes the object."""
    maps = _resource(objects, "configmaps")
    _create(objects, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "finalizers": ["lab/hold"]}})
    objects.delete(maps, "default", "c", {}, Write())
    assert objects.get(maps, "default", "c").decoded()["metadata"]["deletionTimestamp"]
    with pytest.raises(ApiError) as refused:
        objects.patch(maps, "default", "c", "", MERGE, {"metadata": {"finalizers": ["lab/hold", "lab/more"]}}, Write())
    assert refused.value.code == 422
    objects.patch(maps, "default", "c", "", MERGE, {"metadata": {"finalizers": None}}, Write())
    with pytest.raises(ApiError):
        objects.get(maps, "default", "c")


def _family(objects: Objects) -> tuple[Resource, Resource, Resource]:
    """A deployment that owns a replica set that owns a pod."""
    top = _create(objects, deployment("d"))
    middle = deployment("rs")
    middle["kind"] = "ReplicaSet"
    middle["metadata"]["ownerReferences"] = [_owner(top)]
    held = _create(objects, middle)
    _create(objects, pod("p", owner=_owner(held)))
    return _resource(objects, "deployments"), _resource(objects, "replicasets"), _resource(objects, "pods")


def test_background_deletion_collects_the_whole_family(objects: Objects) -> None:
    """The owner goes at once, its dependents and theirs afterwards, and what is created for a gone owner is collected too."""
    collector = Collector(objects)
    deployments, sets, pods = _family(objects)
    owner = _owner(objects.get(deployments, "default", "d").decoded())
    objects.delete(deployments, "default", "d", {"propagationPolicy": "Background"}, Write())
    assert objects.store.collection(sets).items
    collector.work()
    assert not objects.store.collection(sets).items
    assert not objects.store.collection(pods).items
    _create(objects, pod("late", owner=owner))
    collector.work()
    assert not objects.store.collection(pods).items


def test_foreground_deletion_keeps_the_owner_to_the_last(objects: Objects) -> None:
    """The owner waits with a finalizer until its dependents are gone."""
    collector = Collector(objects)
    deployments, sets, pods = _family(objects)
    held = objects.get(pods, "default", "p").decoded()
    held["metadata"]["finalizers"] = ["lab/hold"]
    objects.store.collection(pods).put(held)
    objects.delete(deployments, "default", "d", {"propagationPolicy": "Foreground"}, Write())
    for _ in range(3):
        collector.work()
    assert objects.get(deployments, "default", "d").decoded()["metadata"]["finalizers"] == ["foregroundDeletion"]
    assert objects.get(sets, "default", "rs").decoded()["metadata"]["deletionTimestamp"]
    objects.patch(pods, "default", "p", "", MERGE, {"metadata": {"finalizers": None}}, Write())
    for _ in range(3):
        collector.work()
    assert not objects.store.collection(deployments).items
    assert not objects.store.collection(sets).items


def test_orphaning_leaves_the_dependents_without_their_owner(objects: Objects) -> None:
    """Orphan takes the owner reference off the dependents and then removes the owner only."""
    collector = Collector(objects)
    deployments, sets, pods = _family(objects)
    objects.delete(deployments, "default", "d", {"propagationPolicy": "Orphan"}, Write())
    collector.work()
    assert not objects.store.collection(deployments).items
    assert "ownerReferences" not in objects.get(sets, "default", "rs").decoded()["metadata"]
    assert objects.store.collection(pods).items


def test_a_namespace_ends_when_its_contents_have_gone(objects: Objects) -> None:
    """A terminating namespace refuses new objects with its cause, waits for running pods, and then goes."""
    collector = Collector(objects)
    namespaces, pods, maps = (_resource(objects, p) for p in ("namespaces", "pods", "configmaps"))
    _create(objects, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}})
    _create(objects, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}}, "shop")
    objects.store.collection(pods).put(running({**pod("p", "shop", on="w1"), "metadata": {"name": "p", "namespace": "shop", "uid": "u"}}))
    objects.delete(namespaces, "", "shop", {}, Write())
    collector.work()
    assert not objects.store.collection(maps).select("shop")
    assert objects.get(namespaces, "", "shop").decoded()["status"]["phase"] == "Terminating"
    with pytest.raises(ApiError) as refused:
        _create(objects, pod("new", "shop"), "shop")
    assert (refused.value.code, refused.value.details["causes"][0]["reason"]) == (403, "NamespaceTerminating")
    objects.delete(pods, "shop", "p", {"gracePeriodSeconds": 0}, Write())
    collector.work()
    with pytest.raises(ApiError):
        objects.get(namespaces, "", "shop")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"spec": {"selector": {"matchLabels": {"app": "other"}}}}, "spec.selector"),
        ({"spec": {"replicas": -1}}, "spec.replicas"),
        ({"spec": {"strategy": {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 0}}}}, "spec.strategy.rollingUpdate.maxUnavailable"),
        ({"spec": {"template": {"metadata": {"labels": {"app": "x"}}}}}, "spec.template.metadata.labels"),
    ],
)
def test_impossible_deployments_are_422(objects: Objects, change: Json, field: str) -> None:
    """The rules of deployments name the field that is wrong."""
    _create(objects, deployment("d"))
    with pytest.raises(ApiError) as refused:
        objects.patch(_resource(objects, "deployments"), "default", "d", "", MERGE, change, Write())
    assert refused.value.code == 422
    assert field in {c["field"] for c in refused.value.details["causes"]}


def test_a_pods_spec_is_fixed_but_for_its_image(objects: Objects) -> None:
    """The image of a pod may change, its node name may not."""
    pods = _resource(objects, "pods")
    _create(objects, pod("a"))
    objects.patch(pods, "default", "a", "", STRATEGIC, {"spec": {"containers": [{"name": "main", "image": "new:1"}]}}, Write())
    with pytest.raises(ApiError, match="pod updates may not change fields"):
        objects.patch(pods, "default", "a", "", MERGE, {"spec": {"nodeName": "w9"}}, Write())
