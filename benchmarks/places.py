"""What is measured, and against what: homes of nobody, simulated and real sites, the console and its rivals as a person starts them."""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.terminal import Terminal

READY_S = 120.0
PYTHON = sys.executable


@dataclass(frozen=True, slots=True)
class Site:
    """An API server with a site in it."""

    kubeconfig: Path
    folder: Path
    """Of the lab; faults are switched by it."""

    def fault(self, name: str, on: bool) -> None:
        command = [PYTHON, "-m", "coldtui", "demo", "fault", name, "on" if on else "off", "--dir", str(self.folder)]
        subprocess.run(command, check=True, capture_output=True, timeout=30)


@contextlib.contextmanager
def process(command: Sequence[str], log: Path) -> Iterator[bytes]:
    """A program that says one line when it is ready, ended by its pid on leaving. Yields the line."""
    with log.open("ab") as errors:
        started = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, stdin=subprocess.DEVNULL, start_new_session=True)
    assert started.stdout is not None
    try:
        if not select.select([started.stdout], [], [], READY_S)[0] or not (line := started.stdout.readline()):
            raise RuntimeError(f"{' '.join(command[:5])} did not start: {log.read_text(errors='replace')[-500:]}")
        yield line
    finally:
        if started.poll() is None:
            started.send_signal(signal.SIGTERM)
            try:
                started.wait(15)
            except subprocess.TimeoutExpired:
                started.kill()
                started.wait()
        started.stdout.close()


@contextlib.contextmanager
def lab(root: Path, name: str, *flags: str) -> Iterator[Site]:
    """`coldtui demo --headless` in a process of its own."""
    folder = root / name
    folder.mkdir(parents=True)
    with process([PYTHON, "-m", "coldtui", "demo", "--headless", "--dir", str(folder), *flags], root / f"{name}.log") as line:
        yield Site(Path(json.loads(line)["kubeconfig"]), folder)


@contextlib.contextmanager
def real(root: Path, *, still: bool = False) -> Iterator[Site]:
    """A real control plane with the lab's machines on it. Its programs must have been built (`make test-controlplane` does)."""
    from tests.controlplane.build import built  # the tests are beside us in the checkout; they are no part of the program

    if built() is None:
        raise RuntimeError("the real control plane is not built: make test-controlplane")
    plane = [PYTHON, "-m", "tests.controlplane.plane", str(root / "plane")]
    with process(plane, root / "plane.log") as line:
        kubeconfig = Path(_kubeconfig(json.loads(line)))
        play = [PYTHON, "-m", "coldtui.lab.play", str(kubeconfig), *(["--still"] if still else [])]
        with process(play, root / "play.log"):
            yield Site(kubeconfig, root / "plane")


def _kubeconfig(said: dict[str, object]) -> str:
    found = said.get("kubeconfigs")
    if isinstance(found, dict):
        return str(found["admin"])
    return str(said["kubeconfig"])


def home(root: Path, name: str) -> dict[str, str]:
    """Environment in which nobody's configuration is found and nothing was saved before."""
    folder = root / "homes" / name
    folder.mkdir(parents=True, exist_ok=True)
    nothing = dict.fromkeys(("KUBECONFIG", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME"), "")
    # Without bytecode every start is 3.5 times as slow, and that is not what is measured here.
    return {**nothing, "HOME": str(folder), "COLDTUI_STATE": str(folder / "state"), "PYTHONDONTWRITEBYTECODE": "", "LC_ALL": "C.UTF-8"}


def console(site: Site, env: dict[str, str], *, keys: str = "") -> Terminal:
    """The console; `keys` are typed at once, before it can read them."""
    made = Terminal([PYTHON, "-m", "coldtui", "--kubeconfig", str(site.kubeconfig)], env=env)
    if keys:
        made.send(keys)
    return made


def rival(name: str) -> str | None:
    """A program to measure beside, if it is installed."""
    return shutil.which(name)


def k9s(site: Site, env: dict[str, str], view: str) -> Terminal:
    program = rival("k9s")
    assert program is not None
    return Terminal([program, "--kubeconfig", str(site.kubeconfig), "--readonly", "-c", view, "-A"], env=env)


def machine() -> str:
    """`2 cores, load 0.4 0.6 0.9, Python 3.11.7`."""
    load = " ".join(f"{x:.1f}" for x in os.getloadavg())
    return f"{os.cpu_count()} cores, load {load}, Python {sys.version.split()[0]}"
