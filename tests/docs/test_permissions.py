"""The accounts of deploy/ and the page that explains them: that they allow what the program does, and nothing more than is said."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Coroutine, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pytest
import yaml

from coldtui.adapters.kube.adapter import KubeAdapter, connect
from coldtui.domain.drains import DRAIN_KINDS
from coldtui.domain.errors import Forbidden
from coldtui.domain.kinds import CLAIMS, NODES, PODS, VOLUMES, Kind
from coldtui.lab.apiserver.process import ApiServerProcess
from coldtui.operations.postgres.rights import CHANGE_CLUSTER, CHANGE_STATUS, DELETE_CLAIM, DELETE_POD, Right, missing
from coldtui.ports import HeldLease, PatchForm
from tests.controlplane.plane import ControlPlane
from tests.docs import pages
from tests.lab.apiserver.site import Client, node, pod

T = TypeVar("T")
Rule = tuple[str, str, str, str]
"""(verb, resource, group, namespace)."""
DEPLOY, PAGE = pages.ROOT / "deploy", pages.ROOT / "docs" / "permissions.md"
BYPASS = ("ClusterRoleBinding", "coldtui-operator-bypass")
MAPS = Kind("maps", "", "v1", "configmaps", True, "config maps")
_PATHS = {
    "ServiceAccount": "/api/v1/namespaces/{}/serviceaccounts",
    "ClusterRole": "/apis/rbac.authorization.k8s.io/v1/clusterroles",
    "ClusterRoleBinding": "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
    "Role": "/apis/rbac.authorization.k8s.io/v1/namespaces/{}/roles",
    "RoleBinding": "/apis/rbac.authorization.k8s.io/v1/namespaces/{}/rolebindings",
}


def run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(asyncio.wait_for(work, 20))


def documents(file: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((DEPLOY / file).read_text(encoding="utf-8")))


def rules(file: str) -> set[Rule]:
    """What the roles of a file allow."""
    return {
        (verb, resource, group, document["metadata"].get("namespace", ""))
        for document in documents(file)
        for rule in document.get("rules") or ()
        for verb, resource, group in itertools.product(rule["verbs"], rule.get("resources") or (), rule.get("apiGroups") or ())
    }


def test_the_read_only_account_only_reads() -> None:
    """No verb of the viewer's roles changes anything, nothing is granted by a star, and no Secret is named."""
    granted = rules("viewer-rbac.yaml")
    assert {verb for verb, *_ in granted} == {"get", "list", "watch"}
    assert {resource for _, resource, *_ in granted} & {"secrets", "*"} == set()


def test_the_rights_to_act_are_those_of_the_page() -> None:
    """Each right of operator-rbac.yaml stands in the table with its namespace, and no other."""
    told = set()
    for verbs, resources, *_ in pages.rows(PAGE, "## An account that acts"):
        resource, *namespace = pages.codes(resources)
        told |= {(verb.strip(), resource, "".join(namespace)) for verb in verbs.split(",")}
    assert told == {(verb, resource, namespace) for verb, resource, _, namespace in rules("operator-rbac.yaml")}


def test_what_a_plan_reads_may_be_read() -> None:
    """A plan can be made with the read-only account: it may read every kind that a drain looks at."""
    granted = {(verb, resource, group) for verb, resource, group, _ in rules("viewer-rbac.yaml")}
    for kind in DRAIN_KINDS.values():
        assert {("get", kind.plural, kind.group), ("list", kind.plural, kind.group)} <= granted, kind.name


class Cluster:
    """A server with both files applied."""

    def __init__(self, kubeconfig: Path, folder: Path) -> None:
        self.admin, self._kubeconfig, self._folder = Client(kubeconfig), kubeconfig, folder
        for file in ("viewer-rbac.yaml", "operator-rbac.yaml"):
            for document in documents(file):
                path = _PATHS[document["kind"]].format(document["metadata"].get("namespace", ""))
                assert self.admin.call("POST", path, document).code in (201, 409), document

    def account(self, name: str) -> KubeAdapter:
        """As that service account, with an open gate: here the rights alone hold it back."""
        config = yaml.safe_load(self._kubeconfig.read_text(encoding="utf-8"))
        config["users"][0]["user"] |= {"as": f"system:serviceaccount:kube-system:{name}", "as-groups": ["system:serviceaccounts"]}
        path = self._folder / f"{name}.kubeconfig"
        path.write_text(json.dumps(config), encoding="utf-8")
        path.chmod(0o600)
        return connect(kubeconfig=path, writable=True)

    def clean(self) -> None:
        self.admin.call("DELETE", "/api/v1/namespaces/default/pods/rights-pod?gracePeriodSeconds=0")
        self.admin.call("DELETE", "/api/v1/namespaces/default/persistentvolumeclaims/rights-claim")
        self.admin.call("DELETE", "/api/v1/nodes/rights-node")
        self.admin.call("DELETE", "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/coldtui-rights")


def claim(name: str) -> dict[str, Any]:
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": spec}


class Rights:
    def test_the_operator_may_what_an_operation_does(self, cluster: Cluster) -> None:
        """Cordon, evict, delete a pod or a volume claim, hold a lease; but not delete a node or a volume, create a pod or write anything else."""
        cluster.admin.post("/api/v1/nodes", node("rights-node"))
        body = pod("rights-pod", on="rights-node")
        body["spec"]["automountServiceAccountToken"] = False
        cluster.admin.post("/api/v1/namespaces/default/pods", body)
        cluster.admin.post("/api/v1/namespaces/default/persistentvolumeclaims", claim("rights-claim"))
        kube = cluster.account("coldtui-operator")

        async def act() -> None:
            assert (await kube.read(NODES, "rights-node")).name == "rights-node"
            await kube.patch(NODES, "rights-node", {"spec": {"unschedulable": True}}, form=PatchForm.STRATEGIC)
            await kube.evict("default", "rights-pod", dry_run=True)
            await kube.delete(PODS, "rights-pod", "default", dry_run=True)
            await kube.delete(CLAIMS, "rights-claim", "default", dry_run=True)
            held = await kube.put_lease(HeldLease("kube-system", "coldtui-rights", "me", "", None, 30), acquired=True)
            held = await kube.put_lease(replace(held, holder=""), acquired=False)
            assert await kube.lease("kube-system", "coldtui-rights") == held
            for work in (
                kube.delete(NODES, "rights-node", dry_run=True),
                kube.delete(VOLUMES, "rights-volume", dry_run=True),
                kube.patch(CLAIMS, "rights-claim", {}, "default", dry_run=True),
                kube.create(PODS, pod("rights-other"), "default", dry_run=True),
                kube.create(MAPS, {"metadata": {"name": "x"}}, "default", dry_run=True),
                kube.put_lease(HeldLease("default", "coldtui-rights", "me", "", None, 30), acquired=True),
            ):
                with pytest.raises(Forbidden):
                    await work
            await kube.aclose()

        run(act())

    def test_the_viewer_may_nothing_of_it(self, cluster: Cluster) -> None:
        """The read-only account is refused every act, whatever the gate says."""
        kube = cluster.account("coldtui-viewer")

        async def act() -> None:
            for work in (
                kube.patch(NODES, "rights-node", {}, dry_run=True),
                kube.evict("default", "rights-pod", dry_run=True),
                kube.delete(PODS, "rights-pod", "default", dry_run=True),
                kube.delete(CLAIMS, "rights-claim", "default", dry_run=True),
                kube.put_lease(HeldLease("kube-system", "coldtui-rights", "me", "", None, 30), acquired=True),
            ):
                with pytest.raises(Forbidden):
                    await work
            await kube.aclose()

        run(act())

    def test_acts_ask_for_the_rights_before(self, cluster: Cluster) -> None:
        """The operator lacks none; without the role for emergencies pods and volume claims may not be deleted, and a plan can say so; the viewer lacks all."""
        wanted = (CHANGE_CLUSTER, CHANGE_STATUS, DELETE_POD, DELETE_CLAIM)
        binding = next(d for d in documents("operator-rbac.yaml") if (d["kind"], d["metadata"]["name"]) == BYPASS)
        path = _PATHS["ClusterRoleBinding"]

        async def lacking(account: str) -> tuple[Right, ...]:
            kube = cluster.account(account)
            try:
                return await missing(kube, wanted, "default", 5.0)
            finally:
                await kube.aclose()

        async def until(account: str, rights: tuple[Right, ...]) -> None:
            while await lacking(account) != rights:  # noqa: ASYNC110 (a real server looks at a role a moment later)
                await asyncio.sleep(0.1)

        run(until("coldtui-operator", ()))
        run(until("coldtui-viewer", wanted))
        assert cluster.admin.call("DELETE", f"{path}/{BYPASS[1]}").code == 200
        try:
            run(until("coldtui-operator", (DELETE_POD, DELETE_CLAIM)))
        finally:
            assert cluster.admin.call("POST", path, binding).code == 201
        run(until("coldtui-operator", ()))


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with ApiServerProcess(tmp_path_factory.mktemp("api"), arguments=("--crds", "none")) as process:
        yield Cluster(process.kubeconfig, tmp_path_factory.mktemp("accounts"))


class TestEmbedded(Rights):
    @pytest.fixture
    def cluster(self, embedded: Cluster) -> Iterator[Cluster]:
        yield embedded
        embedded.clean()


@pytest.mark.controlplane
class TestControlPlane(Rights):
    @pytest.fixture
    def cluster(self, plane: ControlPlane, tmp_path: Path) -> Iterator[Cluster]:
        found = Cluster(plane.kubeconfigs["admin"], tmp_path)
        yield found
        found.clean()
