"""One contract, two servers: what the adapter promises holds against the lab's API server and against a real control plane."""

from __future__ import annotations

import asyncio
import itertools
import json
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest

from coldtui.adapters.kube.adapter import KubeAdapter, connect
from coldtui.adapters.kube.failures import Question
from coldtui.adapters.kube.transport import Channel
from coldtui.domain.errors import Closed, ColdError, Expired, Forbidden, NotFound, NotInstalled, TooNew
from coldtui.domain.kinds import DEPLOYMENTS, EVENTS, LEASES, NAMESPACES, PODS, Kind
from coldtui.domain.pods import Pod
from coldtui.domain.troubles import LineTrouble
from coldtui.lab.apiserver.process import ApiServerProcess
from coldtui.ports import Batch
from tests.controlplane.plane import ControlPlane

T = TypeVar("T")
ABSENT = Kind("absent", "nobody.example", "v1", "things", True, "things", custom=True)
_numbers = itertools.count(1)
_PODS = "/api/v1/namespaces/default/pods"


@dataclass
class Site:
    """A server and what a test may do to it."""

    kubeconfig: Path
    viewer: Path
    """Of a user who may not read leases."""
    token: Path
    pause: Callable[[], None]
    resume: Callable[[], None]
    compact: Callable[[], object]

    def __post_init__(self) -> None:
        self.kube = connect(kubeconfig=self.kubeconfig)
        self._writer = Channel(connect(kubeconfig=self.kubeconfig)._access, kept=1, writable=True)

    def change(self, method: str, path: str, item: dict[str, Any] | None = None) -> dict[str, Any]:
        """As an admin, on a connection of its own."""
        body = None if item is None else json.dumps(item).encode()
        response = self._writer.open(method, path, Question(method.lower(), path), body=body)
        found: dict[str, Any] = json.loads(self._writer.read(response, 10))
        return found

    def pod(self, name: str) -> dict[str, Any]:
        spec = {
            "containers": [{"name": "app", "image": "r/app:1", "resources": {"requests": {"cpu": "10m"}}}],
            "automountServiceAccountToken": False,
        }
        return self.change(
            "POST", _PODS, {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": "it"}}, "spec": spec}
        )

    def close(self) -> None:
        self._writer.close()
        asyncio.run(self.kube.aclose())


def run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(asyncio.wait_for(work, 30))


def unique(word: str) -> str:
    return f"{word}-{next(_numbers)}-{time.monotonic_ns() % 10**9}"


def names(adapter: KubeAdapter, kind: Kind, prefix: str, **more: Any) -> tuple[list[str], str]:
    """The objects whose names begin so, and the version of the list."""
    pages = list(adapter.streams.pages(kind, **{"version": None, **more}))
    assert sum(page.skipped for page in pages) == 0
    return sorted(item.name for page in pages for item in page.items if item.name.startswith(prefix)), pages[-1].version


class Watching:
    """A watch in a thread; collects its batches."""

    def __init__(self, adapter: KubeAdapter, kind: Kind, version: str) -> None:
        self.batches: list[Batch] = []
        self.error: ColdError | None = None
        self._news = threading.Condition()
        self._thread = threading.Thread(target=self._run, args=(adapter, kind, version), daemon=True)
        self._thread.start()

    def _run(self, adapter: KubeAdapter, kind: Kind, version: str) -> None:
        try:
            for batch in adapter.streams.watch(kind, version, timeout_s=60):
                with self._news:
                    self.batches.append(batch)
                    self._news.notify_all()
        except ColdError as error:
            self.error = error

    def until(self, condition: Callable[[list[Batch]], bool]) -> list[Batch]:
        with self._news:
            assert self._news.wait_for(lambda: condition(self.batches), 20), self.batches
            return list(self.batches)

    def join(self) -> None:
        self._thread.join(10)
        assert not self._thread.is_alive()


class Contract:
    def test_lists_come_in_pages(self, site: Site) -> None:
        """Five pods in pages of two are five pods, decoded, whatever the page size and version asked for."""
        prefix = unique("page")
        for number in range(5):
            site.pod(f"{prefix}-{number}")
        pages = list(site.kube.streams.pages(PODS, version=None, limit=2))
        assert len(pages) >= 3
        assert [page.more for page in pages] == [True] * (len(pages) - 1) + [False]
        found = [p for page in pages for p in page.items if p.name.startswith(prefix)]
        assert len(found) == 5
        assert all(isinstance(p, Pod) and p.cpu_request_m == 10 and p.labels == {"app": "it"} and p.phase == "Pending" for p in found)
        for more in ({"limit": None}, {"version": "0"}, {"version": pages[0].version}):
            assert len(names(site.kube, PODS, prefix, **more)[0]) == 5

    def test_a_watch_tells_what_happens(self, site: Site) -> None:
        """From the version of a list on, a creation, a change and a deletion arrive, each with a later version."""
        name = unique("watch")
        _, version = names(site.kube, PODS, name)
        watching = Watching(site.kube, PODS, version)
        made = site.pod(name)
        key = f"default/{name}"
        watching.until(lambda batches: any(key in b.changed for b in batches))
        site.change("PUT", f"{_PODS}/{name}", {**made, "metadata": {**made["metadata"], "labels": {"app": "new"}, "resourceVersion": ""}})
        watching.until(lambda batches: any(key in b.changed and b.changed[key].labels == {"app": "new"} for b in batches))
        site.change("DELETE", f"{_PODS}/{name}?gracePeriodSeconds=0")
        batches = watching.until(lambda batches: any(key in b.gone for b in batches))
        assert all(b.version and b.skipped == 0 for b in batches if b.events)
        site.kube.streams.shut()
        watching.join()
        assert isinstance(watching.error, Closed)
        assert names(site.kube, PODS, name)[0] == []

    def test_a_watch_resumes_from_its_last_version(self, site: Site) -> None:
        """What happens between two watches is told by the second; the end by `timeoutSeconds` is no error."""
        name = unique("resume")
        _, version = names(site.kube, PODS, name)
        list(site.kube.streams.watch(PODS, version, timeout_s=1))
        site.pod(name)
        found = [b for b in site.kube.streams.watch(PODS, version, timeout_s=1) if f"default/{name}" in b.changed]
        assert found

    def test_versions_that_are_too_old(self, site: Site) -> None:
        """A continue token from before a compaction is Expired, on the page that comes then."""
        for number in range(3):
            meta = {"name": unique(f"e{number}"), "namespace": "default"}
            event = {
                "metadata": meta,
                "involvedObject": {"kind": "Pod", "name": "x", "namespace": "default"},
                "reason": "R",
                "type": "Normal",
            }
            site.change("POST", "/api/v1/namespaces/default/events", event)
        pages = site.kube.streams.pages(EVENTS, version=None, limit=1)
        assert next(pages).more
        site.pod(unique("after"))
        site.compact()
        with pytest.raises(Expired):
            list(pages)

    def test_versions_that_are_not_there_yet(self, site: Site) -> None:
        """A version beyond the newest is TooNew, as after a restore of the datastore."""
        with pytest.raises(TooNew):
            list(site.kube.streams.pages(NAMESPACES, version="900000000", deadline_s=10))

    def test_what_is_missing(self, site: Site) -> None:
        """A kind that is not served, an object that is not there, a right that is not given are three different errors."""
        with pytest.raises(NotInstalled):
            list(site.kube.streams.pages(ABSENT, version=None))
        with pytest.raises(NotFound, match="pods default/nobody does not exist"):
            run(site.kube.fetch(PODS, "nobody", "default"))
        viewer = connect(kubeconfig=site.viewer)
        for read in (
            lambda: list(viewer.streams.pages(LEASES, version=None)),
            lambda: list(viewer.streams.watch(LEASES, "1", timeout_s=1)),
        ):
            with pytest.raises(Forbidden, match=r"on leases \(coordination.k8s.io\) in namespace kube-node-lease") as caught:
                read()
            assert (caught.value.resource, caught.value.verb) == ("leases.coordination.k8s.io", caught.value.title.split()[1])
        assert names(viewer, PODS, "none-of-this-name")[0] == []
        run(viewer.aclose())

    def test_single_questions(self, site: Site) -> None:
        """Heartbeat, facts, rights, one object and its events."""
        name = unique("one")
        made = site.pod(name)
        assert run(site.kube.alive()) == "ok"
        facts = run(site.kube.facts())
        assert facts.version.startswith("v1.")
        assert len(facts.cluster_uid) == 36
        assert run(site.kube.may("delete", "", "nodes"))
        viewer = connect(kubeconfig=site.viewer)
        assert not run(viewer.may("list", "coordination.k8s.io", "leases", namespace="kube-node-lease"))
        run(viewer.aclose())
        found = run(site.kube.fetch(PODS, name, "default"))
        assert found["metadata"]["uid"] == made["metadata"]["uid"]
        assert "managedFields" not in found["metadata"]
        about = {"kind": "Pod", "name": name, "namespace": "default", "uid": made["metadata"]["uid"]}
        event = {"metadata": {"name": unique("ev")}, "involvedObject": about, "reason": "Told", "message": "hello", "type": "Normal"}
        site.change("POST", "/api/v1/namespaces/default/events", event)
        assert "hello" in [e.message for e in run(site.kube.events_of("Pod", name, "default"))]

    def test_a_token_serves_as_well(self, site: Site) -> None:
        """The token user reads what the certificate user reads."""
        adapter = connect(kubeconfig=site.token)
        assert names(adapter, NAMESPACES, "default")[0] == names(site.kube, NAMESPACES, "default")[0] != []
        run(adapter.aclose())

    def test_workloads(self, site: Site) -> None:
        """A Deployment as the server completes it decodes with its defaults."""
        name = unique("deploy")
        template = {"metadata": {"labels": {"app": name}}, "spec": {"containers": [{"name": "app", "image": "r/app:7"}]}}
        item = {"metadata": {"name": name}, "spec": {"replicas": 0, "selector": {"matchLabels": {"app": name}}, "template": template}}
        site.change("POST", "/apis/apps/v1/namespaces/default/deployments", {"apiVersion": "apps/v1", "kind": "Deployment", **item})
        pages = site.kube.streams.pages(DEPLOYMENTS, version=None)
        (found,) = [d for page in pages for d in page.items if d.name == name]
        assert (found.desired, found.version, found.strategy, found.max_surge, found.selector) == (
            0,
            "7",
            "RollingUpdate",
            "25%",
            {"app": name},
        )

    def test_a_paused_server(self, site: Site) -> None:
        """Nothing answers: heartbeat and list end by their deadlines, a watch is woken by `shut`, and all works again afterwards."""
        _, version = names(site.kube, NAMESPACES, "")
        watching = Watching(site.kube, NAMESPACES, version)
        run(site.kube.alive())
        site.pause()
        try:
            begun = time.monotonic()
            with pytest.raises(LineTrouble) as caught:
                run(site.kube.alive(deadline_s=0.5))
            assert caught.value.kind == "timeout"
            with pytest.raises(LineTrouble):
                list(site.kube.streams.pages(PODS, version=None, deadline_s=0.5))
            site.kube.streams.shut()
            watching.join()
            assert isinstance(watching.error, Closed)
            assert time.monotonic() - begun < 5
        finally:
            site.resume()
        assert run(site.kube.alive(deadline_s=10)) == "ok"
        assert names(site.kube, NAMESPACES, "kube-system")[0] == ["kube-system"]


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServerProcess]:
    with ApiServerProcess(tmp_path_factory.mktemp("api")) as process:
        yield process


class TestEmbedded(Contract):
    @pytest.fixture
    def site(self, embedded: ApiServerProcess) -> Iterator[Site]:
        found = Site(
            embedded.kubeconfig,
            embedded.view_kubeconfig,
            embedded.token_kubeconfig,
            embedded.pause,
            embedded.resume,
            lambda: embedded.command({"compact": True}),
        )
        yield found
        found.close()


@pytest.mark.controlplane
class TestControlPlane(Contract):
    @pytest.fixture
    def site(self, plane: ControlPlane) -> Iterator[Site]:
        files = plane.kubeconfigs
        found = Site(files["admin"], files["view"], files["token"], plane.pause_api, plane.resume_api, plane.compact)
        yield found
        found.close()
