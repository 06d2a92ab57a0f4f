"""Discovery: which groups, versions, kinds and verbs there are, in the plain and in the aggregated form."""

from __future__ import annotations

from typing import Any

from coldtui.lab.apiserver.resources import Registry, Resource

Json = dict[str, Any]
AGGREGATED = "apidiscovery.k8s.io"


def api_versions(address: str) -> Json:
    """``GET /api``."""
    hint = {"clientCIDR": "0.0.0.0/0", "serverAddress": address}
    return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": [hint]}


def group_list(registry: Registry) -> Json:
    """``GET /apis``."""
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": [_group(registry, g) for g in registry.groups()]}


def group(registry: Registry, name: str) -> Json | None:
    """``GET /apis/G``."""
    return {"kind": "APIGroup", "apiVersion": "v1", **_group(registry, name)} if registry.versions(name) else None


def _group(registry: Registry, name: str) -> Json:
    versions = [{"groupVersion": f"{name}/{v}", "version": v} for v in registry.versions(name)]
    return {"name": name, "versions": versions, "preferredVersion": versions[0]}


def resource_list(registry: Registry, group_name: str, version: str) -> Json | None:
    """``GET /api/v1`` or ``/apis/G/V``; None when nothing is served there."""
    found = list(registry.of(group_name, version))
    if not found:
        return None
    entries: list[Json] = []
    for r in found:
        entries += _entries(r)
    gv = f"{group_name}/{version}" if group_name else version
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": gv, "resources": entries}


def _entries(r: Resource) -> list[Json]:
    main: Json = {"name": r.plural, "singularName": r.singular, "namespaced": r.namespaced, "kind": r.kind, "verbs": list(r.verbs)}
    if r.short:
        main["shortNames"] = list(r.short)
    if r.categories:
        main["categories"] = list(r.categories)
    found = [main]
    for s in r.subresources:
        entry: Json = {
            "name": f"{r.plural}/{s.name}",
            "singularName": "",
            "namespaced": r.namespaced,
            "kind": s.kind,
            "verbs": list(s.verbs),
        }
        if (s.group, s.version) != (r.group, r.version):
            entry["group"], entry["version"] = s.group, s.version
        found.append(entry)
    return found


def aggregated(registry: Registry, *, core: bool, stale: frozenset[str] = frozenset()) -> Json:
    """``APIGroupDiscoveryList`` of /api (``core``) or /apis; groups in ``stale`` are those whose backend is down."""
    names = [""] if core else registry.groups()
    items = [_aggregated_group(registry, g, stale) for g in names]
    return {"kind": "APIGroupDiscoveryList", "apiVersion": f"{AGGREGATED}/v2", "metadata": {}, "items": items}


def _aggregated_group(registry: Registry, name: str, stale: frozenset[str]) -> Json:
    versions: list[Json] = []
    for v in registry.versions(name):
        entry: Json = {"version": v, "freshness": "Stale" if name in stale else "Current"}
        entry["resources"] = [_aggregated_resource(r) for r in registry.of(name, v)]
        versions.append(entry)
    meta: Json = {"name": name} if name else {}
    return {"metadata": {**meta, "creationTimestamp": None}, "versions": versions}


def _aggregated_resource(r: Resource) -> Json:
    entry: Json = {
        "resource": r.plural,
        "responseKind": {"group": r.group, "version": r.version, "kind": r.kind},
        "scope": "Namespaced" if r.namespaced else "Cluster",
        "singularResource": r.singular,
        "verbs": list(r.verbs),
    }
    if r.short:
        entry["shortNames"] = list(r.short)
    if r.categories:
        entry["categories"] = list(r.categories)
    subs = [
        {"subresource": s.name, "responseKind": {"group": s.group, "version": s.version, "kind": s.kind}, "verbs": list(s.verbs)}
        for s in r.subresources
    ]
    if subs:
        entry["subresources"] = subs
    return entry


def openapi_index(registry: Registry) -> Json:
    """``GET /openapi/v3``: one document a group and version."""
    paths: Json = {}
    for g, v in dict.fromkeys((g, v) for g, v, _ in registry.by_path):
        at = f"apis/{g}/{v}" if g else f"api/{v}"
        paths[at] = {"serverRelativeURL": f"/openapi/v3/{at}"}
    return {"paths": paths}


def openapi_document(registry: Registry, group_name: str, version: str) -> Json:
    """A document without schemas. It says that ``fieldValidation`` is understood, which lets kubectl leave validation to the server."""
    paths: Json = {}
    for r in registry.of(group_name, version):
        base = f"/apis/{r.group}/{r.version}" if r.group else f"/api/{r.version}"
        scope = "/namespaces/{namespace}" if r.namespaced else ""
        gvk = {"group": r.group, "version": r.version, "kind": r.kind}
        parameters = [
            {"name": "fieldValidation", "in": "query", "schema": {"type": "string"}},
            {"name": "dryRun", "in": "query", "schema": {"type": "string"}},
        ]
        operation = {"x-kubernetes-action": "patch", "x-kubernetes-group-version-kind": gvk, "parameters": parameters, "responses": {}}
        paths[f"{base}{scope}/{r.plural}/{{name}}"] = {"patch": operation}
    return {"openapi": "3.0.0", "info": {"title": "coldtui lab", "version": version}, "paths": paths, "components": {"schemas": {}}}
