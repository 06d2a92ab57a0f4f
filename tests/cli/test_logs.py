"""`coldtui logs`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from coldtui.cli.logs import span_seconds
from coldtui.domain.errors import UsageError
from coldtui.lab.apiserver.process import ApiServerProcess
from coldtui.lab.apiserver.simulated import PREFIX
from coldtui.lab.fakes import FakeKube
from tests.cli.means import Cli, a_site
from tests.lab.apiserver.site import Client, node, running, wait_for
from tests.lab.apiserver.site import pod as pod_object
from tests.tui.worlds import pod


def with_log() -> FakeKube:
    kube = a_site(pods=[pod("web-1"), pod("twin", namespace="a"), pod("twin", namespace="b")])
    kube.log_lines["cold-prod/web-1"] = [f"line {n}" for n in range(5)]
    return kube


def test_a_log_is_found_without_its_namespace(cli: Cli) -> None:
    """A pod's name alone suffices when it is unique; lines come as they are."""
    found = cli("logs", "web-1", kube=with_log())
    assert (found.code, found.out) == (0, "".join(f"line {n}\n" for n in range(5)))


def test_tail_and_timestamps(cli: Cli) -> None:
    """--tail takes the last lines, --timestamps begins them with their time."""
    found = cli("logs", "cold-prod/web-1", "--tail", "2", "--timestamps", kube=with_log())
    assert [line.split(" ", 1)[1] for line in found.out.splitlines()] == ["line 3", "line 4"]
    assert found.out.startswith("2026-05-04T12:00:00.000000Z ")


@pytest.mark.parametrize(
    ("word", "code", "words"),
    [
        ("web-2", 1, "did you mean web-1?"),
        ("twin", 2, "there are 2 pods twin · write one of a/twin, b/twin"),
        ("cold-prod/none", 1, "no pod none in namespace cold-prod"),
    ],
)
def test_a_pod_that_is_not_there_is_said(cli: Cli, word: str, code: int, words: str) -> None:
    """Mistyped, ambiguous and missing pods each have their sentence."""
    found = cli("logs", word, kube=with_log())
    assert (found.code, found.out) == (code, "")
    assert words in found.err


def test_a_dead_api_is_exit_4(cli: Cli) -> None:
    """No log from an API that is gone, one line."""
    kube = with_log()
    kube.kill()
    found = cli("logs", "web-1", kube=kube)
    assert found.code == 4
    assert found.err.count("\n") == 1


@pytest.mark.parametrize(("text", "seconds"), [("30s", 30), ("5m", 300), ("1h30m", 5400), ("2d", 172_800), ("0s", 1)])
def test_spans(text: str, seconds: int) -> None:
    """Spans read as kubectl's, days too; the API wants at least one second."""
    assert span_seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "5", "m", "5x", "-5m", "5m5h"])
def test_no_span(text: str) -> None:
    """Anything else is a mistake with an example."""
    with pytest.raises(UsageError, match="write 30s"):
        span_seconds(text)


def _written(path: Path, first: int, last: int) -> None:
    """Lines with their times, as a kubelet keeps them."""
    with path.open("a", encoding="utf-8") as file:
        for n in range(first, last + 1):
            file.write(f"2026-11-24T12:00:{n:02}.000000000Z line {n}\n")


@pytest.mark.parametrize("fault", ["down", "cut"])
def test_a_follow_survives_a_broken_line(cli: Cli, fault: str) -> None:
    """The server goes away or cuts the stream: stderr says so and when it is back, and every line comes once; ctrl-c ends it with 0."""
    file, said = cli.folder / "web.log", cli.folder / "said"
    _written(file, 1, 3)
    with ApiServerProcess(cli.folder / "api", arguments=("--crds", "none")) as server:
        body = running(pod_object("web-0", on="w1"))
        body["metadata"]["annotations"] = {f"{PREFIX}log-file": str(file)}
        Client(server.kubeconfig).call("POST", "/lab/bulk", b"\n".join(json.dumps(b).encode() for b in (node("w1"), body)))
        command = [sys.executable, "-m", "coldtui", "--kubeconfig", str(server.kubeconfig), "logs", "default/web-0", "-f"]
        environ = {name: value for name, value in cli.environ.items() if name != "COLDTUI_KUBECONFIG"}
        with said.open("wb") as talk:
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=talk, env={**environ, "PATH": os.environ["PATH"]})
        try:
            assert process.stdout is not None
            lines = [process.stdout.readline().strip() for _ in range(3)]
            server.control(fault)
            _written(file, 4, 5)
            wait_for(lambda: "the log is interrupted" in said.read_text(), "the break is told")
            server.control(fault, False)
            _written(file, 6, 7)
            lines += [process.stdout.readline().strip() for _ in range(4)]
            assert [line.partition(b" ")[2] for line in lines] == [b"line %d" % n for n in range(1, 8)]
            wait_for(lambda: "the log goes on" in said.read_text(), "the return is told")
            process.send_signal(signal.SIGINT)
            assert process.wait(10) == 0
        finally:
            process.kill()
            process.wait()
            assert process.stdout is not None
            process.stdout.close()
