"""A real Kubernetes control plane on loopback for the tests: etcd, API server, controller manager and scheduler; no kubelet.

    with ControlPlane.start(tmp_path, crds=lab_crds()) as plane:
        plane.kubectl("get", "nodes")
        client = some_client(plane.kubeconfigs["view"])

or, to try things by hand, until SIGTERM (prints one line of JSON with kubeconfigs, pids, ports, logs):

    python -m tests.controlplane.plane /tmp/some-empty-folder [--audit] [--no-crds]
"""

from __future__ import annotations

import argparse
import atexit
import base64
import contextlib
import dataclasses
import fcntl
import http.client
import json
import os
import random
import re
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, TracebackType
from typing import IO, Any, Literal, Self

import yaml

from tests.controlplane.build import BuildError, programs
from tests.controlplane.certificates import Authority, Pair
from tests.controlplane.keeper import Keeper

User = Literal["admin", "view", "token"]
"""admin: O=system:masters. view: reads ordinary things, but no secrets, no leases. token: a service account with all rights."""
Program = Literal["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"]

LAB_CRDS = Path(__file__).parents[2] / "coldtui" / "lab" / "crds"
READY_SECONDS = 90.0
"""For each step of a start. Idle it takes 5 to 10 s in all; a machine that also builds or tests needs much longer."""
_POLL_SECONDS = 0.05
_SERVICE_RANGE = "10.43.0.0/16"
_APISERVER_SERVICE = "10.43.0.1"
_VIEW_GROUP = "view"
_JSON = "application/json"
_DISCOVERY = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"

VIEW_RULES: tuple[Mapping[str, Sequence[str]], ...] = (
    {
        "apiGroups": [""],
        "resources": [
            *("nodes", "pods", "pods/log", "services", "endpoints", "events", "namespaces", "configmaps"),
            *("persistentvolumes", "persistentvolumeclaims", "resourcequotas", "replicationcontrollers"),
        ],
    },
    {"apiGroups": ["apps"], "resources": ["deployments", "statefulsets", "daemonsets", "replicasets"]},
    {"apiGroups": ["batch"], "resources": ["jobs", "cronjobs"]},
    {"apiGroups": ["policy"], "resources": ["poddisruptionbudgets"]},
    {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"]},
    {"apiGroups": ["events.k8s.io"], "resources": ["events"]},
    {"apiGroups": ["networking.k8s.io"], "resources": ["ingresses"]},
    {"apiGroups": ["storage.k8s.io"], "resources": ["storageclasses", "volumeattachments"]},
    {"apiGroups": ["apiextensions.k8s.io"], "resources": ["customresourcedefinitions"]},
    {"apiGroups": ["postgresql.cnpg.io", "barmancloud.cnpg.io", "longhorn.io", "metallb.io", "upgrade.cattle.io"], "resources": ["*"]},
)
"""What the user "view" may get, list and watch. Leases and secrets are left out on purpose: they are the forbidden cases."""

_AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [
        {"level": "None", "users": ["system:apiserver", "system:kube-controller-manager", "system:kube-scheduler"]},
        {"level": "None", "userGroups": ["system:serviceaccounts:kube-system"]},  # the controllers
        {"level": "RequestResponse", "verbs": ["create", "update", "patch", "delete", "deletecollection"]},
        {"level": "Metadata"},
    ],
}


class ControlPlaneError(Exception):
    """The control plane did not do what was asked; the text ends with the tail of the log that explains it."""


@dataclass(frozen=True, slots=True)
class Response:
    """One answer of the API server."""

    status: int
    body: bytes

    def json(self) -> Any:
        """The body, decoded."""
        return json.loads(self.body)


@dataclass(frozen=True, slots=True)
class Ports:
    """TCP ports on 127.0.0.1 that this control plane has for itself."""

    api: int
    etcd: int
    etcd_peer: int


def lab_crds() -> tuple[Path, ...]:
    """Every CRD file that the lab ships."""
    return tuple(sorted(LAB_CRDS.glob("**/*.yaml")))


class ControlPlane:
    """One running control plane; `stop()` (also at exit, and by the keeper if we are killed) ends exactly its own programs.

    Thread-safe for requests; start, stop, pause and kill belong to one thread. All calls block: from asyncio use `asyncio.to_thread`.
    """

    def __init__(self, directory: Path, binaries: Path, ports: Ports, *, audit: bool, egress: Path | None = None) -> None:
        """Prepares files only; use `start`."""
        self.directory = directory
        self.ports = ports
        self.server = f"https://127.0.0.1:{ports.api}"
        self.kubeconfigs: dict[User, Path] = {user: directory / f"{user}.kubeconfig" for user in ("admin", "view", "token")}
        self.audit_log: Path | None = directory / "audit.log" if audit else None
        """JSON lines: what people and programs (not the controllers) sent; changes with their bodies."""
        self._egress = egress
        self._binaries = binaries
        self._processes: dict[Program, subprocess.Popen[bytes]] = {}
        self._paused = False
        self._release = contextlib.ExitStack()
        self._keeper: Keeper | None = None
        self._commands, self._contexts, self.ca = self._prepare()

    @classmethod
    def start(cls, directory: Path, *, crds: Sequence[Path] = (), audit: bool = False, egress: Path | None = None) -> Self:
        """A control plane with its files in `directory` (made if need be, must be empty) and `crds` established.

        With `egress` all that the API server sends to pods goes through the proxy at that unix socket (coldtui.lab.egress).

        Builds the programs first if that was never done. Raises BuildError or ControlPlaneError; then nothing is left running.
        """
        binaries = programs()
        directory.mkdir(parents=True, exist_ok=True)
        directory = directory.resolve()
        if any(directory.iterdir()):
            raise ControlPlaneError(f"{directory} is not empty")
        with contextlib.ExitStack() as stack:
            plane = cls(directory, binaries, stack.enter_context(_free_ports()), audit=audit, egress=egress)
            stack.callback(plane._end_processes)
            plane._start(crds)
            plane._release = stack.pop_all()
        atexit.register(plane.stop)
        return plane

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def stop(self) -> None:
        """End the programs and wait for them; the files stay. Again is no error."""
        self._release.close()
        atexit.unregister(self.stop)

    # --- what tests do to it

    def pause_api(self) -> None:
        """Freeze the API server: connections stay open, are even accepted by the kernel, and nothing is answered."""
        process = self._processes["kube-apiserver"]
        if not self._paused:
            process.send_signal(signal.SIGSTOP)
            os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)  # the signal is asynchronous
            self._paused = True

    def resume_api(self) -> None:
        """Undo `pause_api`."""
        self._processes["kube-apiserver"].send_signal(signal.SIGCONT)
        self._paused = False

    def kill_api(self) -> None:
        """End the API server at once; afterwards connections are refused. What it had stored stays."""
        self._end("kube-apiserver")
        self._paused = False

    def start_api(self) -> None:
        """Start the API server (again, on the same port) and wait until it is ready."""
        if "kube-apiserver" in self._processes:
            raise ControlPlaneError("the API server is already running")
        self._spawn("kube-apiserver")
        self._until(self._ready, "the API server to be ready", "kube-apiserver")

    def compact(self) -> int:
        """Make etcd forget all history up to now; returns the revision.

        Enough for 410 on events. Watches and pages of other kinds are served from the API server's memory: `forget()` empties it too.
        """
        revision = int(self._etcd("/v3/kv/range", {"key": base64.b64encode(b"/registry").decode()})["header"]["revision"])
        try:
            self._etcd("/v3/kv/compaction", {"revision": revision, "physical": True})
        except ControlPlaneError as error:
            if "required revision has been compacted" not in str(error):  # it was, already: etcd calls that an error
                raise
        return revision

    def forget(self) -> int:
        """Compact and restart the API server: every watch and `continue` token from before gets 410. Returns the revision."""
        revision = self.compact()
        self.kill_api()
        self.start_api()
        return revision

    def request(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        user: User = "admin",
        content_type: str = _JSON,
        accept: str = _JSON,
        timeout: float = 10.0,
    ) -> Response:
        """One request on a fresh connection, whatever the status. `body`: bytes as they are, anything else as JSON.

        `timeout` is in seconds for each wait on the socket. Raises OSError (TimeoutError, ConnectionRefusedError, ...).
        """
        payload = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        headers = {"Accept": accept, "Content-Type": content_type}
        if user == "token":
            headers["Authorization"] = f"Bearer {(self.directory / 'token').read_text()}"
        connection = http.client.HTTPSConnection("127.0.0.1", self.ports.api, timeout=timeout, context=self._contexts[user])
        with contextlib.closing(connection):
            connection.request(method, path, payload, headers)
            answer = connection.getresponse()
            return Response(answer.status, answer.read())

    def apply(self, path: str, body: object, *, content_type: str = _JSON) -> Any:
        """POST as admin, and raise ControlPlaneError unless it was created; returns the created object."""
        answer = self.request("POST", path, body, content_type=content_type, timeout=60)
        if answer.status != http.client.CREATED:
            raise ControlPlaneError(f"POST {path}: {answer.status} {answer.body.decode(errors='replace')[:2000]}")
        return answer.json()

    def kubectl(self, *arguments: str, stdin: str | None = None, user: User = "admin", timeout: float = 60.0) -> str:
        """Run kubectl and return its stdout. Raises ControlPlaneError with its stderr if it fails."""
        command = [str(self._binaries / "kubectl"), f"--kubeconfig={self.kubeconfigs[user]}", *arguments]
        environment = {"HOME": str(self.directory), "PATH": os.defpath}  # its discovery cache is this plane's own
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=timeout, env=environment, check=False)
        if done.returncode:
            raise ControlPlaneError(f"kubectl {' '.join(arguments)}: {done.returncode} {done.stderr.strip()}")
        return done.stdout

    def token(self, account: str = "coldtui", namespace: str = "default", *, seconds: int = 86_400) -> str:
        """A fresh token of a service account; the API server allows no less than 600 seconds."""
        asked = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": seconds}}
        return str(self.apply(f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token", asked)["status"]["token"])

    def install(self, crds: Sequence[Path]) -> None:
        """Create these CRDs and wait until they are established, served and discoverable.

        Posted as they are: client-side apply would put a copy in an annotation, and the CloudNativePG ones are beyond its limit.
        """
        documents = [text for path in crds for text in re.split(r"^---\s*$", path.read_text(), flags=re.M) if text.strip()]
        path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
        with ThreadPoolExecutor(4) as pool:
            made = list(pool.map(lambda text: self.apply(path, text.encode(), content_type="application/yaml"), documents))
        wanted = {
            (crd["spec"]["group"], version["name"], crd["spec"]["names"]["plural"])
            for crd in made
            for version in crd["spec"]["versions"]
            if version["served"]
        }
        self._until(lambda: wanted <= self._discovered(), f"{len(made)} CRDs to be discoverable", "kube-apiserver")
        for group, version, plural in sorted(wanted):
            where = f"/apis/{group}/{version}/{plural}?limit=1"
            self._until(lambda where=where: self._answers(where), f"{plural}.{group} to be served", "kube-apiserver")  # type: ignore[misc]

    def audit_events(self) -> list[dict[str, Any]]:
        """The audit log so far, oldest first; see `audit_log`. An event may come a moment after the answer it belongs to."""
        if self.audit_log is None:
            raise ControlPlaneError("this control plane was started without audit=True")
        lines = self.audit_log.read_text().split("\n") if self.audit_log.exists() else [""]
        return [json.loads(line) for line in lines[:-1]]  # the last one is empty or still being written

    def pids(self) -> dict[Program, int]:
        """What runs now."""
        return {name: process.pid for name, process in self._processes.items()}

    def log(self, name: Program) -> Path:
        """Where `name` writes."""
        return self.directory / f"{name}.log"

    def describe(self) -> dict[str, object]:
        """All that another process needs to use this one, as plain values."""
        return {
            "server": self.server,
            "kubeconfigs": {user: str(path) for user, path in self.kubeconfigs.items()},
            "pids": self.pids(),
            "ports": dataclasses.asdict(self.ports),
            "kubectl": str(self._binaries / "kubectl"),
            "logs": {name: str(self.log(name)) for name in self._commands},
            "audit_log": None if self.audit_log is None else str(self.audit_log),
        }

    # --- how it is made

    def _prepare(self) -> tuple[dict[Program, list[str]], dict[User, ssl.SSLContext], Path]:
        """Certificates, kubeconfigs and command lines."""
        authority = Authority(self.directory / "pki")
        names = ("localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local")
        serving = authority.server("apiserver", dns=names, addresses=("127.0.0.1", _APISERVER_SERVICE))
        signer = authority.signer("service-account")
        clients: dict[User, Pair] = {
            "admin": authority.client("admin", user="coldtui-admin", group="system:masters"),
            "view": authority.client("view", user="coldtui-viewer", group=_VIEW_GROUP),
        }
        ca = authority.certificate
        contexts: dict[User, ssl.SSLContext] = {"token": ssl.create_default_context(cafile=str(ca))}
        for user, pair in clients.items():
            contexts[user] = ssl.create_default_context(cafile=str(ca))
            contexts[user].load_cert_chain(pair.certificate, pair.key)
            self._write_kubeconfig(self.kubeconfigs[user], user, ca, _pair_credentials(pair))
        inner = {}
        for name in ("kube-controller-manager", "kube-scheduler"):
            inner[name] = self.directory / f"{name}.kubeconfig"
            self._write_kubeconfig(inner[name], name, ca, _pair_credentials(authority.client(name, user=f"system:{name}")))
        etcd, peer = f"http://127.0.0.1:{self.ports.etcd}", f"http://127.0.0.1:{self.ports.etcd_peer}"
        commands: dict[Program, list[str]] = {
            "etcd": [
                *("--name=test", f"--data-dir={self.directory / 'etcd'}", "--unsafe-no-fsync", "--log-level=warn"),
                *(f"--listen-client-urls={etcd}", f"--advertise-client-urls={etcd}"),
                *(f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}", f"--initial-cluster=test={peer}"),
                *("--auto-compaction-mode=periodic", "--auto-compaction-retention=10m"),
            ],
            "kube-apiserver": [
                *(f"--etcd-servers={etcd}", f"--secure-port={self.ports.api}", "--bind-address=127.0.0.1"),
                *("--advertise-address=127.0.0.1", "--endpoint-reconciler-type=none", f"--service-cluster-ip-range={_SERVICE_RANGE}"),
                *(f"--client-ca-file={ca}", f"--tls-cert-file={serving.certificate}", f"--tls-private-key-file={serving.key}"),
                *(f"--service-account-key-file={signer}", f"--service-account-signing-key-file={signer}"),
                *("--service-account-issuer=https://kubernetes.default.svc", "--authorization-mode=Node,RBAC"),
                *("--anonymous-auth=false", "--enable-admission-plugins=NodeRestriction", "--allow-privileged", "--profiling=false"),
            ],
            "kube-controller-manager": [
                *(f"--kubeconfig={inner['kube-controller-manager']}", "--leader-elect=false", "--secure-port=0"),
                *(f"--service-account-private-key-file={signer}", f"--root-ca-file={ca}", "--use-service-account-credentials=true"),
                *("--node-monitor-grace-period=50s", "--controllers=*,-nodeipam", "--profiling=false"),
            ],
            "kube-scheduler": [f"--kubeconfig={inner['kube-scheduler']}", "--leader-elect=false", "--secure-port=0", "--profiling=false"],
        }
        if self.audit_log is not None:
            policy = self.directory / "audit-policy.yaml"
            policy.write_text(yaml.safe_dump(_AUDIT_POLICY))
            commands["kube-apiserver"] += [f"--audit-policy-file={policy}", f"--audit-log-path={self.audit_log}"]
        if self._egress is not None:
            from coldtui.lab.egress import configuration  # the lab is not needed otherwise

            selection = self.directory / "egress.yaml"
            selection.write_text(yaml.safe_dump(configuration(self._egress)))
            commands["kube-apiserver"] += [f"--egress-selector-config-file={selection}"]
        return commands, contexts, ca

    def _write_kubeconfig(self, path: Path, user: str, ca: Path, credentials: Mapping[str, str]) -> None:
        """Self-contained, so that it may be copied elsewhere."""
        cluster = {"server": self.server, "certificate-authority-data": base64.b64encode(ca.read_bytes()).decode()}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "coldtui-test", "cluster": cluster}],
            "users": [{"name": user, "user": dict(credentials)}],
            "contexts": [{"name": user, "context": {"cluster": "coldtui-test", "user": user}}],
            "current-context": user,
        }
        path.touch(mode=0o600)
        path.write_text(yaml.safe_dump(config))

    def _start(self, crds: Sequence[Path]) -> None:
        self._keeper = Keeper()
        self._spawn("etcd")
        self._until(self._etcd_healthy, "etcd to be healthy", "etcd")
        self.start_api()
        self._spawn("kube-controller-manager")
        self._spawn("kube-scheduler")
        self._make_users()
        self.install(crds)
        for path in ("serviceaccounts/default", "configmaps/kube-root-ca.crt"):  # the last things that a new cluster makes by itself
            where = f"/api/v1/namespaces/default/{path}"
            self._until(lambda where=where: self._answers(where), f"the controllers to make {path}", "kube-controller-manager")  # type: ignore[misc]
        self._check()

    def _make_users(self) -> None:
        """The read-only role of the user "view", and the service account of the user "token"."""
        rbac = "/apis/rbac.authorization.k8s.io/v1"
        role = {"metadata": {"name": "coldtui-test-view"}, "rules": [{**rule, "verbs": ["get", "list", "watch"]} for rule in VIEW_RULES]}
        self.apply(f"{rbac}/clusterroles", role)
        self.apply("/api/v1/namespaces/default/serviceaccounts", {"metadata": {"name": "coldtui"}})
        group = {"kind": "Group", "name": _VIEW_GROUP, "apiGroup": "rbac.authorization.k8s.io"}
        account = {"kind": "ServiceAccount", "name": "coldtui", "namespace": "default"}
        for name, bound, subject in (("coldtui-test-view", "coldtui-test-view", group), ("coldtui-test-token", "cluster-admin", account)):
            reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": bound}
            self.apply(f"{rbac}/clusterrolebindings", {"metadata": {"name": name}, "roleRef": reference, "subjects": [subject]})
        token = self.directory / "token"
        token.touch(mode=0o600)
        token.write_text(self.token())
        self._write_kubeconfig(self.kubeconfigs["token"], "token", self.ca, {"token": token.read_text()})

    def _spawn(self, name: Program) -> None:
        """Start a program in a session of its own, so that Ctrl-C in the terminal of the tests does not reach it before us."""
        assert self._keeper is not None
        with self.log(name).open("ab") as log:
            process = subprocess.Popen(
                [str(self._binaries / name), *self._commands[name]],
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._processes[name] = process
        self._keeper.add(process.pid)

    def _end(self, name: Program) -> None:
        """Kill, not terminate: nothing here is worth a graceful end, and a paused program could not take one."""
        process = self._processes.pop(name)
        process.kill()  # no-op if it has ended by itself and was reaped
        process.wait()
        if self._keeper is not None:
            self._keeper.drop(process.pid)

    def _end_processes(self) -> None:
        for name in reversed(tuple(self._processes)):
            self._end(name)
        if self._keeper is not None:
            self._keeper.close()
            self._keeper = None

    def _check(self) -> None:
        """Raise if a program has ended by itself."""
        for name, process in self._processes.items():
            if (code := process.poll()) is not None:
                raise ControlPlaneError(f"{name} ended with {code}\n{self._tail(name)}")

    def _until(self, condition: Callable[[], bool], what: str, name: Program) -> None:
        """Wait for `condition`; an OSError counts as not yet. Raises ControlPlaneError with the tail of `name`'s log."""
        deadline = time.monotonic() + READY_SECONDS
        last = "no"
        while True:
            try:
                if condition():
                    return
            except OSError as error:
                last = repr(error)
            self._check()
            if time.monotonic() > deadline:
                raise ControlPlaneError(f"waited {READY_SECONDS:.0f} s for {what} (last: {last})\n{self._tail(name)}")
            time.sleep(_POLL_SECONDS)

    def _tail(self, name: Program) -> str:
        lines = self.log(name).read_text(errors="replace").splitlines()[-15:]
        return f"--- {self.log(name)}\n" + "\n".join(lines)

    def _answers(self, path: str) -> bool:
        return self.request("GET", path).status == http.client.OK

    def _ready(self) -> bool:
        return self._answers("/readyz")

    def _discovered(self) -> set[tuple[str, str, str]]:
        """(group, version, plural) of all that clients find by discovery."""
        groups = self.request("GET", "/apis", accept=_DISCOVERY).json()["items"]
        return {
            (group["metadata"]["name"], version["version"], resource["resource"])
            for group in groups
            for version in group["versions"]
            for resource in version.get("resources", ())
        }

    def _etcd_healthy(self) -> bool:
        return bool(self._etcd("/v3/maintenance/status", {}).get("leader", "0") != "0")

    def _etcd(self, path: str, body: object) -> Any:
        """One call to etcd's JSON gateway."""
        connection = http.client.HTTPConnection("127.0.0.1", self.ports.etcd, timeout=10)
        with contextlib.closing(connection):
            connection.request("POST", path, json.dumps(body))
            answer = connection.getresponse()
            text = answer.read()
        if answer.status != http.client.OK:
            raise ControlPlaneError(f"etcd {path}: {answer.status} {text.decode(errors='replace')}")
        return json.loads(text)


def _pair_credentials(pair: Pair) -> dict[str, str]:
    files = {"client-certificate-data": pair.certificate, "client-key-data": pair.key}
    return {name: base64.b64encode(path.read_bytes()).decode() for name, path in files.items()}


@contextlib.contextmanager
def _free_ports() -> Iterator[Ports]:
    """Three free neighbouring ports, ours until the end: another control plane of this user takes others, even while ours is down.

    Below the ephemeral range (32768 up), so that an outgoing connection cannot sit on the API server's port when it starts again.
    """
    folder = Path(tempfile.gettempdir()) / f"coldtui-test-ports-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    for base in random.sample(range(20_000, 32_000, 4), 500):
        with (folder / str(base)).open("w") as lock:
            if _locked(lock) and all(_free(base + offset) for offset in range(3)):
                yield Ports(api=base, etcd=base + 1, etcd_peer=base + 2)
                return
    raise ControlPlaneError("500 port blocks tried on 127.0.0.1, none is free")


def _locked(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a control plane until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="python -m tests.controlplane.plane", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("directory", type=Path, help="an empty folder, made if need be")
    parser.add_argument("--audit", action="store_true", help="keep an audit log")
    parser.add_argument("--no-crds", action="store_true", help="do not install the CRDs of the lab")
    chosen = parser.parse_args(arguments)

    def leave(number: int, frame: FrameType | None) -> None:
        raise SystemExit(0)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, leave)
    try:
        with ControlPlane.start(chosen.directory, crds=() if chosen.no_crds else lab_crds(), audit=chosen.audit) as plane:
            print(json.dumps(plane.describe()), flush=True)
            while True:
                signal.pause()
    except (BuildError, ControlPlaneError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
