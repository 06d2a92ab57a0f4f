from __future__ import annotations

import asyncio
import socket
import threading
from datetime import UTC, datetime

import pytest

from coldtui.adapters.kube import logs as module
from coldtui.adapters.kube.adapter import KubeAdapter, SystemClock
from coldtui.adapters.kube.credentials import Access, Fixed
from coldtui.adapters.kube.logs import LONGEST, Lines, clean, split_stamp
from coldtui.domain.errors import ColdError, NotFound
from coldtui.domain.troubles import LineTrouble
from coldtui.ports import LogLine, LogRequest
from tests.adapters.kube.scripted import CHUNKED, Answer, Scripted, body, bytes_, chunk, refuse, silent, stream
from tests.adapters.kube.shapes import Json, ended, pod, running

REQUEST = LogRequest("web", "web-0", "app")
FOLLOW = LogRequest("web", "web-0", "app", follow=True)


def stamped(second: int, text: str, nanos: str = "000000001") -> bytes:
    return f"2026-03-01T12:00:{second:02d}.{nanos}Z {text}\n".encode()


def read(server: Scripted, request: LogRequest, *, enough: int = 10_000, deadline_s: float = 5.0) -> tuple[list[str], ColdError | None]:
    """The lines of a log, up to `enough`, and the error that ended it."""

    async def go() -> tuple[list[str], ColdError | None]:
        adapter, got = KubeAdapter(Access(server.url, None, Fixed()), clock=SystemClock()), list[str]()
        batches = adapter.logs(request, deadline_s=deadline_s)
        try:
            async for batch in batches:
                got.extend(line.text for line in batch)
                if len(got) >= enough:
                    break
        except ColdError as error:
            return got, error
        finally:
            await batches.aclose()  # type: ignore[attr-defined]  # the port promises an iterator; ours is a generator
            await adapter.aclose()
        return got, None

    return asyncio.run(asyncio.wait_for(go(), 15))


def lives(item: Json) -> Answer:
    return body(item)


# --- text


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"plain", "plain"),
        (b"\x1b[1;31mred\x1b[0m \x1b]0;title\x07x\x1b(B", "red x"),
        (b"\x1b]8;;http://evil\x1b\\link\x1b]8;;\x1b\\", "link"),
        (b"a\tb\r", "a    b"),
        (b" 10%\r 50%\r100%", "100%"),
        (b"caf\xc3\xa9 \xff", "café \ufffd"),
        ("a\u202eb\x07".encode(), "a\ufffdb\ufffd"),
        (b"x" * 10_000, "x" * (LONGEST - 1) + "…"),
        (b"\x9b31mx", "\ufffd31mx"),
    ],
)
def test_lines_are_safe_to_draw(raw: bytes, text: str) -> None:
    """Colours go, control and bidi characters become visible, bad UTF-8 and endless lines do no harm."""
    assert clean(raw) == text


@pytest.mark.parametrize(
    ("raw", "moment", "text"),
    [
        (b"2026-03-01T12:00:00.5Z hello", (1772366400, 500_000_000), b"hello"),
        (b"2026-03-01T14:00:00.123456789+02:00 x", (1772366400, 123_456_789), b"x"),
        (b"2026-03-01T12:00:00Z", (1772366400, 0), b""),
        (b"2026-13-41T12:00:00Z x", None, b"2026-13-41T12:00:00Z x"),
        (b"no stamp", None, b"no stamp"),
    ],
)
def test_timestamps_keep_their_nanoseconds(raw: bytes, moment: tuple[int, int] | None, text: bytes) -> None:
    """What the kubelet puts before a line is taken off, whatever its zone and precision."""
    assert split_stamp(raw) == (moment, text)


def test_a_line_has_its_time() -> None:
    """The timestamp is an aware UTC time."""
    assert Lines().feed(stamped(3, "x")) == [LogLine(datetime(2026, 3, 1, 12, 0, 3, tzinfo=UTC), "x")]


def test_a_line_without_end_is_cut_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its beginning is shown, the rest dropped up to the next line."""
    monkeypatch.setattr(module, "_CARRY", 100)
    lines, got = Lines(), list[LogLine]()
    for part in (b"y" * 150, b"y" * 150, b"y" * 20, b"tail\nnext\n"):
        got += lines.feed(part)
    assert [line.text for line in got] == ["y" * 150, "next"]


def test_a_resumed_stream_repeats_nothing_and_loses_nothing() -> None:
    """Lines that come again after a reconnect are dropped as often as they were seen, equal lines of one moment included."""
    lines = Lines()
    first = stamped(1, "a") + stamped(2, "b") + stamped(2, "b") + stamped(2, "c")
    assert [x.text for x in lines.feed(first + stamped(2, "half")[:-3])] == ["a", "b", "b", "c"]
    lines.resume()
    again = stamped(1, "a") + stamped(2, "b") + stamped(2, "b") + stamped(2, "c") + stamped(2, "half") + stamped(2, "b") + stamped(3, "d")
    assert [x.text for x in lines.feed(again)] == ["half", "b", "d"]


# --- requests


def test_what_is_asked() -> None:
    """Container, tail, since and previous reach the API; timestamps are always asked for."""
    since = datetime(2026, 3, 1, 12, tzinfo=UTC)
    requests = (
        REQUEST,
        LogRequest("w/b", "p", "c", previous=True, tail=None, since_s=60),
        LogRequest("n", "p", "c", tail=5, since=since, since_s=9),
    )
    with Scripted(*[body(b"", keep=False)] * 3) as server:
        for request in requests:
            read(server, request)
        first, second, third = server.requests
    assert (first.path, first.query) == (
        "/api/v1/namespaces/web/pods/web-0/log",
        {"container": "app", "timestamps": "true", "tailLines": "200"},
    )
    assert (second.path, second.query["previous"], second.query["sinceSeconds"]) == ("/api/v1/namespaces/w%2Fb/pods/p/log", "true", "60")
    assert "sinceSeconds" not in third.query
    assert third.query["sinceTime"] == "2026-03-01T12:00:00Z"


def test_a_log_ends_with_its_last_line() -> None:
    """The last line is given even without a line break."""
    with Scripted(body(stamped(1, "a") + stamped(2, "end")[:-1])) as server:
        assert read(server, REQUEST) == (["a", "end"], None)


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ('previous terminated container "app" in pod "web-0" not found', "previous terminated container app of web-0 not found"),
        ('container "app" in pod "web-0" is waiting to start: ContainerCreating', "app of web-0 has not started yet: ContainerCreating"),
        ("container app is not valid for pod web-0", "web-0 has no container app"),
    ],
)
def test_refusals_have_their_words(message: str, words: str) -> None:
    """The several meanings of 400 are told apart."""
    with Scripted(refuse(400, "BadRequest", message)) as server:
        got, error = read(server, REQUEST)
    assert got == []
    assert isinstance(error, NotFound)
    assert error.title == words


def test_a_pod_that_is_gone() -> None:
    """404 names the pod."""
    with Scripted(refuse(404, "NotFound")) as server:
        error = read(server, REQUEST)[1]
    assert isinstance(error, NotFound)
    assert error.title == "pods web/web-0 does not exist"


def test_a_paused_server_ends_a_plain_log() -> None:
    """Without follow the deadline holds."""
    with Scripted(silent) as server:
        error = read(server, REQUEST, deadline_s=0.3)[1]
    assert isinstance(error, LineTrouble)
    assert error.kind == "timeout"


# --- follow


def test_a_follow_ends_with_its_container() -> None:
    """The stream's end and a container that no longer runs are the end."""
    with Scripted(stream(stamped(1, "a")), lives(pod(statuses=(ended("Completed"),)))) as server:
        assert read(server, FOLLOW) == (["a"], None)
        assert [r.path.rpartition("/")[2] for r in server.requests] == ["log", "web-0"]


def test_a_follow_is_taken_up_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """While the container runs, an ended or broken stream is resumed from the last second, without repeated or lost lines."""
    monkeypatch.setattr(module, "_PAUSES_S", (0.0, 0.0, 0.0))
    broken = bytes_(CHUNKED + chunk(stamped(1, "a") + stamped(2, "b")) + chunk(stamped(2, "half")[:-4])[:-2])
    again = stream(stamped(2, "b") + stamped(2, "half"))
    rest = stream(stamped(2, "half") + stamped(3, "c"))
    with Scripted(broken, again, lives(pod(statuses=(running(),))), rest, refuse(404, "NotFound")) as server:
        assert read(server, FOLLOW) == (["a", "b", "half", "c"], None)
        assert [r.query.get("sinceTime") for r in server.requests if r.path.endswith("/log")] == [
            None,
            "2026-03-01T12:00:02Z",
            "2026-03-01T12:00:02Z",
        ]
        assert [r.query.get("tailLines") for r in server.requests if r.path.endswith("/log")] == ["200", None, None]


def test_a_follow_gives_up_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """When the line stays broken the error is told after a few attempts."""
    monkeypatch.setattr(module, "_PAUSES_S", (0.0, 0.0))
    with Scripted(bytes_(CHUNKED + chunk(stamped(1, "a")))) as server:
        got, error = read(server, FOLLOW)
    assert got == ["a"]
    assert isinstance(error, LineTrouble)
    assert 2 <= len(server.requests) <= 8


def test_who_is_told_waits_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """With somebody to tell, a follow outlasts any number of failures, tells the break and the return once each, and loses and repeats nothing."""
    monkeypatch.setattr(module, "_PAUSES_S", (0.0, 0.0))
    told: list[str] = []

    async def go() -> list[str]:
        adapter = KubeAdapter(Access(server.url, None, Fixed()), clock=SystemClock())
        try:
            return [line.text async for batch in adapter.logs(FOLLOW, told=told.append) for line in batch]
        finally:
            await adapter.aclose()

    broken = bytes_(CHUNKED + chunk(stamped(1, "a")) + chunk(stamped(2, "half")[:-4])[:-2])
    again = stream(stamped(1, "a") + stamped(2, "half"))
    failures = [refuse(502, "BadGateway")] * 6
    with Scripted(broken, *failures, again, refuse(404, "NotFound")) as server:
        assert asyncio.run(go()) == ["a", "half"]
    assert len(told) == 2
    assert told[0].startswith("the log is interrupted: ")
    assert told[1] == "the log goes on"


def test_who_looks_away_ends_the_thread() -> None:
    """Closing the iterator wakes the reader, though the container is silent; no thread stays behind."""
    before = {t for t in threading.enumerate() if t.name == "kube-log"}
    with Scripted(stream(stamped(1, "a"), hold=True)) as server:
        assert read(server, FOLLOW, enough=1) == (["a"], None)
        left = {t for t in threading.enumerate() if t.name == "kube-log"} - before
        for thread in left:
            thread.join(5)
        assert not any(t.is_alive() for t in left)


def test_closing_the_adapter_ends_its_logs() -> None:
    """A follow that waits before its first line ends when the site is left."""

    async def go() -> list[str]:
        adapter = KubeAdapter(Access(server.url, None, Fixed()), clock=SystemClock())

        async def follow() -> list[str]:
            return [line.text async for batch in adapter.logs(FOLLOW) for line in batch]

        task = asyncio.create_task(follow())
        await asyncio.to_thread(asked.wait, 5)
        await adapter.aclose()
        return await asyncio.wait_for(task, 5)

    asked = threading.Event()

    def wait(line: socket.socket) -> bool:
        asked.set()
        return silent(line)

    with Scripted(wait) as server:
        assert asyncio.run(go()) == []


def test_a_flood_waits_for_who_reads() -> None:
    """A reader does not run ahead: a log of 200,000 lines is taken in batches, all of it."""
    line = stamped(1, "x" * 20)
    with Scripted(body(line * 200_000, keep=False)) as server:
        got, error = read(server, REQUEST, deadline_s=10, enough=10**9)
    assert error is None
    assert len(got) == 200_000
