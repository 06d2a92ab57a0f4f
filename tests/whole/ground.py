"""The two servers that the whole program is proved against, and the program itself as a person starts it."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil

from coldtui.lab import site
from coldtui.lab.apiserver.process import ApiServerProcess
from tests.controlplane.plane import VIEW_RULES, ControlPlane
from tests.lab.apiserver.site import MERGE, Answer, Client
from tests.tui.terminal import Terminal

Json = dict[str, Any]
CORDONED = "k3s-worker-4"
RBAC = "/apis/rbac.authorization.k8s.io/v1"


class Ground(ABC):
    """A server, and what a test may do to it. Ends with `stop`."""

    name: str
    kubeconfig: Path
    viewer: Path
    """Of a user who may not read leases."""
    token: Path
    play: subprocess.Popen[bytes] | None = None

    @property
    def admin(self) -> Client:
        """A plain client, none of whose code is the program's."""
        return Client(self.kubeconfig)

    @abstractmethod
    def pause(self) -> None:
        """Nothing is answered, nothing closes."""

    @abstractmethod
    def resume(self) -> None: ...

    @abstractmethod
    def kill(self) -> None:
        """SIGKILL."""

    @abstractmethod
    def start(self) -> None:
        """On the same port, with the same objects; returns when it is ready."""

    @abstractmethod
    def forget(self) -> None:
        """Every version from before is 410 afterwards, for open watches too."""

    @abstractmethod
    def stop(self) -> None: ...

    @property
    @abstractmethod
    def program(self) -> str | None:
        """A kubectl; None where there is none."""

    def kubectl(self, *arguments: str) -> str:
        """Its stdout; fails when it refuses."""
        assert self.program is not None
        command = [
            self.program,
            "--kubeconfig",
            str(self.kubeconfig),
            "--cache-dir",
            str(self.kubeconfig.parent / "kube-cache"),
            *arguments,
        ]
        return subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout

    def get(self, path: str) -> Json:
        return self.admin.get(path).json

    def patch(self, path: str, body: Json) -> Answer:
        answer = self.admin.patch(path, body, MERGE)
        assert answer.code == 200, answer.data
        return answer

    def patch_status(self, path: str, status: Json) -> None:
        self.patch(f"{path}/status", {"status": status})

    def cordon(self, on: bool, node: str = CORDONED) -> None:
        self.patch(f"/api/v1/nodes/{node}", {"spec": {"unschedulable": on or None}})

    def delete(self, path: str) -> None:
        """At once, whatever finishes it elsewhere; not there is as good."""
        answer = self.admin.call("DELETE", path, {"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 0})
        assert answer.code in (200, 202, 404), answer.data

    def let_view(self, group: str) -> None:
        """Members may read all that the console watches, but no leases."""
        rules = [{**rule, "verbs": ["get", "list", "watch"]} for rule in VIEW_RULES]
        rules.append({"apiGroups": ["metrics.k8s.io", "k3s.cattle.io"], "resources": ["*"], "verbs": ["get", "list", "watch"]})
        self.admin.post(f"{RBAC}/clusterroles", {"metadata": {"name": "whole-view"}, "rules": rules})
        subject = {"kind": "Group", "name": group, "apiGroup": "rbac.authorization.k8s.io"}
        role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "whole-view"}
        self.admin.post(f"{RBAC}/clusterrolebindings", {"metadata": {"name": "whole-view"}, "roleRef": role, "subjects": [subject]})

    def ready(self) -> bool:
        """Whether `/readyz` is ok now."""
        try:
            return self.admin.get("/readyz").code == 200
        except OSError:
            return False

    def live(self) -> None:
        """Machines that renew their leases and run their pods, in a process of their own, until `stop`."""
        flags = ["--still"] if isinstance(self, Real) else ["--no-seed", "--still"]
        log = (self.kubeconfig.parent / "play.log").open("ab")
        self.play = subprocess.Popen(
            [sys.executable, "-m", "coldtui.lab.play", str(self.kubeconfig), *flags], stdout=subprocess.PIPE, stderr=log
        )
        log.close()
        assert self.play.stdout is not None
        line = self.play.stdout.readline()
        assert line, (self.kubeconfig.parent / "play.log").read_text()[-2000:]
        json.loads(line)

    def still(self) -> None:
        """End the machines."""
        if self.play is not None:
            self.play.terminate()
            self.play.wait(20)
            assert self.play.stdout is not None
            self.play.stdout.close()
            self.play = None


class Embedded(Ground):
    """The lab's API server in a process of its own, loaded with the site."""

    name = "embedded"

    def __init__(self, folder: Path, *, crds: str = "all", extra: Sequence[Json] = ()) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._flags: tuple[str, ...] = ("--crds", crds, "--still")
        if crds == "all":
            seed = site.build()
            file = folder / "seed.ndjson"
            file.write_bytes(site.lines([*seed.objects, *seed.derived, *extra]))
            self._flags += ("--load", str(file))
        self.server = ApiServerProcess(folder, arguments=self._flags)
        self.kubeconfig, self.viewer, self.token = self.server.kubeconfig, self.server.view_kubeconfig, self.server.token_kubeconfig
        self.let_view("lab:viewers")

    @property
    def program(self) -> str | None:
        return shutil.which("kubectl")

    def load(self, objects: Sequence[Json]) -> None:
        """Put objects in as they are: no name is too wild."""
        answer = self.admin.call("POST", "/lab/bulk", site.lines(objects), "application/x-ndjson")
        assert answer.code == 200, answer.data

    def pause(self) -> None:
        self.server.pause()

    def resume(self) -> None:
        self.server.resume()

    def kill(self) -> None:
        self.server.kill()

    def start(self) -> None:
        self.server = ApiServerProcess(self._folder, port=self.server.port, arguments=self._flags)

    def forget(self) -> None:
        self.server.command({"compact": True})
        self.server.control("expired")
        self.server.control("expired", False)

    def stop(self) -> None:
        self.still()
        self.server.stop()


class Real(Ground):
    """kube-apiserver, etcd, controller manager and scheduler."""

    name = "real"

    def __init__(self, plane: ControlPlane) -> None:
        self.plane = plane
        files = plane.kubeconfigs
        self.kubeconfig, self.viewer, self.token = files["admin"], files["view"], files["token"]
        self.let_view("view")

    @property
    def program(self) -> str | None:
        return str(self.plane.describe()["kubectl"])

    def pause(self) -> None:
        self.plane.pause_api()

    def resume(self) -> None:
        self.plane.resume_api()

    def kill(self) -> None:
        self.plane.kill_api()

    def start(self) -> None:
        self.plane.start_api()

    def forget(self) -> None:
        self.plane.forget()

    def stop(self) -> None:
        self.still()
        self.plane.stop()


# ---------------------------------------------------------------- the program


def environment(home: Path, **more: str) -> dict[str, str]:
    """A person without any configuration, whose home is `home`."""
    home.mkdir(parents=True, exist_ok=True)
    kept = {k: os.environ[k] for k in ("PATH", "LANG", "PYTHONPATH") if k in os.environ}
    return {**kept, "HOME": str(home), "TERM": "xterm-256color", "COLUMNS": "300", "LC_ALL": "C.UTF-8", **more}


@dataclasses.dataclass(frozen=True, slots=True)
class Done:
    """What a command left."""

    code: int
    out: str
    err: str
    seconds: float

    @property
    def json(self) -> Json:
        found: Json = json.loads(self.out)
        return found


def command(home: Path, *arguments: str, kubeconfig: Path | None = None, environ: dict[str, str] | None = None) -> Done:
    """`coldtui ARGUMENTS` as a process of its own."""
    where = [] if kubeconfig is None else ["--kubeconfig", str(kubeconfig)]
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "coldtui", *where, *arguments], capture_output=True, env=environ or environment(home), timeout=60, check=False,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    return Done(done.returncode, done.stdout.decode(), done.stderr.decode(), time.monotonic() - began)


class Console(Terminal):
    """The console in a terminal, with nobody's configuration but `home`'s."""

    def __init__(self, home: Path, *arguments: str, cols: int = 120, rows: int = 40, environ: dict[str, str] | None = None) -> None:
        home.mkdir(parents=True, exist_ok=True)
        bare = {"HOME": str(home), "COLDTUI_STATE": str(home / "state"), "KUBECONFIG": "", "XDG_CONFIG_HOME": "", "XDG_STATE_HOME": ""}
        super().__init__([sys.executable, "-m", "coldtui", *arguments], cols=cols, rows=rows, environ=bare | (environ or {}))
        self.home = home

    @property
    def rss_mb(self) -> float:
        return float(psutil.Process(self.pid).memory_info().rss) / 2**20

    @property
    def lives(self) -> bool:
        if self.code is None and (found := os.waitpid(self.pid, os.WNOHANG))[0]:
            self.code = os.waitstatus_to_exitcode(found[1])
        return self.code is None

    def look(self) -> str:
        """The text, and the ground of each line's start: the cursor row moves even when no text does."""
        grounds = (self.screen.buffer[y][2] for y in range(self.screen.lines))
        return self.text + "".join(f"{c.bg}{c.reverse}" for c in grounds)

    def timed(self, condition: Callable[[], bool] | str, limit_s: float) -> float:
        """Seconds until the condition holds."""
        began = time.monotonic()
        self.until(condition, limit_s)
        return time.monotonic() - began

    def take_in(self, seconds: float) -> None:
        """Read what comes for so long."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self.pump(min(left, 0.05))

    def press(self, keys: str, limit_s: float = 3.0) -> float:
        """Milliseconds from the press to the changed screen."""
        before, began = self.look(), time.perf_counter()
        self.send(keys)
        while self.look() == before:
            assert time.perf_counter() - began < limit_s, f"{keys!r} is not answered within {limit_s} s:\n{self.text}"
            self.pump(0.01)
        return (time.perf_counter() - began) * 1000

    def open(self, number: str, shows: str) -> None:
        """A screen by its key."""
        self.send(number)
        self.until(shows)


@contextlib.contextmanager
def console(home: Path, ground: Ground, *, cols: int = 120, rows: int = 40, kubeconfig: Path | None = None) -> Iterator[Console]:
    made = Console(home, "--kubeconfig", str(kubeconfig or ground.kubeconfig), cols=cols, rows=rows)
    try:
        yield made
    finally:
        made.close()


def until(condition: Callable[[], bool], limit_s: float, what: str, *others: Console) -> float:
    """Seconds until the condition holds; consoles are read meanwhile, so that none of them is held up by a full terminal."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < limit_s, f"not within {limit_s} s: {what}\n" + "\n".join(c.text for c in others)
        for each in others:
            each.pump(0.01)
        if not others:
            time.sleep(0.02)  # between two looks at a condition that nothing announces
    return time.monotonic() - began
