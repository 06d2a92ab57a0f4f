"""The lab as a process: what it prints, what it leaves behind, how it is found, how faults are switched."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import yaml

from coldtui.domain.errors import ColdError, Exit, NotFound
from coldtui.lab import demo
from coldtui.lab.demo import DemoOptions

KEYS = {
    "config",
    "kubeconfig",
    "view_kubeconfig",
    "server",
    "s3_endpoint",
    "postgres_dsn",
    "postgres_passfile",
    "pid",
    "control",
    "dir",
    "ssh",
}


def until(condition: Callable[[], bool], seconds: float = 15.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not within {seconds} s: {condition.__name__}"
        time.sleep(0.05)


@pytest.fixture(autouse=True)
def _own_registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Labs of this test are not mixed with those of the developer."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "runtime"))


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[demo.DemoLab]:
    """One running lab for the tests that leave it as it is."""
    folder = tmp_path_factory.mktemp("lab")
    before = os.environ.get("XDG_RUNTIME_DIR")
    os.environ["XDG_RUNTIME_DIR"] = str(folder / "runtime")
    try:
        with demo.start(DemoOptions(dir=folder / "site", still=True)) as running:
            yield running
    finally:
        os.environ.pop("XDG_RUNTIME_DIR") if before is None else os.environ.update(XDG_RUNTIME_DIR=before)


def family(pid: int) -> list[psutil.Process]:
    parent = psutil.Process(pid)
    return [parent, *parent.children(recursive=True)]


def gone(processes: list[psutil.Process]) -> bool:
    return all(map(_ended, processes))


def _ended(process: psutil.Process) -> bool:
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:  # between the two questions
        return True


def test_the_line_says_all(lab: demo.DemoLab) -> None:
    """The one line has every key, the configuration is an ordinary one, and the state folder is the lab's own."""
    assert set(lab.ready) == KEYS
    config = yaml.safe_load(lab.config.read_text())
    assert config["site"]["name"] == "cold-site"
    assert config["kube"]["kubeconfig"] == str(lab.kubeconfig)
    assert config["postgres"]["cluster"] == "database/cold-postgres"
    assert Path(config["state_dir"]).parent == lab.dir
    assert (lab.dir.stat().st_mode & 0o777) == 0o700
    contexts = [c["name"] for c in yaml.safe_load(lab.kubeconfig.read_text())["contexts"]]
    assert config["kube"]["context"] in contexts


def test_the_site_reads_with_the_console_configuration(lab: demo.DemoLab) -> None:
    """The configuration loads without a word of complaint."""
    from coldtui.config.load import load

    config = load({}, {}, config_flag=str(lab.config))
    assert config.kube.kubeconfig == str(lab.kubeconfig)
    assert config.site.name == "cold-site"
    assert (config.ssh.user, config.ssh.keys, config.ssh.agent) == ("lab", (str(lab.dir / "ssh" / "id_ed25519"),), False)
    assert config.ssh.known_hosts == (str(lab.dir / "ssh" / "known_hosts"),)
    assert {name: node.ssh for name, node in config.nodes.items()} == lab.ready["ssh"]


def test_faults_by_name(lab: demo.DemoLab) -> None:
    """Each fault goes on and off; an unknown one and an unknown machine are refused with what is known."""
    for name in ("slow", "forbidden", "metrics-down", "too-many", "unauthorized", "expired"):
        assert lab.fault(name, True).startswith(f"{name} on: ")
        assert lab.fault(name, False).startswith(f"{name} off: ")
    assert "k3s-worker-2 has lost power" in lab.fault("node-down", True, node="k3s-worker-2")
    assert "boots" in lab.fault("node-down", False, node="k3s-worker-2")
    with pytest.raises(ColdError, match="unknown fault nonsense"):
        lab.fault("nonsense", True)
    with pytest.raises(ColdError, match="no machine k3s-worker-9"):
        lab.fault("node-down", True, node="k3s-worker-9")


def ssh(lab: demo.DemoLab, node: str, *words: str) -> subprocess.CompletedProcess[str]:
    """The real ssh, with the file that the lab writes for it."""
    command = ["ssh", "-F", str(lab.dir / "ssh" / "config"), "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes", node, *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=20, check=False, stdin=subprocess.DEVNULL)


@pytest.mark.skipif(shutil.which("ssh") is None, reason="there is no ssh here")
def test_faults_of_hosts(lab: demo.DemoLab) -> None:
    """SSH that refuses, another host key, sudo with a password, a machine without power: each is seen by ssh on that host alone, and ends."""
    mine, other = "k3s-worker-1", "k3s-worker-2"
    assert ssh(lab, mine, "hostname").stdout == f"{mine}\n"
    for name, said in (("ssh-down", "refused"), ("ssh-hostkey", "Host key verification failed"), ("node-down", "refused")):
        lab.fault(name, True, node=mine)
        done = ssh(lab, mine, "hostname")
        assert (done.returncode, said in done.stderr) == (255, True), name
        assert ssh(lab, other, "hostname").returncode == 0
        lab.fault(name, False, node=mine)
        until(lambda: ssh(lab, mine, "hostname").returncode == 0)
    assert ssh(lab, mine, "sudo", "-n", "true").returncode == 0
    assert str(lab.dir / "ssh" / "sudo_password") in lab.fault("sudo-password", True, node=mine)
    assert ssh(lab, mine, "sudo", "-n", "true").returncode == 1
    assert ssh(lab, other, "sudo", "-n", "true").returncode == 0
    lab.fault("sudo-password", False, node=mine)
    assert ssh(lab, mine, "sudo", "-n", "true").returncode == 0
    assert "next machine" in lab.fault("node-not-back", True)
    assert "come back" in lab.fault("node-not-back", False)
    with pytest.raises(ColdError, match="no machine nowhere"):
        lab.fault("budget-blocks", True, node="nowhere")
    with pytest.raises(ColdError, match="is no number"):
        lab.fault("budget-blocks", True, seconds="soon")


@pytest.mark.skipif(shutil.which("ssh") is None, reason="there is no ssh here")
def test_the_master_takes_the_api_along(lab: demo.DemoLab) -> None:
    """Without power on the only server there is no API server; a fault api-down beside it is another reason, and both must have ended."""

    def answers() -> bool:
        return (
            subprocess.run(
                ["kubectl", f"--kubeconfig={lab.kubeconfig}", "get", "--raw", "/readyz"], capture_output=True, check=False
            ).returncode
            == 0
        )

    assert answers()
    lab.fault("node-down", True, node="k3s-master")
    until(lambda: not answers())
    lab.fault("api-down", True)
    lab.fault("node-down", False, node="k3s-master")
    until(lambda: ssh(lab, "k3s-master", "systemctl", "is-active", "k3s").stdout == "active\n")
    assert not answers()
    lab.fault("api-down", False)
    until(answers)
    lab.fault("api-down", True, seconds=5)
    until(lambda: not answers())
    until(answers)


def test_a_scenario_of_pods() -> None:
    """From the start a pod on k3s-worker-3 is hard to move, as the scenario says."""
    with demo.start(DemoOptions(scenario="budget-forever", still=True)) as running:
        kubectl = ["kubectl", f"--kubeconfig={running.kubeconfig}", "-n", "production", "-o", "json"]
        found = subprocess.run([*kubectl, "get", "pods", "-l", "app=ledger-writer"], capture_output=True, text=True, check=True)
        assert [pod["spec"]["nodeName"] for pod in json.loads(found.stdout)["items"]] == ["k3s-worker-3"]
        budget = json.loads(subprocess.run([*kubectl, "get", "pdb", "ledger-writer"], capture_output=True, text=True, check=True).stdout)
        assert budget["spec"]["minAvailable"] == 1


def test_every_scenario_can_begin() -> None:
    """The fault of each scenario is one that there is."""
    from coldtui.lab.control import CATALOGUE
    from coldtui.lab.supervisor import SCENARIOS

    assert {s.fault for s in SCENARIOS.values() if s.fault} <= set(CATALOGUE)


def test_a_paused_server_is_stopped_and_goes_on(lab: demo.DemoLab) -> None:
    """api-paused stops the API server's process with its sockets open, and ends."""
    server = next(p for p in psutil.Process(lab.pid).children() if "coldtui.lab.apiserver" in p.cmdline())
    assert "nobody answers" in lab.fault("api-paused", True)
    until(lambda: server.status() == psutil.STATUS_STOPPED)
    lab.fault("api-paused", False)
    until(lambda: server.status() != psutil.STATUS_STOPPED)


def test_a_lab_is_found_and_ends_without_a_trace(tmp_path: Path) -> None:
    """The registry names a running lab, `fault` reaches it without being told where it is; after `stop` no process, no folder, no entry is left."""
    with demo.start(DemoOptions(still=True)) as running:
        processes = family(running.pid)
        assert len(processes) >= 3
        assert demo.find().dir == str(running.dir)
        assert demo.find(running.dir).pid == running.pid
        assert demo.fault("slow", True).startswith("slow on")
        with pytest.raises(ColdError, match="a lab already runs in"):
            demo.start(DemoOptions(dir=running.dir))
        assert running.dir.exists()
    assert gone(processes)
    assert not running.dir.exists()
    with pytest.raises(NotFound, match="no lab is running"):
        demo.fault("slow", True)


def test_nothing_stays_when_the_console_is_killed(tmp_path: Path) -> None:
    """kill -9 of the process that started the lab ends the lab, its server and its folder."""
    program = (
        "import sys, time\nfrom coldtui.lab import demo\nlab = demo.start(demo.DemoOptions(still=True))\n"
        "print(lab.pid, lab.dir, flush=True)\ntime.sleep(60)\n"
    )
    console = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert console.stdout is not None
    with console.stdout:
        pid, folder = console.stdout.readline().split()
    processes = family(int(pid))
    console.send_signal(signal.SIGKILL)
    console.wait()
    until(lambda: gone(processes))
    until(lambda: not Path(folder).exists())


def test_nothing_stays_when_the_lab_is_killed(tmp_path: Path) -> None:
    """kill -9 of the lab itself: its keeper ends the API server and removes the folder; the entry in the registry counts as stale."""
    running = demo.start(DemoOptions(still=True))
    processes = family(running.pid)
    os.kill(running.pid, signal.SIGKILL)
    until(lambda: gone(processes[1:]))
    until(lambda: not running.dir.exists())
    running.stop()
    with pytest.raises(NotFound):
        demo.find()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(["--scale", "3"], "NODESxPODS"), (["--scenario", "flood"], "unknown scenario"), (["--scale", "4x200"], "at least 6")],
)
def test_wrong_wishes_are_refused(arguments: list[str], said: str) -> None:
    """One line with the remedy, exit 2, nothing on stdout."""
    done = subprocess.run([sys.executable, "-m", "coldtui.lab", *arguments], capture_output=True, text=True, timeout=20, check=False)
    assert (done.returncode, done.stdout) == (Exit.USAGE, "")
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_missing_package_has_a_remedy() -> None:
    """Without aiohttp the refusal names the extra to install, in one line."""
    program = (
        "import sys\nsys.modules['aiohttp'] = None\nfrom coldtui.lab import demo\nraise SystemExit(demo.headless(demo.DemoOptions()))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == Exit.USAGE
    assert "pip install 'coldtui[demo]'" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_big_site(tmp_path: Path) -> None:
    """--scale gives exactly the nodes and pods asked for, and an evicted pod of the crowd goes."""
    with demo.start(DemoOptions(scale="40x700", still=True)) as running:
        kubectl = ["kubectl", f"--kubeconfig={running.kubeconfig}"]
        counts = json.loads(subprocess.run([*kubectl, "get", "--raw", "/lab/stats"], capture_output=True, text=True, check=True).stdout)[
            "objects"
        ]
        assert (counts["nodes"], counts["pods"]) == (40, 700)
        pods = json.loads(
            subprocess.run(
                [*kubectl, "get", "pods", "-A", "-l", "lab.coldtui/crowd", "-o", "json", "--chunk-size=0"],
                capture_output=True,
                text=True,
                check=True,
            ).stdout
        )["items"]
        one = pods[0]["metadata"]
        subprocess.run([*kubectl, "delete", "pod", "-n", one["namespace"], one["name"], "--timeout=10s"], capture_output=True, check=True)
