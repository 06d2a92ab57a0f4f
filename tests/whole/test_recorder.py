"""The recorder itself: that it sees what is sent, hides nothing of the answers, and can lose one."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from coldtui.adapters.kube.adapter import KubeAdapter, connect
from coldtui.domain.errors import Closed, Unreachable
from coldtui.domain.kinds import NAMESPACES, PODS, Kind
from coldtui.lab.apiserver.process import ApiServerProcess
from tests.lab.apiserver.site import PODS as POD_PATH
from tests.lab.apiserver.site import Client, pod
from tests.whole.recorder import Recorded, Recorder

T = TypeVar("T")
MAPS = Kind("maps", "", "v1", "configmaps", True, "config maps")


def run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(asyncio.wait_for(work, 20))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServerProcess]:
    with ApiServerProcess(tmp_path_factory.mktemp("api"), arguments=("--crds", "none")) as process:
        yield process


@pytest.fixture
def recorder(server: ApiServerProcess, tmp_path: Path) -> Iterator[Recorder]:
    with Recorder(server.kubeconfig, tmp_path / "recorder") as found:
        yield found


@pytest.fixture
def kube(recorder: Recorder) -> Iterator[KubeAdapter]:
    found = connect(kubeconfig=recorder.kubeconfig, writable=True)
    yield found
    run(found.aclose())


def test_every_request_is_seen_with_its_body(kube: KubeAdapter, recorder: Recorder) -> None:
    """Reads, questions about oneself and dry runs are seen and are harmless; a creation is seen with its body and is not."""

    async def go() -> None:
        await kube.alive()
        await kube.fetch(NAMESPACES, "default")
        await kube.may("list", "", "nodes")
        body = {"metadata": {"name": "seen"}, "data": {"a": "b" * 100_000}}
        await kube.create(MAPS, body, "default", dry_run=True)
        assert recorder.mutating() == []
        await kube.create(MAPS, body, "default")

    run(go())
    assert [(r.method, r.path) for r in recorder.requests[:2]] == [("GET", "/readyz"), ("GET", "/api/v1/namespaces/default")]
    (made,) = recorder.mutating()
    assert (made.method, made.path, made.query) == ("POST", "/api/v1/namespaces/default/configmaps", (("fieldManager", "coldtui"),))
    assert made.json["data"]["a"] == "b" * 100_000
    assert run(kube.fetch(MAPS, "seen", "default"))["data"]["a"] == "b" * 100_000


def test_a_watch_goes_through_as_it_comes(kube: KubeAdapter, recorder: Recorder, server: ApiServerProcess) -> None:
    """An event arrives while the watch is open, and closing the client's side ends it on both."""
    version = list(kube.streams.pages(PODS, version=None))[-1].version
    seen, error = threading.Event(), []

    def watch() -> None:
        try:
            for batch in kube.streams.watch(PODS, version, timeout_s=60):
                if "default/watched" in batch.changed:
                    seen.set()
        except Closed as closed:
            error.append(closed)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    Client(server.kubeconfig).post(POD_PATH, pod("watched"))
    assert seen.wait(10)
    kube.streams.shut()
    thread.join(10)
    assert not thread.is_alive()
    assert error
    assert recorder.mutating() == []


def test_an_answer_can_be_lost(kube: KubeAdapter, recorder: Recorder) -> None:
    """The server does it, the client never hears of it, and asks no second time."""
    recorder.lose_answers(lambda request: request.method == "POST")
    with pytest.raises(Unreachable):
        run(kube.create(MAPS, {"metadata": {"name": "lost"}}, "default"))
    recorder.lose_answers(None)
    assert len(recorder.matching("POST", "/configmaps")) == 1
    assert run(kube.fetch(MAPS, "lost", "default"))["metadata"]["name"] == "lost"


@pytest.mark.parametrize(
    ("request_", "mutates"),
    [
        (Recorded("GET", "/api/v1/pods", (), {}), False),
        (Recorded("GET", "/api/v1/namespaces/a/pods/b/exec", (), {"upgrade": "websocket"}), True),
        (Recorded("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", (), {}), False),
        (Recorded("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", (), {}), True),
        (Recorded("PATCH", "/api/v1/nodes/n", (("dryRun", "All"),), {}), False),
        (Recorded("PATCH", "/api/v1/nodes/n", (("dryRun", ""),), {}), True),
        (Recorded("DELETE", "/api/v1/nodes/n", (("dryRun", "All"),), {}, b"{}"), True),
        (Recorded("DELETE", "/api/v1/nodes/n", (("dryRun", "All"),), {}, b'{"dryRun": ["All"]}'), False),
    ],
)
def test_what_counts_as_a_change(request_: Recorded, mutates: bool) -> None:
    """Its judgement follows what a real server does: a deletion with a body is dry only if the body says so."""
    assert request_.mutates is mutates


def test_a_server_that_is_gone(tmp_path: Path) -> None:
    """Behind a dead server the client is told by a closed connection, and the recorder lives on."""
    process = ApiServerProcess(tmp_path / "api", arguments=("--crds", "none"))
    with Recorder(process.kubeconfig, tmp_path / "recorder") as recorder:
        process.kill()
        kube = connect(kubeconfig=recorder.kubeconfig)
        for _ in range(2):
            with pytest.raises(Unreachable):
                run(kube.fetch(NAMESPACES, "default"))
        run(kube.aclose())
    assert json.loads(recorder.kubeconfig.read_text())["clusters"][0]["cluster"]["server"] == recorder.server
