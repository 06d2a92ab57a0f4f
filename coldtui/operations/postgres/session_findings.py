"""What is worth knowing of a session before its query or itself is ended. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from ...domain.plans import Finding, Outlook, Weight
from ...domain.sessions import Session
from ...domain.text import counted
from ...present.words import duration

OURS = "coldtui"
"""application_name of this program's connections."""
QUERY_CUT, SHOWN = 120, 4


def longest(sessions: tuple[Session, ...], now: datetime) -> str:
    """`longest transactions: 4711 (anna, 12m), ...`."""
    found = sorted((s for s in sessions if s.transaction_at is not None and not _ours(s)), key=lambda s: (s.transaction_at or now, s.pid))
    told = [f"{s.pid} ({s.user or s.kind}, {_age(s.transaction_at, now)})" for s in found[:SHOWN]]
    return f"longest transactions: {', '.join(told)}" if told else "coldtui postgres sessions lists them"


def blocked_through(session: Session, sessions: tuple[Session, ...]) -> tuple[Session, ...]:
    """Who waits for it, also through others; the nearest first."""
    found: dict[int, Session] = {}
    ring = {session.pid}
    while ring:
        waiting = [s for s in sessions if s.pid not in found and s.pid != session.pid and ring & set(s.blocked_by)]
        found |= {s.pid: s for s in waiting}
        ring = {s.pid for s in waiting}
    return tuple(found.values())


def roots_of(session: Session, sessions: tuple[Session, ...]) -> tuple[Session, ...]:
    """Whom it waits for in the end: those that block it, themselves waiting for nobody."""
    by_pid, seen, found = {s.pid: s for s in sessions}, {session.pid}, []
    ahead = list(session.blocked_by)
    while ahead:
        pid = ahead.pop(0)
        other = by_pid.get(pid)
        if pid in seen or other is None:
            continue
        seen.add(pid)
        if other.blocked_by:
            ahead += other.blocked_by
        else:
            found.append(other)
    return tuple(found)


def _finding(session: Session, code: str, sentence: str, weight: Weight = Weight.NOTE, remedy: str = "") -> Finding:
    outlook = Outlook.REFUSED if weight is Weight.STOP else Outlook.GO
    return Finding(f"session.{code}", weight, sentence, f"sessions/{session.pid}", remedy, outlook)


def cancel_findings(s: Session, sessions: tuple[Session, ...], now: datetime) -> tuple[Finding, ...]:
    """Gravest first. `sessions`: all of the server, for who waits for whom."""
    return _ranked([*_told(s, sessions, now), *_of_cancel(s)])


def terminate_findings(s: Session, sessions: tuple[Session, ...], now: datetime) -> tuple[Finding, ...]:
    """Likewise."""
    return _ranked([*_told(s, sessions, now), *_of_terminate(s, now)])


def _ranked(findings: list[Finding]) -> tuple[Finding, ...]:
    return tuple(sorted(findings, key=lambda f: -int(f.weight)))


def _told(s: Session, sessions: tuple[Session, ...], now: datetime) -> Iterator[Finding]:
    """Who it is, what it does, whom it blocks."""
    if _ours(s):
        yield _finding(
            s, "ours", f"{s.pid} is a session of coldtui", Weight.STOP, "end its run instead: coldtui runs, coldtui run cancel ID"
        )
    where = f" from {s.address}" if s.address else ""
    yield _finding(s, "who", f"{s.pid} is {s.user or s.kind} on {s.database or 'no database'}{where}, {s.application or 'unnamed'}")
    if not s.state and s.kind in ("", "client backend"):
        sentence = f"what {s.pid} does: not evaluated, this login may not see it"
        yield Finding(
            "session.unseen", Weight.WARNING, sentence, f"sessions/{s.pid}", "grant pg_monitor to the login", Outlook.NOT_EVALUATED
        )
    else:
        transaction = f", transaction open for {_age(s.transaction_at, now)}" if s.transaction_at is not None else ""
        since = f" for {_age(s.state_at, now)}" if s.state_at is not None else ""
        yield _finding(s, "state", f"{s.pid} is {s.state or s.kind}{since}{transaction}")
    if s.query:
        yield _finding(s, "query", f"{'query' if s.state == 'active' else 'last query'}: {cut(s.query)}")
    waiting = blocked_through(s, sessions)
    if waiting:
        yield _finding(
            s, "blocks", f"{counted(len(waiting), 'session')} wait{'s' if len(waiting) == 1 else ''} for it: {_names(waiting, now)}"
        )
    else:
        yield _finding(s, "blocks-none", f"no session waits for {s.pid}", Weight.GOOD)
    if roots := roots_of(s, sessions):
        who = ", ".join(f"{root.pid} ({root.user or root.kind}, {root.state or 'not shown'})" for root in roots)
        yield _finding(s, "waits", f"{s.pid} waits itself for {who}", remedy="who waits for it may go on waiting for that one")


def _names(waiting: tuple[Session, ...], now: datetime) -> str:
    told = [f"{s.pid} ({s.user or s.kind}, {_age(s.query_at, now)}: {cut(s.query, 40)})" for s in waiting[:SHOWN]]
    return ", ".join(told) + (f" and {len(waiting) - SHOWN} more" if len(waiting) > SHOWN else "")


def _of_cancel(s: Session) -> Iterator[Finding]:
    end = f"end the session instead: coldtui postgres terminate {s.pid}"
    if s.kind == "walsender":
        yield _finding(s, "walsender", f"{s.pid} sends WAL to {s.application or 'a standby'}: it has no query to cancel", Weight.STOP)
    elif s.state.startswith("idle"):
        yield _finding(s, "idle", f"{s.pid} is {s.state}: it runs no query, cancelling does nothing", Weight.STOP, end)
    elif s.kind == "autovacuum worker":
        yield from _of_autovacuum(s)
    elif s.query_at is None:
        yield _finding(
            s, "unknown-query", f"what {s.pid} runs cannot be seen, nor whether it ended", Weight.STOP, "grant pg_monitor to the login"
        )
    elif s.transaction_at is not None and s.transaction_at < s.query_at:
        yield _finding(s, "fails", "its transaction fails with the query, and holds its locks until the client rolls it back", remedy=end)


def _of_terminate(s: Session, now: datetime) -> Iterator[Finding]:
    if s.kind == "walsender":
        sentence = f"{s.pid} sends WAL to {s.application or 'a standby'}: replication stops until it connects again"
        yield _finding(s, "walsender", sentence, Weight.WARNING, "look at the standby first: it falls behind meanwhile")
    elif s.kind == "autovacuum worker":
        yield from _of_autovacuum(s)
    elif s.transaction_at is not None:
        yield _finding(
            s, "rolled-back", f"its transaction of {_age(s.transaction_at, now)} is rolled back, and its client loses the connection"
        )


def _of_autovacuum(s: Session) -> Iterator[Finding]:
    if "wraparound" in s.query:
        yield _finding(s, "wraparound", f"{s.pid} vacuums to prevent wraparound of transaction ids", Weight.WARNING, "let it end")
    else:
        yield _finding(s, "autovacuum", f"{s.pid} is an autovacuum worker: the server starts it again by itself")


def _ours(s: Session) -> bool:
    return s.application == OURS


def cut(query: str, most: int = QUERY_CUT) -> str:
    """On one line."""
    line = " ".join(query.split())
    return line if len(line) <= most else f"{line[: most - 1]}…"


def _age(since: datetime | None, now: datetime) -> str:
    return duration(max(timedelta(0), now - since)) if since is not None else "?"
