"""The servers of the site's database, asked over SQL and through their instance managers: each by a task of its own, so that none waits for another.

Nothing runs, and no driver is imported, before there is a PostgreSQL cluster or the configuration names its servers.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, TypeVar

from immutables import Map

from ..domain import postgres
from ..domain.errors import ColdError, Misconfigured, NotFound, Unreachable
from ..domain.failover_signs import follow
from ..domain.kinds import PG_CLUSTERS, PG_QUORUMS
from ..domain.postgres import PgCluster
from ..domain.readings import Freshness, Known, Reading, Unknown
from ..domain.replication import Claim, FailoverQuorum, ManagerStatus, PrimaryLease, SqlStatus, Watched, unarchived
from ..domain.troubles import trouble_of
from ..domain.vips import database_vips
from ..domain.world import DATABASE as DATABASE
from ..domain.world import NOT_SHOWN, SESSIONS, SIZES, TABLES, World
from ..ports import Clock, Database, Kube
from .builder import Builder
from .line import Line
from .pace import Pace
from .threads import in_thread
from .waits import happens, within

log = logging.getLogger("coldtui.live")

VIP = "vip"
PORT = 5432
DEADLINE_S = 2.0
MISSED = 6
"""So many questions may get no answer before it is said, while nobody else answers that way either."""
LASTING = timedelta(seconds=60)
"""A claim that begins again so soon is the same lead: what was seen of it before still counts."""
TABLES_S = 30.0
"""Between two looks at the tables: each is a connection of its own to a database."""
MOST_DATABASES, MOST_TABLES = 5, 8
_OPERATOR_ACTS = frozenset({"unauthorized", "forbidden", "config", "tls", "dns"})
"""Troubles whose remedy is told with them."""

T = TypeVar("T")
Value = SqlStatus | ManagerStatus


@dataclass(frozen=True)
class DatabaseSource:
    """How the servers are reached."""

    connect: Callable[[], Database]
    """Imports the driver; called in a thread."""
    named: bool = False
    """The configuration names servers: they are asked though the API tells of no cluster."""


@dataclass
class _Target:
    """One server by one source."""

    ask: Callable[[], Awaitable[Value]]
    source: str
    field: str
    key: str
    name: str
    nudge: asyncio.Event = dataclasses.field(default_factory=asyncio.Event)
    failures: int = 0
    failed: datetime | None = None
    """When the first of them was over."""
    task: asyncio.Task[None] | None = None


class DatabaseWatch:
    """Belongs to one event loop."""

    def __init__(
        self,
        source: DatabaseSource,
        builder: Builder,
        kube: Callable[[], Kube | None],
        line: Line,
        clock: Clock,
        pace: Pace,
        random: Callable[[], float],
    ) -> None:
        self._source, self._builder, self._kube, self._line, self._clock, self._random = source, builder, kube, line, clock, random
        self._pace = pace
        self._targets: dict[tuple[str, str], _Target] = {}
        self._looks: dict[object, frozenset[str]] = {}
        self._database: Database | None = None
        self._unready = ""
        self._sql: Map[str, Reading[SqlStatus]] = Map()
        self._managers: Map[str, Reading[ManagerStatus]] = Map()
        self._claims: Map[str, Claim] = Map()
        self._acts_at: object = None
        self._seen: PgCluster | None = None
        self._gap = False
        self._watched = Watched()
        self._turned = asyncio.Event()
        self._databases_at = self._tables_at = float("-inf")
        self._sizing: asyncio.Task[None] | None = None
        self._activity_known = False

    # --- who looks

    def attend(self, *what: str) -> Callable[[], None]:
        """Somebody looks at these (`database`, `pg_sessions`): asked more often, and at once. Returns how to end it."""
        token = object()
        self._looks[token] = frozenset(what)
        self.refresh()

        def end() -> None:
            self._looks.pop(token, None)

        return end

    def refresh(self) -> None:
        self._turned.set()
        for target in self._targets.values():
            target.nudge.set()

    @property
    def _period_s(self) -> float:
        return self._pace.pg_shown_s if self._looks else self._pace.pg_idle_s

    def _looked_at(self, *what: str) -> bool:
        return any(name in parts for parts in self._looks.values() for name in what)

    # --- tasks

    async def run(self) -> None:
        """For ever. Which instances there are is looked at each second."""
        extras = asyncio.create_task(self._besides())
        try:
            while True:
                if await self._ready():
                    self._settle()
                self._builder.fault(DATABASE, None)
                await asyncio.sleep(self._pace.pg_look_s)
        finally:
            extras.cancel()
            for target in self._targets.values():
                if target.task is not None:
                    target.task.cancel()
                    target.task = None  # after a fault of ours it is begun again

    async def aclose(self) -> None:
        if self._database is not None:
            await self._database.aclose()

    @property
    def named(self) -> bool:
        """Whether there are servers to ask though the API tells of none."""
        return self._source.named

    async def once(self, limit_s: float, *, sessions: bool = False) -> None:
        """Ask everything that was not asked yet; sessions too as soon as somebody says to be primary: who does not answer delays nobody."""
        if not await self._ready():
            if sessions:
                nobody = self._nobody()
                self._builder.database(True, pg_sessions=nobody, pg_progress=nobody, pg_databases=nobody)
            return
        fresh = {key: target for key, target in self._wanted().items() if key not in self._targets}
        self._targets.update(fresh)
        works: list[Coroutine[Any, Any, object]] = [self._ask(target, min(DEADLINE_S, limit_s)) for target in fresh.values()]
        cluster = self._cluster()
        if cluster is not None:
            works.append(self._lease(cluster))
        tasks = [asyncio.ensure_future(work) for work in works]
        try:
            if sessions and not self._activity_known:
                await self._activity_once(tasks)
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()

    async def _activity_once(self, asked: Sequence[asyncio.Future[object]]) -> None:
        left: set[asyncio.Future[object]] = set(asked)
        while not self._says_primary() and left:
            _, left = await asyncio.wait(left, return_when=asyncio.FIRST_COMPLETED)
        if self._database is not None and (primary := self._says_primary()):
            late = Unknown("sql", f"{primary} did not answer in time", "timeout")  # stays where the deadline ends what follows
            self._builder.database(True, pg_sessions=late, pg_progress=late, pg_databases=late)
            await self._activity(self._database)
            await self._sizes(self._database)
        else:
            reason = self._no_primary()
            self._builder.database(True, pg_sessions=reason, pg_progress=reason, pg_databases=reason)

    def _primary(self) -> str:
        """Whom to ask for what only a primary tells: who says to be it, else the one of the Cluster. Empty: nobody."""
        cluster = self._cluster()
        return self._says_primary() or (cluster.current_primary if cluster is not None else "")

    def _says_primary(self) -> str:
        """Who answers SQL as primary; empty: nobody."""
        return next((c.name for c in self._claims.values() if c.source == "sql" and not c.ended), "")

    def _no_primary(self) -> Unknown:
        """Why nothing can be asked of the primary: its own answer where it is known who it is, else the worst of the others'."""
        cluster = self._cluster()
        told = {name: reading for name, reading in sorted(self._sql.items()) if name != VIP}
        named = told.get(cluster.current_primary) if cluster is not None else None
        silent = [r for r in (named, *told.values()) if isinstance(r, Unknown)]
        standbys = [name for name, r in told.items() if isinstance(r, Known)]
        if silent:
            also = f"; {', '.join(standbys)} answer{'s' if len(standbys) == 1 else ''} as standby" if standbys else ""
            return dataclasses.replace(silent[0], reason=f"{silent[0].reason}{also}")
        if standbys:
            return Unknown("sql", f"no server says to be primary: {', '.join(standbys)} answered as standbys", "lost")
        return self._nobody()

    def _nobody(self) -> Unknown:
        """Why there is no server to ask."""
        trouble = self._builder.state(PG_CLUSTERS.name).trouble
        if trouble is None or trouble.kind == "not-installed":
            return Unknown("sql", "there is no PostgreSQL cluster", "not-installed")
        named = "" if self._source.named else ", and postgres.instances names none"
        return Unknown("sql", f"no server is known: {trouble.words}{named}", trouble.kind)

    async def _ready(self) -> bool:
        """Whether there is anybody to ask; the driver is imported then."""
        if self._cluster() is None and not self._source.named:
            return False
        if self._database is not None:
            return True
        try:
            self._database = await in_thread("live-database", self._source.connect)
        except ColdError as error:
            if (words := _reason(error)) != self._unready:
                self._unready = words
                log.warning("no SQL: %s", words)
        except Exception as error:
            if (words := trouble_of(error).words) != self._unready:
                self._unready = words
                log.error("no SQL: fault of this program, tried again", exc_info=error)
        return True

    def _settle(self) -> None:
        wanted = self._wanted()
        for key in self._targets.keys() - wanted.keys():
            gone = self._targets.pop(key)
            if gone.task is not None:
                gone.task.cancel()
            self._forget(gone)
        for key, target in wanted.items():
            known = self._targets.setdefault(key, target)
            if known.task is None or known.task.done():  # by a fault of ours
                known.task = asyncio.create_task(self._tend(known), name=f"live {known.source} {known.name}")
                known.task.add_done_callback(_told)

    def glance(self, world: World) -> None:
        """At each revision of the World: what the API tells only while it lasts is kept, and when something is under way all are asked at once."""
        if world.sources["pg_clusters"].freshness is not Freshness.LIVE:
            self._gap = True
            return
        cluster = postgres.site_cluster(world)
        if cluster is None:
            return
        same = self._seen is not None and self._seen.key == cluster.key
        watched = follow(self._watched if same else Watched(), self._seen if same else None, cluster, self._clock.now(), gap=self._gap)
        back, self._seen, self._gap = self._gap, cluster, False
        if watched != self._watched:
            self._watched = watched
            self._builder.database(False, pg_watched=watched)
        ready = tuple(i.ready for i in postgres.instances(world, cluster))
        acts = (cluster.phase, cluster.current_primary, cluster.target_primary, ready)
        if acts != self._acts_at or back:
            self._acts_at = acts
            self.refresh()

    async def _tend(self, target: _Target) -> None:
        while True:
            target.nudge.clear()
            await self._ask(target, DEADLINE_S)
            await happens(target.nudge, self._wait_s(target))

    def _wait_s(self, target: _Target) -> float:
        failures = target.failures
        if failures < 2:
            return self._pace.pg_primary_s if self._looks and self._leads(target.name) else self._period_s
        most = self._pace.pg_idle_s if self._looks else self._pace.pg_slowest_s
        if self._looks and target.name == VIP:
            most = self._pace.pg_shown_s  # who looks waits for the moment at which writes pass again
        return min(self._period_s * 2.0 ** min(failures - 1, 4), most) * (0.75 + 0.5 * self._random())

    async def _ask(self, target: _Target, deadline_s: float) -> None:
        """One question, its answer or why there is none into the World."""
        if target.source == "manager" and not self._line.up:
            return  # the last answer stays, and ages
        asked = self._clock.now()
        found: Value | None = None
        try:
            found = await within(target.ask(), deadline_s + 0.3)
            reading: Reading[Any] = Known(found, target.source, self._clock.now())
            target.failures = 0
        except TimeoutError:  # it could not even be told to let the question go
            target.failures += 1
            reading = Unknown(target.source, f"{target.name} did not answer within {deadline_s:.0f} s", "timeout")
        except ColdError as error:
            target.failures += 1
            reading = _unknown(target.source, error)
        except Exception as error:
            log.error("%s %s: fault of this program, tried again", target.source, target.name, exc_info=error)
            target.failures += 1
            reading = Unknown(target.source, trouble_of(error).words, "bug")
        target.failed = (target.failed or self._clock.now()) if target.failures else None
        if self._way_fails(target, reading):
            return  # the last answer stays, and ages
        self._tell(target, reading, found, asked)

    def _way_fails(self, target: _Target, reading: Reading[Any]) -> bool:
        """Whether it may be the API that does not answer rather than the pod behind it: neither its heartbeat nor another manager answered after the
        first silence had ended; an answer from before proves nothing, the API may have fallen silent while the question was under way.
        For a few questions: by then the line is known to be lost."""
        if target.source != "manager" or not isinstance(reading, Unknown) or reading.kind == "server" or reading.kind in _OPERATOR_ACTS:
            return False
        if target.failures >= MISSED or not isinstance(self._managers.get(target.key), Known):
            return False
        others = (r.as_of for key, r in self._managers.items() if key != target.key and isinstance(r, Known))
        heard = (*others, *((self._builder.line_ok,) if self._builder.line_ok is not None else ()))
        return target.failed is None or not any(at > target.failed for at in heard)

    def _tell(self, target: _Target, reading: Reading[Any], found: Value | None, asked: datetime) -> None:
        table: Map[str, Any] = getattr(self, f"_{target.field}")
        before = table.get(target.key)
        setattr(self, f"_{target.field}", table.set(target.key, reading))
        turned = self._claim(target, found, asked) if target.name != VIP else False
        if turned:
            self.refresh()  # who is primary is told by all of them, at the same time
        urgent = bool(self._looks) or turned or before is None or isinstance(before, Known) != isinstance(reading, Known)
        self._publish(urgent)

    def _leads(self, name: str) -> bool:
        """Whether it says to be primary, by any source."""
        return any(c.name == name and not c.ended for c in self._claims.values())

    def _publish(self, urgent: bool) -> None:
        self._builder.database(urgent, pg_sql=self._sql, pg_managers=self._managers, pg_claims=self._claims)

    def _claim(self, target: _Target, found: Value | None, asked: datetime) -> bool:
        """Keep who says to be primary; returns whether somebody begins or ends."""
        key = f"{target.source}/{target.name}"
        old, now = self._claims.get(key), self._clock.now()
        if found is not None and _is_primary(found):
            begins = old is None or old.ended
            made = Claim(target.name, target.source, now, asked, found.current) if begins else old
            assert made is not None
            lasting = old is not None and (not begins or asked - old.seen < LASTING)  # one missed answer is no end of it
            fails = unarchived(found, old.unarchived if old is not None and lasting else None, now)
            self._claims = self._claims.set(key, replace(made, seen=asked, lsn=found.current or made.lsn, unarchived=fails))
            return begins
        if old is not None and not old.ended:
            self._claims = self._claims.set(key, replace(old, ended=True))
            return True
        return False

    def _forget(self, target: _Target) -> None:
        table: Map[str, Any] = getattr(self, f"_{target.field}")
        if target.key in table:
            setattr(self, f"_{target.field}", table.delete(target.key))
        self._publish(False)

    # --- what is asked

    @property
    def _world(self) -> World:
        return self._builder.world

    def _cluster(self) -> PgCluster | None:
        return postgres.site_cluster(self._world)

    def _wanted(self) -> dict[tuple[str, str], _Target]:
        """Everyone that is to be asked, with the addresses of now."""
        database, cluster, found = self._database, self._cluster(), {}
        names = set(database.targets) if database is not None else set()
        if cluster is not None:
            known = {i.name for i in postgres.instances(self._world, cluster)}
            vip = {VIP} if VIP in names or self._vip(cluster) else set()
            names = known | vip
            if database is not None:
                self._tell_addresses(database, cluster, known)
            for name in known:
                key = f"{cluster.namespace}/{name}"
                if key in self._world.pods.items:
                    found["manager", key] = _Target(self._manager_of(cluster, name), "manager", "managers", key, name)
        for name in names:
            found["sql", name] = _Target(self._sql_of(name), "sql", "sql", name, name)
        return found

    def _tell_addresses(self, database: Database, cluster: PgCluster, names: set[str]) -> None:
        for name in names:
            pod = self._world.pods.items.get(f"{cluster.namespace}/{name}")
            if pod is not None and pod.ip:
                database.at(name, pod.ip, PORT)
        if (vip := self._vip(cluster)) is not None:
            database.at(VIP, *vip)

    def _vip(self, cluster: PgCluster) -> tuple[str, int] | None:
        """The address of a service that leads to the primary."""
        for vip in database_vips(self._world, cluster, writes=True):
            ports = vip.service.ports if vip.service is not None else ()
            if vip.address:
                return vip.address, ports[0].port if ports else PORT
        return None

    def _sql_of(self, name: str) -> Callable[[], Awaitable[SqlStatus]]:
        async def ask() -> SqlStatus:
            if self._database is None:
                raise Misconfigured(self._unready or "no SQL yet")
            return await self._database.status(name, deadline_s=DEADLINE_S, anew=name == VIP)  # where it leads new clients now

        return ask

    def _manager_of(self, cluster: PgCluster, name: str) -> Callable[[], Awaitable[ManagerStatus]]:
        async def ask() -> ManagerStatus:
            kube = self._kube()
            if kube is None:
                raise Unreachable("the Kubernetes client is not ready")
            return await kube.pg_status(cluster.namespace, name, deadline_s=DEADLINE_S)

        return ask

    async def _lease(self, cluster: PgCluster) -> None:
        """The Lease of the primary (operator 1.30 and later), and the failover quorum where the Cluster wants one."""
        kube = self._kube()
        if kube is None or not self._line.up:
            return
        held = self._seen_renewed(await self._asked("lease", self._primary_lease(kube, cluster)))
        stays = isinstance(held, Unknown) and held.kind not in _OPERATOR_ACTS and isinstance(self._world.pg_lease, Known)
        fields: dict[str, Any] = {} if stays else {"pg_lease": held}  # the last answer stays, and ages
        if cluster.synchronous is not None and cluster.synchronous.quorum:
            fields["pg_quorum"] = await self._asked("quorum", self._quorum(kube, cluster))
        self._builder.database(False, **fields)

    def _seen_renewed(self, found: Reading[PrimaryLease | None]) -> Reading[PrimaryLease | None]:
        """With the moment after which it was renewed for certain: the look before the one that found it renewed."""
        before = self._world.pg_lease
        if not isinstance(found, Known) or not isinstance(before, Known) or found.value is None or before.value is None:
            return found
        same = (before.value.holder, before.value.renewed) == (found.value.holder, found.value.renewed)
        return replace(found, value=replace(found.value, after=before.value.after if same else before.as_of))

    @staticmethod
    async def _primary_lease(kube: Kube, cluster: PgCluster) -> PrimaryLease | None:
        held = await kube.lease(cluster.namespace, cluster.name, deadline_s=DEADLINE_S)
        return PrimaryLease(held.holder, held.renewed, held.duration_s) if held is not None else None

    @staticmethod
    async def _quorum(kube: Kube, cluster: PgCluster) -> FailoverQuorum | None:
        try:
            found: FailoverQuorum = await kube.read(PG_QUORUMS, cluster.name, cluster.namespace, deadline_s=DEADLINE_S)
        except NotFound:
            return None
        return found

    async def _asked(self, source: str, work: Awaitable[T]) -> Reading[T]:
        try:
            return Known(await within(work, DEADLINE_S + 0.3), source, self._clock.now())
        except (ColdError, TimeoutError) as error:
            return _unknown(source, error)

    async def _besides(self) -> None:
        """The Lease; sessions and databases of the primary while somebody looks at them."""
        try:
            await self._beside()
        finally:
            self._size_no_more()

    async def _beside(self) -> None:
        shown = False
        while True:
            await happens(self._turned, self._period_s if self._cluster() is not None else self._pace.pg_look_s)
            self._turned.clear()
            cluster, database = self._cluster(), self._database
            if (cluster is None and not self._source.named) or database is None:
                continue
            try:
                if cluster is not None:
                    await self._lease(cluster)
                if self._looked_at(SESSIONS):
                    shown = True
                    self._size(database)
                    await self._activity(database)
                elif shown:
                    self._size_no_more()
                    shown = False
                    self._builder.database(False, pg_sessions=NOT_SHOWN, pg_progress=NOT_SHOWN, pg_databases=NOT_SHOWN, pg_tables=Map())
            except Exception as error:
                log.error("sessions: fault of this program, tried again", exc_info=error)

    async def _activity(self, database: Database) -> None:
        primary = self._primary()
        if not primary:
            reason, self._databases_at = self._no_primary(), float("-inf")
            self._builder.database(True, pg_sessions=reason, pg_progress=reason, pg_databases=reason)
            return
        sessions = await self._read(database.sessions(primary), DEADLINE_S)
        self._builder.database(True, pg_sessions=sessions)
        self._activity_known = isinstance(sessions, Known)
        self._builder.database(True, pg_progress=await self._read(database.progress(primary), DEADLINE_S))

    # --- databases and their tables: sizes of large ones take seconds, for which neither sessions nor a part that shows none wait

    def _size(self, database: Database) -> None:
        """Begin to read them, if somebody looks at them and it is time."""
        if self._looked_at(SIZES, TABLES) and (self._sizing is None or self._sizing.done()):
            self._sizing = asyncio.create_task(self._sizes(database), name="live databases")
            self._sizing.add_done_callback(_told)

    def _size_no_more(self) -> None:
        self._databases_at = self._tables_at = float("-inf")
        if self._sizing is not None:
            self._sizing.cancel()
            self._sizing = None

    async def _sizes(self, database: Database) -> None:
        primary = self._primary()
        if not primary:
            return  # why is said with the sessions
        if self._clock.monotonic() - self._databases_at >= self._pace.pg_idle_s:
            self._databases_at = self._clock.monotonic()
            self._builder.database(True, pg_databases=await self._read(database.databases(primary), 5.0))
        if self._looked_at(TABLES) and self._clock.monotonic() - self._tables_at >= TABLES_S:
            self._tables_at = self._clock.monotonic()
            await self._tables(database, primary)

    async def _tables(self, database: Database, primary: str) -> None:
        """Of the largest databases, all at once: one that hangs delays no other."""
        found = self._world.pg_databases
        if not isinstance(found, Known):
            self._tables_at = float("-inf")
            return
        names = [d.name for d in sorted(found.value, key=lambda d: -(d.size_b or 0))][:MOST_DATABASES]
        told = await asyncio.gather(
            *(self._read(database.tables(primary, name, most=MOST_TABLES, deadline_s=DEADLINE_S), DEADLINE_S) for name in names)
        )
        self._builder.database(True, pg_tables=Map(zip(names, told, strict=True)))

    async def _read(self, work: Awaitable[T], limit_s: float) -> Reading[T]:
        try:
            return Known(await within(work, limit_s + 0.3), "sql", self._clock.now())
        except (ColdError, TimeoutError) as error:
            return _unknown("sql", error)


def _told(task: asyncio.Task[None]) -> None:
    """A fault in it ends nothing else."""
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("%s: fault of this program, tried again", task.get_name(), exc_info=error)


def _is_primary(found: Value) -> bool:
    if isinstance(found, SqlStatus):
        return not found.in_recovery
    return found.is_primary and not found.might_be_unavailable  # a fenced server does not run


def _unknown(source: str, error: BaseException) -> Unknown:
    return Unknown(source, _reason(error), trouble_of(error).kind)


def _reason(error: BaseException) -> str:
    """What is missing, with its remedy where the operator has to act."""
    trouble = trouble_of(error)
    words = trouble.words.partition(": {")[0]  # a proxy's refusal comes as a document
    return f"{words} · {trouble.hint}" if trouble.hint and trouble.kind in _OPERATOR_ACTS else words
