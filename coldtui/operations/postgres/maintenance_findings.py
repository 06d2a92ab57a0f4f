"""What must hold before tables are maintained, and what it will cost. Pure; each finding with its numbers."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from ...domain.nodes import VolumeFill
from ...domain.plans import Finding, Outlook, Weight
from ...domain.readings import Known, Reading, Unknown
from ...domain.runs import Run
from ...domain.sessions import Progress, Session, TableFacts
from ...domain.text import counted
from ...domain.values import dataclass
from ...present.words import duration, percent, size
from .servers import Servers
from .session_findings import cut

LONG = timedelta(minutes=1)
"""A transaction that is open for longer is named."""
SHOWN = 5
COPIES = ("vacuum-full", "reindex")
"""What makes a copy before it removes the old."""
ROLE_CHANGES = ("postgres.switchover", "postgres.failover")


@dataclass(frozen=True, slots=True)
class MaintenanceFacts:
    kind: str
    database: str
    wanted: tuple[str, ...]
    """`schema.table`; none: the whole database."""
    servers: Servers
    instance: str
    """The primary."""
    tables: Reading[tuple[TableFacts, ...]]
    """Of the database."""
    volume: Reading[VolumeFill]
    """Of the primary's data; read for what needs room."""
    progress: Reading[tuple[Progress, ...]]
    sessions: Reading[tuple[Session, ...]]
    runs: tuple[Run, ...]
    """Under way by this machine's journal."""
    at: datetime

    @property
    def where(self) -> str:
        return f"databases/{self.database}"

    @property
    def chosen(self) -> tuple[TableFacts, ...]:
        """Those that are worked on, as far as they are known."""
        every = self.tables.value if isinstance(self.tables, Known) else ()
        return tuple(t for t in every if not self.wanted or t.shown in self.wanted)


def findings_of(facts: MaintenanceFacts, now: datetime) -> tuple[Finding, ...]:
    """Gravest first."""
    parts = (
        _of_role(facts),
        _of_lock(facts),
        _of_tables(facts, now),
        _of_space(facts),
        _of_invalid(facts),
        _of_others(facts),
        _of_horizon(facts, now),
        _of_wal(facts),
    )
    return tuple(sorted((f for part in parts for f in part), key=lambda f: (-int(f.weight), f.outlook is not Outlook.NOT_EVALUATED)))


def _note(facts: MaintenanceFacts, code: str, sentence: str, weight: Weight = Weight.NOTE, remedy: str = "", object: str = "") -> Finding:
    outlook = Outlook.REFUSED if weight is Weight.STOP else Outlook.GO
    return Finding(f"maintenance.{code}", weight, sentence, object or facts.where, remedy, outlook)


def _blind(facts: MaintenanceFacts, code: str, what: str, reason: str, remedy: str = "") -> Finding:
    return Finding(
        f"maintenance.{code}", Weight.WARNING, f"{what}: not evaluated, {reason}", facts.where, remedy, outlook=Outlook.NOT_EVALUATED
    )


def _of_role(f: MaintenanceFacts) -> Iterator[Finding]:
    yield _note(f, "primary", f"{f.instance} is the primary by its own word", Weight.GOOD)
    if isinstance(f.servers.cluster, Unknown):
        yield _blind(f, "cluster-unread", "whether a switchover is under way", f.servers.cluster.reason)
    elif (c := f.servers.cluster.value).target_primary != c.current_primary:
        what = f"{c.name} changes its primary: from {c.current_primary or 'nobody'} to {c.target_primary or 'nobody'}"
        yield _note(f, "changing", what, Weight.STOP, "wait for its end")
    elif c.current_primary != f.instance:
        yield _note(
            f,
            "disagree",
            f"the Cluster names {c.current_primary} as primary, over SQL it is {f.instance}",
            Weight.STOP,
            "coldtui postgres status",
        )
    for run in f.runs:
        if run.operation in ROLE_CHANGES:
            yield _note(f, "role-run", f"{run.title} is under way: {run.id}", Weight.STOP, "wait for its end", f"runs/{run.id}")


def _of_lock(f: MaintenanceFacts) -> Iterator[Finding]:
    if f.kind == "vacuum-full":
        what = "each table" if len(f.wanted) != 1 else f.wanted[0]
        yield _note(
            f,
            "exclusive",
            f"{what} is locked against reads and writes while it is rewritten (ACCESS EXCLUSIVE)",
            Weight.WARNING,
            "vacuum removes dead rows without that; take a quiet hour",
        )
    elif f.kind == "reindex":
        yield _note(f, "concurrent", "indexes are built beside the old ones (CONCURRENTLY): reads and writes go on")
    else:
        yield _note(f, "shared", "reads and writes go on; changes to the table's definition wait")


def _of_tables(f: MaintenanceFacts, now: datetime) -> Iterator[Finding]:
    if isinstance(f.tables, Unknown):
        yield _blind(f, "tables-unread", f"sizes and dead rows of {f.database}", f.tables.reason)
        return
    for name in f.wanted:
        if name not in {t.shown for t in f.chosen}:
            yield _blind(f, f"table-unread.{name}", f"size and dead rows of {name}", "it is a table of the system")
    found = f.chosen
    if not f.wanted:
        octets, dead = sum(t.size_b or 0 for t in found), sum(t.dead for t in found)
        yield _note(f, "sum", f"{f.database}: {counted(len(found), 'table')}, {size(octets)}, {dead:,} dead rows")
    for t in sorted(found, key=lambda t: -t.dead)[:SHOWN]:
        yield _note(f, "table", _of_table(t, f.kind, now), object=f"tables/{t.key}")


def _of_table(t: TableFacts, kind: str, now: datetime) -> str:
    share = percent(t.dead / (t.live + t.dead)) if t.live + t.dead else "none"
    last, word = (t.analyzed, "analyzed") if kind == "analyze" else (t.vacuumed, "vacuumed")
    when = f"last {word} {duration(max(timedelta(0), now - last))} ago" if last is not None else f"never {word} since the counters began"
    octets = size(t.size_b) if t.size_b is not None else "size not known"
    return f"{t.shown}: {octets}, {t.dead:,} dead of {t.live + t.dead:,} rows ({share}), {when}"


def _of_space(f: MaintenanceFacts) -> Iterator[Finding]:
    """What it will need at the most, the whole largest table. How much of it is bloat nobody counts, so that too little room is no ground to refuse."""
    if f.kind not in COPIES:
        return
    largest = max(f.chosen, key=lambda t: t.size_b or 0, default=None)
    most = (largest.size_b or 0) if largest is not None else 0
    need = f"up to {size(most)}" if most else "the size of the largest table"
    copy = "a whole copy of each table" if f.kind == "vacuum-full" else "a second copy of each index"
    if isinstance(f.volume, Unknown):
        remedy = f"see that {f.instance} has that much: coldtui storage"
        yield _blind(f, "space", f"free disk of {f.instance}, which must hold {copy}, {need}", f.volume.reason, remedy)
        return
    free = max(0, f.volume.value.capacity_b - f.volume.value.used_b)
    room = f"{f.instance} has {size(free)} free of {size(f.volume.value.capacity_b)}"
    if largest is None or not most:
        yield _blind(f, "space", f"whether {copy} fits: {room}", "sizes of the tables are not known")
        return
    if most > free:
        yield _note(f, "space", f"{room}: {copy} takes {need} ({largest.shown})", Weight.WARNING, f"grow the volume of {f.instance} first")
    else:
        yield _note(f, "space", f"{room}: {copy} takes {need}", Weight.GOOD)


def _of_invalid(f: MaintenanceFacts) -> Iterator[Finding]:
    """The server leaves them out of a concurrent reindex."""
    if f.kind != "reindex":
        return
    for t in f.chosen:
        for index in t.invalid:
            what = f"index {index} of {t.shown} is not valid and is left out"
            yield _note(f, "invalid", what, Weight.WARNING, f"DROP INDEX CONCURRENTLY {index}", f"tables/{t.key}")


def _of_others(f: MaintenanceFacts) -> Iterator[Finding]:
    """Work on the same tables: ours waits for it, except that autovacuum makes way."""
    if isinstance(f.progress, Unknown) or isinstance(f.sessions, Unknown):
        yield _blind(f, "others-unread", "work under way on the same tables", _reason(f.progress, f.sessions))
        return
    by_pid = {s.pid: s for s in f.sessions.value}
    names = {t.name for t in f.chosen} or {name.partition(".")[2] for name in f.wanted}
    for work in f.progress.value:
        session = by_pid.get(work.pid)
        query = session.query if session is not None else ""
        same = not f.wanted or not query or any(name in query for name in names)
        if work.database != f.database or not same:
            continue
        auto = session is not None and session.kind == "autovacuum worker" and "wraparound" not in query
        what = f"{work.pid} is at it already: {work.what}, {work.phase}, {percent(work.fraction)}"
        then = "it makes way" if auto else "this waits for its lock on the same table"
        told = f" ({cut(query, 60)})" if query else ""
        yield _note(f, "at-work", f"{what}{told}; {then}", Weight.NOTE if auto else Weight.WARNING, object=f"sessions/{work.pid}")


def _reason(*readings: Reading[tuple[Progress, ...]] | Reading[tuple[Session, ...]]) -> str:
    return next((r.reason for r in readings if isinstance(r, Unknown)), "")


def _of_horizon(f: MaintenanceFacts, now: datetime) -> Iterator[Finding]:
    """Long transactions: vacuum cannot remove what they may still see, and a concurrent reindex waits for them."""
    if f.kind == "analyze":
        return
    if isinstance(f.sessions, Unknown):
        yield _blind(f, "horizon-unread", "transactions that hold back the cleaning", f.sessions.reason)
        return
    status = f.servers.sql.get(f.instance)
    if isinstance(status, Known) and status.value.missing:
        yield _blind(f, "monitor", "transactions of other users", "this login may not see them", "grant pg_monitor to the login")
    effect = "the new indexes wait for its end" if f.kind == "reindex" else "rows that died since cannot be removed"
    for s in f.sessions.value:
        if s.database == f.database and s.transaction_at is not None and now - s.transaction_at >= LONG and s.kind == "client backend":
            what = (
                f"{s.pid} ({s.user or 'unknown'}, {s.state or 'not shown'}) holds a transaction open for {duration(now - s.transaction_at)}"
            )
            yield _note(
                f,
                "horizon",
                f"{what}: {effect}",
                Weight.WARNING,
                f"coldtui postgres terminate {s.pid} ends it",
                f"sessions/{s.pid}",
            )


def _of_wal(f: MaintenanceFacts) -> Iterator[Finding]:
    if f.kind == "analyze":
        return
    status = f.servers.sql.get(f.instance)
    if not isinstance(status, Known) or status.value.current is None:
        return
    current = status.value.current
    told = [f"{s.name} {max(0, current - s.replay):,} bytes behind" for s in status.value.standbys if s.replay is not None]
    standbys = f"; now {', '.join(told)}" if told else ""
    yield _note(f, "wal", f"it writes WAL, so standbys and the archive may fall behind{standbys}")
