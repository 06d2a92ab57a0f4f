"""The control plane as a fixture. It is built during collection, because the limit on a test's time is far below a build's."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.controlplane.build import BuildError, built, programs
from tests.controlplane.plane import ControlPlane, lab_crds

_FIXTURES = {"plane", "own_plane", "site_plane"}
_BUILD = pytest.StashKey[BuildError | None]()


def _required() -> bool:
    """Where a silent skip would hide that nothing was tested."""
    return os.environ.get("CI") == "true" or os.environ.get("COLDTUI_REQUIRE_CONTROLPLANE") == "1"


def pytest_collection_finish(session: pytest.Session) -> None:
    """Build now if a selected test will need it; a reason why that is impossible is kept for the fixture to tell."""
    wanted = any(_FIXTURES & set(getattr(item, "fixturenames", ())) for item in session.items)
    if not wanted or session.config.option.collectonly or built() is not None:
        return
    capture = session.config.pluginmanager.getplugin("capturemanager")
    if capture is not None:
        capture.suspend_global_capture()
    try:
        programs()
    except BuildError as error:
        session.config.stash[_BUILD] = error
    finally:
        if capture is not None:
            capture.resume_global_capture()


def _need_programs(config: pytest.Config) -> None:
    """Skip, or fail where it is required, when the programs could not be built."""
    if error := config.stash.get(_BUILD, None):
        if _required():
            pytest.fail(f"no control plane: {error}", pytrace=False)
        pytest.skip(f"no control plane: {error}")


@pytest.fixture(scope="session")
def plane(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """One control plane for the whole run, with the lab's CRDs and an audit log. Leave it running, unpaused and tidy."""
    _need_programs(pytestconfig)
    with ControlPlane.start(tmp_path_factory.mktemp("plane"), crds=lab_crds(), audit=True) as running:
        yield running


@pytest.fixture
def own_plane(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A control plane for one test alone, without CRDs, beside `plane`: to be maltreated."""
    _need_programs(pytestconfig)
    with ControlPlane.start(tmp_path_factory.mktemp("own-plane")) as running:
        yield running
