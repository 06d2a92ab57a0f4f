"""Runs: their rows, and what may happen to them."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import fields
from datetime import datetime
from typing import Any

from ...domain.errors import JournalTrouble, Locked, NotFound, Refused
from ...domain.runs import LOST_AFTER, Run, RunSite, RunState, Who, cancelling, lost
from ...domain.text import counted, one_of, plain
from .values import UNREADABLE, dumped, loaded, number, stamp, stamp_or_none, text, when, when_or_none

_FIXED = ("id", "created", "operation", "title", "object", "params", "plan", "digest", "rung", "reason", "who", "site", "locks")
_MOVING = (
    "state", "started", "ended", "outcome", "step", "steps", "runner_pid", "runner_host", "beat", "cancel_by", "cancel_at", "after_boot", "attempts",
)  # fmt: skip
_SELECT = (
    "SELECT "
    + ", ".join([f"runs.{name}" for name in _FIXED] + [f"standing.{name}" for name in _MOVING])
    + " FROM runs JOIN standing ON standing.run = runs.id "
)
_JSON: dict[str, Any] = {
    "params": dict[str, Any], "plan": dict[str, Any], "who": Who, "site": RunSite, "locks": tuple[str, ...], "steps": tuple[str, ...],
}  # fmt: skip
_TIMES = {"created": when, "started": when_or_none, "ended": when_or_none, "beat": when_or_none, "cancel_at": when_or_none}
_NUMBERS = frozenset({"rung", "step", "runner_pid", "attempts"})
SHORTEST_PREFIX = 4


def insert(db: sqlite3.Connection, run: Run) -> None:
    """A confirmed run with its locks. Raises Locked when one is held, Refused when there is a run of this id."""
    if db.execute("SELECT 1 FROM runs WHERE id = ?", (plain(run.id),)).fetchone():
        raise Refused(f"there is a run {plain(run.id)} already", hint="confirm again: it gets another id")
    for lock in run.locks:
        _free(db, plain(lock), run.created)
    _insert_into(db, "runs", {name: _column(run, name) for name in _FIXED})
    _insert_into(db, "standing", {"run": plain(run.id), **{name: _column(run, name) for name in _MOVING}})
    db.executemany(
        "INSERT INTO locks(name, run, since) VALUES (?, ?, ?)", [(plain(x), plain(run.id), stamp(run.created)) for x in run.locks]
    )


def _insert_into(db: sqlite3.Connection, table: str, row: dict[str, Any]) -> None:
    db.execute(f"INSERT INTO {table}({', '.join(row)}) VALUES ({', '.join('?' * len(row))})", tuple(row.values()))


def _column(run: Run, name: str) -> Any:
    value = getattr(run, name)
    if name in ("who", "site"):
        return dumped({f.name: getattr(value, f.name) for f in fields(value)})
    if name in _JSON:
        return dumped(value)
    if name in _TIMES:
        return stamp_or_none(value)
    return int(value) if name in _NUMBERS else plain(value)


def _free(db: sqlite3.Connection, lock: str, now: datetime) -> None:
    """Raises Locked: who holds it, what it does, since when, and what can be done."""
    row = db.execute("SELECT run, since FROM locks WHERE name = ?", (lock,)).fetchone()
    if row is None:
        return
    id, since = text(row[0]), str(row[1])[11:19]
    try:
        run = decoded(db.execute(_SELECT + "WHERE runs.id = ?", (id,)).fetchone())
    except UNREADABLE:
        raise Locked(f"{lock} is held by run {id}, since {since}Z", holder=id, hint=f"coldtui run cancel {id}") from None
    if lost(run, now):
        hint = f"its runner is lost: coldtui run resume {id}, or coldtui run cancel {id}"
    else:
        hint = f"wait for it: coldtui run follow {id}; {cancelling(lock, id)}"
    raise Locked(f"{lock} is held by {run.title}", holder=id, detail=f"run {id} of {run.who}, since {run.created:%H:%M:%S}Z", hint=hint)


def decoded(row: Sequence[Any] | None) -> Run:
    """Raises what is in UNREADABLE."""
    if row is None:
        raise KeyError("no row")
    made: dict[str, Any] = {}
    for name, raw in zip(_FIXED + _MOVING, row, strict=True):
        if name in _JSON:
            made[name] = loaded(raw, _JSON[name])
        elif name in _TIMES:
            made[name] = _TIMES[name](raw)
        else:
            made[name] = number(raw) if name in _NUMBERS else text(raw)
    made["state"] = RunState(made["state"])
    return Run(**made)


def listed(db: sqlite3.Connection, active: bool | None, limit: int) -> tuple[list[Run], list[str]]:
    """(runs, newest first; ids of those that cannot be read)."""
    where = "" if active is None else f"WHERE standing.ended IS {'' if active else 'NOT '}NULL "
    found, bad = [], []
    for row in db.execute(_SELECT + where + "ORDER BY runs.created DESC, runs.id DESC LIMIT ?", (limit,)):
        try:
            found.append(decoded(row))
        except UNREADABLE:
            bad.append(plain(str(row[0])))
    return found, bad


def one(db: sqlite3.Connection, id: str) -> Run:
    """By its id. Raises NotFound, JournalTrouble."""
    row = db.execute(_SELECT + "WHERE runs.id = ?", (plain(id),)).fetchone()
    if row is None:
        raise unknown(db, id)
    try:
        return decoded(row)
    except UNREADABLE:
        raise JournalTrouble(f"run {plain(id)} cannot be read", detail="its row in the journal makes no sense") from None


def find(db: sqlite3.Connection, id: str) -> Run:
    """By its id, or by the beginning of it if that is unique. Raises NotFound, JournalTrouble."""
    id = plain(id)
    if len(id) >= SHORTEST_PREFIX and not db.execute("SELECT 1 FROM runs WHERE id = ?", (id,)).fetchone():
        rows = db.execute("SELECT id FROM runs WHERE substr(id, 1, ?) = ? ORDER BY id DESC LIMIT 4", (len(id), id)).fetchall()
        if len(rows) == 1:
            return one(db, rows[0][0])
        if rows:
            names = ", ".join(plain(str(row[0])) for row in rows[:3]) + (", ..." if len(rows) > 3 else "")
            raise NotFound(f"{id} is the beginning of several runs", hint=f"give more of it: {names}")
    return one(db, id)


def unknown(db: sqlite3.Connection, id: str) -> NotFound:
    newest = [plain(str(row[0])) for row in db.execute("SELECT id FROM runs ORDER BY created DESC LIMIT 500")]
    near = one_of(newest, plain(id)) or (newest[0] if newest else "")
    if not near:
        return NotFound(f"there is no run {plain(id)}", hint="the journal has no runs")
    return NotFound(f"there is no run {plain(id)}", hint=f"the nearest is {near}; all: coldtui run list")


def holder(db: sqlite3.Connection, lock: str) -> Run | None:
    row = db.execute("SELECT run FROM locks WHERE name = ?", (plain(lock),)).fetchone()
    return None if row is None else one(db, row[0])


def take_up(db: sqlite3.Connection, id: str, pid: int, host: str, steps: Sequence[str], now: datetime, gone: int = 0) -> Run:
    """A cancel that was asked for still holds. `gone`: a process of this host that is no more. Raises NotFound, Refused."""
    run = one(db, id)
    if run.state.ended:
        raise has_ended(run)
    another = run.runner_host != plain(host) or run.runner_pid not in (pid, gone)
    if another and run.beat is not None and now - run.beat <= LOST_AFTER:
        age = max(0.0, (now - run.beat).total_seconds())
        raise Refused(
            f"run {run.id} has a runner already",
            detail=f"process {run.runner_pid} on {run.runner_host}, heard of {age:.0f} s ago",
            hint=f"follow it: coldtui run follow {run.id}",
        )
    db.execute(
        "UPDATE standing SET attempts = attempts + 1, state = ?, started = coalesce(started, ?), beat = ?, runner_pid = ?, runner_host = ?,"
        " after_boot = '', outcome = '', steps = ? WHERE run = ?",
        (_under_way(run, RunState.RUNNING), stamp(now), stamp(now), pid, plain(host), dumped(list(steps or run.steps)), run.id),
    )
    return one(db, run.id)


def set_state(
    db: sqlite3.Connection, id: str, state: RunState, outcome: str, steps: Sequence[str] | None, after_boot: str | None, now: datetime
) -> None:
    """The first end stands. Raises NotFound, Refused when a run that has ended is to go on."""
    run = one(db, id)
    if run.state.ended:
        if state.ended:
            return
        raise has_ended(run)
    db.execute(
        "UPDATE standing SET state = ?, outcome = ?, ended = ?, steps = ?, after_boot = ? WHERE run = ?",
        (
            state if state.ended else _under_way(run, state),
            plain(outcome),
            stamp(now) if state.ended else None,
            dumped(list(run.steps if steps is None else steps)),
            run.after_boot if after_boot is None else plain(after_boot),
            run.id,
        ),
    )
    if state.ended:
        db.execute("DELETE FROM locks WHERE run = ?", (run.id,))


def _under_way(run: Run, state: RunState) -> RunState:
    """A run that was asked to stop stays so until it has."""
    return RunState.STOPPING if run.cancel_by else state


def beat(db: sqlite3.Connection, id: str, now: datetime) -> None:
    """Raises NotFound."""
    if not db.execute("UPDATE standing SET beat = ? WHERE run = ?", (stamp(now), plain(id))).rowcount:
        raise unknown(db, id)


def ask_cancel(db: sqlite3.Connection, id: str, by: str, now: datetime) -> None:
    """Who asked first stays. Raises NotFound, Refused."""
    run = one(db, id)
    if run.state.ended:
        raise has_ended(run)
    if not run.cancel_by:
        db.execute(
            "UPDATE standing SET cancel_by = ?, cancel_at = ?, state = ? WHERE run = ?",
            (plain(by) or "somebody", stamp(now), RunState.STOPPING, run.id),
        )


def has_ended(run: Run) -> Refused:
    at = f" at {run.ended:%H:%M:%S}Z" if run.ended is not None else ""
    return Refused(f"run {run.id} has ended: {run.state}{at}", detail=run.outcome, hint=f"look at it: coldtui run show {run.id}")


def skipped(n: int, one: str, many: str) -> str:
    """What is said of rows that make no sense."""
    return f"{counted(n, one, many)} of the journal cannot be read and {'is' if n == 1 else 'are'} left out" if n else ""
