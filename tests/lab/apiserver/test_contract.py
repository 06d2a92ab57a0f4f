"""The embedded server and a real kube-apiserver, asked the same: code, reason, causes and words must agree."""

from __future__ import annotations

import json
import re
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from coldtui.lab.apiserver.process import ApiServerProcess
from tests.controlplane.plane import ControlPlane
from tests.lab.apiserver.site import JSON_PATCH, MERGE, PODS, STRATEGIC, Client, budget, deployment, node, pod, running

pytestmark = pytest.mark.controlplane
Json = dict[str, Any]
NS = "/api/v1/namespaces/default"
APPS = "/apis/apps/v1/namespaces/default"
CLUSTERS = "/apis/postgresql.cnpg.io/v1/namespaces/default/clusters"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/default/leases"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"


@dataclass(frozen=True, slots=True)
class Ask:
    """One request; several in a row make a story."""

    method: str
    path: str
    body: Any = None
    media: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)
    look: str = "error"
    """What is compared beside the code: ``error`` (reason, message, causes), ``reason``, ``spec``, ``status``, ``metadata``, ``columns``, ``names`` (of columns), ``nothing``."""


def query(**options: str | int) -> str:
    return "?" + urllib.parse.urlencode(options)


def _said(ask: Ask, code: int, headers: dict[str, str], data: bytes) -> Json:
    found: Json = {"code": code}
    body: Json = json.loads(data) if data.startswith(b"{") else {"text": data.decode()}
    if ask.look == "reason":
        found["reason"] = body.get("reason")
    elif code >= 400 or ask.look == "error":
        details = body.get("details") or {}
        found["reason"] = body.get("reason")
        # Uids and versions differ from one server to the next.
        found["message"] = re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}|\b\d{2,}\b", "#", str(body.get("message", "")))
        found["causes"] = sorted((c.get("reason", ""), c.get("field", "")) for c in details.get("causes") or ())
        found["retry"] = {k.lower(): v for k, v in headers.items()}.get("retry-after")
    elif ask.look == "columns":
        found["columns"] = [(c["name"], c["type"], c["priority"]) for c in body["columnDefinitions"]]
        found["cells"] = [
            [c if "ago" not in str(c) else "#" for c in r["cells"] if not re.fullmatch(r"\d+[smhd].*", str(c))] for r in body["rows"]
        ]
    elif ask.look == "names":
        found["columns"] = [(c["name"], c["type"], c["priority"]) for c in body["columnDefinitions"]]
    elif ask.look == "metadata":
        kept = ("generation", "labels", "finalizers", "deletionGracePeriodSeconds")
        found["metadata"] = {k: v for k, v in body["metadata"].items() if k in kept}
    elif ask.look != "nothing":
        # Addresses and ports are drawn by lot.
        text = re.sub(
            r'"10\.43\.\d+\.\d+"', '"#"', re.sub(r'"nodePort": \d+', '"nodePort": 0', json.dumps(body.get(ask.look), sort_keys=True))
        )
        found[ask.look] = json.loads(re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}", "#", text))
    return found


class Pair:
    """Both servers."""

    def __init__(self, real: Client, ours: Client) -> None:
        self.real, self.ours = real, ours

    def both(self, ask: Ask) -> tuple[Json, Json]:
        answers = [c.call(ask.method, ask.path, ask.body, ask.media, **ask.headers) for c in (self.real, self.ours)]
        real, ours = (_said(ask, a.code, a.headers, a.data) for a in answers)
        return real, ours


@pytest.fixture(scope="module")
def pair(plane: ControlPlane, server: ApiServerProcess) -> Iterator[Pair]:
    found = Pair(Client(plane.kubeconfigs["admin"]), Client(server.kubeconfig))
    yield found
    for name in ("contract-node", "contract-two"):
        found.real.call("DELETE", f"/api/v1/nodes/{name}")


BUDGETS = "/apis/policy/v1/namespaces/default/poddisruptionbudgets"
TEMPLATE = deployment("x", app="c-kind")["spec"]["template"]
SELECTOR = {"matchLabels": {"app": "c-kind"}}
JOB = {"template": {"spec": {"containers": TEMPLATE["spec"]["containers"], "restartPolicy": "Never"}}, "suspend": True}
CLAIM = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}, "storageClassName": "none"}
KINDS: dict[str, Json] = {
    f"{NS}/services": {"ports": [{"port": 80}], "selector": {"app": "c-kind"}},
    f"{NS}/persistentvolumeclaims": CLAIM,
    "/api/v1/persistentvolumes": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/x"}},
    f"{APPS}/statefulsets": {"replicas": 0, "serviceName": "x", "selector": SELECTOR, "template": TEMPLATE},
    f"{APPS}/daemonsets": {"selector": SELECTOR, "template": TEMPLATE},
    f"{APPS}/replicasets": {"replicas": 0, "selector": SELECTOR, "template": TEMPLATE},
    "/apis/batch/v1/namespaces/default/jobs": JOB,
    "/apis/batch/v1/namespaces/default/cronjobs": {
        "schedule": "0 4 * * *",
        "suspend": True,
        "jobTemplate": {"spec": {"template": JOB["template"]}},
    },
    BUDGETS: {"minAvailable": 1, "selector": {"matchLabels": {"app": "none"}}},
    LEASES: {"holderIdentity": "me", "leaseDurationSeconds": 40},
    "/apis/networking.k8s.io/v1/namespaces/default/ingresses": {"rules": [{"host": "x.example"}]},
    "/api/v1/namespaces": {},
}
KIND_NAMES = ("events", "secrets", "configmaps", "serviceaccounts", "endpoints")
OTHER_TABLES = (
    *(f"{NS}/{n}" for n in KIND_NAMES),
    "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices",
    "/apis/storage.k8s.io/v1/storageclasses",
    "/apis/storage.k8s.io/v1/volumeattachments",
    "/apis/storage.k8s.io/v1/csinodes",
    "/apis/storage.k8s.io/v1/csidrivers",
    "/apis/rbac.authorization.k8s.io/v1/clusterroles",
    "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
    "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
    "/apis/apiregistration.k8s.io/v1/apiservices",
    "/apis/scheduling.k8s.io/v1/priorityclasses",
    "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers",
    "/apis/longhorn.io/v1beta2/volumes",
    "/apis/longhorn.io/v1beta2/nodes",
    "/apis/metallb.io/v1beta1/ipaddresspools",
    "/apis/upgrade.cattle.io/v1/plans",
)


def _kind_story(path: str, spec: Json) -> tuple[Ask, ...]:
    """Create one, see its defaults, its columns, and delete it."""
    return (
        Ask("POST", path, {"metadata": {"name": "c-kind"}, "spec": spec}, look="spec"),
        Ask("GET", path, headers={"Accept": TABLE}, look="names"),
        Ask("DELETE", f"{path}/c-kind", look="nothing"),
    )


STORIES: dict[str, tuple[Ask, ...]] = {
    "absent things": (
        Ask("GET", f"{NS}/pods/none"),
        Ask("GET", f"{APPS}/deployments/none"),
        Ask("GET", "/apis/nothing.example/v1/things"),
        Ask("DELETE", f"{APPS}/deployments/none"),
        Ask("PATCH", f"{NS}/pods/none", {}, MERGE),
        Ask("POST", "/api/v1/namespaces/nowhere/pods", pod("x", "nowhere")),
        Ask("POST", f"{PODS}/none/eviction", {"metadata": {"name": "none"}}),
    ),
    "list options": (
        Ask("GET", f"{PODS}{query(resourceVersionMatch='Exact')}"),
        Ask("GET", f"{PODS}{query(resourceVersion=0, resourceVersionMatch='Exact')}"),
        Ask("GET", f"{PODS}{query(resourceVersion='abc')}"),
        Ask("GET", f"{PODS}{query(resourceVersion=999999999)}"),
        Ask("GET", f"{PODS}{query(**{'continue': 'nonsense'})}", look="reason"),
        Ask("GET", f"{PODS}{query(fieldSelector='spec.foo=1')}"),
        Ask("GET", f"{CLUSTERS}{query(fieldSelector='spec.foo=1')}"),
        Ask("GET", f"{PODS}{query(labelSelector='a b c')}", look="reason"),
        Ask("GET", f"{PODS}{query(watch=1, sendInitialEvents='true', allowWatchBookmarks='true')}"),
        Ask("GET", f"{PODS}{query(watch=1, resourceVersionMatch='NotOlderThan')}"),
    ),
    "a deployment's life": (
        Ask("POST", f"{APPS}/deployments", deployment("c-life", app="c-life", replicas=0), look="spec"),
        Ask("POST", f"{APPS}/deployments", deployment("c-life", app="c-life")),
        Ask("PATCH", f"{APPS}/deployments/c-life", {"spec": {"replicas": -1}}, MERGE),
        Ask("PATCH", f"{APPS}/deployments/c-life", {"metadata": {"resourceVersion": "1"}}, MERGE),
        Ask("PATCH", f"{APPS}/deployments/c-life", {"spec": {"selector": {"matchLabels": {"app": "other"}}}}, MERGE),
        Ask("PATCH", f"{APPS}/deployments/c-life", [{"op": "test", "path": "/spec/replicas", "value": 7}], JSON_PATCH),
        Ask("PATCH", f"{APPS}/deployments/c-life", [{"op": "remove", "path": "/spec/nothing"}], JSON_PATCH),
        Ask("PATCH", f"{APPS}/deployments/c-life", {"spec": {"template": {"spec": {"containers": [{"name": "main", "image": "i:2", "env": [{"name": "A", "value": "1"}]}]}}}}, STRATEGIC, look="spec"),
        Ask("PATCH", f"{APPS}/deployments/c-life", {"spec": {"template": {"spec": {"containers": [{"name": "main", "env": [{"name": "B", "value": "2"}]}]}}}}, STRATEGIC, look="spec"),
        Ask("GET", f"{APPS}/deployments/c-life/scale", look="spec"),
        Ask("PATCH", f"{APPS}/deployments/c-life/scale", {"spec": {"replicas": -3}}, MERGE),
        Ask("PATCH", f"{APPS}/deployments/c-life", {}, "application/unknown"),
        Ask("DELETE", f"{APPS}/deployments/c-life", {"preconditions": {"uid": "11111111-1111-1111-1111-111111111111"}}),
        Ask("DELETE", f"{APPS}/deployments/c-life", look="nothing"),
    ),
    "impossible objects": (
        Ask("POST", PODS, {"metadata": {"name": "A_b"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}),
        Ask("POST", PODS, {"metadata": {"name": "x"}, "spec": {}}),
        Ask("POST", PODS, {"metadata": {}, "spec": {"containers": [{"name": "c", "image": "i"}]}}),
        Ask("POST", f"{APPS}/deployments", {**deployment("bad"), "spec": {**deployment("bad")["spec"], "selector": {"matchLabels": {"app": "other"}}}}),
        Ask("POST", f"{NS}/configmaps", {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "x"}}, look="reason"),
        Ask("POST", f"{NS}/configmaps", {"metadata": {"name": "x", "namespace": "other"}}),
        Ask("PUT", f"{NS}/configmaps/x", {"metadata": {"name": "y"}}),
    ),
    "nodes": (
        Ask("POST", "/api/v1/nodes", node("contract-node"), look="metadata"),
        Ask("PATCH", "/api/v1/nodes/contract-node", {"spec": {"taints": [{"key": "t", "effect": "NoSchedule"}, {"key": "t", "effect": "NoExecute"}]}}, STRATEGIC, look="nothing"),
        Ask("PATCH", "/api/v1/nodes/contract-node", {"spec": {"taints": [{"key": "t", "effect": "Never"}]}}, STRATEGIC),
        Ask("PATCH", "/api/v1/nodes/contract-node/status", {"status": {"conditions": [{"type": "DiskPressure", "status": "True", "reason": "x", "message": "y"}]}}, STRATEGIC, look="nothing"),
        Ask("GET", f"/api/v1/nodes{query(fieldSelector='metadata.name=contract-node')}", headers={"Accept": TABLE}, look="columns"),
    ),
    "evictions": (
        Ask("POST", "/api/v1/nodes", node("contract-two"), look="nothing"),
        Ask("POST", PODS, pod("c-evict", app="c-evict", on="contract-two"), look="metadata"),
        Ask("PATCH", f"{PODS}/c-evict/status", {"status": running(pod("c-evict"))["status"]}, MERGE, look="nothing"),
        Ask("GET", f"{PODS}{query(fieldSelector='metadata.name=c-evict')}", headers={"Accept": TABLE}, look="columns"),
        Ask("POST", f"{PODS}/c-evict/eviction", {"metadata": {"name": "other"}}),
        Ask("POST", BUDGETS, {k: v for k, v in budget("c-b1", app="c-evict", allowed=0).items() if k != "status"}, look="nothing"),
        Ask("PATCH", f"{BUDGETS}/c-b1/status", {"status": budget("x", app="x", allowed=0)["status"]}, MERGE, look="nothing"),
        Ask("POST", f"{PODS}/c-evict/eviction", {"metadata": {"name": "c-evict"}}),
        Ask("POST", BUDGETS, {k: v for k, v in budget("c-b2", app="c-evict", allowed=0).items() if k != "status"}, look="nothing"),
        Ask("POST", f"{PODS}/c-evict/eviction", {"metadata": {"name": "c-evict"}}),
        Ask("DELETE", f"{BUDGETS}/c-b1", look="nothing"),
        Ask("DELETE", f"{BUDGETS}/c-b2", look="nothing"),
        Ask("POST", f"{PODS}/c-evict/eviction", {"metadata": {"name": "c-evict"}, "deleteOptions": {"dryRun": ["All"]}}),
        Ask("POST", f"{PODS}/c-evict/eviction", {"metadata": {"name": "c-evict"}}),
        Ask("GET", f"{PODS}/c-evict", look="metadata"),
        Ask("DELETE", f"{PODS}/c-evict{query(gracePeriodSeconds=0)}", look="nothing"),
        Ask("GET", f"{PODS}/c-evict"),
    ),
    "dry runs": (
        Ask("POST", "/api/v1/nodes", node("contract-two"), look="nothing"),
        Ask("POST", PODS, pod("c-dry", app="c-dry", on="contract-two"), look="metadata"),
        Ask("POST", f"{PODS}/c-dry/eviction{query(dryRun='All')}", {"metadata": {"name": "c-dry"}}),
        Ask("POST", f"{PODS}/c-dry/eviction{query(dryRun='All')}", {"metadata": {"name": "c-dry"}, "deleteOptions": {"dryRun": ["All"]}}),
        Ask("POST", f"{PODS}/c-dry/eviction{query(dryRun='Some')}", {"metadata": {"name": "c-dry"}}),
        Ask("DELETE", f"{PODS}/c-dry{query(dryRun='All', gracePeriodSeconds=0)}", look="metadata"),
        Ask("DELETE", f"{PODS}/c-dry", {"kind": "DeleteOptions", "apiVersion": "v1", "dryRun": ["All"], "gracePeriodSeconds": 0}, look="metadata"),
        Ask("GET", f"{PODS}/c-dry", look="metadata"),
        Ask("PATCH", f"{PODS}/c-dry{query(dryRun='All')}", {"metadata": {"labels": {"app": "other"}}}, MERGE, look="metadata"),
        Ask("GET", f"{PODS}/c-dry", look="metadata"),
        Ask("DELETE", f"{PODS}/c-dry{query(dryRun='All')}", {"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 0}, look="metadata"),
        Ask("GET", f"{PODS}/c-dry"),
        Ask("POST", f"{NS}/configmaps", {"metadata": {"name": "c-dry"}}, look="nothing"),
        Ask("DELETE", f"{NS}/configmaps/c-dry{query(dryRun='All')}", {"kind": "DeleteOptions", "apiVersion": "v1"}),
        Ask("GET", f"{NS}/configmaps/c-dry"),
    ),
    "evicting a namesake": (
        Ask("POST", "/api/v1/nodes", node("contract-two"), look="nothing"),
        Ask("POST", PODS, pod("c-same", app="c-same", on="contract-two"), look="metadata"),
        Ask("PATCH", f"{PODS}/c-same/status", {"status": running(pod("c-same"))["status"]}, MERGE, look="nothing"),
        Ask("POST", f"{PODS}/c-same/eviction", {"metadata": {"name": "c-same"}, "deleteOptions": {"preconditions": {"uid": "11111111-1111-1111-1111-111111111111"}}}),
        Ask("GET", f"{PODS}/c-same", look="metadata"),
        Ask("POST", f"{PODS}/c-same/eviction", {"metadata": {"name": "c-same"}, "deleteOptions": {"gracePeriodSeconds": 7}}),
        Ask("GET", f"{PODS}/c-same", look="metadata"),
        Ask("POST", f"{PODS}/c-same/eviction", {"metadata": {"name": "c-same"}, "deleteOptions": {"gracePeriodSeconds": 3}}),
        Ask("GET", f"{PODS}/c-same", look="metadata"),
        Ask("DELETE", f"{PODS}/c-same{query(gracePeriodSeconds=0)}", look="nothing"),
    ),
    "a namespace that ends": (
        Ask("POST", "/api/v1/nodes", node("contract-two"), look="nothing"),
        Ask("POST", "/api/v1/namespaces", {"metadata": {"name": "c-ends"}}, look="nothing"),
        Ask("POST", "/api/v1/namespaces/c-ends/configmaps", {"metadata": {"name": "held", "finalizers": ["coldtui.example/hold"]}}, look="nothing"),
        Ask("POST", "/api/v1/namespaces/c-ends/pods", pod("p", "c-ends", on="contract-two"), look="nothing"),
        Ask("DELETE", "/api/v1/namespaces/c-ends", look="nothing"),
        Ask("POST", "/api/v1/namespaces/c-ends/configmaps", {"metadata": {"name": "x"}}),
        Ask("POST", "/api/v1/namespaces/c-ends/pods/p/eviction", {"metadata": {"name": "p"}}),
        Ask("POST", "/api/v1/namespaces/c-ends/pods/p/eviction", {"metadata": {"name": "p"}, "deleteOptions": {"dryRun": ["All"]}}),
        Ask("POST", "/api/v1/namespaces/c-ends/pods/none/eviction", {"metadata": {"name": "none"}}),
        Ask("DELETE", f"/api/v1/namespaces/c-ends/pods/p{query(gracePeriodSeconds=0)}", look="nothing"),
        Ask("PATCH", "/api/v1/namespaces/c-ends/configmaps/held", {"metadata": {"finalizers": None}}, MERGE, look="nothing"),
    ),
    "locks": (
        Ask("POST", LEASES, {"metadata": {"name": "c-lock"}, "spec": {"holderIdentity": "a", "leaseDurationSeconds": 0}}),
        Ask("POST", LEASES, {"metadata": {"name": "c-lock"}, "spec": {"holderIdentity": "a", "leaseTransitions": -1}}),
        Ask("POST", LEASES, {"metadata": {"name": "c-lock"}, "spec": {"renewTime": "2026-11-01T00:00:00Z"}}, look="reason"),
        Ask("POST", LEASES, {"metadata": {"name": "c-lock"}, "spec": {"holderIdentity": "a", "leaseDurationSeconds": 30, "renewTime": "2026-11-01T00:00:00.123456Z"}}, look="spec"),
        Ask("PATCH", f"{LEASES}/c-lock", {"metadata": {"resourceVersion": "1"}, "spec": {"holderIdentity": "b"}}, MERGE),
        Ask("PATCH", f"{LEASES}/c-lock", {"spec": {"holderIdentity": ""}}, MERGE, look="spec"),
        Ask("PATCH", f"{LEASES}/c-lock", {"spec": {"holderIdentity": None, "leaseTransitions": 1}}, MERGE, look="spec"),
        Ask("PUT", f"{LEASES}/c-lock", {"metadata": {"name": "c-lock", "resourceVersion": "1"}, "spec": {"holderIdentity": "b"}}),
        Ask("PUT", f"{LEASES}/c-lock", {"metadata": {"name": "c-lock"}, "spec": {"holderIdentity": "b"}}),
        Ask("DELETE", f"{LEASES}/c-lock", look="nothing"),
    ),
    "custom resources": (
        Ask("POST", CLUSTERS, {"apiVersion": "postgresql.cnpg.io/v1", "kind": "Cluster", "metadata": {"name": "c-pg"}, "spec": {"instances": 3, "storage": {"size": "1Gi"}}}, look="spec"),
        Ask("POST", CLUSTERS, {"apiVersion": "postgresql.cnpg.io/v1", "kind": "Cluster", "metadata": {"name": "c-bad"}, "spec": {"instances": 0, "storage": {"size": "1Gi"}}}),
        Ask("POST", CLUSTERS, {"apiVersion": "postgresql.cnpg.io/v1", "kind": "Cluster", "metadata": {"name": "c-bad"}, "spec": {"instances": "x"}}, look="reason"),
        Ask("POST", CLUSTERS, {"apiVersion": "postgresql.cnpg.io/v1", "kind": "Cluster", "metadata": {"name": "c-bad"}, "spec": {"instances": 1, "primaryUpdateMethod": "x"}}),
        Ask("POST", f"{CLUSTERS}?fieldValidation=Strict", {"apiVersion": "postgresql.cnpg.io/v1", "kind": "Cluster", "metadata": {"name": "c-bad"}, "spec": {"instances": 1, "foo": 1}}),
        Ask("PATCH", f"{CLUSTERS}/c-pg", {"spec": {"instances": 2}}, STRATEGIC, look="reason"),
        Ask("PATCH", f"{CLUSTERS}/c-pg", {"spec": {"instances": 2}}, MERGE, look="metadata"),
        Ask("PATCH", f"{CLUSTERS}/c-pg/status", {"status": {"phase": "x"}, "spec": {"instances": 9}}, MERGE, look="metadata"),
        Ask("PUT", f"{CLUSTERS}/c-pg", {"apiVersion": "postgresql.cnpg.io/v1", "kind": "Cluster", "metadata": {"name": "c-pg"}, "spec": {"instances": 1}}),
        Ask("GET", f"{CLUSTERS}/c-pg/scale", look="spec"),
        Ask("GET", CLUSTERS, headers={"Accept": TABLE}, look="columns"),
        Ask("DELETE", f"{CLUSTERS}/c-pg", look="nothing"),
    ),
    "rights": (
        Ask("GET", "/api/v1/nodes", headers={"Impersonate_User": "nobody-special"}),
        Ask("GET", f"{NS}/pods/x/log", headers={"Impersonate_User": "nobody-special"}),
        Ask("PATCH", f"{APPS}/deployments/web/scale", {}, MERGE, headers={"Impersonate_User": "nobody-special"}),
        Ask("GET", "/metrics", headers={"Impersonate_User": "nobody-special"}),
    ),
    "logs": (
        Ask("POST", "/api/v1/nodes", node("contract-node"), look="nothing"),
        Ask("POST", PODS, pod("c-log", on="contract-node", containers=("a", "b")), look="nothing"),
        Ask("GET", f"{PODS}/c-log/log"),
        Ask("GET", f"{PODS}/c-log/log?container=c"),
        Ask("DELETE", f"{PODS}/c-log{query(gracePeriodSeconds=0)}", look="nothing"),
    ),
}  # fmt: skip


STORIES |= {f"kind {path.rpartition('/')[2]}": _kind_story(path, spec) for path, spec in KINDS.items()}
STORIES["tables"] = tuple(Ask("GET", path, headers={"Accept": TABLE}, look="names") for path in OTHER_TABLES)


@pytest.mark.parametrize("story", STORIES)
def test_the_same_story_has_the_same_answers(pair: Pair, story: str) -> None:
    """Each request of the story is answered alike by both servers."""
    different: list[str] = []
    for ask in STORIES[story]:
        real, ours = pair.both(ask)
        if real != ours:
            different.append(f"{ask.method} {ask.path}\n  real: {real}\n  ours: {ours}")
    assert not different, "\n".join(different)


def test_watches_tell_the_same_story(pair: Pair) -> None:
    """A watch with a selector carries the same events for objects that enter, change and leave the selection, and go."""
    path = f"{NS}/configmaps"
    told: list[list[tuple[str, str, Json]]] = []
    for client in (pair.real, pair.ours):
        version = client.get(path).json["metadata"]["resourceVersion"]
        client.post(path, {"metadata": {"name": "c-w", "labels": {"c": "out"}}})
        for labels in ({"c": "in"}, {"x": "1"}, {"c": "out"}, {"c": "in"}):
            client.patch(f"{path}/c-w", {"metadata": {"labels": labels}})
        client.call("DELETE", f"{path}/c-w")
        client.post(path, {"metadata": {"name": "c-end", "labels": {"c": "in"}}})
        stream = client.watch(path, resourceVersion=version, labelSelector="c=in")
        events = stream.take(6)
        stream.close()
        client.call("DELETE", f"{path}/c-end")
        told.append([(e["type"], e["object"]["metadata"]["name"], e["object"]["metadata"]["labels"]) for e in events])
    assert told[0] == told[1]


def test_watch_list_ends_alike(pair: Pair) -> None:
    """The initial state of a WatchList, its closing bookmark and the object in it have the same form."""
    options: dict[str, str | int] = {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan", "allowWatchBookmarks": "true"}
    shapes: list[list[Json]] = []
    for client in (pair.real, pair.ours):
        stream = client.watch("/api/v1/namespaces", fieldSelector="metadata.name=default", **options)
        first, end = stream.take(2)
        stream.close()
        notes = end["object"]["metadata"].get("annotations")
        shapes.append(
            [{"type": first["type"], "kind": first["object"]["kind"]}, {"type": end["type"], "kind": end["object"]["kind"], "notes": notes}]
        )
    assert shapes[0] == shapes[1]


def test_pages_are_alike(pair: Pair) -> None:
    """remainingItemCount, the version of later pages and the end of the token agree."""
    told: list[list[tuple[int, bool, int | None, bool]]] = []
    for client in (pair.real, pair.ours):
        path = f"{NS}/secrets"
        found: list[tuple[int, bool, int | None, bool]] = []
        for i in range(5):
            client.call("POST", path, {"metadata": {"name": f"c-page-{i}"}})
        token, version = "", ""
        while not found or token:
            page = client.get(path, limit=2, **({"continue": token} if token else {})).json
            meta = page["metadata"]
            version = version or meta["resourceVersion"]
            token = meta.get("continue", "")
            found.append((len(page["items"]), bool(token), meta.get("remainingItemCount"), meta["resourceVersion"] == version))
        told.append(found)
        client.call("DELETE", path)
    assert told[0] == told[1]
