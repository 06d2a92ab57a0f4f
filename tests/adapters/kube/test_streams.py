from __future__ import annotations

import re
import socket
import struct
import threading
from collections.abc import Callable
from typing import Any

import pytest

from coldtui.adapters.kube import streams as module
from coldtui.adapters.kube.adapter import SystemClock
from coldtui.adapters.kube.streams import KubeStreams
from coldtui.domain.errors import Closed, ColdError, Expired, Forbidden, NotInstalled, Throttled, TooNew, Unauthorized
from coldtui.domain.kinds import LEASES, NAMESPACES, NODE_USAGE, PG_CLUSTERS, PODS
from coldtui.domain.troubles import LineTrouble, trouble_of
from coldtui.ports import Batch
from tests.adapters.kube.scripted import CHUNKED, Answer, Scripted, body, bytes_, chunk, event, refuse, silent, stream
from tests.adapters.kube.shapes import Json, listing, meta, pod


def reading(server: Scripted, namespace: str = "", **more: Any) -> KubeStreams:
    return KubeStreams(server.channel(), SystemClock(), namespace, **more)


def at(name: str, version: str, namespace: str = "default") -> Json:
    return pod(name, metadata={"resourceVersion": version, "namespace": namespace})


def bookmark(version: str) -> bytes:
    return event("BOOKMARK", {"kind": "Pod", "metadata": {"resourceVersion": version, "creationTimestamp": None}})


ACCEPTED = Batch({}, frozenset(), "")
"""What a watch gives first: the server took it."""


def watched(*answers: Answer) -> tuple[list[Batch], ColdError | None]:
    """What a watch of pods gives after it was accepted, and the error that ends it."""
    got: list[Batch] = []
    with Scripted(*answers) as server:
        try:
            for batch in reading(server).watch(PODS, "5", timeout_s=300):
                got.append(batch)
        except ColdError as error:
            return [batch for batch in got if batch != ACCEPTED], error
    assert got[0] == ACCEPTED
    return got[1:], None


# --- lists


def test_pages_follow_the_token_without_a_version() -> None:
    """Each page is given as it comes; the version goes with the first request only, since the API forbids it beside a token."""
    first, last = listing(pod("a"), version="9", token="t+/=", remaining=1), listing(pod("b"), version="9")
    with Scripted(body(first), body(last, keep=True)) as server:
        pages = reading(server).pages(PODS, version="7", limit=1)
        page = next(pages)
        assert ([p.name for p in page.items], page.version, page.more, page.remaining) == (["a"], "9", True, 1)
        assert len(server.requests) == 1
        assert [(p.more, p.items[0].name) for p in pages] == [(False, "b")]
        assert [r.query for r in server.requests] == [
            {"resourceVersion": "7", "resourceVersionMatch": "NotOlderThan", "limit": "1"},
            {"limit": "1", "continue": "t+/="},
        ]
        assert {r.connection for r in server.requests} == {0}, "the connection is used again"


def test_a_list_in_one_call() -> None:
    """Without a limit and a version nothing is asked but the newest."""
    with Scripted(body(listing())) as server:
        (page,) = reading(server).pages(PODS, version=None, limit=None)
        assert (page.items, server.requests[0].query) == ((), {})


def test_compressed_lists() -> None:
    """A gzip answer is read when it was asked for, and it is not asked for near by."""
    answer = body(listing(*(pod(f"p{n}") for n in range(500))), zipped=True)
    with Scripted(answer, body(listing())) as server:
        (page,) = reading(server, gzip=True).pages(PODS, version=None)
        assert len(page.items) == 500
        list(reading(server, gzip=False).pages(PODS, version=None))
        assert [r.headers["accept-encoding"] for r in server.requests] == ["gzip", "identity"]


def test_an_expired_token_is_told() -> None:
    """410 on a later page is Expired, so that the caller drops the halves and lists in one call."""
    with Scripted(body(listing(pod("a"), token="t")), refuse(410, "Expired", "The provided continue parameter is too old")) as server:
        pages = reading(server).pages(PODS, version=None)
        next(pages)
        with pytest.raises(Expired):
            next(pages)


CUSTOM, CORE = PG_CLUSTERS, PODS


@pytest.mark.parametrize(
    ("answer", "expected", "kind", "words"),
    [
        (refuse(403, "Forbidden", 'pods is forbidden: User "x"'), Forbidden, "forbidden", "needs list on pods"),
        (refuse(401, "Unauthorized"), Unauthorized, "unauthorized", "credentials refused"),
        (refuse(410, "Expired"), Expired, "server", "too old"),
        (
            refuse(504, "Timeout", details={"causes": [{"reason": "ResourceVersionTooLarge"}], "retryAfterSeconds": 1}, Retry_After="1"),
            TooNew, "server", "does not know this version",
        ),
        (refuse(429, "TooManyRequests", Retry_After="3"), Throttled, "throttled", "slow down"),
        (refuse(503, "ServiceUnavailable", Retry_After="2"), Throttled, "throttled", "busy"),
        (refuse(500, "InternalError", "etcd\x1b[2J is ill"), LineTrouble, "server", r"failed \(500 InternalError\): etcd.\[2J is ill"),
        (body(b"<html>login</html>", Content_Type="text/html"), LineTrouble, "garbage", r"not as a Kubernetes API \(HTTP 200, text/html\)"),
        (body(b"", 302, Location="http://127.0.0.1:1/"), LineTrouble, "garbage", "HTTP 302"),
        (body(b"not found", 404, Content_Type="text/plain"), LineTrouble, "garbage", "does not serve pods"),
        (bytes_(b"SSH-2.0-OpenSSH_9.2\r\n"), LineTrouble, "garbage", "no HTTP"),
        (bytes_(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"), LineTrouble, "lost", "broke off"),
    ],
)  # fmt: skip
def test_refusals_in_words(answer: Answer, expected: type[ColdError], kind: str, words: str) -> None:
    """Each way an API server can refuse a list is its own error, with the kind of trouble and a line that an operator understands."""
    with Scripted(answer) as server, pytest.raises(expected) as caught:
        list(reading(server).pages(CORE, version=None))
    trouble = trouble_of(caught.value)
    assert trouble.kind == kind
    assert re.search(words, trouble.words)
    assert "\x1b" not in trouble.words


def test_what_is_not_installed() -> None:
    """404 on the kind of a component says that the component is not there."""
    with (
        Scripted(body(b"404 page not found", 404)) as server,
        pytest.raises(NotInstalled, match=r"^clusters\.postgresql\.cnpg\.io is not installed$"),
    ):
        list(reading(server).pages(CUSTOM, version=None))


@pytest.mark.parametrize(("headers", "expected"), [({"Retry_After": "3"}, 3.0), ({}, None), ({"Retry_After": "soon"}, None)])
def test_how_long_to_wait(headers: dict[str, Any], expected: float | None) -> None:
    """Retry-After is handed on; nonsense in it is no number."""
    with Scripted(refuse(429, "TooManyRequests", **headers)) as server, pytest.raises(Throttled) as caught:
        list(reading(server).pages(PODS, version=None))
    assert caught.value.retry_after_s == expected


def test_the_metrics_server_is_down_not_the_cluster() -> None:
    """503 of an aggregated API names its own server."""
    with Scripted(refuse(503, "ServiceUnavailable")) as server, pytest.raises(LineTrouble, match=r"^their server is down"):
        reading(server).poll(NODE_USAGE, deadline_s=2)


def test_one_namespace_when_the_cluster_is_forbidden() -> None:
    """With a namespace given, a forbidden kind is read there only; list and watch agree, and the next list tries the cluster again."""
    forbidden = refuse(403, "Forbidden")
    answers = (forbidden, body(listing(pod("a"))), stream(bookmark("8")), body(listing()), stream())
    with Scripted(*answers) as server:
        streams = reading(server, "web")
        assert [p.name for page in streams.pages(PODS, version=None) for p in page.items] == ["a"]
        list(streams.watch(PODS, "5", timeout_s=1))
        list(streams.pages(PODS, version=None))
        list(streams.watch(PODS, "5", timeout_s=1))
        inside = "/api/v1/namespaces/web/pods"
        assert [r.path for r in server.requests] == ["/api/v1/pods", inside, inside, "/api/v1/pods", "/api/v1/pods"]


@pytest.mark.parametrize("kind", [NAMESPACES, LEASES])
def test_no_namespace_helps_a_kind_that_has_none_of_its_own(kind: Any) -> None:
    """Cluster-scoped kinds and kinds of one fixed namespace stay forbidden."""
    with Scripted(refuse(403, "Forbidden")) as server, pytest.raises(Forbidden):
        list(reading(server, "web").pages(kind, version=None))


def test_a_dripping_page_ends_at_its_deadline() -> None:
    """A server that sends a byte now and then cannot hold a list for ever."""
    tick = threading.Event()

    def drip(line: socket.socket) -> bool:
        line.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        while not tick.wait(0.05):
            line.sendall(b" ")  # fails when the client has gone
        return False

    with Scripted(drip) as server, pytest.raises(LineTrouble) as caught:
        list(reading(server).pages(PODS, version=None, deadline_s=0.4))
    assert caught.value.kind == "timeout"


def test_a_paused_server_is_noticed() -> None:
    """TCP connects and nothing is answered: the deadline of the page ends it, and urllib3 does not try three times."""
    with Scripted(silent) as server, pytest.raises(LineTrouble, match="timed out"):
        list(reading(server).pages(PODS, version=None, deadline_s=0.3))
    assert len(server.requests) == 1


def test_a_kept_connection_that_the_server_closed_is_made_anew() -> None:
    """The usual race of keep-alive costs a second try, not an error."""
    gone = threading.Event()

    def hang_up(line: socket.socket) -> bool:
        gone.set()
        return False

    with Scripted(body(listing()), hang_up, body(listing(pod("a")))) as server:
        streams = reading(server)
        list(streams.pages(PODS, version=None))
        assert [p.name for page in streams.pages(PODS, version=None) for p in page.items] == ["a"]
        assert gone.is_set()


# --- watches


def test_a_watch_asks_for_what_it_needs() -> None:
    """Version, bookmarks and an end are named in the request; it is not compressed."""
    with Scripted(stream()) as server:
        assert list(reading(server).watch(PODS, "5", timeout_s=321)) == [ACCEPTED]
        (asked,) = server.requests
    assert asked.query == {"watch": "1", "resourceVersion": "5", "allowWatchBookmarks": "true", "timeoutSeconds": "321"}
    assert asked.headers["accept-encoding"] == "identity"


def test_what_lies_in_the_buffer_is_folded() -> None:
    """Many events that came together are one batch with the newest state of each key."""
    lines = event("ADDED", at("a", "6")) + event("MODIFIED", at("a", "7")) + event("ADDED", at("b", "8")) + event("DELETED", at("b", "9"))
    lines += event("DELETED", at("c", "10")) + event("ADDED", at("c", "11")) + bookmark("12")
    (batch,), error = watched(stream(lines))
    assert error is None
    assert sorted(batch.changed) == ["default/a", "default/c"]
    assert (batch.gone, batch.version, batch.events, batch.skipped) == (frozenset({"default/b"}), "12", 7, 0)


def test_events_in_chunks_of_their_own_are_folded_too() -> None:
    """The API server sends an event a chunk; what has arrived is still taken together."""
    parts = [event("MODIFIED", at("a", str(n))) for n in range(10, 300)]
    batches, error = watched(stream(*parts))
    assert error is None
    assert sum(b.events for b in batches) == 290
    assert len(batches) < 60
    assert batches[-1].version == "299"


def test_an_event_comes_at_once() -> None:
    """A batch is given while the stream stays open and silent."""
    with Scripted(stream(event("ADDED", at("a", "6")), hold=True)) as server:
        watch = reading(server).watch(PODS, "5", timeout_s=300)
        assert next(watch) == ACCEPTED
        assert next(watch).version == "6"


def test_a_bookmark_carries_the_version() -> None:
    """A batch without changes still tells the newest version."""
    (batch,), _ = watched(stream(bookmark("77")))
    assert (batch.changed, batch.gone, batch.version) == ({}, frozenset(), "77")


def test_an_event_over_several_chunks() -> None:
    """Lines and chunks do not have to meet."""
    line = event("ADDED", at("a", "6")) + event("ADDED", at("b", "7"))
    batches, _ = watched(stream(*(line[n : n + 100] for n in range(0, len(line), 100))))
    assert sorted(key for batch in batches for key in batch.changed) == ["default/a", "default/b"]


def test_garbage_lines_are_counted() -> None:
    """What cannot be read is told, and what stands beside it is not lost."""
    lines = (
        b"garbage\n"
        + event("MODIFIED", {"metadata": {"name": 3}})
        + event("ADDED", at("a", "6"))
        + event("STRANGE", {})
        + b"\n"
        + b'{"type":1}\n'
    )
    batches, error = watched(stream(lines))
    assert error is None
    assert sum(b.skipped for b in batches) == 4
    assert [key for b in batches for key in b.changed] == ["default/a"]


GONE: Json = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old resource version: 1 (105871)"}


def test_410_comes_as_status_or_as_event() -> None:
    """Both are Expired, and what came before the event is given first."""
    assert isinstance(watched(refuse(410, "Expired"))[1], Expired)
    (batch,), error = watched(stream(event("ADDED", at("a", "6")) + event("ERROR", GONE)))
    assert isinstance(error, Expired)
    assert list(batch.changed) == ["default/a"]


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ({"code": 429, "reason": "TooManyRequests", "details": {"retryAfterSeconds": 4}}, Throttled),
        ({"code": 500, "reason": "InternalError"}, LineTrouble),
        ({"reason": "Gone"}, Expired),
        ({}, LineTrouble),
    ],
)
def test_other_error_events(status: Json, expected: type[ColdError]) -> None:
    """An ERROR event is the error that its Status names."""
    error = watched(stream(event("ERROR", {"kind": "Status", **status})))[1]
    assert type(error) is expected
    if isinstance(error, Throttled):
        assert error.retry_after_s == 4


def test_a_stream_that_breaks_off_ends_cleanly() -> None:
    """Half a line and the end of the connection mean: go on from the last version. Nothing is counted as garbage."""
    line = event("ADDED", at("a", "6"))
    (batch,), error = watched(bytes_(CHUNKED + chunk(line) + chunk(line[:40])))
    assert error is None
    assert (batch.version, batch.skipped) == ("6", 0)


def test_a_stream_that_is_reset_is_told() -> None:
    """A reset is trouble of the line, and what came before it is given."""
    read = threading.Event()

    def reset(line: socket.socket) -> bool:
        line.sendall(CHUNKED + chunk(bookmark("6")))
        read.wait(5)
        line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return False

    with Scripted(reset) as server:
        watch = reading(server).watch(PODS, "5", timeout_s=300)
        assert next(watch) == ACCEPTED
        assert next(watch).version == "6"
        read.set()
        with pytest.raises(LineTrouble) as caught:
            next(watch)
    assert caught.value.kind == "lost"


def test_a_silent_stream_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream on which not even a bookmark comes is trouble after its time."""
    monkeypatch.setattr(module, "SILENCE_S", 0.2)
    got, error = watched(stream(bookmark("6"), hold=True))
    assert [b.version for b in got] == ["6"]
    assert isinstance(error, LineTrouble)
    assert error.kind == "timeout"
    assert "nothing heard" in error.title


def test_a_line_without_end_is_no_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hostile server cannot fill the memory with one line."""
    monkeypatch.setattr(module, "_LONGEST_LINE", 100_000)
    error = watched(stream(*[b"x" * 50_000] * 4))[1]
    assert isinstance(error, LineTrouble)
    assert error.kind == "garbage"


# --- shutting


def blocked(work: Callable[[], object]) -> tuple[threading.Thread, list[BaseException]]:
    """`work` in a thread, and the error that ends it."""
    errors: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except ColdError as error:
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread, errors


@pytest.mark.parametrize("opened", [True, False], ids=["in a stream", "before the first byte"])
def test_shut_wakes_a_blocked_watch(opened: bool) -> None:
    """A reader that waits, even for the head of the answer, ends with Closed at once, and the next call works."""
    with Scripted(stream(bookmark("6"), hold=True) if opened else silent, body(listing())) as server:
        streams, first = reading(server), threading.Event()

        def work() -> None:
            for _ in streams.watch(PODS, "5", timeout_s=300):
                first.set()

        thread, errors = blocked(work)
        if opened:
            assert first.wait(5)
        else:
            wait_for(lambda: bool(server.requests))
        streams.shut()
        thread.join(2)
        assert not thread.is_alive()
        assert [type(e) for e in errors] == [Closed]
        assert len(list(streams.pages(PODS, version=None))) == 1


def test_shut_wakes_a_blocked_list() -> None:
    """A list in the middle of its page ends with Closed too."""

    def half(line: socket.socket) -> bool:
        line.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n{")
        line.recv(1)
        return False

    with Scripted(half) as server:
        streams = reading(server)
        thread, errors = blocked(lambda: list(streams.pages(PODS, version=None)))
        wait_for(lambda: bool(server.requests))
        streams.shut()
        thread.join(2)
        assert [type(e) for e in errors] == [Closed]


def test_close_is_for_good() -> None:
    """After `close` every call raises Closed."""
    with Scripted(body(listing())) as server:
        streams = reading(server)
        streams.close()
        with pytest.raises(Closed):
            list(streams.pages(PODS, version=None))
        with pytest.raises(Closed):
            list(streams.watch(PODS, "1", timeout_s=1))
        assert server.requests == []


def wait_for(condition: Callable[[], bool]) -> None:
    """Until it holds; fails after 5 s."""
    tick = threading.Event()
    for _ in range(1000):
        if condition():
            return
        tick.wait(0.005)
    raise AssertionError("the condition never held")


def test_keys_of_usage_are_names() -> None:
    """A polled collection is one page."""
    item = {"metadata": meta("n1"), "timestamp": "2026-03-01T12:00:00Z", "usage": {"cpu": "1", "memory": "1"}}
    with Scripted(body(listing(item))) as server:
        page = reading(server).poll(NODE_USAGE, deadline_s=2)
        assert ([u.key for u in page.items], page.more, server.requests[0].path) == (["n1"], False, "/apis/metrics.k8s.io/v1beta1/nodes")
