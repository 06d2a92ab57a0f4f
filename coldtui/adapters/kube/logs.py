"""Logs of containers: a followed stream that survives a broken line, without losing or repeating lines."""

from __future__ import annotations

import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import msgspec

from coldtui.domain.values import dataclass

from ...domain.errors import Closed, ColdError, NotFound
from ...domain.text import plain, without_ansi
from ...ports import LogLine, LogRequest
from .decoding import Present, Wire, decoder
from .failures import LINE_ERRORS, Question, is_line, translate
from .transport import Channel, Response, line_of

LONGEST = 4_096
_BATCH = 500
_CARRY = 1 << 16
"""A line without an end is cut here, in bytes."""
_PAUSES_S = (0.5, 1.0, 2.0, 4.0, 8.0, 8.0, 8.0)
"""Between attempts to go on after the line broke; then the error is told."""
_STAMP = re.compile(rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d) ?")

Moment = tuple[int, int]
"""Seconds since 1970 and nanoseconds: more than a datetime holds, and needed to tell lines apart."""


def clean(raw: bytes) -> str:
    """One line as text that is safe to draw."""
    text = without_ansi(raw[: 4 * LONGEST].decode("utf-8", "replace")).rstrip("\r").replace("\t", "    ")
    text = text.rpartition("\r")[2]  # a progress bar that was drawn over itself
    return plain(text if len(text) <= LONGEST else text[: LONGEST - 1] + "…")


def split_stamp(raw: bytes) -> tuple[Moment | None, bytes]:
    """The timestamp that the kubelet put before a line, and the line."""
    found = _STAMP.match(raw)
    if found is None:
        return None, raw
    whole, fraction, zone = found.groups()
    try:
        seconds = int(datetime.fromisoformat((whole + zone).decode()).timestamp())
    except ValueError:
        return None, raw
    return (seconds, int((fraction or b"0").ljust(9, b"0"))), raw[found.end() :]


def _at(moment: Moment | None) -> datetime | None:
    return None if moment is None else datetime.fromtimestamp(moment[0], UTC) + timedelta(microseconds=moment[1] // 1000)


class Lines:
    """Bytes into lines, dropping after a reconnect what was already given.

    The server resumes by whole seconds, so lines come again: those before the last timestamp, and of those that bear it as many as we had.
    """

    def __init__(self) -> None:
        self._rest = b""
        self._cutting = False
        self._last: Moment | None = None
        self._seen: Counter[bytes] = Counter()
        self._replayed: Counter[bytes] | None = None

    @property
    def last(self) -> Moment | None:
        return self._last

    def resume(self) -> None:
        """The next bytes come from a new stream."""
        self._rest, self._cutting = b"", False
        self._replayed = self._seen.copy()

    def feed(self, chunk: bytes) -> list[LogLine]:
        *whole, self._rest = (self._rest + chunk).split(b"\n")
        if whole and self._cutting:
            whole, self._cutting = whole[1:], False  # the tail of a line that was cut
        if len(self._rest) > _CARRY:
            if not self._cutting:
                whole.append(self._rest)
                self._cutting = True
            self._rest = b""
        return [line for raw in whole if (line := self._line(raw)) is not None]

    def end(self) -> list[LogLine]:
        """What is left when the stream has ended for good."""
        rest, self._rest = self._rest, b""
        line = self._line(rest) if rest and not self._cutting else None
        return [] if line is None else [line]

    def _line(self, raw: bytes) -> LogLine | None:
        moment, text = split_stamp(raw)
        if moment is not None and not self._new(moment, text):
            return None
        return LogLine(_at(moment), clean(text))

    def _new(self, moment: Moment, text: bytes) -> bool:
        if self._replayed is not None and self._last is not None:
            if moment < self._last:
                return False
            if moment == self._last:
                if self._replayed[text] > 0:
                    self._replayed[text] -= 1
                    return False
            else:
                self._replayed = None
        if self._last is None or moment > self._last:
            self._last, self._seen = moment, Counter()
        if moment == self._last:
            self._seen[text] += 1
        return True


class _State(Wire):
    running: Present | None = None


class _ContainerStatus(Wire):
    name: str
    state: _State = msgspec.field(default_factory=_State)


class _PodStatus(Wire):
    container_statuses: list[_ContainerStatus] | None = None
    init_container_statuses: list[_ContainerStatus] | None = None
    ephemeral_container_statuses: list[_ContainerStatus] | None = None


class _Pod(Wire):
    status: _PodStatus = msgspec.field(default_factory=_PodStatus)


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads one container's log. Blocking; `stop` ends it."""

    channel: Channel
    request: LogRequest
    deadline_s: float
    stop: threading.Event
    told: Callable[[str], None] | None = None
    """Is told when the line broke and when it is back; then there is no giving up."""

    def batches(self) -> Iterator[tuple[LogLine, ...]]:
        """Raises domain.errors."""
        lines, failures, request, broken = Lines(), 0, self.request, False
        while True:
            try:
                response = self._open(lines)
                if broken:
                    broken = self._say("the log goes on", False)
                for batch in self._read(response, lines):
                    failures = 0
                    yield batch
                if not request.follow or not self._running():
                    if rest := lines.end():
                        yield tuple(rest)
                    return
            except ColdError as error:
                if isinstance(error, Closed) and self.stop.is_set():
                    return
                if not request.follow or not is_line(error):
                    raise
                if self.told is None and (lines.last is None or failures >= len(_PAUSES_S)):
                    raise
                if not broken:
                    broken = self._say(f"the log is interrupted: {error.title}; it is taken up again by itself", True)
            failures += 1
            if (self.told is None and failures > len(_PAUSES_S)) or self.stop.wait(_PAUSES_S[min(failures, len(_PAUSES_S)) - 1]):
                return
            lines.resume()

    def _say(self, words: str, broken: bool) -> bool:
        if self.told is not None:
            self.told(words)
        return broken

    def _open(self, lines: Lines) -> Response:
        r = self.request
        query = [("container", r.container), ("timestamps", "true")]  # always: a broken follow is resumed by them
        if r.follow:
            query.append(("follow", "true"))
        if r.previous:
            query.append(("previous", "true"))
        if lines.last is not None:
            query.append(("sinceTime", datetime.fromtimestamp(lines.last[0], UTC).strftime("%Y-%m-%dT%H:%M:%SZ")))
        else:
            if r.tail is not None:
                query.append(("tailLines", str(r.tail)))
            if r.since is not None:
                query.append(("sinceTime", r.since.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")))
            elif r.since_s is not None:
                query.append(("sinceSeconds", str(r.since_s)))
        try:
            # A follow has no answer at all before its first line: a silent container is no error.
            return self.channel.open(
                "GET",
                f"{self._path}/log",
                self._question("pods/log"),
                query=query,
                accept="*/*",
                deadline_s=None if r.follow else self.deadline_s,
            )
        except ColdError as error:
            raise self._explained(error) from error

    @property
    def _path(self) -> str:
        return f"/api/v1/namespaces/{quote(self.request.namespace, safe='')}/pods/{quote(self.request.pod, safe='')}"

    def _question(self, resource: str) -> Question:
        return Question("get", resource, "", self.request.namespace, self.request.pod)

    def _explained(self, error: ColdError) -> ColdError:
        """The API says 400 for several things that an operator calls by other names."""
        said, r = error.detail, self.request
        if "previous terminated container" in said:
            return NotFound(
                f"previous terminated container {plain(r.container)} of {plain(r.pod)} not found", hint="it has not restarted yet"
            )
        if "waiting to start" in said:
            why = said.rpartition(": ")[2]
            return NotFound(f"{plain(r.container)} of {plain(r.pod)} has not started yet: {why}", hint="its events say why")
        if "is not valid for pod" in said or "must be specified" in said:
            return NotFound(f"{plain(r.pod)} has no container {plain(r.container)}")
        return error

    def _read(self, response: Response, lines: Lines) -> Iterator[tuple[LogLine, ...]]:
        end = time.monotonic() + self.deadline_s
        socket_, follow = line_of(response), self.request.follow
        cuts = self.channel.cuts
        try:
            if socket_ is not None:
                socket_.settimeout(None if follow else self.deadline_s)
            while chunk := response.read1(1 << 16):
                found = lines.feed(chunk)
                for start in range(0, len(found), _BATCH):
                    yield tuple(found[start : start + _BATCH])
                if self.stop.is_set():
                    return
                if not follow and time.monotonic() > end:
                    end = time.monotonic() + self.deadline_s  # it flows: the deadline is for silence
        except LINE_ERRORS as error:
            self.channel.check(cuts)
            raise translate(error, self.channel.where, self.deadline_s) from error
        finally:
            response.close()

    def _running(self) -> bool:
        """Whether the container still runs, so that a follow that ended has to be taken up again."""
        if self.stop.is_set():
            return False
        try:
            raw = self.channel.json(self._path, self._question("pods"), deadline_s=self.deadline_s)
        except NotFound:
            return False
        status = decoder(_Pod)(raw).status
        every = (*(status.container_statuses or ()), *(status.init_container_statuses or ()), *(status.ephemeral_container_statuses or ()))
        return any(c.name == self.request.container and c.state.running is not None for c in every)
