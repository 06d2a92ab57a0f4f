"""Custom resources: the packaged CRDs and new ones; defaults, pruning, validation."""

from __future__ import annotations

from typing import Any

import pytest

from coldtui.lab.apiserver import crds, schema
from tests.lab.apiserver.site import JSON_PATCH, MERGE, STRATEGIC, Client

Json = dict[str, Any]
CLUSTERS = "/apis/postgresql.cnpg.io/v1/namespaces/default/clusters"
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


def _cluster(name: str, **spec: Any) -> Json:
    return {
        "apiVersion": "postgresql.cnpg.io/v1",
        "kind": "Cluster",
        "metadata": {"name": name},
        "spec": {"instances": 3, "storage": {"size": "5Gi"}, **spec},
    }


def _widgets(schema_: Json) -> Json:
    version = {"name": "v1", "served": True, "storage": True, "subresources": {"status": {}}, "schema": {"openAPIV3Schema": schema_}}
    version["additionalPrinterColumns"] = [
        {"name": "Ready", "type": "string", "jsonPath": '.status.conditions[?(@.type=="Ready")].status'},
        {"name": "Size", "type": "integer", "jsonPath": ".spec.size"},
        {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
    ]
    names = {"kind": "Widget", "plural": "widgets", "shortNames": ["wd"]}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.org"},
        "spec": {
            "group": "example.org",
            "scope": "Namespaced",
            "names": names,
            "versions": [version, {**version, "name": "v2", "storage": False}],
        },
    }


def test_all_packaged_crds_are_served(client: Client) -> None:
    """Every CRD file that the lab ships is established, and its kind can be listed."""
    found = {c["metadata"]["name"]: c for c in client.get(CRDS).json["items"]}
    files = {c["metadata"]["name"] for c in crds.packaged()}
    assert files <= set(found)
    assert len(files) > 20
    for crd in found.values():
        assert {c["type"] for c in crd["status"]["conditions"] if c["status"] == "True"} == {"NamesAccepted", "Established"}
        spec = crd["spec"]
        assert client.get(f"/apis/{spec['group']}/{spec['versions'][0]['name']}/{spec['names']['plural']}").code == 200


def test_a_real_cluster_gets_its_defaults(client: Client) -> None:
    """Creating a CloudNativePG Cluster fills in the defaults of the real schema and starts at generation 1 without status."""
    made = client.post(CLUSTERS, {**_cluster("pg"), "status": {"phase": "invented"}})
    assert made["spec"]["primaryUpdateStrategy"] == "unsupervised"
    assert made["spec"]["stopDelay"] == 1800
    assert made["metadata"]["generation"] == 1
    assert "status" not in made


@pytest.mark.parametrize(
    ("spec", "field", "reason"),
    [
        ({"instances": 0}, "spec.instances", "FieldValueInvalid"),
        ({"instances": "three"}, "spec.instances", "FieldValueTypeInvalid"),
        ({"primaryUpdateStrategy": "perhaps"}, "spec.primaryUpdateStrategy", "FieldValueNotSupported"),
        ({"bootstrap": {"recovery": {"volumeSnapshots": {}}}}, "spec.bootstrap.recovery.volumeSnapshots.storage", "FieldValueRequired"),
    ],
)
def test_what_the_real_schema_refuses_is_422(client: Client, spec: Json, field: str, reason: str) -> None:
    """A wrong value is refused with the field and the reason as causes."""
    answer = client.call("POST", CLUSTERS, _cluster("bad", **spec))
    assert answer.code == 422
    assert (reason, field) in {(c["reason"], c["field"]) for c in answer.json["details"]["causes"]}
    assert answer.json["message"].startswith('Cluster.postgresql.cnpg.io "bad" is invalid')


def test_unknown_fields_are_pruned_warned_about_or_refused(client: Client) -> None:
    """fieldValidation decides: Ignore drops silently, Warn drops with a Warning header, Strict is 400."""
    body = _cluster("prune", imaginary={"x": 1})
    answer = client.call("POST", f"{CLUSTERS}?fieldValidation=Strict", body)
    assert answer.code == 400
    assert 'strict decoding error: unknown field "spec.imaginary"' in answer.json["message"]
    answer = client.call("POST", f"{CLUSTERS}?fieldValidation=Warn&dryRun=All", body)
    assert "imaginary" in answer.headers["Warning"]
    answer = client.call("POST", f"{CLUSTERS}?fieldValidation=Ignore", body)
    assert "Warning" not in answer.headers
    assert "imaginary" not in answer.json["spec"]


def test_patches_of_custom_resources(client: Client) -> None:
    """Merge and JSON patches work, a strategic patch is 415, and status is a subresource of its own."""
    client.post(CLUSTERS, _cluster("patch"))
    path = f"{CLUSTERS}/patch"
    assert client.patch(path, {"spec": {"instances": 2}}, MERGE).json["metadata"]["generation"] == 2
    assert client.patch(path, [{"op": "replace", "path": "/spec/instances", "value": 1}], JSON_PATCH).json["spec"]["instances"] == 1
    answer = client.patch(path, {"spec": {"instances": 3}}, STRATEGIC)
    assert (answer.code, answer.json["reason"]) == (415, "UnsupportedMediaType")
    done = client.patch(f"{path}/status", {"status": {"phase": "Cluster in healthy state"}, "spec": {"instances": 9}}, MERGE).json
    assert (done["status"]["phase"], done["spec"]["instances"], done["metadata"]["generation"]) == ("Cluster in healthy state", 1, 3)
    assert client.call("PUT", path, {k: v for k, v in done.items() if k != "metadata"} | {"metadata": {"name": "patch"}}).code == 422


def test_the_scale_of_a_custom_resource(client: Client) -> None:
    """The scale subresource follows the paths that the CRD declares."""
    client.post(CLUSTERS, _cluster("scale"))
    assert client.get(f"{CLUSTERS}/scale/scale").json["spec"]["replicas"] == 3
    client.patch(f"{CLUSTERS}/scale/scale", {"spec": {"replicas": 5}}, MERGE)
    assert client.get(f"{CLUSTERS}/scale").json["spec"]["instances"] == 5


def test_a_new_crd_serves_its_kind_until_it_goes(client: Client) -> None:
    """Posting a CRD serves all its versions at once, with its columns; deleting it removes kind and objects."""
    size = {"type": "integer", "minimum": 1, "default": 1}
    body = {
        "type": "object",
        "properties": {
            "spec": {"type": "object", "properties": {"size": size}, "required": ["size"]},
            "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        },
    }
    client.post(CRDS, _widgets(body))
    base = "/apis/example.org/{}/namespaces/default/widgets"
    made = client.post(base.format("v1"), {"apiVersion": "example.org/v1", "kind": "Widget", "metadata": {"name": "w"}, "spec": {}})
    assert made["spec"] == {"size": 1}
    client.patch(base.format("v1") + "/w/status", {"status": {"conditions": [{"type": "Ready", "status": "True"}]}})
    other = client.get(base.format("v2")).json["items"][0]
    assert (other["apiVersion"], other["spec"]) == ("example.org/v2", {"size": 1})
    assert client.get(base.format("v2") + "/w").json["apiVersion"] == "example.org/v2"
    table = client.call("GET", base.format("v1"), Accept="application/json;as=Table;v=v1;g=meta.k8s.io").json
    assert [c["name"] for c in table["columnDefinitions"]] == ["Name", "Ready", "Size", "Age"]
    assert table["rows"][0]["cells"][:3] == ["w", "True", 1]
    client.call("DELETE", f"{CRDS}/widgets.example.org")
    assert client.get(base.format("v1")).code == 404


RULES: Json = {
    "type": "object",
    "required": ["name"],
    "properties": {
        "name": {"type": "string", "pattern": "^[a-z]+$", "maxLength": 5},
        "port": {"x-kubernetes-int-or-string": True, "anyOf": [{"type": "integer"}, {"type": "string"}]},
        "when": {"type": "string", "format": "date-time", "nullable": True},
        "limits": {"type": "object", "additionalProperties": {"type": "integer", "maximum": 10}},
        "items": {"type": "array", "maxItems": 2, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"], "items": {"type": "object", "properties": {"k": {"type": "string"}}}},
        "open": {"type": "object", "x-kubernetes-preserve-unknown-fields": True, "properties": {"known": {"type": "integer"}}},
        "deep": {"type": "object", "default": {}, "properties": {"n": {"type": "integer", "default": 7}}},
    },
}  # fmt: skip


@pytest.mark.parametrize(
    ("value", "wrong"),
    [
        ({"name": "ok", "port": 80}, []),
        ({"name": "ok", "port": "http", "when": None, "open": {"x": 1}}, []),
        ({}, ["name"]),
        ({"name": "Nope"}, ["name"]),
        ({"name": "toolong"}, ["name"]),
        ({"name": "ok", "port": 1.5}, ["port"]),
        ({"name": "ok", "port": None}, ["port"]),
        ({"name": "ok", "when": "soon"}, ["when"]),
        ({"name": "ok", "limits": {"a": 11, "b": "x"}}, ["limits.a", "limits.b"]),
        ({"name": "ok", "items": [{"k": "a"}, {"k": "a"}]}, ["items[1]"]),
        ({"name": "ok", "items": [{}, {"k": "1"}, {"k": "2"}]}, ["items"]),
        ({"name": "ok", "open": {"known": "x"}}, ["open.known"]),
    ],
)
def test_schema_rules(value: Json, wrong: list[str]) -> None:
    """Types, patterns, ranges, int-or-string, nullable, maps and keyed lists are checked, each fault under its own path."""
    assert [c.field for c in schema.validate(value, RULES)] == wrong


def test_defaults_and_pruning_go_deep() -> None:
    """A default map gets the defaults of its fields; unknown fields go, except where they are preserved."""
    value: Json = {"name": "ok", "junk": 1, "open": {"any": {"thing": 1}}, "items": [{"k": "a", "junk": 2}], "limits": {"a": 1}}
    assert schema.prune(value, RULES) == ["junk", "items[0].junk"]
    schema.apply_defaults(value, RULES)
    assert value == {"name": "ok", "open": {"any": {"thing": 1}}, "items": [{"k": "a"}], "limits": {"a": 1}, "deep": {"n": 7}}
