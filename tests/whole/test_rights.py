"""The program under the accounts of `deploy/`: an operator drains a node and can do no more, a viewer is told which right is missing."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from coldtui.domain.runs import RunState
from tests.lab.apiserver.site import Client
from tests.whole.acting import LEASE, ROOT, SPACE, Place, cordoned, ready, seated
from tests.whole.ground import Json, Real, until

RBAC = "/apis/rbac.authorization.k8s.io/v1"
KINDS = {
    "ServiceAccount": "/api/v1/namespaces/{}/serviceaccounts",
    "ClusterRole": f"{RBAC}/clusterroles",
    "ClusterRoleBinding": f"{RBAC}/clusterrolebindings",
    "Role": f"{RBAC}/namespaces/{{}}/roles",
    "RoleBinding": f"{RBAC}/namespaces/{{}}/rolebindings",
}


def documents() -> list[Json]:
    """What `deploy/` has for accounts."""
    files = (ROOT / "deploy" / name for name in ("viewer-rbac.yaml", "operator-rbac.yaml"))
    return list(itertools.chain.from_iterable(yaml.safe_load_all(file.read_text(encoding="utf-8")) for file in files))


@pytest.fixture(scope="module")
def accounts(place: Place, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Path]]:
    """A kubeconfig for each account, by its token."""
    admin = place.ground.admin
    for document in documents():
        path = KINDS[document["kind"]].format(document["metadata"].get("namespace", ""))
        assert admin.call("POST", path, document).code in (201, 409), document
    folder, found = tmp_path_factory.mktemp("accounts"), {}
    for name in ("coldtui-viewer", "coldtui-operator"):
        config = yaml.safe_load(place.ground.kubeconfig.read_text(encoding="utf-8"))
        config["users"][0]["user"] = credentials(place, name, config["users"][0]["user"])
        found[name] = folder / f"{name}.kubeconfig"
        found[name].write_text(json.dumps(config), encoding="utf-8")
        found[name].chmod(0o600)
    yield found
    for document in documents():
        meta = document["metadata"]
        place.ground.delete(f"{KINDS[document['kind']].format(meta.get('namespace', ''))}/{meta['name']}")


def credentials(place: Place, name: str, user: Json) -> Json:
    """A token of the real server; the lab's has no tokens for accounts, and is told who we are."""
    if isinstance(place.ground, Real):
        return {"token": place.ground.plane.token(name, "kube-system")}
    return {**user, "as": f"system:serviceaccount:kube-system:{name}", "as-groups": ["system:serviceaccounts", "system:authenticated"]}


@pytest.fixture
def home(place: Place) -> str:
    """The node of the yard that has the pods."""
    return place.yard.tidy()


def test_an_operator_drains(place: Place, accounts: dict[str, Path], home: str, tmp_path: Path) -> None:
    """With the rights of `operator-rbac.yaml` a drain is planned without a gap, done and undone, under the lease; the doctor finds nothing missing."""
    before = {pod["metadata"]["uid"] for pod in place.yard.pods()}
    with seated(place, tmp_path, relayed=False, kubeconfig=accounts["coldtui-operator"]) as anna:
        plan = anna.run("node", "drain", home, "--plan", "--json")
        assert plan.code == 0, plan.out + plan.err
        assert [p for p in plan.json["premises"] if p["reason"]] == []
        done = anna.run("node", "drain", home, "--yes", home)
        assert done.code == 0, done.err
        assert "no lease" not in done.out
        assert cordoned(place.ground, home)
        assert not before & {pod["metadata"]["uid"] for pod in place.yard.pods()}
        assert anna.run("node", "uncordon", home).code == 0
        assert not cordoned(place.ground, home)
        assert place.ground.admin.get(LEASE).code == 200, "the site was locked for other machines too"


def test_an_operator_can_do_no_more(place: Place, accounts: dict[str, Path], home: str) -> None:
    """Asked of the server directly: nothing can be deleted but pods and volume claims, nothing made but evictions and leases, no secret read."""
    if not isinstance(place.ground, Real):
        pytest.skip("tests/docs asks the lab's server the same")
    client = Client(accounts["coldtui-operator"])
    pod = place.yard.pods()[0]["metadata"]
    mill = f"/apis/apps/v1/namespaces/{SPACE}/deployments/mill"
    tries = (
        ("DELETE", f"/api/v1/nodes/{home}", None), ("PATCH", f"/api/v1/namespaces/{SPACE}/pods/{pod['name']}", {"metadata": {"labels": {"x": "y"}}}),
        ("DELETE", mill, None), ("PATCH", f"{mill}/scale", {"spec": {"replicas": 0}}), ("GET", "/api/v1/secrets", None),
        ("POST", f"/api/v1/namespaces/{SPACE}/configmaps", {"metadata": {"name": "x"}}), ("DELETE", f"/api/v1/namespaces/{SPACE}", None),
        ("PATCH", f"/api/v1/nodes/{home}/status", {"status": {"phase": "x"}}), ("POST", f"/api/v1/namespaces/{SPACE}/pods/{pod['name']}/exec", None),
        ("DELETE", "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/coldtui-site", None),
        ("DELETE", "/api/v1/persistentvolumes/none", None),
    )  # fmt: skip
    for method, path, body in tries:
        media = "application/merge-patch+json" if method == "PATCH" else "application/json"
        assert client.call(method, path, body, media).code == 403, (method, path)
    assert all(map(ready, place.yard.pods()))


def test_a_viewer_is_told_what_is_missing(place: Place, accounts: dict[str, Path], home: str, tmp_path: Path) -> None:
    """The plan can be looked at; the drain ends with exit 5 and the missing right by verb and kind, and nothing was changed. So does a cordon."""
    with seated(place, tmp_path, kubeconfig=accounts["coldtui-viewer"]) as ben:
        plan = ben.run("node", "drain", home, "--plan")
        assert "Evict the pods" in plan.out, plan.out + plan.err
        for verb in ("drain", "cordon"):
            done = ben.run("node", verb, home, "--yes", home)
            assert done.code == 5, done.err
            assert "patch on nodes" in done.err, done.err
            assert "Traceback" not in done.err
        assert not cordoned(place.ground, home)
        until(lambda: all(map(ready, place.yard.pods())), 10, "nobody was touched")
        assert {run.state for run in ben.journal.runs()} <= {RunState.FAILED, RunState.REFUSED} if ben.journal_path.exists() else True
        assert ben.run("audit", "verify").code == 0
