"""Fixtures: a server process a module, and the write path alone for quick unit tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from coldtui.lab.apiserver import bootstrap
from coldtui.lab.apiserver.clock import Clock
from coldtui.lab.apiserver.crds import CustomKinds
from coldtui.lab.apiserver.objects import Objects
from coldtui.lab.apiserver.process import ApiServerProcess
from coldtui.lab.apiserver.resources import Registry
from coldtui.lab.apiserver.store import Store
from tests.lab.apiserver.site import Client


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServerProcess]:
    """A server that the tests of a module share; each uses names of its own."""
    with ApiServerProcess(tmp_path_factory.mktemp("api"), arguments=("--bookmark-seconds", "0.3")) as process:
        yield process


@pytest.fixture(scope="module")
def client(server: ApiServerProcess) -> Client:
    return Client(server.kubeconfig)


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[ApiServerProcess]:
    """A server for one test that breaks it."""
    with ApiServerProcess(tmp_path / "api", arguments=("--crds", "none", "--history", "50")) as process:
        yield process


@pytest.fixture
def objects() -> Objects:
    """The write path on an empty store, without HTTP and without packaged CRDs."""
    store, registry, clock = Store(history=100), Registry.built_in(), Clock()
    made = Objects(store, registry, CustomKinds(store, registry), clock)
    bootstrap.seed(made, frozenset())
    return made
