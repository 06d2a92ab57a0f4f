"""`Live` over the true adapter: what a server holds arrives in the World, keeps up with it, and survives what servers do."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import shutil
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from pathlib import Path

import psutil
import pytest

from coldtui.adapters.kube.adapter import connect
from coldtui.domain.kinds import KINDS, WATCHED, Kind
from coldtui.domain.readings import Freshness
from coldtui.domain.sources import KUBE
from coldtui.domain.world import World
from coldtui.live import Live
from tests.controlplane.plane import ControlPlane
from tests.whole.ground import Embedded, Ground, Real

CHANGE_S = 10.0
"""A change on the server is in the World within 2 s: that is the promise, and what was measured is recorded."""


@contextlib.asynccontextmanager
async def living(kubeconfig: Path, kinds: Iterable[str] | None = None) -> AsyncIterator[Live]:
    live = Live(lambda: connect(kubeconfig=kubeconfig))
    await live.start(kinds)
    try:
        yield live
    finally:
        await live.close()


def held(ground: Ground, kind: Kind) -> set[str] | None:
    """Keys of all objects of a kind, read by a client that shares no code with the program; None when the kind is not served."""
    answer = ground.admin.get(kind.path())
    if answer.code == 404:
        return None
    assert answer.code == 200, answer.data
    metas = [item["metadata"] for item in answer.json["items"]]
    inside = not kind.namespace  # a kind that is read in one namespace only goes by its names
    return {f"{m['namespace']}/{m['name']}" if m.get("namespace") and inside else m["name"] for m in metas}


async def becomes(live: Live, condition: Callable[[World], bool], limit_s: float, what: str) -> float:
    """Seconds until the World is so."""
    began = time.monotonic()
    try:
        await live.until(condition, limit_s)
    except TimeoutError:
        states = {name: s for name, s in live.world.sources.items() if s.trouble is not None}
        raise AssertionError(f"not within {limit_s} s: {what}; troubles: {states}") from None
    return time.monotonic() - began


def all_live(world: World, but: frozenset[str] = frozenset()) -> bool:
    """Every watched kind is live and whole, or not installed; so is the line."""
    fine = (Freshness.LIVE, Freshness.NOT_INSTALLED)
    states = [world.sources[KUBE], *(world.sources[kind.name] for kind in WATCHED if kind.name not in but)]
    return all(s.freshness in fine and not s.partial for s in states)


def test_everything_that_a_server_holds_arrives(ground: Ground, record_property: Callable[[str, object], None]) -> None:
    """Of all 32 watched kinds, the World has exactly the objects that the server lists, and says whole."""

    async def run() -> None:
        async with living(ground.kubeconfig) as live:
            record_property("seconds", round(await becomes(live, all_live, 15, "all is live"), 2))
            for kind in WATCHED:
                began = time.monotonic()
                # The control plane goes on making things: the two must agree at one moment, not at any.
                while True:
                    there = await asyncio.to_thread(held, ground, kind)
                    here = set(live.world.shelf(kind.name).items)
                    if here == (there or set()):
                        break
                    assert time.monotonic() - began < 10, (kind.name, here ^ (there or set()))
                state = live.world.sources[kind.name]
                assert state.freshness is (Freshness.NOT_INSTALLED if there is None else Freshness.LIVE), kind.name
            assert len(live.world.nodes) == 5
            assert len(live.world.pg_clusters) == 1
            assert len(live.world.lh_volumes) >= 12  # others at work on this ground may have made one more
            assert live.world.site.version.startswith("v1.3")

    asyncio.run(run())


def test_changes_and_deletions_arrive_within_two_seconds(ground: Ground, record_property: Callable[[str, object], None]) -> None:
    """A cordon, a new namespace, a new pod and their ends are in the World within 2 s of the server's answer."""
    spec = {"containers": [{"name": "app", "image": "r/app:1"}], "automountServiceAccountToken": False}
    pods = "/api/v1/namespaces/production/pods"

    async def run() -> None:
        async with living(ground.kubeconfig, ("nodes", "namespaces", "pods")) as live:
            await becomes(live, lambda w: w.whole("nodes", "namespaces", "pods"), 15, "live")
            spent = []

            async def step(act: Callable[[], object], condition: Callable[[World], bool], what: str) -> None:
                await asyncio.to_thread(act)
                spent.append(await becomes(live, condition, CHANGE_S, what))

            admin = ground.admin
            await step(lambda: ground.cordon(True), lambda w: w.nodes.items["k3s-worker-4"].unschedulable, "the cordon")
            await step(lambda: ground.cordon(False), lambda w: not w.nodes.items["k3s-worker-4"].unschedulable, "the uncordon")
            await step(
                lambda: admin.post("/api/v1/namespaces", {"metadata": {"name": "marker"}}), lambda w: "marker" in w.namespaces.items, "made"
            )
            pod = {"metadata": {"name": "marker"}, "spec": spec}
            await step(lambda: admin.post(pods, pod), lambda w: "production/marker" in w.pods.items, "the pod")
            await step(lambda: ground.delete(f"{pods}/marker"), lambda w: "production/marker" not in w.pods.items, "the pod's end")
            await asyncio.to_thread(ground.delete, "/api/v1/namespaces/marker")
            await becomes(live, lambda w: "marker" not in w.namespaces.items, 60, "the namespace's end")
            record_property("slowest_change_s", round(max(spent), 3))

    asyncio.run(run())


def test_what_kubectl_does_arrives(ground: Ground) -> None:
    """kubectl's own cordon and label are in the World within 2 s of its end."""
    if ground.program is None:
        pytest.skip("kubectl is not on this machine")

    async def run() -> None:
        async with living(ground.kubeconfig, ("nodes",)) as live:
            await becomes(live, lambda w: w.whole("nodes"), 15, "live")
            await asyncio.to_thread(ground.kubectl, "cordon", "k3s-worker-3")
            await becomes(live, lambda w: w.nodes.items["k3s-worker-3"].unschedulable, CHANGE_S, "the cordon")
            await asyncio.to_thread(ground.kubectl, "uncordon", "k3s-worker-3")
            await becomes(live, lambda w: not w.nodes.items["k3s-worker-3"].unschedulable, CHANGE_S, "the uncordon")
            await asyncio.to_thread(ground.kubectl, "label", "node", "k3s-worker-3", "marker=yes", "--overwrite")
            await becomes(live, lambda w: w.nodes.items["k3s-worker-3"].labels.get("marker") == "yes", CHANGE_S, "the label")

    asyncio.run(run())


def test_a_server_that_forgot_every_version(ground: Ground, record_property: Callable[[str, object], None]) -> None:
    """After 410 for every watch all kinds are live again by themselves, hold what the server holds, and follow changes."""

    async def run() -> None:
        async with living(ground.kubeconfig) as live:
            await becomes(live, all_live, 15, "live")
            await asyncio.to_thread(ground.forget)
            marked = f"marker-{time.monotonic_ns()}"
            await asyncio.to_thread(ground.admin.post, "/api/v1/namespaces", {"metadata": {"name": marked}})
            spent = await becomes(live, lambda w: marked in w.namespaces.items and all_live(w), 15, "all is live again")
            record_property("live_again_s", round(spent, 2))
            for name in ("nodes", "lh_volumes", "pg_clusters", "deployments"):
                assert set(live.world.shelf(name).items) == await asyncio.to_thread(held, ground, KINDS[name])
            await asyncio.to_thread(ground.delete, f"/api/v1/namespaces/{marked}")

    asyncio.run(run())


def test_a_token_serves_as_well(ground: Ground) -> None:
    """With a token instead of a certificate the same is read."""

    async def run() -> None:
        async with living(ground.token) as live:
            await becomes(live, all_live, 15, "all is live")
            assert set(live.world.nodes.items) == await asyncio.to_thread(held, ground, KINDS["nodes"])

    asyncio.run(run())


def test_a_viewer_lacks_leases_and_nothing_else(ground: Ground) -> None:
    """Of a user who may not read leases just these are forbidden, with verb and resource in words; all the rest is live."""

    async def run() -> None:
        async with living(ground.viewer) as live:
            await becomes(
                live,
                lambda w: w.sources["leases"].freshness is Freshness.FORBIDDEN and all_live(w, frozenset({"leases"})),
                15,
                "leases are forbidden, the rest is live",
            )
            trouble = live.world.sources["leases"].trouble
            assert trouble is not None
            assert "list" in trouble.words
            assert "leases (coordination.k8s.io)" in trouble.words
            assert len(live.world.nodes) == 5

    asyncio.run(run())


@pytest.mark.timeout(180)
def test_memory_is_flat_over_lists_and_losses(ground: Ground, record_property: Callable[[str, object], None]) -> None:
    """Losing the API and reading everything again does not grow the process: less than 8 MB over four losses, the first two not counted."""
    me = psutil.Process()
    rounds = 4

    async def lose(live: Live) -> None:
        if isinstance(ground, Embedded):
            await asyncio.to_thread(ground.server.control, "down")
        else:
            await asyncio.to_thread(ground.kill)
        await becomes(live, lambda w: w.sources[KUBE].trouble is not None, 5, "the loss is seen")
        if isinstance(ground, Embedded):
            await asyncio.to_thread(ground.server.control, "down", False)
        else:
            await asyncio.to_thread(ground.start)
        await becomes(live, all_live, 20, "all is live again")

    async def run() -> None:
        async with living(ground.kubeconfig) as live:
            await becomes(live, all_live, 15, "live")
            for _ in range(2):
                await lose(live)
            gc.collect()
            before = me.memory_info().rss
            threads = me.num_threads()
            for _ in range(rounds):
                await lose(live)
            gc.collect()
            grown = (me.memory_info().rss - before) / 2**20
            record_property("grown_mb", round(grown, 2))
            assert grown < 8
            assert me.num_threads() <= threads + 2

    asyncio.run(run())


# ---------------------------------------------------------------- a bare server, and one that was restored


@pytest.fixture(scope="module", params=["embedded", pytest.param("real", marks=pytest.mark.controlplane)])
def bare(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    """A server without any CRD."""
    folder = tmp_path_factory.mktemp("bare")
    if request.param == "embedded":
        made: Ground = Embedded(folder, crds="none")
        yield made
        made.stop()
        return
    request.getfixturevalue("site_plane")  # skips where there is no control plane at all
    with ControlPlane.start(folder / "plane") as plane:
        yield Real(plane)


def test_what_is_not_installed_is_called_so(bare: Ground) -> None:
    """Without CRDs every custom kind is `not installed`, none is empty-but-live, and the ordinary kinds are live."""

    async def run() -> None:
        async with living(bare.kubeconfig) as live:
            await becomes(live, all_live, 15, "all is live or not installed")
            for kind in WATCHED:
                state = live.world.sources[kind.name]
                assert state.freshness is (Freshness.NOT_INSTALLED if kind.custom else Freshness.LIVE), (kind.name, state)

    asyncio.run(run())


class Restorable:
    """Takes the datastore back to how it was: by a fault of the embedded server, by the files of the real one's etcd."""

    def __init__(self, ground: Ground) -> None:
        self._ground, self._version = ground, 0

    def save(self) -> None:
        if isinstance(self._ground, Embedded):
            self._version = int(self._ground.server.stats()["resourceVersion"])
        if isinstance(self._ground, Real):
            self._with_etcd_down(lambda at: shutil.copytree(at, at.with_name("etcd-saved")))

    def restore(self) -> None:
        if isinstance(self._ground, Embedded):
            self._ground.server.control("restored", back=int(self._ground.server.stats()["resourceVersion"]) - self._version)
            return
        self._with_etcd_down(self._put_back)

    @staticmethod
    def _put_back(at: Path) -> None:
        shutil.rmtree(at)
        at.with_name("etcd-saved").rename(at)

    def _with_etcd_down(self, act: Callable[[Path], object]) -> None:
        assert isinstance(self._ground, Real)
        plane = self._ground.plane
        plane.kill_api()
        plane._end("etcd")
        act(plane.directory / "etcd")
        plane._spawn("etcd")
        plane._until(plane._etcd_healthy, "etcd to be healthy", "etcd")
        plane.start_api()


@pytest.mark.timeout(180)
def test_a_restored_datastore_is_read_anew(bare: Ground, record_property: Callable[[str, object], None]) -> None:
    """When versions go back, what was made since is gone from the World, it is said that the cluster was restored, and changes arrive again."""
    restorable = Restorable(bare)
    restorable.save()
    made = [f"since-{n}" for n in range(40)]

    async def run() -> None:
        async with living(bare.kubeconfig) as live:
            await becomes(live, all_live, 15, "live")
            for name in made:
                await asyncio.to_thread(bare.admin.post, "/api/v1/namespaces", {"metadata": {"name": name}})
            await becomes(live, lambda w: set(made) <= set(w.namespaces.items), 5, "all are there")
            said = asyncio.ensure_future(
                becomes(live, lambda w: any(s.trouble and s.trouble.kind == "restored" for s in w.sources.values()), 60, "it is said")
            )
            await asyncio.to_thread(restorable.restore)
            spent = await becomes(live, lambda w: not set(made) & set(w.namespaces.items), 40, "what was made since is gone")
            record_property("seen_s", round(spent, 2))
            await said
            await asyncio.to_thread(bare.admin.post, "/api/v1/namespaces", {"metadata": {"name": "after"}})
            await becomes(live, lambda w: "after" in w.namespaces.items, 10, "changes arrive again")

    asyncio.run(run())
