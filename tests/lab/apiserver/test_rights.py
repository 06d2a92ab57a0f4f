"""Identity and rights: certificates, tokens, roles, reviews."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from coldtui.lab.apiserver.process import ApiServerProcess
from tests.lab.apiserver.site import Client, node

Json = dict[str, Any]
RBAC = "/apis/rbac.authorization.k8s.io/v1"


@pytest.fixture(scope="module")
def viewer(server: ApiServerProcess) -> Client:
    return Client(server.view_kubeconfig)


def _allowed(client: Client, verb: str, resource: str, group: str = "", namespace: str = "default") -> bool:
    spec = {"resourceAttributes": {"verb": verb, "resource": resource, "group": group, "namespace": namespace}}
    found: bool = client.post("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", {"spec": spec})["status"]["allowed"]
    return found


def test_a_viewer_is_refused_in_the_real_words(viewer: Client) -> None:
    """403 has the authorizer's exact sentence, for the cluster scope, a namespace, a named object and a subresource."""
    answer = viewer.get("/api/v1/nodes")
    assert answer.code == 403
    assert answer.json["message"] == 'nodes is forbidden: User "viewer" cannot list resource "nodes" in API group "" at the cluster scope'
    assert answer.json["reason"] == "Forbidden"
    answer = viewer.call("PATCH", "/apis/apps/v1/namespaces/shop/deployments/web/scale", {}, "application/merge-patch+json")
    assert answer.json["message"] == (
        'deployments.apps "web" is forbidden: User "viewer" cannot patch resource "deployments/scale" in API group "apps" in the namespace "shop"'
    )


def test_a_viewer_may_look(viewer: Client) -> None:
    """The role view reads pods everywhere, discovery and readiness, and nothing secret."""
    assert viewer.get("/api/v1/pods").code == 200
    assert viewer.get("/readyz").code == 200
    assert viewer.get("/apis").code == 200
    assert viewer.get("/api/v1/namespaces/default/secrets").code == 403
    assert viewer.get("/lab/stats").code == 403


def test_nobody_and_a_wrong_token_are_401(client: Client, server: ApiServerProcess, tmp_path: Path) -> None:
    """No credentials and unknown ones are 401 with a Status; a token added to the file works without a restart."""
    text = server.view_kubeconfig.read_text()
    token = text.split("token: ")[1].split()[0]
    other = tmp_path / "other.kubeconfig"
    other.write_text(text.replace(token, "wrong"))
    answer = Client(other).get("/api/v1/pods")
    assert (answer.code, answer.json["reason"]) == (401, "Unauthorized")
    tokens = server.folder / "tokens.json"
    tokens.write_text(json.dumps({**json.loads(tokens.read_text()), "wrong": {"user": "late", "groups": ["system:masters"]}}))
    assert Client(other).get("/api/v1/pods").code == 200


def test_admin_endpoints_want_the_certificate(server: ApiServerProcess) -> None:
    """An admin by token cannot switch faults: only the client certificate opens /lab."""
    token = Client(server.token_kubeconfig)
    assert token.get("/api/v1/nodes").code == 200
    assert token.call("POST", "/lab/faults", {"name": "slow"}).code == 403


def test_roles_and_bindings_take_effect_at_once(client: Client, viewer: Client) -> None:
    """A role bound to the viewer allows one named node, and unbinding takes it away."""
    client.post("/api/v1/nodes", node("n-1"))
    rules = [{"apiGroups": [""], "resources": ["nodes"], "verbs": ["get"], "resourceNames": ["n-1"]}]
    client.post(f"{RBAC}/clusterroles", {"metadata": {"name": "one-node"}, "rules": rules})
    subject = {"kind": "User", "name": "viewer", "apiGroup": "rbac.authorization.k8s.io"}
    ref = {"kind": "ClusterRole", "name": "one-node", "apiGroup": "rbac.authorization.k8s.io"}
    assert viewer.get("/api/v1/nodes/n-1").code == 403
    client.post(f"{RBAC}/clusterrolebindings", {"metadata": {"name": "one-node"}, "subjects": [subject], "roleRef": ref})
    assert viewer.get("/api/v1/nodes/n-1").code == 200
    assert viewer.get("/api/v1/nodes/n-2").code == 403
    client.call("DELETE", f"{RBAC}/clusterrolebindings/one-node")
    assert viewer.get("/api/v1/nodes/n-1").code == 403


def test_a_role_binding_holds_in_its_namespace_only(client: Client, viewer: Client) -> None:
    """Rights that a RoleBinding gives end at its namespace."""
    client.post("/api/v1/namespaces", {"metadata": {"name": "mine"}})
    subject = {"kind": "Group", "name": "lab:viewers", "apiGroup": "rbac.authorization.k8s.io"}
    ref = {"kind": "ClusterRole", "name": "edit", "apiGroup": "rbac.authorization.k8s.io"}
    client.post(f"{RBAC}/namespaces/mine/rolebindings", {"metadata": {"name": "e"}, "subjects": [subject], "roleRef": ref})
    assert _allowed(viewer, "delete", "pods", namespace="mine")
    assert not _allowed(viewer, "delete", "pods", namespace="default")
    assert viewer.call("DELETE", "/api/v1/namespaces/mine/pods/none").code == 404
    assert viewer.call("DELETE", "/api/v1/namespaces/default/pods/none").code == 403


def test_reviews_say_what_would_be_allowed(client: Client, viewer: Client) -> None:
    """SelfSubjectAccessReview and SelfSubjectRulesReview agree with what requests get."""
    assert _allowed(viewer, "list", "pods")
    assert not _allowed(viewer, "list", "nodes")
    assert _allowed(client, "anything", "anything")
    status = viewer.post("/apis/authorization.k8s.io/v1/selfsubjectrulesreviews", {"spec": {"namespace": "default"}})["status"]
    assert any("pods" in r["resources"] and "list" in r["verbs"] for r in status["resourceRules"])
    assert any("/readyz" in r["nonResourceURLs"] for r in status["nonResourceRules"])


def test_impersonation_takes_the_others_rights(client: Client) -> None:
    """An admin that acts as the viewer is refused what the viewer is refused."""
    assert client.call("GET", "/api/v1/nodes", Impersonate_User="viewer", Impersonate_Group="lab:viewers").code == 403
    assert client.call("GET", "/api/v1/pods", Impersonate_User="viewer", Impersonate_Group="lab:viewers").code == 200
