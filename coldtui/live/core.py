"""`Live`: owns every background task and thread that keeps the World current."""

from __future__ import annotations

import asyncio
import inspect
import logging
import random as chance
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import BoundedSemaphore, Thread
from typing import TYPE_CHECKING, Any, TypeVar

from immutables import Map

from ..domain.errors import ColdError, Unreachable
from ..domain.kinds import KINDS, LEASES, NODE_STATS, NODE_USAGE, NODES, POD_USAGE, POLLED, WATCHED, Kind
from ..domain.nodes import Lease
from ..domain.readings import Freshness, Trouble
from ..domain.runboard import JOURNAL, RunBoard
from ..domain.sources import KUBE
from ..domain.troubles import trouble_of
from ..domain.world import SESSIONS, SiteFacts, Trend, World
from ..ports import Clock, Journal, Kube, KubeStreams
from .backoff import Backoff
from .builder import Builder
from .database import DATABASE, DatabaseSource, DatabaseWatch
from .heartbeat import Heartbeat
from .history import History
from .line import Line
from .pace import Pace, SystemClock
from .pghistory import PgHistory
from .polls import Poller, StatsRounds, read_stats
from .reflector import RESTORED, Reflector, unreadable
from .runs import RunSource, RunWatch, read_once
from .threads import in_thread as in_thread
from .waits import happens, within

if TYPE_CHECKING:
    from .saved import SavedWorlds

FIRST = 4
"""Kinds that are opened before the others: what the title and the first screens judge by."""
log = logging.getLogger("coldtui.live")

Connector = Callable[[], Kube | Awaitable[Kube]]
"""Makes the client. May block (it runs in a thread of its own) or return an awaitable; raises ColdError in the operator's words."""
Subscriber = Callable[[World], None]

SILENT = Trouble("lost", "streams were silent while the API answered", "they were opened anew")
SERVERS_S = 3.0
"""For the servers of the database, when they are asked once."""
OWN_WORDS_S = 0.1
"""A single reading gives each call so much less than it has, so that the call itself can say what went wrong."""
SKEW_STEP_S = 2.0
"""The server tells its time in whole seconds, so that less is no change."""
LISTS_AT_ONCE = 6
"""Thirty lists at once would delay the ones that the first screen shows."""

T = TypeVar("T")


class Live:
    """List-watch-relist, heartbeat and polls, folded into one immutable World.

    `start` once, then read `world` or `subscribe`; `close` ends everything. For a single listing use `once` on a fresh Live instead.
    All methods belong to one event loop.
    """

    def __init__(
        self,
        connector: Connector,
        *,
        clock: Clock | None = None,
        site: SiteFacts | None = None,
        state_dir: Path | None = None,
        pace: Pace | None = None,
        random: Callable[[], float] = chance.random,
        runs: RunSource | None = None,
        database: DatabaseSource | None = None,
    ) -> None:
        """`site` is what the configuration says (name, server, context, production); with `state_dir` the World is kept over sessions there.
        `runs` is the journal of this machine, `database` how the servers of the site's database are reached."""
        self._connector = connector
        self._clock: Clock = clock or SystemClock()
        self._pace = pace or Pace()
        self._random = random
        self._state_dir = state_dir
        self._site = site or SiteFacts()
        self._line = Line()
        self._builder = Builder(self._clock, self._site, self._changed)
        self._history = History(self._pace.trend_s)
        self._kube: Kube | None = None
        self._heartbeat: Heartbeat | None = None
        self._rounds: StatsRounds | None = None
        self._run_source = runs
        self._run_watch: RunWatch | None = None
        self._database: DatabaseWatch | None = None
        if database is not None:
            self._database = DatabaseWatch(database, self._builder, lambda: self._kube, self._line, self._clock, self._pace, self._random)
        self._pg_history = PgHistory(self._pace.trend_s)
        self._listing = BoundedSemaphore(LISTS_AT_ONCE)
        self._wanted: dict[str, Kind] = {}
        self._asked: frozenset[str] = frozenset()
        """Sources that were wanted by name."""
        self._pollers: dict[str, Poller] = {}
        self._threads: list[Thread] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._subscribers: list[Subscriber] = [] if self._database is None else [self._database.glance]
        self._timer: asyncio.TimerHandle | None = None
        self._published = self._begun = float("-inf")
        self._armed = {True: False, False: False}
        self._retry = asyncio.Event()
        self._facts_known = False
        self._facts_task: asyncio.Task[None] | None = None
        self._uid_told = False
        """Whether the UID that we hold was told by the server in this session, not by the saved World."""
        self._worlds: SavedWorlds | None = None
        self._renewed_at = float("-inf")
        self._saved_revision = -1
        self._closed = False

    # What a face sees

    @property
    def world(self) -> World:
        """The newest World."""
        return self._builder.world

    @property
    def kube(self) -> Kube | None:
        """The client for single questions; None while there is none (see the trouble of source `kube`)."""
        return self._kube

    @property
    def journal(self) -> Journal | None:
        """The journal as it is looked at; None while there is none, or none that can be read (see source `journal`). Blocking: for threads."""
        return self._run_watch.journal if self._run_watch is not None else None

    @property
    def latency_s(self) -> float | None:
        """Round trip of the last answered heartbeat."""
        return self._heartbeat.latency_s if self._heartbeat else None

    @property
    def readiness(self) -> str:
        """What `/readyz` said last: `ok`, what is not ready, or empty before the first answer."""
        return self._heartbeat.readiness if self._heartbeat else ""

    def subscribe(self, subscriber: Subscriber) -> Callable[[], None]:
        """Call `subscriber(world)` on the loop for each new revision, at most ~10 times a second; returns how to end that."""
        self._subscribers.append(subscriber)

        def end() -> None:
            if subscriber in self._subscribers:
                self._subscribers.remove(subscriber)

        return end

    async def until(self, condition: Callable[[World], bool], deadline_s: float) -> World:
        """The first World that meets `condition`; TimeoutError after `deadline_s`."""
        if condition(self.world):
            return self.world
        found: asyncio.Future[World] = asyncio.get_running_loop().create_future()

        def look(world: World) -> None:
            if found.done():
                return
            try:
                if condition(world):
                    found.set_result(world)
            except Exception as error:  # noqa: BLE001  it belongs to whoever waits
                found.set_exception(error)

        end = self.subscribe(look)
        try:
            return await within(found, deadline_s)
        finally:
            end()

    async def start(self, interests: Iterable[str | Kind] | None = None) -> None:
        """Begin to read these kinds (None: all that are known) and keep them current. Returns at once, with the saved World painted if there is one."""
        self._loop = asyncio.get_running_loop()
        interests = None if interests is None else tuple(interests)
        self._wanted = _kinds(interests)
        self._asked = frozenset() if interests is None else frozenset(self._wanted)
        self._builder.activate(self._wanted)
        if self._state_dir is not None:
            await self._load()
        self._publish()
        if self._run_source is not None and self._reads_runs(interests):
            self._run_watch = RunWatch(self._run_source, self._builder.runs, self._clock, poll_s=self._pace.journal_s)
            self._threads.append(self._run_watch.thread)
            self._run_watch.start()
        self._spawn(self._connect(), "connect")
        self._spawn(self._every(self._pace.sweep_s, self._builder.sweep), "sweep")
        self._spawn(self._every(self._pace.trend_s, self._sample), "history")
        if LEASES.name in self._wanted:
            self._spawn(self._listen(), "silent streams")
        if self._database is not None and (interests is None or DATABASE in interests):
            self._spawn(self._tended(self._database.run, "database", partial(self._builder.fault, DATABASE)), "database")
        if self._keeps:
            self._spawn(self._save_often(), "save")

    def want(self, *names: str) -> None:
        """Read these kinds too, from now on: a screen that needs them was opened. `pod_usage` is then read on a big site as well."""
        self._wanted.update(_kinds(names))
        self._asked |= frozenset(names)
        self._builder.activate(names)
        if POD_USAGE.name in names and POD_USAGE.name in self._pollers:
            self._pollers[POD_USAGE.name].asked = True
            self._line.nudge()
        if self._kube is not None:
            self._open()

    def attend(self, *what: str) -> Callable[[], None]:
        """A screen shows these (`database`, `pg_sessions`): they are read more often until the result is called."""
        return self._database.attend(*what) if self._database is not None else lambda: None

    def refresh(self) -> None:
        """The operator asks to look again: whatever waits (back-off, missing permission, not installed) is tried now, and the polls run."""
        self._retry.set()
        self._renewed_at = float("-inf")
        self._line.nudge()
        if self._heartbeat is not None:
            self._heartbeat.suspect()
        if self._rounds is not None:
            self._rounds.nudge.set()
        if self._database is not None:
            self._database.refresh()

    async def close(self) -> None:
        """End every task and thread, within a second; the World is saved first."""
        if self._closed:
            return
        self._closed = True
        self._line.close()
        if self._run_watch is not None:
            self._run_watch.close()
        for task in list(self._tasks):
            task.cancel()
        if self._kube is not None:
            self._kube.streams.close()
        if self._timer is not None:
            self._timer.cancel()
        self._builder.publish()
        end = asyncio.get_running_loop().time() + self._pace.close_s
        if self._keeps and self.world.revision != self._saved_revision:
            await self._bounded(in_thread("live-save", self._save), "saving the World", end)
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=self._pace.close_s)
        if self._database is not None:
            await self._bounded(self._database.aclose(), "closing SQL", end)
        if self._kube is not None:
            await self._bounded(self._kube.aclose(), "closing the client", end)
        loop = asyncio.get_running_loop()
        while (left := [t.name for t in self._threads if t.is_alive()]) and loop.time() < end:  # noqa: ASYNC110  threads have no event
            await asyncio.sleep(0.002)
        if left:
            log.warning("threads did not end in time, left behind: %s", ", ".join(left))

    # One reading

    async def once(self, interests: Iterable[str | Kind], deadline_s: float = 3.0) -> World:
        """Read just these kinds once, side by side, and return the World within `deadline_s`; kinds that failed carry their trouble.

        Closes this Live. Nothing of a saved World is used.
        """
        self._loop = asyncio.get_running_loop()
        interests = tuple(interests)
        self._wanted = _kinds(interests)
        if NODE_STATS.name in self._wanted:
            self._wanted[NODES.name] = NODES
        self._builder.activate(self._wanted)
        end = self._loop.time() + deadline_s
        source = self._run_source if self._reads_runs(interests) else None
        runs = in_thread("live-once-runs", partial(read_once, source, self._clock)) if source is not None else None
        early = self._servers_once(interests, deadline_s) if self._database is not None and self._database.named else None
        late: dict[asyncio.Future[None], str] = {}
        try:
            self._kube = await within(self._make_client(), deadline_s)
        except (ColdError, TimeoutError) as error:
            self._all_troubled(error)
        except Exception as error:
            log.error("connect: fault of this program", exc_info=error)
            self._all_troubled(error)
        else:
            late = await self._read_once(self._kube, max(0.05, end - self._loop.time()))
        self._publish()
        if early is not None:  # and now whom the API told of, beside those that are being asked
            await asyncio.gather(early, self._servers_once(tuple(i for i in interests if i != SESSIONS), end - self._loop.time()))
        if early is None or SESSIONS in interests:
            await self._servers_once(interests, end - self._loop.time())
        await self._taken_once(late, max(0.05, end - self._loop.time()))
        if runs is not None:
            await self._bounded(self._take_runs(runs), "reading the journal", max(end, self._loop.time() + OWN_WORDS_S))
        self._publish()
        await self.close()
        return self.world

    def _servers_once(self, interests: tuple[str | Kind, ...], left_s: float) -> asyncio.Task[None]:
        """Begin to ask the servers of the database, if they are wanted. Those that the configuration names do not wait for the API."""

        async def ask() -> None:
            if self._database is not None and DATABASE in interests:
                assert self._loop is not None
                limit_s = min(SERVERS_S, max(0.2, left_s - OWN_WORDS_S))
                work = self._database.once(limit_s, sessions=SESSIONS in interests)
                await self._bounded(work, "asking the database", self._loop.time() + limit_s)

        return asyncio.get_running_loop().create_task(ask(), name="live servers")

    def _reads_runs(self, interests: Iterable[str | Kind] | None) -> bool:
        return self._run_source is not None and (interests is None or JOURNAL in tuple(interests))

    async def _take_runs(self, board: Awaitable[RunBoard]) -> None:
        self._builder.runs(await board)

    async def _read_once(self, kube: Kube, limit_s: float) -> dict[asyncio.Future[None], str]:
        """Read the API; what the kubelets tell is on its way, and returned: that of a dead node comes late, and the database does not wait for it."""
        left_s = max(0.05, limit_s - OWN_WORDS_S)
        readings: dict[str, Awaitable[None]] = {KUBE: self._beat_once(kube, left_s), "facts": self._learn(kube, left_s)}
        for name, kind in self._wanted.items():
            if kind is not NODE_STATS:
                readings[name] = in_thread(f"live-once-{name}", partial(self._list_once, kube, kind, left_s))
        tasks: dict[asyncio.Future[None], str] = {asyncio.ensure_future(reading): name for name, reading in readings.items()}
        kubelets: dict[asyncio.Future[None], str] = {}
        if NODE_STATS.name in self._wanted:
            nodes = next(task for task, name in tasks.items() if name == NODES.name)
            kubelets[asyncio.ensure_future(self._stats_once(kube, nodes, left_s))] = NODE_STATS.name
        await self._taken_once(tasks, limit_s)
        return kubelets

    async def _taken_once(self, tasks: Mapping[asyncio.Future[None], str], limit_s: float) -> None:
        if not tasks:
            return
        done, late = await asyncio.wait(tasks, timeout=limit_s)
        for task in late:
            task.add_done_callback(_retrieved)
            task.cancel()
            self._failed_once(tasks[task], TimeoutError())
        for task in done:
            error = task.exception()
            if error is not None:
                self._failed_once(tasks[task], error)

    def _failed_once(self, name: str, error: BaseException) -> None:
        if not isinstance(error, ColdError | TimeoutError):
            log.error("%s: fault of this program", name, exc_info=error)
        if name not in self._builder.world.sources or (self._builder.state(name).partial and isinstance(error, TimeoutError)):
            return  # a part is shown as a part
        self._builder.troubled(name, trouble_of(error))

    async def _beat_once(self, kube: Kube, left_s: float) -> None:
        await kube.alive(deadline_s=left_s)
        self._clocks(kube)
        self._builder.line_good()

    def _list_once(self, kube: Kube, kind: Kind, left_s: float) -> None:
        """What was read when the time is up stays, as a part."""
        if kind.polled:
            page = kube.streams.poll(kind, deadline_s=left_s)
            self._builder.swap(kind.name, {item.key: item for item in page.items}, live=True)
            return
        for page in kube.streams.pages(kind, version=None, deadline_s=left_s):
            if self._closed:
                return
            self._builder.fold(kind.name, {item.key: item for item in page.items}, ())
            if page.skipped:
                self._builder.hold(kind.name, unreadable(page.skipped))
            self._builder.live(kind.name, partial=page.more, listed=not page.more)

    async def _stats_once(self, kube: Kube, nodes: asyncio.Future[None], left_s: float) -> None:
        await asyncio.wait([nodes])
        if not nodes.cancelled() and nodes.exception() is None:
            found = list(self._builder.items(NODES.name).values())
            await read_stats(kube, found, self._builder, self._clock, min(left_s, self._pace.stats_deadline_s))

    # The client

    async def _make_client(self) -> Kube:
        made: Any = await in_thread("live-connect", self._connector)
        client: Kube = await made if inspect.isawaitable(made) else made
        return client

    async def _connect(self) -> None:
        pace = self._pace
        backoff = Backoff(pace.backoff_s, pace.connect_cap_s / 2, pace.healthy_s, self._clock, self._random)
        making: asyncio.Task[Kube] | None = None
        while True:
            self._retry.clear()
            making = making or asyncio.create_task(self._make_client())
            asked = asyncio.ensure_future(self._retry.wait())
            done, _ = await asyncio.wait([making, asked], timeout=pace.connect_s, return_when=asyncio.FIRST_COMPLETED)
            asked.cancel()
            if making not in done:
                # It may still come; only the operator's refresh gives it up, so that hanging tries do not pile up.
                self._all_troubled(Unreachable("the client is not ready: timed out", hint="does a credential plugin wait for input?"))
                if self._retry.is_set():
                    making.cancel()
                    making = None
                continue
            try:
                kube = making.result()
                break
            except ColdError as error:
                self._all_troubled(error)
            except Exception as error:
                log.error("connect: fault of this program, tried again", exc_info=error)
                self._all_troubled(error)
            making = None
            await happens(self._retry, backoff.next())
        self._kube = kube
        if self._site.server != kube.server:
            self._site = replace(self._site, server=kube.server)
            self._builder.site(self._site)
        self._heartbeat = Heartbeat(self._client, self._line, self._builder, self._clock, pace, self._good, self._denied)
        self._begun = self._loop.time() if self._loop is not None else self._begun
        self._open(FIRST)
        self._spawn(self._tended(self._heartbeat.run, "heartbeat", partial(self._builder.troubled, KUBE)), "heartbeat")

    def _client(self) -> Kube:
        assert self._kube is not None
        return self._kube

    def _streams(self) -> KubeStreams:
        return self._client().streams

    def _denied(self) -> None:
        """Our credentials, or the server's certificate, are not accepted (on the loop): the files may have been renewed since."""
        now = self._clock.monotonic()
        if now - self._renewed_at >= self._pace.renew_s:
            self._renewed_at = now
            self._spawn(self._renew(), "renew the client")

    async def _renew(self) -> None:
        """Make the client anew; it takes over if the server accepts it."""
        try:
            fresh = await within(self._make_client(), self._pace.connect_s)
        except (ColdError, TimeoutError) as error:
            log.info("no new client: %s", error)
            return
        if fresh is self._kube:
            return
        try:
            await within(fresh.alive(deadline_s=self._pace.probe_s), self._pace.probe_s * 1.1)
        except (ColdError, TimeoutError) as error:
            log.info("the new client is not accepted either: %s", error)
            await fresh.aclose()
            return
        log.info("a new client takes over")
        old, self._kube = self._client(), fresh
        old.streams.close()
        self._line.nudge()
        if self._heartbeat is not None:
            self._heartbeat.suspect()
        await old.aclose()

    def _all_troubled(self, error: BaseException) -> None:
        trouble = trouble_of(error)
        for name in (KUBE, *self._wanted):
            self._builder.troubled(name, trouble)

    def _open(self, few: int = 0) -> None:
        """Start what is wanted and not running yet, in the order in which it shall come: `few` at once, the rest a moment later."""
        running = {thread.name for thread in self._threads}
        started = 0
        assert self._heartbeat is not None
        for kind in (*WATCHED, NODE_USAGE, POD_USAGE):
            if kind.name not in self._wanted or f"live-{kind.name}" in running:
                continue
            started += 1
            if few and started > few:
                self._later(self._pace.stagger_s, self._open)
                break
            worker: Reflector | Poller
            if kind.polled:
                worker = Poller(
                    kind, self._streams, self._builder, self._line, self._clock, self._pace, self._random, asked=kind.name in self._asked
                )
                self._pollers[kind.name] = worker
            else:
                worker = Reflector(
                    kind,
                    self._streams,
                    self._builder,
                    self._line,
                    self._clock,
                    self._pace,
                    self._random,
                    listing=self._listing,
                    opened=self._opened,
                    suspect=self._heartbeat.suspect,
                    restored=self._restored,
                )
            self._threads.append(worker.thread)
            worker.start()
        if NODE_STATS.name in self._wanted and self._rounds is None:
            self._rounds = StatsRounds(self._client, self._line, self._builder, self._clock, self._pace)
            self._spawn(
                self._tended(self._rounds.run, "kubelet summaries", partial(self._builder.troubled, NODE_STATS.name)), "kubelet summaries"
            )

    # What threads and tasks report

    def _opened(self, name: str, attempt: int) -> None:
        """A watch begins to open (in its thread). Where it must prove itself, look again after a while."""
        self._later(self._pace.settle_s, partial(self._builder.settle, name, attempt))

    def _restored(self, name: str, epoch: int) -> None:
        """Versions went back (in the thread that saw it): everything is read anew."""
        if not self._line.new_epoch(epoch):
            return
        for other, kind in self._wanted.items():
            if not kind.polled:
                self._builder.troubled(other, RESTORED)
        self._builder.hold(name, RESTORED)
        if self._kube is not None:
            self._kube.streams.shut()
        self._later(self._pace.restored_s, partial(self._builder.release, name, RESTORED))

    async def _listen(self) -> None:
        """Find streams that carry nothing while the API answers: kubelets' heartbeats that a list has and the watch has not.

        Nothing else would tell before the read timeout of minutes, and meanwhile every node would seem to have died.
        """
        while True:
            await asyncio.sleep(self._pace.quiet_s / 5)
            kube, heard = self._kube, max((lease.observed for lease in self.world.leases.items.values()), default=None)
            calm = self._line.up and self.world.sources[LEASES.name].freshness is Freshness.LIVE
            if kube is None or heard is None or not calm or (self._clock.now() - heard).total_seconds() < self._pace.quiet_s:
                continue
            try:
                there = await in_thread("live-silence", partial(_listed, kube.streams, self._pace.probe_s))
            except ColdError as error:
                log.info("silent streams not looked into: %s", error)
                continue
            here = self._builder.items(LEASES.name)
            if any(lease.renewed is not None and lease.renewed != getattr(here.get(key), "renewed", None) for key, lease in there.items()):
                log.warning("streams are silent while the API answers: opened anew")
                self._builder.hold(LEASES.name, SILENT)
                kube.streams.shut()
                self._later(self._pace.restored_s, partial(self._builder.release, LEASES.name, SILENT))
            else:
                await asyncio.sleep(self._pace.quiet_s)  # the kubelets themselves are silent: that is the nodes' trouble

    def _clocks(self, kube: Kube) -> None:
        """Keep how far the server's clock is off; small changes make no new World."""
        told, known = kube.clock_skew_s, self._site.clock_skew_s
        if told is None or (known is not None and abs(told - known) < SKEW_STEP_S):
            return
        self._site = replace(self._site, clock_skew_s=told)
        self._builder.site(self._site)

    def _good(self, returned: bool) -> None:
        """After each answered heartbeat, on the loop."""
        if self._kube is not None:
            self._clocks(self._kube)
        if returned:
            self._facts_known = False  # it may be another cluster at the same address
            if self._rounds is not None:
                self._rounds.nudge.set()
        if not self._facts_known and (self._facts_task is None or self._facts_task.done()) and self._kube is not None:
            self._facts_task = self._spawn(self._learn_quietly(self._kube), "facts")

    async def _learn_quietly(self, kube: Kube) -> None:
        try:
            await self._learn(kube, self._pace.facts_s)
        except (ColdError, TimeoutError) as error:
            log.info("facts about the server not read: %s", error)  # asked again after the next heartbeat

    async def _learn(self, kube: Kube, deadline_s: float) -> None:
        facts = await within(kube.facts(deadline_s=deadline_s), deadline_s * 1.1)
        self._facts_known = True
        known = self._site.cluster_uid
        if known and facts.cluster_uid and known != facts.cluster_uid:
            self._other_cluster(kube)
        self._uid_told = self._uid_told or bool(facts.cluster_uid)
        found = replace(
            self._site,
            server=kube.server,
            version=facts.version or self._site.version,
            cluster_uid=facts.cluster_uid or self._site.cluster_uid,
        )
        if found != self._site:
            self._site = found
            self._builder.site(found)

    def _other_cluster(self, kube: Kube) -> None:
        log.warning("another cluster answers at %s: everything known is dropped", kube.server)
        if any(state.saved for state in self.world.sources.values()):
            self._builder.drop_saved()
        if self._uid_told:
            self._line.new_epoch(self._line.epoch)
            self._builder.clear()
            kube.streams.shut()

    # Publishing

    def _changed(self, urgent: bool) -> None:
        """There is something to publish (any thread)."""
        if self._loop is None or self._armed[urgent]:
            return
        self._armed[urgent] = True
        self._call(self._arm, urgent)

    def _call(self, callback: Callable[..., object], *args: object) -> None:
        assert self._loop is not None
        try:
            self._loop.call_soon_threadsafe(callback, *args)
        except RuntimeError:
            if not self._line.closed:
                raise

    def _later(self, delay_s: float, callback: Callable[[], None]) -> None:
        """Call on the loop after a while, from any thread; not after closing."""

        def run() -> None:
            if not self._closed:
                callback()

        def plan() -> None:
            assert self._loop is not None
            self._loop.call_later(delay_s, run)

        self._call(plan)

    def _arm(self, urgent: bool) -> None:
        if self._closed:
            return
        assert self._loop is not None
        pace = self._pace
        new = self._loop.time() < self._begun + pace.new_s  # whoever starts the program waits for this
        due = self._published + (pace.new_publish_s if new else pace.publish_s if urgent else pace.lazy_s)
        if self._timer is not None:
            if self._timer.when() <= due:
                return
            self._timer.cancel()
        if due <= self._loop.time():
            self._publish()
        else:
            self._timer = self._loop.call_at(due, self._publish)

    def _publish(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._armed[True] = self._armed[False] = False  # before the World is built: what comes now arms anew
        world = self._builder.publish()
        if world is None:
            return
        assert self._loop is not None
        self._published = self._loop.time()
        for subscriber in tuple(self._subscribers):
            try:
                subscriber(world)
            except Exception:
                log.exception("a subscriber failed")

    # Chores

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work, name=f"live {name}")
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    async def _tended(self, run: Callable[[], Coroutine[Any, Any, None]], name: str, troubled: Callable[[Trouble], None]) -> None:
        """Run for ever; a fault of ours becomes the trouble of its source and is tried again."""
        while True:
            try:
                await run()
            except Exception as error:
                log.error("%s: fault of this program, tried again", name, exc_info=error)
                troubled(trouble_of(error))
            await asyncio.sleep(self._pace.heartbeat_s)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        if error is not None:
            log.error("%s ended by a fault of this program", task.get_name(), exc_info=error)
            self._builder.troubled(KUBE, trouble_of(error))

    async def _every(self, distance_s: float, work: Callable[[], None]) -> None:
        while True:
            await asyncio.sleep(distance_s)
            try:
                work()
            except Exception:
                log.exception("a chore failed, tried again")

    def _sample(self) -> None:
        """The servers of the database answer though no node may be read."""
        world, now, monotonic = self.world, self._clock.now(), self._clock.monotonic()
        nodes = bool(world.nodes.items) and (NODE_USAGE.name in self._wanted or NODE_STATS.name in self._wanted)
        trends: Map[str, Trend] = self._history.sample(world, now, monotonic) if nodes else Map()
        found = trends.update(self._pg_history.sample(world, now, monotonic))
        if found:
            self._builder.trends(found)

    async def _load(self) -> None:
        from .saved import SavedWorlds  # msgspec is needed only where Worlds are kept

        assert self._state_dir is not None
        self._worlds = SavedWorlds(self._state_dir, self._site.server, self._site.context)
        saved = self._worlds.load()
        if saved is None:
            return
        wanted = {name: items for name, items in saved.shelves.items() if name in self._wanted}
        self._builder.restore(wanted, saved.as_of, saved.stats if NODE_STATS.name in self._wanted else {})
        self._site = replace(self._site, cluster_uid=saved.site.cluster_uid, version=saved.site.version)
        self._builder.site(self._site)

    @property
    def _keeps(self) -> bool:
        """A Live that reads a few kinds must not replace the saved World of one that reads all."""
        return self._worlds is not None and all(kind.name in self._wanted for kind in WATCHED)

    def _save(self) -> None:
        world = self.world
        if self._worlds is not None and self._worlds.save(world):
            self._saved_revision = world.revision

    async def _save_often(self) -> None:
        while True:
            await asyncio.sleep(self._pace.save_s)
            if self.world.revision != self._saved_revision and self._kube is not None:
                await in_thread("live-save", self._save)

    async def _bounded(self, work: Awaitable[None], what: str, end: float) -> None:
        try:
            await within(work, max(0.05, end - asyncio.get_running_loop().time()))
        except TimeoutError:
            log.warning("%s took too long, left behind", what)
        except Exception:
            log.exception("%s failed", what)


def _kinds(interests: Iterable[str | Kind] | None) -> dict[str, Kind]:
    """By name. An unknown name is a fault of the caller."""
    if interests is None:
        return {kind.name: kind for kind in (*WATCHED, *POLLED)}
    names = [kind if isinstance(kind, str) else kind.name for kind in interests]
    return {name: KINDS[name] for name in names if name not in (KUBE, JOURNAL, DATABASE, SESSIONS)}


def _listed(streams: KubeStreams, deadline_s: float) -> dict[str, Lease]:
    """The leases as they are now. Raises ColdError."""
    return {lease.key: lease for page in streams.pages(LEASES, version=None, deadline_s=deadline_s) for lease in page.items}


def _retrieved(task: asyncio.Future[None]) -> None:
    """Its error is known already: it was too late."""
    if not task.cancelled():
        task.exception()
