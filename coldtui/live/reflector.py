"""One kind of object, followed for ever: list, watch, and list again when the server says so.

The rules are client-go's; where they differ, it says why. The first list asks for the newest version page by page rather than for
`resourceVersion=0`: with "0" the server ignores the page size, and a restarted server may answer from an old cache.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from threading import BoundedSemaphore, Thread
from typing import Any

from ..domain.errors import Closed, ColdError, Expired, Forbidden, NotInstalled, Throttled, TooNew, Unauthorized, Unreachable
from ..domain.kinds import Kind
from ..domain.readings import Trouble
from ..domain.text import counted
from ..domain.troubles import trouble_of
from ..ports import Clock, KubeStreams
from .backoff import Backoff
from .builder import Builder
from .line import Line
from .pace import Pace

log = logging.getLogger("coldtui.live")

RETRY_AFTER_CAP_S = 120.0
"""No answer of a server silences a kind for longer."""
RELIST_AFTER = 5
"""Failures of a watch in a row (other than refusals to connect), after which its version is not trusted any more."""
EARLY_S = 5.0
"""A stream that ends so much before its time was ended by the server's end."""
MANY_CLOSED = 3
"""Streams closed by our own side in a row, without anything read between: then something is wrong, and it is treated as a failure."""

GONE = 3
"""A kind that was there is believed to be gone when so many answers in a row say so."""

RESTORED = Trouble("restored", "the cluster was restored: versions went back", "everything is read anew")


def unreadable(count: int) -> Trouble:
    """Part of a list could not be decoded: what is shown is true, but not all."""
    return Trouble("garbage", f"{counted(count, 'object')} could not be read", "missing here")


class _Garbage(ColdError):
    """Lines that are no objects came on a watch."""


class _Restored(ColdError):
    """The server's versions went backwards."""


def went_back(new: str, old: str | None) -> bool:
    """Whether a version is older than one seen before. Versions are opaque; those of etcd and of K3s's datastore are numbers, others are not judged."""
    return old is not None and new.isdigit() and old.isdigit() and int(new) < int(old)


class Reflector:
    """The loop of one kind, in a daemon thread of its own."""

    def __init__(
        self,
        kind: Kind,
        streams: Callable[[], KubeStreams],
        builder: Builder,
        line: Line,
        clock: Clock,
        pace: Pace,
        random: Callable[[], float],
        *,
        listing: BoundedSemaphore,
        opened: Callable[[str, int], None],
        suspect: Callable[[], None],
        restored: Callable[[str, int], None],
    ) -> None:
        """`streams()` are those of the client of the moment; `listing` bounds the lists that run at once; `opened(kind, attempt)` is called when a watch begins to open,
        `suspect()` when the line broke, `restored(kind, epoch)` when versions went back."""
        self._kind, self._name = kind, kind.name
        self._streams, self._builder, self._line = streams, builder, line
        self._clock, self._pace, self._random = clock, pace, random
        self._listing, self._opened, self._suspect, self._restored = listing, opened, suspect, restored
        self._backoff = Backoff(pace.backoff_s, pace.backoff_cap_s, pace.healthy_s, clock, random)
        self._version: str | None = None
        """Where the watch goes on; None: list first."""
        self._at_least: str | None = None
        """What the next list must at least know."""
        self._whole_call = False
        """List without pages, since a page's snapshot was lost."""
        self._newest: str | None = None
        """The highest version seen in this epoch."""
        self._listed = False
        self._epoch = line.epoch
        self._broke = False
        """The last stream ended before its time: the server may have been restored since."""
        self._failures = 0
        self._closed_in_a_row = 0
        self._unauthorized = 0
        self._watched_since: float | None = None
        """Since when (monotonic) the watch is open; None while listing."""
        self._gone = 0
        """404s in a row of a kind that was there."""
        self._expired = 0
        """410s in a row; only a watch that works ends the row, since a server may give lists from which no watch can start."""
        self._garbled = False
        self.thread = Thread(target=self._run, name=f"live-{kind.name}", daemon=True)

    def start(self) -> None:
        self.thread.start()

    def _run(self) -> None:
        line = self._line
        generation = line.generation
        while not line.closed:
            if generation != line.generation:
                self._backoff.reset()
            generation = line.generation
            if self._epoch != line.epoch:
                self._forget()
            try:
                self._turn()
            except Exception as error:  # noqa: BLE001  the boundary of the thread: every error becomes a trouble on screen
                delay = self._failed(error)
                if isinstance(delay, _Full):
                    line.sleep(delay)
                line.wait(0.0 if isinstance(delay, _Full) else delay, generation)
                if generation != line.generation:
                    line.sleep(self._random() * self._pace.wake_jitter_s)

    def _turn(self) -> None:
        """List if need be, then one watch to its end."""
        self._watched_since = None
        if self._version is None:
            with self._listing:
                if self._line.closed:
                    return
                self._list()
        elif self._broke:
            self._confirm()
            self._broke = False
        self._watch(self._version or "")

    def _confirm(self) -> None:
        """A server that was restored accepts a version of its future and then stays silent until it has counted so far: ask where it stands.

        As for every client of the API, a datastore that was put back and has meanwhile counted past what we knew cannot be told by its versions.
        """
        for page in self._streams().pages(self._kind, version=None, limit=1, deadline_s=self._pace.list_s):
            if went_back(page.version, self._newest):
                raise _Restored("the versions of a list went back")
            break

    def _forget(self) -> None:
        self._epoch = self._line.epoch
        self._version = self._at_least = self._newest = None
        self._whole_call = False

    # Listing

    def _list(self) -> None:
        at_least = self._at_least
        collected: dict[str, Any] = {}
        skipped = 0
        version = ""
        show = self._builder.empty(self._name) and not self._whole_call
        # A list at least as new as a version is asked for in one call, as client-go does: with a page size the server would give it
        # exactly as of that version, for ever too old to watch from.
        limit = None if self._whole_call or at_least else 500
        pages = self._streams().pages(self._kind, version=at_least, limit=limit, deadline_s=self._pace.list_s)
        try:
            for page in pages:
                rows = {item.key: item for item in page.items}
                collected.update(rows)
                skipped += page.skipped
                version = page.version
                if page.more and show:
                    self._builder.fold(self._name, rows, (), partial=True)
        except Expired:
            if collected:
                self._whole_call = True  # a page's snapshot was compacted: never merge the halves of two
            self._at_least = None
            raise
        except TooNew:
            self._at_least = None
            raise
        self._whole_call = False
        self._at_least = None
        if went_back(version, self._newest):
            self._restored_now()
        if skipped:
            self._builder.hold(self._name, unreadable(skipped))
        elif self._garbled:
            self._builder.hold(self._name, None)
        self._garbled = skipped > 0
        self._newest = self._version = version
        self._builder.swap(self._name, collected, live=True)
        if self._listed:
            self._builder.restarted(self._name)
        self._listed = True
        self._progress()

    def _restored_now(self) -> None:
        log.warning("%s: version went back, the cluster was restored", self._name)
        self._restored(self._name, self._epoch)
        self._epoch = self._line.epoch
        self._newest = None

    # Watching

    def _watch(self, version: str) -> None:
        pace = self._pace
        timeout_s = pace.watch_min_s + self._random() * (pace.watch_max_s - pace.watch_min_s)
        began = self._watched_since = self._clock.monotonic()
        came = False
        self._opened(self._name, self._builder.opening(self._name))
        for batch in self._streams().watch(self._kind, version, timeout_s=max(1, round(timeout_s))):
            told = bool(batch.version or batch.changed or batch.gone)
            came = came or told
            if batch.version and went_back(batch.version, self._newest):
                raise _Restored("the versions of a watch went back")
            self._builder.fold(self._name, batch.changed, batch.gone, live=not batch.skipped)
            if batch.version:
                self._version = self._newest = batch.version
            if batch.skipped:
                raise _Garbage(f"{counted(batch.skipped, 'line')} of the watch could not be read")
            if told:  # that it was accepted alone is no progress: the first line of an accepted watch may be a 410
                self._expired = 0
                self._progress()
        self._builder.closed(self._name)
        self._broke = self._clock.monotonic() - began < timeout_s - EARLY_S
        if not came and self._clock.monotonic() - began < pace.short_watch_s:
            raise ColdError("the watch ended as soon as it was opened")
        self._expired = 0
        self._progress()
        if self._garbled:
            self._version = None  # a newer list may be readable

    def _progress(self) -> None:
        self._failures = self._closed_in_a_row = self._unauthorized = self._gone = 0

    # Failing

    def _failed(self, error: Exception) -> float:
        """Say it, decide what the next turn does, and return how long to wait before."""
        self._builder.closed(self._name)
        match error:
            case Closed():
                self._broke = True
                self._closed_in_a_row += 1
                if self._closed_in_a_row <= MANY_CLOSED:
                    return 0.0
                return self._say(error, self._backoff.next())
            case Expired():
                # First what is at least as new as what we know; if that does not help, whatever the server has; then ever more slowly.
                if self._watched_since is not None and self._clock.monotonic() - self._watched_since >= self._pace.short_watch_s:
                    self._expired = 0
                self._expired += 1
                self._at_least = self._version if self._expired == 1 else None
                self._version = None
                return 0.0 if self._expired <= 3 else self._say(error, self._backoff.next())
            case TooNew():
                self._failures += 1
                self._version = self._at_least = None
                self._builder.troubled(
                    self._name, Trouble("restored", "the server does not know our version: it was restored or lags", "it is read anew")
                )
                return 0.0 if self._failures <= 1 else self._say(error, self._backoff.next())
            case _Restored():
                self._version = None
                self._builder.troubled(self._name, RESTORED, 0.0)
                return 0.0
            case _Garbage():
                self._version = None
                return self._say(error, self._backoff.next(), Trouble("garbage", error.title, "it is read anew"))
            case Forbidden():
                return self._say(error, self._pace.forbidden_s)
            case NotInstalled():
                self._version = None
                return self._missing(error)
            case Unauthorized():
                self._unauthorized += 1
                if self._unauthorized == 1:
                    return 0.0  # the client renews its credentials
                return self._say(error, self._backoff.next())
            case Throttled():
                if error.retry_after_s is not None:
                    return _Full(self._say(error, min(max(error.retry_after_s, 0.0), RETRY_AFTER_CAP_S)))
                return self._say(error, self._backoff.next())
            case Unreachable():
                self._broke = True
                self._suspect()
                self._failures += 1
                if self._failures == 1 and self._version is not None:
                    return self._random() * self._pace.wake_jitter_s  # a broken stream is opened again before it is called a trouble
                return self._say(error, self._backoff.next())
            case ColdError():
                self._suspect()
                self._distrust()
                return self._say(error, self._backoff.next())
            case _:
                log.error("%s: fault of this program, tried again", self._name, exc_info=error)
                self._distrust()
                return self._say(error, self._backoff.next())

    def _distrust(self) -> None:
        self._failures += 1
        if self._failures >= RELIST_AFTER:
            self._version = None

    def _missing(self, error: NotInstalled) -> float:
        """The component is not there: objects that it left are not shown as if they were. A server that starts may say so too early."""
        self._gone += 1
        if self._listed and self._gone < GONE:
            return self._say(error, self._backoff.next(), Trouble("server", f"{error.title}, though it was", "asked again"))
        self._builder.swap(self._name, {})
        self._listed = False
        return self._say(error, self._pace.missing_s)

    def _say(self, error: Exception, delay_s: float, trouble: Trouble | None = None) -> float:
        self._builder.troubled(self._name, trouble or trouble_of(error), delay_s)
        return delay_s


class _Full(float):
    """A wait that nothing but closing shortens: the server asked for it."""
