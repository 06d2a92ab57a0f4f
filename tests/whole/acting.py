"""What the tests of acting share: a site that lives, a yard of two nodes whose pods may be drained in moments, and people who act there.

A seat is one person's home: command line and consoles on one state folder, before a relay that remembers every request.
"""

from __future__ import annotations

import collections
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from coldtui.adapters.journal import SqliteJournal, open_journal
from coldtui.adapters.launch.me import me
from coldtui.domain.runs import Run, RunEvent, What
from coldtui.lab.control import send
from coldtui.lab.controllers.kubelet import FAIL, STOP_SECONDS
from coldtui.lab.seeds import core
from coldtui.lab.seeds.parts import Host
from coldtui.live.pace import SystemClock
from tests.controlplane.build import built
from tests.whole.ground import Console, Done, Ground, Json, Real, command, environment, until
from tests.whole.recorder import Recorded, Recorder

ROOT = Path(__file__).parents[2]
NODE = "k3s-worker-3"
YARD = ("yard-1", "yard-2")
SPACE = "yard"
TAINT = "lab.coldtui/yard"
READY_S = 90.0
LEASE = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/coldtui-site"
ENDED = "ENDED"
WHO = me("test").who.login
"""As the program names whoever runs these tests."""


class Players:
    """`tests.whole.players`, as a process that ends with us."""

    def __init__(self, log: Path, *arguments: str) -> None:
        environ = {**os.environ, "XDG_RUNTIME_DIR": str(log.parent), "PYTHONDONTWRITEBYTECODE": ""}
        with log.open("ab") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.whole.players", *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=err, cwd=ROOT,
                env=environ,
            )  # fmt: skip
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, log.read_text()[-2000:]
        self.ready: Json = json.loads(line)

    def stop(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()


class Lab(Ground):
    """The lab as `coldtui demo --headless` runs it, its pods at the pace of tests."""

    name = "lab"

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.players = Players(folder / "log", "lab", str(folder / "lab"))
        self.control = Path(self.players.ready["control"])
        self.kubeconfig, self.viewer = Path(self.players.ready["kubeconfig"]), Path(self.players.ready["view_kubeconfig"])

    @property
    def program(self) -> str | None:
        found = built()
        return str(found / "kubectl") if found is not None else None

    def fault(self, name: str, on: bool = True, **options: Any) -> None:
        send(self.control, {"fault": name, "on": on, **options})

    def pause(self) -> None:
        self.fault("api-paused")

    def resume(self) -> None:
        self.fault("api-paused", False)

    def kill(self) -> None:
        self.fault("api-down")

    def start(self) -> None:
        self.fault("api-down", False)

    def forget(self) -> None:
        raise NotImplementedError

    def stop(self) -> None:
        self.players.stop()


class Place:
    """A ground that lives, and its yard."""

    def __init__(self, ground: Ground, folder: Path) -> None:
        self.ground, self._folder = ground, folder
        self._players: Players | None = None
        if isinstance(ground, Real):
            self._players = Players(folder / "log", "plane", str(ground.kubeconfig), str(folder))
            self._control = folder / "s"
        else:
            assert isinstance(ground, Lab)
            self._control = ground.control
        self.yard = Yard(ground)

    def fault(self, name: str, on: bool = True, node: str = NODE, **options: Any) -> None:
        """One of the lab's troubles: workloads that are hard to move, or a machine without power."""
        send(self._control, {"fault": name, "on": on, "node": node, **options})

    def close(self) -> None:
        """Leave the ground to others as it was."""
        self.free()
        if isinstance(self.ground, Real):
            self.yard.remove()
        if self._players is not None:
            self._players.stop()

    def free(self) -> None:
        """Whoever held the site is forgotten."""
        self.ground.delete(LEASE)

    def pods(self, node: str) -> list[Json]:
        return pods_on(self.ground, node)


def pods_on(ground: Ground, node: str) -> list[Json]:
    """By a plain client."""
    found: list[Json] = ground.admin.get("/api/v1/pods", fieldSelector=f"spec.nodeName={node}").json["items"]
    return found


def ready(pod: Json) -> bool:
    conditions = pod.get("status", {}).get("conditions") or ()
    return "deletionTimestamp" not in pod["metadata"] and any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def cordoned(ground: Ground, node: str) -> bool:
    return bool(ground.get(f"/api/v1/nodes/{node}")["spec"].get("unschedulable"))


class Yard:
    """Two nodes that take no other pods, and `mill` with two on one of them. Nothing of it needs volumes or operators."""

    def __init__(self, ground: Ground) -> None:
        self.ground = ground
        for number, name in enumerate(YARD):
            self._make_node(name, number)
        ground.admin.call("POST", "/api/v1/namespaces", {"metadata": {"name": SPACE}})
        self.apply("mill", 2)

    def _make_node(self, name: str, number: int) -> None:
        made = core.node(Host(name, f"192.168.15.{140 + number}", 40 + number), "v1.34.4+k3s1", _now(), _now())
        for key in ("uid", "creationTimestamp", "generation", "resourceVersion"):
            made["metadata"].pop(key, None)
        made["metadata"]["labels"][TAINT] = "yes"
        made["spec"]["taints"] = [{"key": TAINT, "value": "yes", "effect": "NoSchedule"}]
        answer = self.ground.admin.call("POST", "/api/v1/nodes", made)
        assert answer.code in (201, 409), answer.data
        self.ground.patch(f"/api/v1/nodes/{name}/status", {"status": made["status"]})

    def remake(self, name: str) -> None:
        """A node that was deleted is there again."""
        self._make_node(name, YARD.index(name))

    def remove(self) -> None:
        """All but the namespace, which would need a while to go, and could not be made again meanwhile."""
        self.drop_budgets()
        for item in self.ground.get(f"/apis/apps/v1/namespaces/{SPACE}/deployments")["items"]:
            self.ground.delete(f"/apis/apps/v1/namespaces/{SPACE}/deployments/{item['metadata']['name']}")

        def empty() -> bool:
            pods = self.pods()
            for pod in pods:
                self.ground.delete(f"/api/v1/namespaces/{SPACE}/pods/{pod['metadata']['name']}")
            return not pods and not self.ground.get(f"/apis/apps/v1/namespaces/{SPACE}/replicasets")["items"]

        until(empty, READY_S, "the yard is empty")
        for name in YARD:
            self.ground.delete(f"/api/v1/nodes/{name}")

    # --- workloads

    def slow(self, node: str, seconds: float, name: str = "kiln") -> None:
        """One pod there that takes so long to stop."""
        self.ground.cordon(True, other_of(node))
        self.ask_for(name, 1, stop_s=seconds, grace_s=90)

        def there() -> bool:
            """A scheduler that has not seen the cordon yet put it elsewhere: once more."""
            pods = self.pods(name)
            for pod in pods:
                if pod["spec"]["nodeName"] != node:
                    self.ground.delete(f"/api/v1/namespaces/{SPACE}/pods/{pod['metadata']['name']}")
            return len(pods) == 1 and pods[0]["spec"]["nodeName"] == node and ready(pods[0])

        until(there, READY_S, f"{name} runs on {node}")
        self.ground.cordon(False, other_of(node))

    def apply(self, name: str, replicas: int, *, apart: bool = False) -> None:
        """A deployment, with all its pods ready; `apart`: each on a node of its own while there is one."""
        self.ask_for(name, replicas, apart=apart)
        until(lambda: len(self.pods(name)) == replicas and all(map(ready, self.pods(name))), READY_S, f"{name} runs")

    def ask_for(self, name: str, replicas: int, *, stop_s: float = 0.0, grace_s: int = 30, apart: bool = False) -> None:
        annotations = {STOP_SECONDS: f"{stop_s:g}"} if stop_s else {}
        spec: Json = {
            "containers": [{"name": name, "image": f"registry.cold.example/{name}:v1", "resources": {"requests": {"cpu": "10m", "memory": "8Mi"}}}],
            "terminationGracePeriodSeconds": grace_s,
            "nodeSelector": {TAINT: "yes"},
            "tolerations": [{"key": TAINT, "operator": "Exists"}],
        }  # fmt: skip
        if apart:
            term = {"labelSelector": {"matchLabels": {"app": name}}, "topologyKey": "kubernetes.io/hostname"}
            spec["affinity"] = {
                "podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 100, "podAffinityTerm": term}]}
            }
        body = {
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": SPACE},
            "spec": {
                "replicas": replicas, "selector": {"matchLabels": {"app": name}},
                "template": {"metadata": {"labels": {"app": name}, "annotations": annotations}, "spec": spec},
            },
        }  # fmt: skip
        answer = self.ground.admin.call("POST", f"/apis/apps/v1/namespaces/{SPACE}/deployments", body)
        assert answer.code in (201, 409), answer.data

    def pods(self, app: str = "") -> list[Json]:
        """Those of the yard that are on a node."""
        query = {"labelSelector": f"app={app}"} if app else {}
        found = self.ground.admin.get(f"/api/v1/namespaces/{SPACE}/pods", **query).json["items"]
        return [pod for pod in found if pod["spec"].get("nodeName")]

    def budget(self, app: str = "mill", name: str = "mill", allowed: int = 1, **limit: int) -> None:
        """`maxUnavailable=1`, `minAvailable=2`; returns when the server judges by it."""
        path = f"/apis/policy/v1/namespaces/{SPACE}/poddisruptionbudgets"
        self.ground.admin.post(path, {"metadata": {"name": name}, "spec": {"selector": {"matchLabels": {"app": app}}, **limit}})

        def judged() -> bool:
            status = self.ground.get(f"{path}/{name}").get("status") or {}
            return bool(status.get("observedGeneration") and status.get("disruptionsAllowed") == allowed and status.get("expectedPods"))

        until(judged, 30, f"budget {name} allows {allowed}")

    def allowed(self, name: str) -> int:
        """How many a budget would let go now."""
        found = self.ground.get(f"/apis/policy/v1/namespaces/{SPACE}/poddisruptionbudgets/{name}")
        return int(found["status"]["disruptionsAllowed"])

    def drop_budgets(self) -> None:
        path = f"/apis/policy/v1/namespaces/{SPACE}/poddisruptionbudgets"
        for item in self.ground.get(path)["items"]:
            self.ground.delete(f"{path}/{item['metadata']['name']}")

    def unwell(self, pod: Json, on: bool = True) -> None:
        """Not ready from now on, or ready again."""
        path = f"/api/v1/namespaces/{SPACE}/pods/{pod['metadata']['name']}"
        self.ground.patch(path, {"metadata": {"annotations": {FAIL: "NotReady" if on else None}}})
        until(lambda: ready(self.ground.get(path)) is not on, 15, "the pod is unwell" if on else "the pod is well")

    # --- order

    def tidy(self) -> str:
        """Both nodes take pods, `mill` alone is here and on one of them: that node."""
        self.drop_budgets()
        for item in self.ground.get(f"/apis/apps/v1/namespaces/{SPACE}/deployments")["items"]:
            if (name := item["metadata"]["name"]) != "mill":
                self.ground.delete(f"/apis/apps/v1/namespaces/{SPACE}/deployments/{name}")
        where = collections.Counter(pod["spec"]["nodeName"] for pod in self.pods("mill")).most_common(1)
        home = where[0][0] if where else YARD[0]
        other = YARD[1 - YARD.index(home)]
        self.ground.cordon(False, home)
        self.ground.cordon(True, other)

        def gathered() -> bool:
            pods = self.pods()
            for pod in pods:
                if pod["spec"]["nodeName"] != home or pod["metadata"]["labels"]["app"] != "mill" or not ready(pod):
                    if (
                        pod["metadata"]["labels"]["app"] == "mill"
                        and pod["spec"]["nodeName"] == home
                        and "deletionTimestamp" not in pod["metadata"]
                    ):
                        continue  # it comes up
                    self.ground.delete(f"/api/v1/namespaces/{SPACE}/pods/{pod['metadata']['name']}")
            sets = self.ground.get(f"/apis/apps/v1/namespaces/{SPACE}/replicasets")["items"]
            alone = all(item["metadata"]["labels"]["app"] == "mill" for item in sets)  # one that is about to go would make its pods again
            return alone and len(pods) == 2 and all(ready(p) and p["spec"]["nodeName"] == home for p in pods)

        until(gathered, READY_S, "the yard is tidy")
        self.ground.cordon(False, other)
        return home


def other_of(node: str) -> str:
    return YARD[1 - YARD.index(node)]


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


# ---------------------------------------------------------------- people


class Seat:
    """One person's home, and what they start from there. What still runs at the end is ended, by its pid."""

    def __init__(self, folder: Path, place: Place, kubeconfig: Path | None = None, relay: Recorder | None = None) -> None:
        self.home, self.place = folder / "home", place
        self.relay = relay
        self.kubeconfig = kubeconfig or (relay.kubeconfig if relay is not None else place.ground.kubeconfig)
        self.state = self.home / "state"
        self.environ = environment(self.home, COLDTUI_STATE=str(self.state))
        self._journal: SqliteJournal | None = None
        self._consoles: list[Console] = []
        self._processes: list[subprocess.Popen[str]] = []

    # --- the program

    def run(self, *arguments: str, kubeconfig: Path | None = None) -> Done:
        """A command to its end."""
        return command(self.home, *arguments, kubeconfig=kubeconfig or self.kubeconfig, environ=self.environ)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """A command that goes on."""
        made = subprocess.Popen(
            [sys.executable, "-m", "coldtui", "--kubeconfig", str(self.kubeconfig), *arguments], env=self.environ, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip
        self._processes.append(made)
        return made

    def console(self, *arguments: str, cols: int = 120, rows: int = 40) -> Console:
        made = Console(self.home, "--kubeconfig", str(self.kubeconfig), *arguments, cols=cols, rows=rows, environ={"COLUMNS": ""})
        self._consoles.append(made)
        return made

    def close(self) -> None:
        for console in self._consoles:
            console.close()
        for process in self._processes:
            if process.poll() is None:
                process.kill()
            process.communicate()
        for pid in self.runners():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if self._journal is not None:
            self._journal.close()

    def runners(self) -> list[int]:
        """Processes of runs that were started from here, whatever the journal knows of them."""
        found = []
        for path in Path("/proc").glob("[0-9]*/environ"):
            with contextlib.suppress(OSError):
                words = path.with_name("cmdline").read_bytes().split(b"\0")
                if words[-3:-2] == [b"exec"] and f"COLDTUI_STATE={self.state}".encode() in path.read_bytes().split(b"\0"):
                    found.append(int(path.parent.name))
        return found

    # --- what is in the journal

    @property
    def journal_path(self) -> Path:
        return self.state / "journal.db"

    @property
    def journal(self) -> SqliteJournal:
        """As one more process."""
        if self._journal is None:
            self._journal = open_journal(str(self.journal_path), clock=SystemClock(), reserve_b=0)
        return self._journal

    def newest(self, after: str = "") -> Run | None:
        if not self.journal_path.exists():
            return None
        found = self.journal.runs(limit=1)
        return found[0] if found and found[0].id != after else None

    def begun(self, after: str = "", limit_s: float = 20.0) -> Run:
        """The run that is confirmed next."""
        found: list[Run] = []

        def there() -> bool:
            run = self.newest(after)
            found.extend([run] if run is not None else [])
            return bool(found)

        spin(there, limit_s, "a run is confirmed")
        return found[0]

    def now(self, run: Run) -> Run:
        return self.journal.run(run.id)

    def events(self, run: Run) -> tuple[RunEvent, ...]:
        return self.journal.events(run.id)

    def told(self, run: Run, what: What, step: int | None = None) -> list[RunEvent]:
        return [e for e in self.events(run) if e.what is what and step in (None, e.step)]

    def items(self, run: Run, text: str) -> list[RunEvent]:
        """What was told of pods with these words."""
        return [e for e in self.told(run, What.ITEM) if text in e.text]

    def ended(self, run: Run, limit_s: float = 40.0) -> Run:
        spin(lambda: self.now(run).state.ended, limit_s, "the run ends", lambda: self.story(run))
        return self.now(run)

    def story(self, run: Run) -> str:
        return "\n".join(
            f"{e.at:%M:%S.%f} {e.what} {e.step} {e.object} {e.text} {dict(e.memo) if e.what is What.MEMO else ''}" for e in self.events(run)
        )

    def kill_runner(self, run: Run) -> None:
        """-9, and gone."""
        pid = self.now(run).runner_pid
        assert alive(pid, run.id), self.story(run)
        os.kill(pid, signal.SIGKILL)
        spin(lambda: not alive(pid, run.id), 10, "the runner is gone")

    # --- what went over the wire

    def evictions(self) -> dict[str, int]:
        """UID -> how many requests asked for its eviction."""
        assert self.relay is not None
        asked = [
            request.json["deleteOptions"]["preconditions"]["uid"] for request in self.relay.matching("POST", "/eviction") if request.mutates
        ]
        return dict(collections.Counter(asked))


def alive(pid: int, run: str) -> bool:
    """Whether this process is the runner of this run, and no zombie."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return run.encode() in words


def spin(condition: Callable[[], object], limit_s: float, what: str, story: Callable[[], str] = str) -> None:
    """Look at a condition that must not be missed by much: a thousand times a second."""
    end = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end, f"not within {limit_s} s: {what}\n{story()}"
        time.sleep(0.001)


@contextlib.contextmanager
def seated(place: Place, folder: Path, *, relayed: bool = True, kubeconfig: Path | None = None) -> Iterator[Seat]:
    """A person with a home of their own in `folder`."""
    with contextlib.ExitStack() as stack:
        relay = stack.enter_context(Recorder(kubeconfig or place.ground.kubeconfig, folder / "relay")) if relayed else None
        seat = Seat(folder, place, kubeconfig, relay)
        stack.callback(place.free)
        stack.callback(seat.close)
        yield seat


def is_eviction(request: Recorded) -> bool:
    return request.method == "POST" and request.path.endswith("/eviction")


def is_cordon(request: Recorded) -> bool:
    return request.method == "PATCH" and request.path.rpartition("/")[0] == "/api/v1/nodes" and request.mutates


# ---------------------------------------------------------------- hands at a console


def arm(console: Console) -> None:
    console.send("A")
    console.until("Arm this console?")
    answer(console, "y", lambda: "Arm this console?" not in console.text)
    console.until("ARMED")


def answer(console: Console, key: str, taken: Callable[[], bool], limit_s: float = 10.0) -> None:
    """Press a key that decides something, as a person does: again when the console wants it again."""
    end = time.monotonic() + limit_s
    console.take_in(0.4)
    while True:
        console.send(key)
        settled = time.monotonic() + 1.5
        while time.monotonic() < settled:
            console.pump(0.02)
            if taken():
                return
        assert time.monotonic() < end, f"{key!r} is not taken:\n{console.text}"


def type_word(console: Console, word: str) -> None:
    """By hand: what comes sooner after a dialog opened was meant for what was there before."""
    console.take_in(0.4)
    for letter in word:
        console.send(letter)
        console.take_in(0.08)


def show_plan(console: Console, node: str) -> None:
    """Nodes, the cursor on the node, the menu, its plan."""
    open_menu(console, node)
    answer(console, "d", lambda: "What can be done" not in console.text)
    console.until("Type the verb", 15)


def open_menu(console: Console, node: str) -> None:
    console.open("2", "Nodes [")
    console.until(node)
    console.send(f"/{node}\r")
    console.until(lambda: "[1 of " in console.text or "1 of" in console.text)
    console.send("x")
    console.until(f"What can be done to {node}")


def confirm_drain(console: Console) -> None:
    """With the plan on the screen."""
    type_word(console, "drain")
    console.until("✓ enter")
    answer(console, "\r", lambda: "Type the verb" not in console.text)
