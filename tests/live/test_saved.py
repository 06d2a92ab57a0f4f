"""The World of the last session is painted at once, with its age, and never mistaken for another cluster's or for live data."""

from __future__ import annotations

import asyncio
import logging
import stat
from pathlib import Path

import msgspec
import pytest

from coldtui.domain.readings import Freshness, Known
from coldtui.domain.world import SiteFacts
from coldtui.lab.fakes import FakeKube
from coldtui.live import saved as saved_module
from coldtui.live.saved import SavedWorlds, shape, shelf_types

from .things import a_node, a_pod, eventually, is_live, running, some_stats, trouble


def a_cluster(uid: str = "uid-1") -> FakeKube:
    kube = FakeKube({"nodes": [a_node("a")], "pods": [a_pod("p1")]}, uid=uid)
    kube.stats = {"a": some_stats("a")}
    return kube


async def session(folder: Path, kube: FakeKube) -> None:
    async with running(kube, state_dir=folder) as live:
        await live.until(lambda w: is_live("nodes", "pods", "upgrade_plans")(w) and bool(w.site.cluster_uid and w.node_stats), 5)


def the_file(folder: Path) -> Path:
    (found,) = folder.glob("world-*.msgpack")
    return found


def test_the_last_session_is_painted_while_the_api_is_down(tmp_path: Path) -> None:
    """With the API refusing, the saved objects are there at once, marked stale and saved, with their age and the site's version."""

    async def scene() -> None:
        await session(tmp_path, a_cluster())
        assert stat.S_IMODE(the_file(tmp_path).stat().st_mode) == 0o640
        assert the_file(tmp_path).name == "world-uid-1.msgpack"
        down = a_cluster()
        down.kill()
        async with running(down, state_dir=tmp_path) as live:
            world = live.world
            assert (len(world.nodes), len(world.pods), world.pod_counts.running) == (1, 1, 1)
            assert world.sources["pods"].saved
            assert world.sources["pods"].freshness is Freshness.STALE
            assert world.sources["pods"].as_of is not None
            assert world.site.version == "v1.34.4+k3s1"
            assert isinstance(world.node_stats["a"], Known)
            world = await live.until(trouble("pods", "lost"), 3)
            assert len(world.pods) == 1

    asyncio.run(scene())


def test_live_data_replaces_the_saved_kind_by_kind(tmp_path: Path) -> None:
    """The first whole list of a kind replaces its saved rows at once; kinds that cannot be read stay saved."""

    async def scene() -> None:
        await session(tmp_path, a_cluster())
        kube = FakeKube({"nodes": [a_node("b")], "pods": [a_pod(f"q{n}") for n in range(25)]}, uid="uid-1", page_size=10)
        kube.fail("list", lambda: TimeoutError(), "nodes", times=None)
        async with running(kube, state_dir=tmp_path) as live:
            sizes: set[int] = {len(live.world.pods)}
            live.subscribe(lambda world: sizes.add(len(world.pods)))
            world = await live.until(is_live("pods"), 3)
            assert sizes == {1, 25}
            assert set(world.nodes.items) == {"a"}
            assert world.sources["nodes"].saved

    asyncio.run(scene())


def test_another_cluster_at_the_same_address_is_not_shown(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """When the server turns out to be another cluster, what was saved is dropped, with a word in the log."""

    async def scene() -> None:
        await session(tmp_path, a_cluster())
        kube = a_cluster("uid-2")
        kube.fail("list", lambda: TimeoutError(), times=None)
        async with running(kube, state_dir=tmp_path) as live:
            assert len(live.world.nodes) == 1
            world = await live.until(lambda w: w.site.cluster_uid == "uid-2", 3)
            world = await live.until(lambda w: len(w.nodes) == 0 and not w.node_stats, 3)
            assert world.sources["nodes"].as_of is None
            assert not world.sources["nodes"].saved

    with caplog.at_level(logging.WARNING, "coldtui.live"):
        asyncio.run(scene())
    assert "another cluster" in caplog.text


def test_a_cluster_that_changes_under_us_is_read_anew() -> None:
    """If another cluster answers after an outage, nothing of the old one stays."""

    async def scene() -> None:
        kube = a_cluster()
        async with running(kube, "nodes", "pods") as live:
            await live.until(lambda w: is_live("nodes", "pods", "kube")(w) and w.site.cluster_uid == "uid-1", 3)
            kube.kill()
            await live.until(trouble("kube", "refused"), 3)
            kube.restore({"nodes": [a_node("z")]}, version=5000)
            kube.uid = "uid-2"
            kube.revive()
            await live.until(lambda w: set(w.nodes.items) == {"z"} and is_live("nodes", "pods")(w) and w.site.cluster_uid == "uid-2", 3)
            assert len(live.world.pods) == 0
            assert is_live("kube")(live.world)

    asyncio.run(scene())


@pytest.mark.parametrize("damage", ["truncated", "garbage", "empty", "version", "shape", "index", "other uid"])
def test_odd_files_are_ignored_with_a_word(tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture) -> None:
    """Truncated, foreign or older files show nothing, end nothing, and leave a line in the log."""
    kube = a_cluster()
    asyncio.run(session(tmp_path, kube))
    path = the_file(tmp_path)
    whole = path.read_bytes()
    worlds = SavedWorlds(tmp_path, kube.server, "test")
    assert worlds.load() is not None
    match damage:
        case "truncated":
            path.write_bytes(whole[: len(whole) // 2])
        case "garbage":
            path.write_bytes(b"\xc1\x00" * 500)
        case "empty":
            path.write_bytes(b"")
        case "version" | "shape" | "other uid":
            content = msgspec.msgpack.decode(whole)
            if damage == "version":
                content["program"] = "0.0.1"
            elif damage == "shape":
                content["shape"] = "0" * 16
            else:
                content["site"]["cluster_uid"] = "uid-9"
            path.write_bytes(msgspec.msgpack.encode(content))
        case _:
            (tmp_path / saved_module.INDEX).write_text("[1, 2")
    with caplog.at_level(logging.INFO, "coldtui.live"):
        assert worlds.load() is None
    assert "ignored" in caplog.text


def test_a_folder_that_cannot_be_written_is_no_failure(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Saving to an impossible place is a word in the log; a save that fails midway leaves the old file."""
    blocked = tmp_path / "file"
    blocked.write_text("")

    async def scene() -> None:
        await session(blocked / "state", a_cluster())

    with caplog.at_level(logging.WARNING, "coldtui.live"):
        asyncio.run(scene())
    assert "not saved" in caplog.text
    assert blocked.read_text() == ""


def test_a_partial_reading_does_not_replace_the_saved_world(tmp_path: Path) -> None:
    """A listing that reads a few kinds leaves the saved World of a whole console alone."""

    async def scene() -> None:
        await session(tmp_path, a_cluster())
        before = the_file(tmp_path).read_bytes()
        async with running(a_cluster(), "nodes", state_dir=tmp_path) as live:
            await live.until(is_live("nodes"), 3)
            assert len(live.world.pods) == 0
        assert the_file(tmp_path).read_bytes() == before

    asyncio.run(scene())


def test_saved_each_minute(tmp_path: Path) -> None:
    """The World is also saved while running, so that a killed console loses a minute at most."""

    async def scene() -> None:
        kube = a_cluster()
        async with running(kube, state_dir=tmp_path) as live:
            await live.until(lambda w: is_live("nodes", "pods")(w) and bool(w.site.cluster_uid), 5)
            await eventually(lambda: SavedWorlds(tmp_path, kube.server, "test").load() is not None)

    asyncio.run(scene())


def test_too_many_pods_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """A site with more pods than the limit is saved without them, and says so."""
    monkeypatch.setattr(saved_module, "PODS_AT_MOST", 0)
    with caplog.at_level(logging.INFO, "coldtui.live"):
        asyncio.run(session(tmp_path, a_cluster()))
    found = SavedWorlds(tmp_path, a_cluster().server, "test").load()
    assert found is not None
    assert "pods" not in found.shelves
    assert "pods" not in found.as_of
    assert "leaves out 1 pods" in caplog.text


def test_objects_of_every_kind_can_be_kept() -> None:
    """Whatever fields the domain gives its objects, msgspec can read them back; the fingerprint is stable."""
    for name, type_ in shelf_types().items():
        assert msgspec.msgpack.Decoder(list[type_]).decode(b"\x90") == [], name  # type: ignore[valid-type]
    first = shape()
    shape.cache_clear()
    assert shape() == first


def test_nothing_is_saved_without_a_uid(tmp_path: Path) -> None:
    """Who may not read the cluster's identity keeps nothing: it could not be told from another's."""
    kube = a_cluster("")

    async def scene() -> None:
        async with running(kube, state_dir=tmp_path) as live:
            await live.until(is_live("nodes", "pods"), 3)

    asyncio.run(scene())
    assert list(tmp_path.glob("world-*")) == []
    assert SiteFacts().cluster_uid == ""
