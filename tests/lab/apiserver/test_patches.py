"""The three patch types."""

from __future__ import annotations

from typing import Any

import pytest

from coldtui.lab.apiserver import patches
from coldtui.lab.apiserver.errors import ApiError

Json = dict[str, Any]


def test_a_merge_patch_replaces_lists_merges_maps_and_deletes_by_null() -> None:
    """RFC 7386: maps merge deeply, null removes a key, a list replaces the list, and the target is left alone."""
    target = {"a": {"b": 1, "c": 2}, "l": [1, 2], "x": 1}
    assert patches.merge(target, {"a": {"b": None, "d": {"e": None, "f": 1}}, "l": [3], "x": {"y": 1}}) == {
        "a": {"c": 2, "d": {"f": 1}},
        "l": [3],
        "x": {"y": 1},
    }
    assert target == {"a": {"b": 1, "c": 2}, "l": [1, 2], "x": 1}


def test_json_patch_operations_follow_the_rfc() -> None:
    """add, remove, replace, move, copy and test work on maps and lists, with escaped keys and the end of a list."""
    target: Json = {"metadata": {"labels": {"a/b": "1", "t~x": "2"}}, "l": [1, 2, 3]}
    done = patches.json_patch(
        target,
        [
            {"op": "test", "path": "/metadata/labels/a~1b", "value": "1"},
            {"op": "replace", "path": "/metadata/labels/t~0x", "value": "9"},
            {"op": "add", "path": "/l/-", "value": 4},
            {"op": "add", "path": "/l/0", "value": 0},
            {"op": "remove", "path": "/l/1"},
            {"op": "move", "from": "/metadata/labels/a~1b", "path": "/moved"},
            {"op": "copy", "from": "/l", "path": "/copied"},
        ],
    )
    assert done == {"metadata": {"labels": {"t~x": "9"}}, "l": [0, 2, 3, 4], "moved": "1", "copied": [0, 2, 3, 4]}
    assert target["l"] == [1, 2, 3]


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "test", "path": "/a", "value": 2},
        {"op": "remove", "path": "/missing"},
        {"op": "replace", "path": "/missing", "value": 1},
        {"op": "add", "path": "/missing/deeper", "value": 1},
        {"op": "add", "path": "/l/7", "value": 1},
    ],
)
def test_a_json_patch_that_does_not_apply_is_422(operation: Json) -> None:
    """A failed test or a missing path refuses the whole patch with 422, as the real server does."""
    with pytest.raises(ApiError) as refused:
        patches.json_patch({"a": 1, "l": []}, [{"op": "replace", "path": "/a", "value": 1}, operation])
    assert refused.value.code == 422


def test_conditions_merge_by_type_and_keep_the_others() -> None:
    """A strategic status patch of one condition leaves the other conditions and the unmentioned fields of its own as they were."""
    target = {"status": {"conditions": [{"type": "Ready", "status": "True", "reason": "Ok"}, {"type": "DiskPressure", "status": "False"}]}}
    patch = {"status": {"conditions": [{"type": "Ready", "status": "Unknown"}]}}
    conditions = patches.strategic("Node", target, patch)["status"]["conditions"]
    assert conditions == [{"type": "Ready", "status": "Unknown", "reason": "Ok"}, {"type": "DiskPressure", "status": "False"}]


def test_containers_env_and_ports_merge_by_their_own_keys() -> None:
    """In a pod template containers and env merge by name, container ports by number and protocol, and args are replaced whole."""
    ports = [{"containerPort": 53, "protocol": "TCP"}, {"containerPort": 53, "protocol": "UDP"}]
    first = {
        "name": "a",
        "image": "a:1",
        "args": ["x", "y"],
        "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
        "ports": ports,
    }
    target = {"spec": {"template": {"spec": {"containers": [first, {"name": "b", "image": "b:1"}]}}}}
    change = {
        "name": "a",
        "image": "a:2",
        "args": ["z"],
        "env": [{"name": "B", "value": "3"}],
        "ports": [{"containerPort": 53, "protocol": "UDP", "name": "dns"}],
    }
    done = patches.strategic("Deployment", target, {"spec": {"template": {"spec": {"containers": [change]}}}})
    a, b = done["spec"]["template"]["spec"]["containers"]
    assert (a["image"], a["args"], b["image"]) == ("a:2", ["z"], "b:1")
    assert a["env"] == [{"name": "A", "value": "1"}, {"name": "B", "value": "3"}]
    assert a["ports"] == [{"containerPort": 53, "protocol": "TCP"}, {"containerPort": 53, "protocol": "UDP", "name": "dns"}]


def test_service_ports_merge_by_port() -> None:
    """The merge key of a Service's ports is ``port``."""
    target = {"spec": {"ports": [{"port": 80, "name": "web"}, {"port": 443}]}}
    done = patches.strategic("Service", target, {"spec": {"ports": [{"port": 80, "targetPort": 8080}]}})
    assert done["spec"]["ports"] == [{"port": 80, "name": "web", "targetPort": 8080}, {"port": 443}]


@pytest.mark.parametrize("field", ["taints", "tolerations"])
def test_taints_and_tolerations_are_atomic(field: str) -> None:
    """kubectl sends the whole list of taints; merging it would lose one of two taints with the same key."""
    target = {"spec": {field: [{"key": "k", "effect": "NoSchedule"}]}}
    both = [{"key": "k", "effect": "NoExecute"}, {"key": "k", "effect": "NoSchedule"}]
    assert patches.strategic("Node" if field == "taints" else "Pod", target, {"spec": {field: both}})["spec"][field] == both


def test_patch_directives() -> None:
    """$patch delete and replace, $setElementOrder, $deleteFromPrimitiveList and $retainKeys do what kubectl apply relies on."""
    target = {
        "metadata": {"finalizers": ["a", "b"]},
        "spec": {
            "containers": [{"name": "a"}, {"name": "b"}, {"name": "c"}],
            "volumes": [{"name": "v"}],
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {}},
        },
    }
    patch = {
        "metadata": {"$deleteFromPrimitiveList/finalizers": ["a"], "finalizers": ["z"]},
        "spec": {
            "$setElementOrder/containers": [{"name": "c"}, {"name": "b"}],
            "containers": [{"name": "a", "$patch": "delete"}, {"name": "b", "image": "x"}],
            "volumes": [{"name": "w"}, {"$patch": "replace"}],
            "strategy": {"$retainKeys": ["type"], "type": "Recreate"},
        },
    }
    done = patches.strategic("Pod", target, patch)
    assert done["metadata"]["finalizers"] == ["z", "b"]
    assert done["spec"] == {
        "containers": [{"name": "c"}, {"name": "b", "image": "x"}],
        "volumes": [{"name": "w"}],
        "strategy": {"type": "Recreate"},
    }


def test_an_element_without_its_merge_key_is_refused() -> None:
    """A list element that does not say which one it means is a bad request, not a silent append."""
    with pytest.raises(ApiError) as refused:
        patches.strategic("Pod", {"spec": {}}, {"spec": {"containers": [{"image": "x"}]}})
    assert refused.value.code == 400
