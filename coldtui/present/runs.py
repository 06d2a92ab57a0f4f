"""Runs as rows, sentences and JSON: how each stands, and where else that is told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from ..domain.runboard import Health, RunBoard, health, place, problems_of
from ..domain.runs import Run
from ..domain.runs import lost as silent
from ..domain.world import World
from . import words
from .lines import Ago, Line, cut_line, pad
from .rows import Cell, Column, Listing, Row, Tone

_HEALTH = {
    Health.STARTING: ("part", Tone.ACCENT),
    Health.RUNNING: ("part", Tone.ACCENT),
    Health.WAITING: ("part", Tone.WARN),
    Health.STOPPING: ("part", Tone.WARN),
    Health.LOST: ("bad", Tone.BAD),
    Health.AFTER_BOOT: ("off", Tone.WARN),
    Health.DONE: ("done", Tone.GOOD),
    Health.FAILED: ("failed", Tone.BAD),
    Health.REFUSED: ("failed", Tone.WARN),
    Health.CANCELLED: ("off", Tone.PLAIN),
    Health.PARTIAL: ("bad", Tone.WARN),
}


def spent(span: timedelta) -> str:
    """How long something took: `<0.1 s`, `0.3 s`, `51.0 s`, `2m10s`."""
    seconds = max(0.0, span.total_seconds())
    if seconds < 0.05:
        return "<0.1 s"
    return f"{seconds:.1f} s" if seconds < 60 else words.duration(span)


def day_or_clock(moment: datetime, now: datetime) -> str:
    """`14:02Z` within a day, else `11-23`."""
    return words.clock(moment) if now - moment < timedelta(hours=20) else f"{moment:%m-%d}"


# ------------------------------------------------------------ how a run stands


def state_cell(board: RunBoard, run: Run, now: datetime) -> Cell:
    """`◐ running`, `▲ runner lost`, `✓ done`."""
    found = health(run, board, now)
    glyph, tone = _HEALTH[found]
    return Cell(f"{words.GLYPHS[glyph]} {found.value}", Tone.STALE if run.active and board.trouble is not None else tone)


def step_text(run: Run) -> str:
    """`2/3`; empty before the first step."""
    total = len(run.steps)
    return f"{min(run.step + 1, total)}/{total}" if total and run.step >= 0 else f"0/{total}" if total and run.active else ""


def took(run: Run, now: datetime) -> timedelta | None:
    """From its first act to its end, or until now, or until its runner was last heard of."""
    if run.started is None:
        return None
    return (run.ended or heard(run, now)) - run.started


def heard(run: Run, now: datetime) -> datetime:
    """Now; of a run whose runner is silent the moment up to which anything is known."""
    return run.beat if run.beat is not None and silent(run, now) else now


def _took_text(run: Run, now: datetime, ago: Ago) -> str:
    span = took(run, now)
    if span is None:
        return ""
    return ago(span) if run.active else spent(span)


def end_words(run: Run) -> str:
    """How it ended, its state said once: `done in 2.1 s`, `partial: out of time; ...`."""
    if not run.outcome or run.outcome.startswith(run.state.value):
        return run.outcome or run.state.value
    return f"{run.state.value}: {run.outcome}"


def outcome_text(board: RunBoard, run: Run, now: datetime, ago: Ago = words.age) -> str:
    """What to know of it in a sentence: where it is, what it waits for, how it ended."""
    match health(run, board, now):
        case Health.LOST:
            return f"runner lost at {place(run)}"
        case Health.AFTER_BOOT:
            return "to be resumed after the boot"
        case Health.WAITING:
            wait = board.waits.get(run.id)
            return f"{wait.text} ({ago(now - wait.since)})" if wait is not None else run.outcome
        case Health.STARTING:
            return "its runner starts"
        case Health.STOPPING:
            return f"stops before its next act, asked by {run.cancel_by}" if run.cancel_by else "stops before its next act"
        case Health.RUNNING:
            return run.steps[run.step] if 0 <= run.step < len(run.steps) else run.outcome
        case _:
            return run.outcome


# ------------------------------------------------------------ the listing

_COLUMNS: tuple[Column, ...] = (
    Column("state", "STATE", 13, sort_key="S"),
    Column("title", "WHAT", 18, grow=4, sort_key="W"),
    Column("who", "WHO", 8, priority=2, sort_key="U"),
    Column("started", "BEGAN", 7, sort_key="T"),
    Column("took", "TOOK", 6, right=True, priority=3),
    Column("step", "STEP", 4, right=True),
    Column("outcome", "OUTCOME", 18, grow=3, priority=1),
    Column("id", "ID", 20, priority=4),
)


def _cell(world: World, run: Run, now: datetime, column: str, ago: Ago) -> Cell:
    board = world.runs
    match column:
        case "state":
            return state_cell(board, run, now)
        case "title":
            return Cell(run.title, Tone.STRONG if run.active else Tone.PLAIN)
        case "who":
            return Cell(run.who.login, Tone.MUTED)
        case "started":
            return Cell(day_or_clock(run.started or run.created, now), Tone.MUTED)
        case "took":
            return Cell(_took_text(run, now, ago), Tone.MUTED)
        case "step":
            return Cell(step_text(run))
        case "outcome":
            bad = health(run, board, now) in (Health.LOST, Health.WAITING, Health.AFTER_BOOT)
            return Cell(outcome_text(board, run, now, ago), Tone.WARN if bad else Tone.PLAIN)
        case "id":
            return Cell(run.id, Tone.MUTED)
    raise AssertionError(column)


def _row(world: World, run: Run, now: datetime) -> Row:
    """What is under way is only as fresh as the journal."""
    dim = run.active and world.runs.trouble is not None
    return Row(run.id, tuple(_cell(world, run, now, c.id, words.age) for c in _COLUMNS), dim=dim)


def _newest(run: Run) -> tuple[bool, float]:
    return (not run.active, -run.created.timestamp())


def who_json(run: Run) -> dict[str, Any]:
    who = run.who
    return {"login": who.login, "user": who.user, "source": who.source or None, "host": who.host or None, "face": who.face or None}


def iso(moment: datetime | None) -> str | None:
    return words.iso(moment) if moment is not None else None


def json_of(world: World, run: Run, now: datetime) -> dict[str, Any]:
    """One run without its plan."""
    board, span = world.runs, took(run, now)
    wait = board.waits.get(run.id)
    return {
        "id": run.id,
        "operation": run.operation,
        "title": run.title,
        "object": run.object,
        "state": health(run, board, now).value,
        "outcome": run.outcome or None,
        "waits_for": wait.text if wait is not None else None,
        "step": run.step + 1 if run.step >= 0 else None,
        "steps": list(run.steps),
        "created": words.iso(run.created),
        "started": iso(run.started),
        "ended": iso(run.ended),
        "took_s": round(span.total_seconds(), 1) if span is not None else None,
        "who": who_json(run),
        "reason": run.reason or None,
        "params": dict(run.params),
        "rung": run.rung,
        "digest": run.digest,
        "locks": list(run.locks),
        "runner": {"host": run.runner_host or None, "pid": run.runner_pid or None, "beat": iso(run.beat), "attempts": run.attempts},
        "cancel": {"by": run.cancel_by, "at": iso(run.cancel_at)} if run.cancel_by else None,
    }


def _items(world: World) -> Mapping[str, Run]:
    return world.runs.by_id


RUNS: Listing[Run] = Listing(
    noun="runs",
    title="Runs",
    sources=("journal",),
    columns=_COLUMNS,
    items=_items,
    row=_row,
    sorts={
        "started": lambda world, run: _newest(run),
        "state": lambda world, run: (run.state.ended, run.state.value, _newest(run)),
        "title": lambda world, run: (run.title, _newest(run)),
        "who": lambda world, run: (run.who.login, _newest(run)),
    },
    default_sort="started",
    text=lambda run: f"{run.title} {run.object} {run.operation} {run.who} {run.state.value} {run.outcome} {run.reason} {run.id}",
    trouble=lambda world, run, now: bool(problems_of(run, world.runs, now)),
    roster=lambda world: world.runs.roster,
    json=json_of,
)

_BY_ID = {c.id: c for c in _COLUMNS}
_PLAIN = tuple(replace(_BY_ID[i], priority=0) for i in ("id", "state", "title", "who", "started", "took", "step", "outcome"))


def _plain_row(world: World, run: Run, now: datetime) -> Row:
    cells = [_cell(world, run, now, c.id, words.duration) for c in _PLAIN]
    cells[4] = Cell(words.stamp(run.started or run.created), Tone.MUTED)
    return Row(run.id, tuple(cells))


RUNS_PLAIN: Listing[Run] = replace(RUNS, columns=_PLAIN, row=_plain_row)
"""For the command line: whole times, the id first as it is what the other commands take."""


# ------------------------------------------------------------ beside other things

RECENT = timedelta(hours=1)


def title_cell(world: World, now: datetime) -> Cell | None:
    """The run under way, for the title line: `◐ Drain k3s-worker-1 2/3`; of several the one in the worst state, and how many more."""
    board, active = world.runs, world.runs.active
    if not active:
        return None
    order = (Health.LOST, Health.AFTER_BOOT, Health.WAITING, Health.STOPPING)
    found = min(
        active, key=lambda run: (order.index(h) if (h := health(run, board, now)) in order else len(order), -run.created.timestamp())
    )
    glyph, tone = _HEALTH[health(found, board, now)]
    more = f" +{len(active) - 1}" if len(active) > 1 else ""
    return Cell(f"{words.GLYPHS[glyph]} {found.title} {step_text(found)}{more}".rstrip(), Tone.STALE if board.trouble else tone)


def recent_lines(world: World, now: datetime, cells: int, rows: int) -> tuple[Line, ...]:
    """Runs under way and the ends of the last hour, one a line, at most `rows`."""
    board = world.runs
    shown = [run for run in board.runs if run.active or (run.ended is not None and now - run.ended < RECENT)]
    return tuple(cut_line(_recent_line(board, run, now, narrow=cells < 44), cells) for run in shown[:rows])


def _recent_line(board: RunBoard, run: Run, now: datetime, *, narrow: bool) -> Line:
    moment = run.ended or run.started or run.created
    when = pad(words.age(now - moment), 6) if narrow else pad(words.clock(moment), 7)
    glyph, tone = _HEALTH[health(run, board, now)]
    step = f" {step_text(run)}" if run.active and step_text(run) else ""
    return (
        Cell(when, Tone.MUTED),
        Cell(f"{words.GLYPHS[glyph]} ", tone),
        Cell(f"{run.title}{step} ", Tone.STRONG if run.active else Tone.PLAIN),
        Cell(outcome_text(board, run, now) if run.active else end_words(run), Tone.MUTED),
    )
