"""The grounds of the whole-program tests: one embedded server for a module, one control plane for the whole run."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from coldtui.domain.errors import ColdError
from coldtui.lab import site
from coldtui.lab.client import KubeClient
from coldtui.lab.postgres.programs import wheel
from tests.controlplane.build import BuildError, programs
from tests.controlplane.plane import ControlPlane, lab_crds
from tests.whole.acting import Lab, Place, Seat
from tests.whole.ground import Embedded, Ground, Real
from tests.whole.servers import Servers, at_desk

BOTH = ["embedded", pytest.param("real", marks=pytest.mark.controlplane)]


async def _seed(plane: ControlPlane) -> None:
    async with KubeClient.from_kubeconfig(plane.kubeconfigs["admin"]) as client:
        await site.seed_api(client, site.build())


@pytest.fixture(scope="session")
def plane_programs() -> None:
    """The programs of a control plane are built; without them a test is skipped, or fails where it is required."""
    try:
        programs()
    except BuildError as error:
        if os.environ.get("COLDTUI_REQUIRE_CONTROLPLANE") == "1" or os.environ.get("CI") == "true":
            pytest.fail(f"no control plane: {error}", pytrace=False)
        pytest.skip(f"no control plane: {error}")


@pytest.fixture(scope="session")
def site_plane(plane_programs: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Real]:
    """A control plane that holds the site; leave it running, and unpaused."""
    with ControlPlane.start(tmp_path_factory.mktemp("site-plane"), crds=lab_crds()) as plane:
        asyncio.run(_seed(plane))
        yield Real(plane)


@pytest.fixture(scope="module", params=BOTH)
def ground(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    """A server with the site on it, each of the two in turn."""
    if request.param == "real":
        found: Real = request.getfixturevalue("site_plane")
        yield found
        return
    made = Embedded(tmp_path_factory.mktemp("ground"))
    yield made
    made.stop()


@pytest.fixture(scope="session")
def lab_place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """One lab for all that is tried on it; its order is made anew by `Yard.tidy`."""
    lab = Lab(tmp_path_factory.mktemp("lab"))
    try:
        made = Place(lab, tmp_path_factory.mktemp("site"))
        yield made
        made.close()
    finally:
        lab.stop()


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """A lab with real servers for all that is tried on it; whoever wants it whole asks for a seat."""
    try:
        wheel()
    except ColdError as error:
        pytest.skip(str(error))
    made = Servers(tmp_path_factory.mktemp("servers"))
    yield made
    made.stop()


@pytest.fixture
def seat(servers: Servers, tmp_path: Path) -> Iterator[Seat]:
    """A person at a desk, before a database that is whole."""
    with at_desk(servers, tmp_path) as made:
        yield made


@pytest.fixture(scope="module", params=BOTH)
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A site that lives and its yard, on each of the two grounds in turn."""
    if request.param == "embedded":
        yield request.getfixturevalue("lab_place")
        return
    made = Place(request.getfixturevalue("site_plane"), tmp_path_factory.mktemp("site"))
    yield made
    made.close()


LONG = frozenset({"test_kills", "test_trouble", "test_two_consoles", "test_rights"})
"""Series on the slow ground that take minutes: `make test-long`. What they prove is proven in `make test` on the lab as well, at fewer points."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.stem in LONG and item.path.parent.name == "whole" and item.get_closest_marker("controlplane"):
            item.add_marker(pytest.mark.long)
