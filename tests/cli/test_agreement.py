"""Row by row as kubectl prints them, over the lab's API server."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from coldtui.lab.demo import DemoLab, DemoOptions, start
from tests.cli.means import Cli

KUBECTL = shutil.which("kubectl")
pytestmark = pytest.mark.skipif(KUBECTL is None, reason="kubectl is not installed")


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DemoLab]:
    """A simulated site whose values do not move."""
    with start(DemoOptions(dir=tmp_path_factory.mktemp("lab"), still=True)) as running:
        yield running


def kubectl(lab: DemoLab, home: Path, *argv: str) -> list[list[str]]:
    environ = {"PATH": os.environ["PATH"], "HOME": str(home), "KUBECONFIG": str(lab.kubeconfig)}
    done = subprocess.run([str(KUBECTL), *argv], capture_output=True, text=True, timeout=30, env=environ, check=True)
    return [re.split(r" {2,}", line.rstrip()) for line in done.stdout.splitlines()]


@pytest.mark.parametrize(
    ("noun", "argv", "columns"),
    [("nodes", ("get", "nodes"), 5), ("pods", ("get", "pods", "-A"), 6), ("deployments", ("get", "deployments", "-A"), 6)],
)
def test_rows_are_kubectls(cli: Cli, lab: DemoLab, noun: str, argv: tuple[str, ...], columns: int) -> None:
    """The first columns of every row equal kubectl's, read just before or just after (an age may step between)."""
    cli.environ = {"HOME": str(cli.folder)}
    lab_config = str(lab.config)
    for _ in range(3):
        before = kubectl(lab, cli.folder, *argv)
        found = cli("--config", lab_config, noun)
        assert found.code == 0, found.err
        ours = [re.split(r" {2,}", line)[:columns] for line in found.out.splitlines()]
        if ours in (before, kubectl(lab, cli.folder, *argv)):
            return
    assert ours == before


def test_every_noun_finds_the_labs_objects(cli: Cli, lab: DemoLab) -> None:
    """Each listing of the simulated site has rows, and the status knows its database and storage."""
    cli.environ = {"HOME": str(cli.folder)}
    for noun in ("nodes", "pods", "deployments", "daemonsets", "statefulsets", "postgres", "backups", "storage", "vips", "events"):
        found = cli("--config", str(lab.config), noun, "--json")
        assert found.code == 0, found.err
        assert found.json[noun], noun
    status = cli("--config", str(lab.config), "status", "--json").json
    assert status["cluster"]["total_nodes"] == 5
    assert status["database"]["primary"] == "postgres-1"
    assert status["storage"]["total_capacity"] == "500Gi"
    assert cli("--config", str(lab.config), "doctor").code == 0
