"""What the primary does: sessions, and who blocks whom."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta

from coldtui.domain.values import dataclass

from ..domain.memo import Last
from ..domain.pods import Pod
from ..domain.readings import Known, Reading, Unknown
from ..domain.sessions import Session
from ..domain.text import counted
from ..domain.topology import VIP, cluster_of
from ..domain.world import World
from . import words
from .lines import UNKNOWN, Line, pair, two_columns
from .postgres_topology import of
from .rows import Cell, Column, Listing, Row, Tone

LONG = timedelta(minutes=5)
"""A transaction that is older is flagged."""
IDLE_LONG = timedelta(minutes=1)
"""So is one that idles for longer."""
_RESTS = ("Client:", "Activity:")
"""Waits of a process that has nothing to do."""


@dataclass(frozen=True, slots=True)
class Blocked:
    """A session in the tree of who blocks whom."""

    session: Session
    depth: int
    order: int

    @property
    def key(self) -> str:
        return self.session.key


def _by_key(reading: Reading[tuple[Session, ...]]) -> Mapping[str, Session]:
    return {s.key: s for s in reading.value} if isinstance(reading, Known) else {}


_sessions = Last(_by_key)


def sessions_of(world: World) -> Mapping[str, Session]:
    return _sessions(world.pg_sessions)


def transaction_age(s: Session, now: datetime) -> timedelta | None:
    return now - s.transaction_at if s.transaction_at is not None else None


def flagged(s: Session, now: datetime) -> str:
    """`idle in transaction 3m` or `transaction 12m`; empty: nothing to say against it."""
    age = transaction_age(s, now)
    if age is None or s.kind != "client backend":
        return ""
    if s.state.startswith("idle in transaction") and s.state_at is not None and now - s.state_at >= IDLE_LONG:
        return f"idle in transaction {words.age(now - s.state_at)}"
    return f"transaction {words.age(age)}" if age >= LONG else ""


def _state_cell(s: Session, now: datetime) -> Cell:
    if not s.state:
        return Cell("not shown", Tone.STALE)
    tone = Tone.BAD if s.blocked_by else Tone.WARN if flagged(s, now) else Tone.PLAIN if s.state == "active" else Tone.MUTED
    return Cell(s.state.replace("idle in transaction", "idle in tx"), tone)


class _Held(Mapping[int, int]):
    """pid of each that others wait for -> how many do, through others too. Counted when it is asked for: in a queue of hundreds each waits for
    all before it, and only the root's number is shown."""

    def __init__(self, sessions: Mapping[str, Session]) -> None:
        self._waiting: dict[int, set[int]] = {}
        self._counts: dict[int, int] = {}
        for s in sessions.values():
            for pid in s.blocked_by:
                self._waiting.setdefault(pid, set()).add(s.pid)

    def __getitem__(self, pid: int) -> int:
        if pid not in self._waiting:
            raise KeyError(pid)
        if pid not in self._counts:
            self._counts[pid] = len(_behind(self._waiting, pid))
        return self._counts[pid]

    def __contains__(self, pid: object) -> bool:
        return pid in self._waiting

    def __iter__(self) -> Iterator[int]:
        return iter(self._waiting)

    def __len__(self) -> int:
        return len(self._waiting)


def _behind(waiting: Mapping[int, set[int]], pid: int) -> set[int]:
    """Who waits for it at last; in a circle it is not counted itself."""
    found: set[int] = set()
    left = [pid]
    while left:
        new = waiting.get(left.pop(), set()) - found - {pid}
        found |= new
        left.extend(new)
    return found


_holders = Last(_Held)


def held_up(world: World) -> Mapping[int, int]:
    """pid of each session that others wait for -> how many do, through others too."""
    return _holders(sessions_of(world))


def is_root(s: Session, held: Mapping[int, int]) -> bool:
    """It waits for nobody, and others wait for it: ending it helps all."""
    return not s.blocked_by and s.pid in held


def waits_for(s: Session) -> str:
    """`21286`, `a prepared transaction`."""
    return ", ".join(str(pid) if pid else "a prepared transaction" for pid in s.blocked_by)


def waits(s: Session) -> str:
    """`Lock: transactionid`; empty: for nothing, or only for its client."""
    return "" if s.wait.startswith(_RESTS) else s.wait


def _wait_cell(s: Session, held: Mapping[int, int]) -> Cell:
    """Who is at the root of it, whom it waits for, else what for."""
    if is_root(s, held):
        return Cell(f"{words.GLYPHS['bad']} ROOT, holds up {held[s.pid]}", Tone.BAD)
    if s.blocked_by:
        return Cell(f"for {waits_for(s)}", Tone.WARN)
    return Cell(waits(s), Tone.WARN if s.wait.startswith("Lock") else Tone.MUTED)


def _cells(s: Session, held: Mapping[int, int], now: datetime, lead: str = "") -> tuple[Cell, ...]:
    age = transaction_age(s, now)
    return (
        Cell(f"{lead}{s.pid}", Tone.STRONG),
        Cell(s.user or s.kind, Tone.PLAIN if s.user else Tone.MUTED),
        _state_cell(s, now),
        Cell(words.age(age) if age is not None else "", Tone.WARN if flagged(s, now) else Tone.PLAIN),
        _wait_cell(s, held),
        Cell(" ".join(s.query.split()), Tone.PLAIN if s.state == "active" else Tone.MUTED),
        Cell(s.database or UNKNOWN, Tone.MUTED),
        Cell(s.address or "", Tone.MUTED),
    )


_COLUMNS: tuple[Column, ...] = (
    Column("pid", "PID", 10, sort_key="E"),
    Column("user", "USER", 10, grow=1, sort_key="U"),
    Column("state", "STATE", 11, sort_key="S"),
    Column("tx", "TX", 5, right=True, sort_key="T"),
    Column("wait", "WAIT", 14, grow=1),
    Column("query", "QUERY", 18, grow=5),
    Column("database", "DATABASE", 10, priority=1),
    Column("address", "CLIENT", 13, priority=2),
)


def _session_row(world: World, s: Session, now: datetime) -> Row:
    return Row(s.key, _cells(s, held_up(world), now))


def _start(s: Session) -> float:
    return s.transaction_at.timestamp() if s.transaction_at is not None else float("inf")


SESSIONS: Listing[Session] = Listing(
    noun="sessions",
    title="Sessions of the primary",
    sources=("pg_clusters",),
    columns=_COLUMNS,
    items=sessions_of,
    row=_session_row,
    sorts={
        "tx": lambda world, s: (not is_root(s, held_up(world)), not s.blocked_by, s.kind != "client backend", _start(s), s.pid),
        "pid": lambda world, s: s.pid,
        "user": lambda world, s: (s.user, s.pid),
        "state": lambda world, s: (s.state != "active", s.state, s.pid),
    },
    default_sort="tx",
    text=lambda s: f"{s.pid} {s.user} {s.database} {s.application} {s.state} {s.wait} {s.query}",
    trouble=lambda world, s, now: bool(s.blocked_by or s.pid in held_up(world) or flagged(s, now)),
)


def tree(sessions: Mapping[str, Session]) -> dict[str, Blocked]:
    """Those that block or are blocked: each root first, who waits for it below. A circle is walked once."""
    ordered = sorted(sessions.values(), key=_start)
    waiting: dict[int, list[Session]] = {}
    for s in ordered:
        for pid in s.blocked_by:
            waiting.setdefault(pid, []).append(s)
    found: dict[str, Blocked] = {}
    met: set[int] = set()

    def walk(root: Session) -> None:
        levels = [iter((root,))]  # no recursion: a queue is as deep as the server has connections
        while levels:
            if (s := next(levels[-1], None)) is None:
                levels.pop()
            elif s.pid not in met:
                met.add(s.pid)
                found[s.key] = Blocked(s, len(levels) - 1, len(found))
                levels.append(iter(waiting.get(s.pid, ())))

    for s in ordered:
        if s.pid in waiting and not s.blocked_by:
            walk(s)
    for s in ordered:
        if s.blocked_by:
            walk(s)  # of a circle, or whose blocker is not shown
    return found


_tree = Last(tree)


def root_of(sessions: Mapping[str, Session], s: Session) -> Session:
    """Who blocks those that block it; itself where nobody does, or in a circle."""
    by_pid, met = {x.pid: x for x in sessions.values()}, {s.pid}
    while (up := next((by_pid[pid] for pid in s.blocked_by if pid in by_pid), None)) is not None and up.pid not in met:
        met.add(up.pid)
        s = up
    return s


def _lock_row(world: World, b: Blocked, now: datetime) -> Row:
    return Row(b.key, _cells(b.session, held_up(world), now, "  " * (b.depth - 1) + "└ " if b.depth else ""))


LOCKS: Listing[Blocked] = Listing(
    noun="locks",
    title="Who blocks whom",
    sources=("pg_clusters",),
    columns=tuple(Column(c.id, c.title, c.width, c.grow, c.right, c.priority) for c in _COLUMNS),
    items=lambda world: _tree(sessions_of(world)),
    row=_lock_row,
    sorts={"pid": lambda world, b: b.order},
    default_sort="pid",
    text=lambda b: f"{b.session.pid} {b.session.user} {b.session.query}",
    trouble=lambda world, b, now: True,
)


def session_low(world: World, s: Session, now: datetime, cells: int) -> tuple[Line, ...]:
    """The same for a box that is wide and low: what it does, then who it is."""
    *about, _, query = session_lines(world, s, now)
    return (query, *two_columns(about[::-1], cells))


def session_lines(world: World, s: Session, now: datetime) -> tuple[Line, ...]:
    """The pane of a session: its whole query, since when, and whom it waits for."""
    lines = [
        pair("Session", f"{s.pid} since {words.stamp(s.started)}", cells=12),
        pair("Who", f"{s.user or s.kind} {s.application} {s.address}".strip(), cells=12),
        pair("Database", s.database or UNKNOWN, cells=12),
        pair("State", s.state or "not shown: needs pg_monitor", cells=12),
    ]
    if said := flagged(s, now):
        lines.append(pair("Flag", said, Tone.WARN, cells=12))
    if told := waits(s):
        lines.append(pair("Waits for", told, cells=12))
    if s.blocked_by:
        lines.append(pair("Blocked by", waits_for(s), Tone.BAD, cells=12))
    if count := held_up(world).get(s.pid):
        lines.append(pair("Holds up", f"{counted(count, 'session')}{', waits for nobody' if not s.blocked_by else ''}", Tone.BAD, cells=12))
    if s.state.startswith("idle") and s.state_at is not None:
        lines.append(pair("Last query", f"ended {words.age(now - s.state_at)} ago", cells=12))
    elif s.query_at is not None:
        lines.append(pair("Query for", words.age(now - s.query_at), cells=12))
    return (*lines, (), (Cell(s.query),))


# ---------------------------------------------------------------- why there is less than there is


def lacking(world: World, now: datetime) -> str:
    """What these lists leave out or why they are not told, with the remedy; empty: they are whole."""
    lead = of(world, now).lead
    if lead is not None and isinstance(lead.sql, Known) and any(grant.startswith("pg_monitor") for grant in lead.sql.value.missing):
        return "other users' sessions are not shown: GRANT pg_monitor"
    return unreached(world)


def unreached(world: World) -> str:
    """That servers are tried at their pods' addresses and none is reached from here; empty: another trouble, or none."""
    c = cluster_of(world)
    told = {name: r for name, r in world.pg_sql.items() if name != VIP}
    if c is None or not told:
        return ""
    pods = {name: world.pods.items.get(f"{c.namespace}/{name}") for name in told}
    away = all(isinstance(r, Unknown) and r.kind in ("timeout", "lost") and _at(pods[name], r) for name, r in told.items())
    return "pods are not reached from here: set postgres.instances" if away else ""


def _at(pod: Pod | None, reading: Unknown) -> bool:
    """Whether it was tried at the pod's own address."""
    return pod is not None and bool(pod.ip) and f"({pod.ip}:" in reading.reason
