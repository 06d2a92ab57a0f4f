"""A command line with a folder of its own."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from coldtui.config import logs
from tests.cli.means import KUBECONFIG, Cli


@pytest.fixture
def cli(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Cli]:
    """Its state, home and kubeconfig are in a temporary folder; the log is closed afterwards."""
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(KUBECONFIG)
    kubeconfig.chmod(0o600)
    environ = {
        "HOME": str(tmp_path),
        "COLDTUI_STATE": str(tmp_path / "state"),
        "COLDTUI_KUBECONFIG": str(kubeconfig),
        "TERM": "xterm-256color",
    }
    root = logging.getLogger()
    level, ours = root.level, logging.getLogger("coldtui").level
    yield Cli(tmp_path, capsys, environ)
    logs.stop()
    for handler in [h for h in root.handlers if getattr(h, "coldtui", False)]:
        root.removeHandler(handler)
    root.setLevel(level)
    logging.getLogger("coldtui").setLevel(ours)
    logging.captureWarnings(False)
