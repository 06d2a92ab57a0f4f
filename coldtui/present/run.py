"""One run, told whole: who asked for what, its steps with marks and times, the things that it works on, and its events as they come."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from ..domain.plans import plan_of_json
from ..domain.progress import ItemState, Mark, Progress, StepState, step_at
from ..domain.runboard import Health, RunBoard, health
from ..domain.runs import Run, RunEvent, RunLine, What
from ..domain.world import World
from . import words
from .lines import Ago, Line, label, pad, pair, width
from .rows import Cell, Tone
from .runs import heard, iso, json_of, outcome_text, spent, state_cell, took

_MARKS = {
    Mark.AHEAD: ("none", Tone.MUTED),
    Mark.UNDER_WAY: ("part", Tone.ACCENT),
    Mark.DONE: ("done", Tone.GOOD),
    Mark.ALREADY: ("done", Tone.GOOD),
    Mark.FAILED: ("failed", Tone.BAD),
    Mark.LEFT: ("off", Tone.MUTED),
}
ACCEPTED = "what was accepted cannot be recalled"
"""Said wherever a run is asked to stop."""


def headline(board: RunBoard, run: Run, now: datetime, ago: Ago = words.age) -> Line:
    """`◐ running   step 2 of 3 Evict pods   2m10s`."""
    parts = [state_cell(board, run, now)]
    if run.active and board.trouble is not None:
        parts.append(Cell("  as last read", Tone.STALE))
    if run.steps and run.step >= 0 and run.active:
        parts.append(Cell(f"  step {run.step + 1} of {len(run.steps)}", Tone.STRONG))
    span = took(run, now)
    if span is not None:
        parts.append(Cell(f"  {ago(span) if run.active else spent(span)}", Tone.MUTED))
    sentence = outcome_text(board, run, now, ago)
    if health(run, board, now) is Health.LOST:
        sentence = f"last heard of {ago(now - (run.beat or run.created))} ago: resume it or cancel it"
    if sentence.startswith(f"{run.state.value} in "):  # how long it took stands there already
        sentence = sentence.partition(": ")[2]
    if sentence:
        parts.append(Cell(f"  {sentence}", Tone.PLAIN))
    return tuple(parts)


def facts(run: Run, now: datetime) -> tuple[Line, ...]:
    """Who asked for what, and on which machine it runs."""
    who = str(run.who) + (f", {run.who.face}" if run.who.face else "") + (f" on {run.who.host}" if run.who.host else "")
    lines: list[Line] = [pair("Asked by", who, cells=10), pair("Asked at", words.stamp(run.created), cells=10)]
    if run.reason:
        lines.append(pair("Reason", run.reason, cells=10))
    given = ", ".join(f"{name} {_value(value)}" for name, value in run.params.items() if value not in ("", False, None, [], ()))
    if given:
        lines.append(pair("With", given, cells=10))
    verdict = verdict_text(run)
    lines.append(pair("Plan", f"{verdict} · {run.digest[:12]}" if run.digest else verdict, cells=10))
    if run.runner_pid or run.runner_host:
        tries = f", taken up {run.attempts} times" if run.attempts > 1 else ""
        lines.append(pair("Runner", f"process {run.runner_pid} on {run.runner_host or 'this machine'}{tries}", cells=10))
    if run.cancel_by and run.cancel_at is not None:
        lines.append(pair("Cancel", f"asked by {run.cancel_by} at {words.stamp(run.cancel_at)}; {ACCEPTED}", Tone.WARN, cells=10))
    return tuple(lines)


def brief(run: Run) -> Line:
    """Who and why, in one line; while it is asked to stop, that."""
    if run.cancel_by and run.active:
        return (Cell("stop asked ", Tone.MUTED), Cell(f"by {run.cancel_by}; {ACCEPTED}", Tone.WARN))
    line = [label("Asked by", 10), Cell(f"{run.who} at {words.clock(run.created)}")]
    if run.reason:
        line.append(Cell(f" · {run.reason}", Tone.MUTED))
    return tuple(line)


def _value(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, (list, tuple)) else "yes" if value is True else str(value)


def verdict_text(run: Run) -> str:
    """The verdict as it was confirmed: `go`, `go after 2 waits`, `would hang`."""
    try:
        return plan_of_json(run.plan).words
    except ValueError:  # a plan of another version
        return str(run.plan.get("outlook") or "not kept")


def step_lines(run: Run, progress: Progress, now: datetime) -> tuple[Line, ...]:
    """Every planned step with its mark and time; below one that failed, why."""
    if not run.steps:
        return ((Cell("no steps", Tone.MUTED),),)
    now = heard(run, now)
    wide = max(width(title) for title in run.steps)
    lines: list[Line] = []
    for index, title in enumerate(run.steps):
        state = step_at(run, progress, index)
        lines.append(_step_line(index, title, state, now, wide))
        indent = Cell("    ")
        if state.mark is Mark.FAILED and state.text:
            lines.append((indent, Cell(state.text.removeprefix(f"{title}: "), Tone.BAD)))
    return tuple(lines)


def _step_line(index: int, title: str, state: StepState, now: datetime, wide: int) -> Line:
    glyph, tone = _MARKS[state.mark]
    line = [Cell(f"{words.GLYPHS[glyph]} {index + 1} ", tone)]
    strong = state.mark in (Mark.UNDER_WAY, Mark.FAILED)
    line.append(
        Cell(pad(title, wide) + "  ", Tone.STRONG if strong else Tone.MUTED if state.mark in (Mark.AHEAD, Mark.LEFT) else Tone.PLAIN)
    )
    said = _step_time(state, now)
    if said:
        line.append(Cell(said, Tone.MUTED))
    return tuple(line)


def _step_time(state: StepState, now: datetime) -> str:
    tries = f", try {state.attempts}" if state.attempts > 1 else ""
    match state.mark:
        case Mark.AHEAD:
            return ""
        case Mark.ALREADY:
            return "was so already"
        case Mark.LEFT:
            return f"left after {spent(state.ended - state.began)}" if state.began and state.ended else "not begun"
        case Mark.UNDER_WAY:
            return (words.duration(now - state.began) if state.began else "") + tries
        case _:
            return (spent(state.ended - state.began) if state.began and state.ended else "") + tries


def item_lines(run: Run, progress: Progress, now: datetime, *, exact: bool = False) -> tuple[Line, ...]:
    """The things of a run: what was told of each last, and since when; those of which nothing was told as they were planned."""
    planned: dict[str, tuple[str, str]] = {}
    for item, own in _items(run):
        planned[str(item[0])] = (own or str(item[1]), str(item[2]))
    names = list(dict.fromkeys((*progress.items, *planned)))
    if not names:
        return ()
    wide = max(width(_short(name)) for name in names)
    ago = words.duration if exact or not run.active else words.age
    return tuple(_item_line(name, progress.items.get(name), planned.get(name), run, now, wide, ago) for name in names)


def _item_line(
    name: str, told: ItemState | None, planned: tuple[str, str] | None, run: Run, now: datetime, wide: int, ago: Callable[[timedelta], str]
) -> Line:
    if told is None:
        fate, why = planned or ("", "")
        text = f"{fate}: {why}" if why else fate
        return (Cell(pad("", 8)), Cell(pad(_short(name), wide) + "  ", Tone.MUTED), Cell(text, Tone.MUTED))
    when = words.clock(told.at) if not run.active else ago(now - told.at)
    return (Cell(pad(f" {when}", 8), Tone.MUTED), Cell(pad(_short(name), wide) + "  "), Cell(told.text))


def _items(run: Run) -> list[tuple[Sequence[Any], str]]:
    """Each thing as it was agreed to, and its own word where it has one: of those nothing is told one by one."""
    items, more = run.plan.get("items") or (), run.plan.get("more") or ()
    found: list[tuple[Sequence[Any], str]] = []
    for at, item in enumerate(items):
        beside: Sequence[Any] = more[at] if at < len(more) else ()
        if isinstance(item, (list, tuple)) and len(item) == 3:
            found.append((item, str(beside[2]) if len(beside) > 2 else ""))
    return found


def _short(object: str) -> str:
    """`production/redis-0` of `pods/production/redis-0`."""
    return object.removeprefix("pods/")


def item_summary(run: Run, progress: Progress) -> str:
    """`7 of 9 told of`: how many things were begun with."""
    total = sum(1 for item, own in _items(run) if item[1] != "stays" and not own)
    told = len(progress.items)
    return f"{told} of {max(total, told)}" if total or told else ""


def premises(run: Run) -> tuple[Line, ...]:
    """What the plan rested on when it was confirmed."""
    lines: list[Line] = []
    for premise in run.plan.get("premises") or ():
        if isinstance(premise, Mapping):
            at, reason = str(premise.get("as_of") or ""), str(premise.get("reason") or "")
            read = f"read {at[11:19]}Z" if at else f"not read: {reason}"
            lines.append((label(str(premise.get("name", "")), 40), Cell(read, Tone.PLAIN if at else Tone.WARN)))
    return tuple(lines)


def findings(run: Run) -> tuple[Line, ...]:
    """What the confirmed plan said, worst first."""
    lines: list[Line] = []
    found = [f for f in run.plan.get("findings") or () if isinstance(f, (list, tuple)) and len(f) == 4]
    for _code, _object, weight, sentence in sorted(found, key=lambda f: -int(f[2])):
        tone = Tone.BAD if int(weight) >= 3 else Tone.WARN if int(weight) == 2 else Tone.PLAIN
        glyph = {3: "failed", 2: "bad", 1: "none", 0: "done"}.get(int(weight), "none")
        lines.append((Cell(f"{words.GLYPHS[glyph]} ", tone), Cell(str(sentence))))
    return tuple(lines)


def report(board: RunBoard, run: Run, progress: Progress, now: datetime) -> tuple[Line, ...]:
    """Everything about one run, for `run show` and for reading in the console."""
    lines: list[Line] = [(Cell(run.title, Tone.STRONG),), headline(board, run, now, words.duration), pair("Run", run.id, cells=10)]
    lines += [pair("Operation", f"{run.operation} on {run.object}, rung {run.rung}", cells=10), *facts(run, now)]
    if run.locks:
        lines.append(pair("Locks", ", ".join(run.locks), cells=10))
    for title, part in (
        ("Steps", step_lines(run, progress, now)),
        ("Things", item_lines(run, progress, now, exact=True)),
        ("Plan as confirmed", findings(run)),
        ("It rested on", premises(run)),
    ):
        if part:
            lines += [(), (Cell(title, Tone.MUTED),), *part]
    return tuple(lines)


def run_json(world: World, run: Run, progress: Progress, now: datetime) -> dict[str, Any]:
    """Everything about one run as JSON: its row, its steps and things, and the plan as it was confirmed."""

    def step(index: int, title: str) -> dict[str, Any]:
        state = step_at(run, progress, index)
        return {
            "title": title,
            "state": state.mark.value,
            "began": iso(state.began),
            "ended": iso(state.ended),
            "attempts": state.attempts,
        }

    return {
        **json_of(world, run, now),
        "progress": [step(index, title) for index, title in enumerate(run.steps)],
        "items": [{"object": i.object, "text": i.text, "at": words.iso(i.at)} for i in progress.items.values()],
        "plan": dict(run.plan),
    }


# ------------------------------------------------------------ as it goes: lines and events


def log_text(line: RunLine) -> str:
    """A log line as it is shown: what a command wrote to stderr is marked."""
    return f"! {line.text}" if line.stream == "err" else line.text


_STEPS = {What.STARTED: "", What.ALREADY: " is done already", What.FINISHED: " is done", What.FAILED: " failed"}


def event_text(event: RunEvent, total: int) -> str:
    """An event as a line of talk beside the log; empty for what the log says itself."""
    match event.what:
        case What.STARTED | What.ALREADY | What.FINISHED:
            return f"step {event.step + 1} of {total}: {event.text}{_STEPS[event.what]}"
        case What.FAILED:
            return f"step {event.step + 1} of {total} failed: {event.text}"
        case What.RUNNER:
            return event.text
        case _:
            return ""


def event_json(event: RunEvent) -> dict[str, Any]:
    return {
        "event": event.what.value,
        "seq": event.seq,
        "run": event.run,
        "at": words.iso(event.at),
        "step": event.step + 1 if event.step >= 0 else None,
        "object": event.object or None,
        "text": event.text or None,
    }


def end_text(run: Run, now: datetime) -> str:
    """The last line of a followed run: `done in 2m10s: k3s-worker-1 is drained`."""
    if run.outcome.startswith(run.state.value):
        return f"{run.title}: {run.outcome}"
    span = took(run, now)
    after = f" after {spent(span)}" if span is not None else ""
    return f"{run.title}: {run.state.value}{after}" + (f": {run.outcome}" if run.outcome else "")
