"""kubectl against the embedded server: what an operator types works, and refusals look as they do on a real cluster."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from coldtui.lab.apiserver.process import ApiServerProcess
from tests.lab.apiserver.site import PODS, Client, Reaper, budget, deployment, kubectl, node, pod, running, wait_for

pytestmark = [pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not on this machine"), pytest.mark.timeout(45)]
Json = dict[str, Any]
Done = subprocess.CompletedProcess[str]
SETS = "/apis/apps/v1/namespaces/default/replicasets"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"


class Kubectl:
    """kubectl as the admin; ``ok`` fails the test on a refusal, ``no`` on a success."""

    def __init__(self, kubeconfig: Path) -> None:
        self.kubeconfig = kubeconfig

    def run(self, *arguments: str, stdin: str | None = None) -> Done:
        return kubectl(self.kubeconfig, *arguments, stdin=stdin)

    def ok(self, *arguments: str, stdin: str | None = None) -> str:
        done = self.run(*arguments, stdin=stdin)
        assert done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stderr}"
        return done.stdout

    def no(self, *arguments: str, stdin: str | None = None) -> str:
        done = self.run(*arguments, stdin=stdin)
        assert done.returncode != 0, done.stdout
        return done.stderr


@pytest.fixture(scope="module")
def k(server: ApiServerProcess, client: Client) -> Kubectl:
    """kubectl on a site with two nodes and some running pods."""
    bodies = [node("w1", roles=("worker",)), node("w2", ready=False), running(pod("web-0", on="w1")), running(pod("web-1", on="w1"))]
    crash = running(pod("crash", on="w1", app="crash"), ready=False)
    status = crash["status"]["containerStatuses"][0]
    ended = {"exitCode": 1, "reason": "Error", "startedAt": "2026-11-01T00:00:00Z", "finishedAt": "2026-11-01T00:01:00Z"}
    status.update(restartCount=3, state={"waiting": {"reason": "CrashLoopBackOff"}}, lastState={"terminated": ended})
    involved = {"kind": "Pod", "name": "crash", "namespace": "default", "apiVersion": "v1", "uid": "c-1"}
    crash["metadata"]["uid"] = "c-1"
    event = {"apiVersion": "v1", "kind": "Event", "metadata": {"name": "crash.1", "namespace": "default"}, "involvedObject": involved, "type": "Warning",
             "reason": "BackOff", "message": "Back-off restarting failed container", "count": 3, "source": {"component": "kubelet", "host": "w1"},
             "firstTimestamp": "2026-11-01T00:00:00Z", "lastTimestamp": "2026-11-01T00:01:00Z"}  # fmt: skip
    bodies += [crash, event]
    client.call("POST", "/lab/bulk", b"\n".join(json.dumps(b).encode() for b in bodies))
    return Kubectl(server.kubeconfig)


@pytest.fixture(scope="module")
def reaper(client: Client) -> Iterator[Reaper]:
    """Something that ends terminating pods, as kubelets do."""
    made = Reaper(client)
    made.start()
    yield made
    made.stop()


# --- looking


def test_get_shows_the_real_columns(k: Kubectl) -> None:
    """Nodes and pods have the columns and words of a real cluster, wide too."""
    nodes = k.ok("get", "nodes", "-o", "wide").splitlines()
    assert nodes[0].split()[:5] == ["NAME", "STATUS", "ROLES", "AGE", "VERSION"]
    assert nodes[1].split()[:3] == ["w1", "Ready", "worker"]
    assert nodes[2].split()[:3] == ["w2", "NotReady", "<none>"]
    crash = next(line for line in k.ok("get", "pods", "-A", "-o", "wide").splitlines() if "crash" in line)
    assert crash.split()[:5] == ["default", "crash", "0/1", "CrashLoopBackOff", "3"]


def test_every_built_in_kind_can_be_listed(k: Kubectl) -> None:
    """kubectl get works for each listable kind that discovery names."""
    names = k.ok("api-resources", "--verbs=list", "-o", "name").split()
    assert len(names) > 50
    k.ok("get", ",".join(n for n in names if "metrics" not in n), "-A", "--ignore-not-found")


def test_api_resources_name_kinds_and_short_names(k: Kubectl) -> None:
    """Discovery gives short names, groups and scopes."""
    lines = {line.split()[0]: line.split() for line in k.ok("api-resources").splitlines()}
    assert lines["deployments"] == ["deployments", "deploy", "apps/v1", "true", "Deployment"]
    assert lines["clusters"] == ["clusters", "postgresql.cnpg.io/v1", "true", "Cluster"]


def test_selectors(k: Kubectl) -> None:
    """Label and field selectors narrow a list; an unknown field is refused."""
    assert k.ok("get", "po", "-l", "app in (web)", "--field-selector", "spec.nodeName=w1,status.phase!=Failed", "-o", "name").split() == [
        "pod/web-0",
        "pod/web-1",
    ]
    assert "field label not supported: spec.foo" in k.no("get", "po", "--field-selector", "spec.foo=1")


def test_describe(k: Kubectl) -> None:
    """describe gathers events, requests and leases of nodes, pods and deployments without errors."""
    text = k.ok("describe", "node", "w1")
    assert "Non-terminated Pods:" in text
    assert "web-0" in text
    assert "Back-off restarting" in k.ok("describe", "pod", "crash")
    k.ok("create", "-f", "-", stdin=json.dumps(deployment("described", app="described")))
    assert "RollingUpdateStrategy:  25% max unavailable, 25% max surge" in k.ok("describe", "deployment", "described")


def test_top(k: Kubectl) -> None:
    """top shows ready nodes, unknown for the others, and pods."""
    nodes = {line.split()[0]: line.split() for line in k.ok("top", "nodes").splitlines()}
    assert nodes["w1"][1].endswith("m")
    assert nodes["w2"][1] == "<unknown>"
    assert "web-0" in k.ok("top", "pods")


def test_logs(k: Kubectl) -> None:
    """Logs by tail, with time stamps, and of the instance before; refusals keep the server's words."""
    assert len(k.ok("logs", "web-0", "--tail", "3", "--timestamps").splitlines()) == 3
    assert "panic" in k.ok("logs", "crash", "--previous")
    assert "previous terminated container" in k.no("logs", "web-0", "--previous")


def test_logs_follow(k: Kubectl) -> None:
    """logs -f prints new lines as they are written."""
    command = ["kubectl", "--kubeconfig", str(k.kubeconfig), "logs", "-f", "web-0", "--tail", "1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as following:
        assert following.stdout is not None
        assert following.stdout.readline()
        assert following.stdout.readline()
        following.terminate()


def test_get_watch_prints_changes(k: Kubectl, client: Client, server: ApiServerProcess) -> None:
    """get -w prints a row for each change, with its columns."""
    before = server.stats()["streams"]
    with subprocess.Popen(
        ["kubectl", "--kubeconfig", str(k.kubeconfig), "get", "pod", "web-1", "-w"], stdout=subprocess.PIPE, text=True
    ) as watching:
        assert watching.stdout is not None
        assert watching.stdout.readline().split()[:3] == ["NAME", "READY", "STATUS"]
        assert watching.stdout.readline().split()[:3] == ["web-1", "1/1", "Running"]
        # kubectl keeps the first event of its watch to itself, so a change before the watch is open would never be printed.
        wait_for(lambda: server.stats()["streams"] > before, "kubectl's watch is open")
        client.patch(f"{PODS}/web-1/status", {"status": {"reason": "Evicted"}})
        assert watching.stdout.readline().split()[:3] == ["web-1", "1/1", "Evicted"]
        watching.terminate()
    client.patch(f"{PODS}/web-1/status", {"status": {"reason": None}})


def test_events(k: Kubectl) -> None:
    """Both listings of events show object, reason and message."""
    assert "pod/crash" in k.ok("get", "events")
    assert "Back-off restarting failed container" in k.ok("events", "--for", "pod/crash")


def test_version_and_health(k: Kubectl) -> None:
    """The server says that it is K3s, and that it is ready."""
    assert "v1.34.4+k3s1" in k.ok("version")
    assert "readyz check passed" in k.ok("get", "--raw", "/readyz?verbose")


def test_custom_resources_have_their_columns(k: Kubectl) -> None:
    """A CloudNativePG cluster prints the columns of its real CRD."""
    spec = {"instances": 3, "storage": {"size": "1Gi"}}
    k.ok(
        "create",
        "-f",
        "-",
        stdin=json.dumps({"apiVersion": "postgresql.cnpg.io/v1", "kind": "Cluster", "metadata": {"name": "pg"}, "spec": spec}),
    )
    k.ok(
        "patch",
        "clusters.postgresql.cnpg.io",
        "pg",
        "--subresource=status",
        "--type=merge",
        "-p",
        '{"status":{"phase":"Cluster in healthy state","instances":3}}',
    )
    header, row = k.ok("get", "clusters.postgresql.cnpg.io", "pg").splitlines()
    assert header.split() == ["NAME", "AGE", "INSTANCES", "READY", "STATUS", "PRIMARY"]
    assert "Cluster in healthy state" in row


# --- rights


def test_can_i(k: Kubectl, server: ApiServerProcess) -> None:
    """auth can-i agrees with the roles, for oneself and for another."""
    viewer = Kubectl(server.view_kubeconfig)
    assert k.ok("auth", "can-i", "delete", "nodes").strip() == "yes"
    assert viewer.ok("auth", "can-i", "list", "pods").strip() == "yes"
    assert viewer.run("auth", "can-i", "delete", "pods").stdout.strip() == "no"
    assert k.run("auth", "can-i", "list", "nodes", "--as", "viewer").stdout.strip() == "no"
    assert "pods" in viewer.ok("auth", "can-i", "--list")
    assert "viewer" in viewer.ok("auth", "whoami")
    assert 'nodes is forbidden: User "viewer" cannot list resource "nodes" in API group "" at the cluster scope' in viewer.no(
        "get", "nodes"
    )


# --- writing


def test_create_apply_and_their_refusals(k: Kubectl) -> None:
    """create, client-side apply (create, change, no change) and validation; server-side apply is refused with a reason."""
    body = deployment("applied", app="applied")
    assert "created" in k.ok("apply", "-f", "-", stdin=json.dumps(body))
    assert "unchanged" in k.ok("apply", "-f", "-", stdin=json.dumps(body))
    body["spec"]["template"]["spec"]["containers"][0]["image"] = "registry.example/web:2"
    assert "configured" in k.ok("apply", "--validate=false", "-f", "-", stdin=json.dumps(body))
    assert "registry.example/web:2" in k.ok("get", "deploy", "applied", "-o", "yaml")
    assert "Server-side apply not available" in k.no("apply", "--server-side", "-f", "-", stdin=json.dumps(body))
    assert "already exists" in k.no("create", "-f", "-", stdin=json.dumps(body))
    bad = deployment("bad")
    bad["spec"]["template"]["metadata"]["labels"] = {"app": "other"}
    assert "`selector` does not match template `labels`" in k.no("create", "-f", "-", stdin=json.dumps(bad))


def test_the_three_patches(k: Kubectl) -> None:
    """JSON, merge and strategic patches arrive."""
    k.ok("patch", "node", "w1", "--type=json", "-p", '[{"op":"add","path":"/metadata/labels/z","value":"1"}]')
    k.ok("patch", "node", "w1", "--type=merge", "-p", '{"metadata":{"labels":{"y":"2"}}}')
    k.ok("patch", "node", "w1", "-p", '{"metadata":{"labels":{"z":null}}}')
    assert json.loads(k.ok("get", "node", "w1", "-o", "jsonpath={.metadata.labels}")).get("y") == "2"
    assert k.ok("get", "node", "w1", "-o", "jsonpath={.metadata.labels.z}") == ""


def test_labels_annotations_and_taints(k: Kubectl) -> None:
    """label, annotate and taint set and take away; two taints of one key live side by side."""
    k.ok("label", "node", "w2", "disk=ssd")
    k.ok("annotate", "node", "w2", "note=x")
    k.ok("taint", "node", "w2", "t=a:NoSchedule")
    k.ok("taint", "node", "w2", "t=b:NoExecute")
    taints = json.loads(k.ok("get", "node", "w2", "-o", "jsonpath={.spec.taints}"))
    assert {(t["key"], t["effect"]) for t in taints} == {("t", "NoSchedule"), ("t", "NoExecute")}
    k.ok("taint", "node", "w2", "t-")
    assert k.ok("get", "node", "w2", "-o", "jsonpath={.spec.taints}") == ""
    assert k.ok("get", "nodes", "-l", "disk=ssd", "-o", "name").strip() == "node/w2"


def test_scale_and_delete(k: Kubectl) -> None:
    """scale goes through the subresource; delete waits until the object is gone."""
    k.ok("create", "-f", "-", stdin=json.dumps(deployment("scaled", app="scaled")))
    assert "scaled" in k.ok("scale", "deploy/scaled", "--replicas=5")
    assert k.ok("get", "deploy", "scaled", "-o", "jsonpath={.spec.replicas} {.metadata.generation}") == "5 2"
    assert 'deployment.apps "scaled" deleted' in k.ok("delete", "deploy", "scaled")
    assert "NotFound" in k.no("get", "deploy", "scaled")


def _revision(client: Client, name: str, number: int, image: str) -> None:
    """Play the deployment controller: the deployment's revision and a replica set for it."""
    owner = client.get(f"{DEPLOYMENTS}/{name}").json
    key = "deployment.kubernetes.io/revision"
    client.patch(f"{DEPLOYMENTS}/{name}", {"metadata": {"annotations": {key: str(number)}}})
    body = deployment(f"{name}-{number}", app=name)
    body.update(kind="ReplicaSet")
    body["metadata"]["annotations"] = {key: str(number)}
    body["metadata"]["labels"] = {"app": name}
    reference = {"apiVersion": "apps/v1", "kind": "Deployment", "name": name, "uid": owner["metadata"]["uid"], "controller": True}
    body["metadata"]["ownerReferences"] = [reference]
    body["spec"]["template"]["spec"]["containers"][0]["image"] = image
    body["spec"]["template"]["metadata"]["labels"]["pod-template-hash"] = str(number)
    client.post(SETS, body)


def test_rollouts(k: Kubectl, client: Client) -> None:
    """status follows the deployment by watch; history, undo, restart, pause and resume work on replica sets and patches."""
    k.ok("create", "-f", "-", stdin=json.dumps(deployment("roll", app="roll")))
    _revision(client, "roll", 1, "registry.example/web:1")
    _revision(client, "roll", 2, "registry.example/web:1.2")
    history = k.ok("rollout", "history", "deploy/roll")
    assert [line.split()[0] for line in history.splitlines() if line[:1].isdigit()] == ["1", "2"]
    assert "rolled back" in k.ok("rollout", "undo", "deploy/roll")
    assert k.ok("get", "deploy", "roll", "-o", "jsonpath={.spec.template.spec.containers[0].image}") == "registry.example/web:1"
    k.ok("rollout", "pause", "deploy/roll")
    assert "cannot rollback a paused deployment" in k.no("rollout", "undo", "deploy/roll")
    k.ok("rollout", "resume", "deploy/roll")
    k.ok("rollout", "restart", "deploy/roll")
    assert "kubectl.kubernetes.io/restartedAt" in k.ok("get", "deploy", "roll", "-o", "yaml")
    command = ["kubectl", "--kubeconfig", str(k.kubeconfig), "rollout", "status", "deploy/roll", "--timeout=20s"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as following:
        assert following.stdout is not None
        assert "Waiting for deployment" in following.stdout.readline()
        generation = client.get(f"{DEPLOYMENTS}/roll").json["metadata"]["generation"]
        done = {"observedGeneration": generation, "replicas": 2, "updatedReplicas": 2, "readyReplicas": 2, "availableReplicas": 2}
        client.patch(f"{DEPLOYMENTS}/roll/status", {"status": done})
        assert 'deployment "roll" successfully rolled out' in following.stdout.read()
    assert following.returncode == 0


def test_cordon_and_uncordon(k: Kubectl) -> None:
    """cordon marks the node, uncordon takes the mark away."""
    k.ok("cordon", "w1")
    assert "Ready,SchedulingDisabled" in k.ok("get", "node", "w1")
    k.ok("uncordon", "w1")
    assert "SchedulingDisabled" not in k.ok("get", "node", "w1")


def test_a_drain_waits_for_its_budget(k: Kubectl, client: Client, reaper: Reaper) -> None:
    """A spent budget holds the drain up with the server's words; when it allows one more, the pods go and the drain ends."""
    client.call(
        "POST",
        "/lab/bulk",
        b"\n".join(
            json.dumps(b).encode()
            for b in [node("w3"), running(pod("held", on="w3", app="held")), running(pod("free", on="w3", app="free"))]
        ),
    )
    path = "/apis/policy/v1/namespaces/default/poddisruptionbudgets"
    client.post(path, budget("held", app="held", allowed=0))
    client.patch(f"{path}/held/status", {"status": budget("held", app="held", allowed=0)["status"]})
    assert "cannot delete Pods that declare no controller" in k.no("drain", "w3")
    command = ["kubectl", "--kubeconfig", str(k.kubeconfig), "drain", "w3", "--force", "--timeout=30s"]
    began = time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as draining:
        assert draining.stdout is not None
        said = ""
        while "Cannot evict pod as it would violate" not in said:
            line = draining.stdout.readline()
            assert line, said
            said += line
        wait_for(lambda: "free" in reaper.reaped, "the pod without a budget went")
        assert client.get(f"{PODS}/held").code == 200
        client.patch(f"{path}/held/status", {"status": {"disruptionsAllowed": 1}})
        said += draining.stdout.read()
    assert draining.returncode == 0, said
    assert "node/w3 drained" in said
    assert client.get(f"{PODS}/held").code == 404
    assert time.monotonic() - began < 20
    assert client.get(f"{path}/held").json["status"]["disruptionsAllowed"] == 0


def test_a_drain_stops_at_two_budgets(k: Kubectl, client: Client) -> None:
    """A pod under two budgets cannot be evicted at all: the drain fails and names the reason."""
    client.call("POST", "/lab/bulk", b"\n".join(json.dumps(b).encode() for b in [node("w4"), running(pod("twice", on="w4", app="twice"))]))
    for name in ("twice-a", "twice-b"):
        client.post("/apis/policy/v1/namespaces/default/poddisruptionbudgets", budget(name, app="twice", allowed=1))
    assert "more than one PodDisruptionBudget" in k.no("drain", "w4", "--force", "--timeout=10s")


def test_deleting_a_namespace(k: Kubectl, client: Client) -> None:
    """A namespace goes with all that it holds, and kubectl waits for it."""
    k.ok("create", "namespace", "temporary")
    k.ok("create", "configmap", "c", "-n", "temporary", "--from-literal=a=b")
    k.ok("create", "secret", "generic", "s", "-n", "temporary", "--from-literal=a=b")
    assert k.ok("get", "cm/c", "secret/s", "-n", "temporary", "-o", "jsonpath={.items[*].data.a}") == "b Yg=="
    k.ok("delete", "namespace", "temporary", "--timeout=10s")
    assert client.get("/api/v1/namespaces/temporary/configmaps/c").code == 404


def test_a_service_accounts_token_holds_with_the_accounts_rights(k: Kubectl, server: ApiServerProcess, tmp_path: Path) -> None:
    """`kubectl create token` gives a token of the account: what its role grants works with it, what it does not is refused."""
    rbac = Path(__file__).parents[3] / "deploy" / "viewer-rbac.yaml"
    k.ok("apply", "-f", str(rbac))
    token = k.ok("-n", "kube-system", "create", "token", "coldtui-viewer", "--duration", "720h").strip()
    mine = tmp_path / "viewer.kubeconfig"
    mine.write_bytes(server.kubeconfig.read_bytes())
    mine.chmod(0o600)
    viewer = Kubectl(mine)
    viewer.ok("config", "set-credentials", "coldtui-viewer", "--token", token)
    viewer.ok("config", "set-context", "--current", "--user", "coldtui-viewer")
    assert "system:serviceaccount:kube-system:coldtui-viewer" in viewer.ok("auth", "whoami")
    assert "w1" in viewer.ok("get", "nodes")
    assert "Forbidden" in viewer.no("get", "secrets", "-A")
    assert "not found" in k.no("create", "token", "nobody")
    assert "10 minutes" in k.no("-n", "kube-system", "create", "token", "coldtui-viewer", "--duration", "5s")
