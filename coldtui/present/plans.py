"""Plans in words: verdict, findings worst first, steps, what happens to each thing. One wording for the console's dialogs and the command line.

Lines are wrapped here, to the width that is given: a plan is read to its end before it is confirmed, so nothing of it is cut but facts of
things that are well.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from ..domain.plans import Fate, Finding, Outlook, Plan, PlanItem, Rung, Weight
from ..domain.readings import Freshness
from ..domain.text import counted
from ..domain.world import World
from . import words
from .lines import Line, cut, pad, width
from .rows import Cell, Tone

OLD = timedelta(seconds=15)
"""A plan that was read longer ago says how long."""
WIDE = 100
"""From this width on the things of a plan stand in columns."""

_OUTLOOK = {
    Outlook.GO: ("good", Tone.GOOD),
    Outlook.GO_AFTER: ("part", Tone.WARN),
    Outlook.WOULD_HANG: ("bad", Tone.BAD),
    Outlook.WOULD_LOSE: ("bad", Tone.BAD),
    Outlook.NOT_EVALUATED: ("off", Tone.WARN),
    Outlook.REFUSED: ("failed", Tone.BAD),
}
_WEIGHT = {
    Weight.STOP: ("failed", Tone.BAD),
    Weight.WARNING: ("bad", Tone.WARN),
    Weight.NOTE: ("none", Tone.PLAIN),
    Weight.GOOD: ("done", Tone.GOOD),
}
_FATE = {
    Fate.STAYS: ("none", Tone.MUTED, "stays", "stay"),
    Fate.GOES: ("good", Tone.GOOD, "goes", "go"),
    Fate.WAITS: ("part", Tone.WARN, "waits", "wait"),
    Fate.NOT_EVALUATED: ("off", Tone.WARN, "not evaluated", "not evaluated"),
    Fate.NEVER: ("failed", Tone.BAD, "never", "never"),
}
_WORDS = {"leads": ("good", Tone.GOOD), "lost": ("failed", Tone.BAD), "unfit": ("failed", Tone.BAD)}
"""Of things that have a word of their own in place of their fate; others look as their fate does."""
_ORDER = {name: at for at, name in enumerate(("budget", "emptyDir", "claims", "can go to", "", "owner"))}
"""Facts of a thing in the order of their weight; those that are not named come before the owner."""
_RUNGS = {
    Rung.SMALL: "acts at once, undo for 10 s",
    Rung.VISIBLE: "asks y/N",
    Rung.DISRUPTIVE: "shows the plan, then type the verb",
    Rung.DESTRUCTIVE: "shows the plan, then type the name and a reason",
}


def rung_words(rung: Rung) -> str:
    """How an act of this rung is confirmed."""
    return _RUNGS[rung]


# ------------------------------------------------------------ the parts


def verdict_cell(plan: Plan) -> Cell:
    """`▲ WOULD HANG`: glyph, word and tone. What goes with warnings is not green, and says how many they are."""
    if plan.done:
        return Cell(f"{words.GLYPHS['done']} NOTHING TO DO", Tone.GOOD)
    glyph, tone = _OUTLOOK[plan.outlook]
    warned = sum(f.weight is Weight.WARNING for f in plan.findings) if plan.outlook in {Outlook.GO, Outlook.GO_AFTER} else 0
    if warned:
        return Cell(f"{words.GLYPHS['part']} {plan.words.upper()} · {counted(warned, 'WARNING', 'WARNINGS')}", Tone.WARN)
    return Cell(f"{words.GLYPHS[glyph]} {plan.words.upper()}", tone)


def read_words(plan: Plan, now: datetime) -> str:
    """`read 14:02:10Z, 0.4 s; will be read again`."""
    at = plan.read_at
    if at is None:
        return "nothing of it could be read" if plan.premises else "will be read again"
    age = f", {words.duration(now - at)} ago" if now - at >= OLD else ""
    return f"read {at:%H:%M:%S}Z{age}, {plan.took_s:.1f} s; will be read again"


def verdict_line(plan: Plan, now: datetime, cells: int = 0) -> Line:
    """Verdict, and when it was read; with `cells` the latter stands at the right end, if there is room for both."""
    verdict, read = verdict_cell(plan), read_words(plan, now)
    if cells and width(verdict.text) + 2 + width(read) > cells:
        read = read.partition(";")[0]
    gap = cells - width(verdict.text) - width(read)
    return (verdict, Cell(" " * (gap if gap >= 2 else 2)), Cell(read, Tone.MUTED))


def fate_counts(items: Iterable[PlanItem]) -> dict[Fate, int]:
    """How many things share each fate, worst first."""
    counts = dict.fromkeys(sorted(Fate, key=lambda f: -f.rank), 0)
    for item in items:
        counts[item.fate] += 1
    return {fate: n for fate, n in counts.items() if n}


def summary(plan: Plan) -> str:
    """The consequence in one line: `1 never · 2 wait · 9 go · 3 stay`; without things the steps are named; empty: nothing is done."""
    if any(item.word for item in plan.items):
        return " · ".join(_by_word(plan.items))
    counts = fate_counts(plan.items)
    if counts:
        kind = _kind_of(plan.items)
        parts = [f"{n} {_FATE[fate][2] if n == 1 else _FATE[fate][3]}" for fate, n in counts.items()]
        return f"{counted(len(plan.items), kind)}: " + " · ".join(parts)
    return " · ".join(step.title for step in plan.steps)


def _by_word(items: Iterable[PlanItem]) -> list[str]:
    """`leads postgres-2`, `follows postgres-3`: in the order in which they are given."""
    named: dict[str, list[str]] = {}
    for item in items:
        named.setdefault(_word(item), []).append(item.object.rpartition("/")[2])
    return [f"{word} {', '.join(names)}" for word, names in named.items()]


def _word(item: PlanItem) -> str:
    return item.word or _FATE[item.fate][2]


def _look(item: PlanItem) -> tuple[str, Tone]:
    """Glyph and tone."""
    return _WORDS.get(item.word, _FATE[item.fate][:2])


def _ranked(items: Iterable[PlanItem]) -> list[PlanItem]:
    """Worst first; those with a word of their own stand as they are given."""
    return sorted(items, key=lambda item: (0, "") if item.word else (-item.fate.rank, item.object))


def _each(items: Iterable[PlanItem]) -> str:
    every = tuple(items)
    return "instance" if any(item.word for item in every) else _kind_of(every)


def _kind_of(items: Iterable[PlanItem]) -> str:
    kinds = {item.object.partition("/")[0] for item in items}
    return "pod" if kinds == {"pods"} else "thing"


def blocked_words(plan: Plan) -> str:
    """Why it cannot be confirmed at all; empty: it can."""
    if plan.blocked:
        return plan.blocked
    if plan.outlook is Outlook.REFUSED:
        stop = next((f for f in plan.findings if f.outlook is Outlook.REFUSED), None)
        return f"{stop.sentence}{' → ' + stop.remedy if stop.remedy else ''}" if stop is not None else "the plan refuses"
    return ""


def not_permitted(plan: Plan) -> bool:
    """Whether it is a missing right that refuses it, and nothing that the operator could choose otherwise."""
    stops = [f for f in plan.findings if f.outlook is Outlook.REFUSED]
    return not plan.blocked and bool(stops) and all(".right-" in f.code for f in stops)


def worst_first(findings: Iterable[Finding]) -> list[Finding]:
    return sorted(findings, key=lambda f: (-int(f.weight), -f.outlook.rank))


def finding_lines(finding: Finding, cells: int) -> list[Line]:
    """The sentence behind its glyph, the remedy below it."""
    glyph, tone = _WEIGHT[finding.weight]
    said = Tone.STRONG if finding.weight is Weight.STOP else Tone.PLAIN
    out = hung(Cell(f"{words.GLYPHS[glyph]} ", tone), finding.sentence, said, cells)
    if finding.remedy:
        out += hung(Cell(f"  {words.GLYPHS['arrow']} ", Tone.ACCENT), finding.remedy, Tone.PLAIN, cells)
    return out


def unread_lines(plan: Plan, cells: int) -> list[Line]:
    """Premises that could not be read: each is said, as what was not looked at is never well."""
    out: list[Line] = []
    for premise in plan.premises:
        if premise.as_of is None and not any(premise.reason and premise.reason in f.sentence for f in plan.findings):
            text = f"not evaluated: {premise.name}" + (f" ({premise.reason})" if premise.reason else "")
            out += hung(Cell(f"{words.GLYPHS['off']} ", Tone.WARN), text, Tone.WARN, cells)
    return out


def step_lines(plan: Plan, cells: int) -> list[Line]:
    """What is done, in order; what cannot be undone says so."""
    out: list[Line] = []
    for number, step in enumerate(plan.steps, 1):
        text = step.title + (f" ({step.note})" if step.note else "")
        out += hung(Cell(f"{number} ", Tone.MUTED), text, Tone.PLAIN, cells)
    return out


def item_lines(plan: Plan, cells: int) -> list[Line]:
    """Each thing with its fate and why, worst first: columns where there is room for them."""
    items = _ranked(plan.items)
    if not items:
        return []
    names = [item.object.removeprefix("pods/").removeprefix(f"{plan.object}/") for item in items]
    fates = [f"{words.GLYPHS[_look(i)[0]]} {_word(i)}" for i in items]
    fate_room = max(width(fate) for fate in fates) + 2
    name_room = max(width(name) for name in names) + 2
    out: list[Line] = []
    for item, name, fate in zip(items, names, fates, strict=True):
        head = (
            Cell(pad(fate, fate_room), _look(item)[1]),
            Cell(name, Tone.STRONG if item.fate.rank >= Fate.WAITS.rank else Tone.PLAIN),
        )
        if cells >= WIDE and fate_room + name_room <= cells // 2:
            out += _columns(item, head, fate_room, name_room, cells)
        else:
            out += _stacked(item, head, fate_room, cells)
    return out


def _grave(item: PlanItem) -> bool:
    """Whether it is told in full: of many pods that simply go or stay, one line each is enough."""
    return item.fate.rank >= Fate.WAITS.rank or not item.object.startswith("pods/")


def _facts(item: PlanItem) -> str:
    """What decides comes first, as the end may be cut; the owner is mostly told by the name. What `why` says already is left out."""
    facts = sorted(item.facts, key=lambda fact: _ORDER.get(fact[0], _ORDER[""]))
    return " · ".join(f"{name} {text}" for name, text in facts if text and text not in item.why)


def _columns(item: PlanItem, head: Line, fate_room: int, name_room: int, cells: int) -> list[Line]:
    """Fate, name, and beside them why; what is grave is told in full, facts in one line."""
    left = (head[0], Cell(pad(head[1].text, name_room), head[1].tone))
    room = cells - fate_room - name_room
    told = _told(item, room)
    first, *rest = told or [()]
    return [(*left, *first), *((Cell(" " * (fate_room + name_room)), *line) for line in rest)]


def _stacked(item: PlanItem, head: Line, fate_room: int, cells: int) -> list[Line]:
    """The name whole; why on the lines below it when it is grave, else what there is room for behind the name."""
    indent = Cell(" " * fate_room)
    room = cells - fate_room - width(head[1].text) - 2
    if item.why and not item.remedy and not _facts(item) and width(item.why) <= room:
        return [(*head, Cell("  "), Cell(item.why, Tone.PLAIN if _grave(item) else Tone.MUTED))]
    if _grave(item):
        return [head, *((indent, *line) for line in _told(item, cells - fate_room))]
    text = " · ".join(part for part in (item.why, _facts(item)) if part)
    return [(*head, Cell("  "), Cell(cut(text, room), Tone.MUTED)) if text and room >= 8 else head]


def _told(item: PlanItem, room: int) -> list[Line]:
    if not _grave(item):
        text = " · ".join(part for part in (item.why, _facts(item)) if part)
        return [(Cell(cut(text, room), Tone.MUTED),)] if text else []
    out = hung(Cell(""), item.why, Tone.PLAIN, room) if item.why else []
    if item.remedy:
        out += hung(Cell(f"{words.GLYPHS['arrow']} ", Tone.ACCENT), item.remedy, Tone.PLAIN, room)
    if facts := _facts(item):
        out.append((Cell(cut(facts, room), Tone.MUTED),))
    return out


# ------------------------------------------------------------ the whole


def body_lines(plan: Plan, cells: int) -> tuple[Line, ...]:
    """All below the verdict: what is wrong or worth knowing, what is done, what happens to each thing, what was found well. Of an act that cannot be undone
    the steps come before what is merely worth knowing."""
    findings = worst_first(plan.findings)
    late = (Weight.NOTE,) if plan.rung is Rung.DESTRUCTIVE and plan.steps else ()
    loud = [line for f in findings if f.weight not in (Weight.GOOD, *late) for line in finding_lines(f, cells)]
    notes = [line for f in findings if f.weight in late for line in finding_lines(f, cells)]
    calm = [line for f in findings if f.weight is Weight.GOOD for line in finding_lines(f, cells)]
    stops = any(f.weight is Weight.STOP for f in findings)
    unread = unread_lines(plan, cells)
    out = [*loud, *unread] if stops else [*unread, *loud]
    for title, lines in (
        ("Steps", step_lines(plan, cells)),
        ("Worth knowing", notes),
        (f"Each {_each(plan.items)}", item_lines(plan, cells)),
        ("Looked at, and well", calm),
    ):
        if lines:
            blank: list[Line] = [(Cell(""),)] if cells >= WIDE and out else []
            out += [*blank, (Cell(title, Tone.MUTED),), *lines]
    return tuple(out)


def _says_why(plan: Plan) -> bool:
    """Whether a finding tells why it is refused: it stands right below the verdict, with its remedy."""
    return any(f.outlook is Outlook.REFUSED and f.weight is Weight.STOP for f in plan.findings)


def head_lines(plan: Plan, now: datetime, cells: int) -> tuple[Line, ...]:
    """Verdict with its time, how it is done, what becomes of how many things, and why it cannot be confirmed or that there is nothing to do."""
    out: list[Line] = [verdict_line(plan, now, cells)]
    if plan.gist:
        out += hung(Cell(""), plan.gist, Tone.STRONG, cells)
    if plan.items:
        out += hung(Cell(""), summary(plan), Tone.PLAIN, cells)
    if plan.done:
        out += hung(Cell("  "), plan.done, Tone.PLAIN, cells)
    elif why := plan.blocked or (blocked_words(plan) if not _says_why(plan) else ""):
        out += hung(Cell(f"{words.GLYPHS['failed']} ", Tone.BAD), f"cannot be confirmed: {why}", Tone.STRONG, cells)
    return tuple(out)


def plan_lines(plan: Plan, now: datetime, cells: int = 80) -> tuple[Line, ...]:
    """The whole plan, for the command line."""
    return ((Cell(plan.title, Tone.STRONG),), *head_lines(plan, now, cells), *body_lines(plan, cells))


def worse_lines(found: Iterable[str], cells: int) -> list[Line]:
    """What got worse since the plan was read."""
    out: list[Line] = []
    for sentence in found:
        out += hung(Cell(f"{words.GLYPHS['bad']} worse: ", Tone.BAD), sentence, Tone.STRONG, cells)
    return out


def plan_document(plan: Plan) -> dict[str, Any]:
    """The plan for `--json`: what was agreed to (`digest` is over that), and beside it the same in words."""
    return {
        "operation": plan.operation,
        "title": plan.title,
        "object": plan.object,
        "outlook": plan.outlook.value,
        "verdict": "nothing to do" if plan.done else plan.words,
        "gist": plan.gist or None,
        "done": plan.done or None,
        "blocked": blocked_words(plan) or None,
        "rung": int(plan.rung),
        "confirm": plan.confirm,
        "needs_reason": plan.needs_reason,
        "findings": [_finding_json(f) for f in worst_first(plan.findings)],
        "items": [_item_json(i) for i in _ranked(plan.items)],
        "counts": {fate.value: n for fate, n in fate_counts(plan.items).items()},
        "steps": [{"name": s.name, "title": s.title, "note": s.note or None} for s in plan.steps],
        "locks": list(plan.locks),
        "premises": [{"name": p.name, "as_of": words.iso(p.as_of) if p.as_of else None, "reason": p.reason or None} for p in plan.premises],
        "read_at": words.iso(plan.read_at) if plan.read_at else None,
        "took_s": round(plan.took_s, 3),
        "digest": plan.digest,
    }


def _finding_json(f: Finding) -> Mapping[str, Any]:
    return {
        "code": f.code, "weight": f.weight.name.lower(), "object": f.object or None, "sentence": f.sentence, "remedy": f.remedy or None,
        "outlook": f.outlook.value,
    }  # fmt: skip


def _item_json(i: PlanItem) -> Mapping[str, Any]:
    return {
        "object": i.object,
        "fate": i.fate.value,
        "word": i.word or None,
        "why": i.why or None,
        "remedy": i.remedy or None,
        "facts": dict(i.facts),
    }


# ------------------------------------------------------------ running text


def hung(head: Cell, text: str, tone: Tone, cells: int) -> list[Line]:
    """A sentence behind a head, broken at blanks; what follows hangs below its beginning."""
    indent = width(head.text)
    rows = broken(text, max(8, cells - indent))
    blank = (Cell(" " * indent),) if indent else ()
    first = (head,) if indent else ()
    return [(*(first if not n else blank), Cell(row, tone)) for n, row in enumerate(rows)]


def broken(text: str, cells: int) -> list[str]:
    """A sentence in lines of at most `cells` cells, broken at blanks where there are any."""
    rows: list[str] = []
    row = ""
    for word in text.split():
        if row and width(row) + 1 + width(word) > cells:
            rows.append(row)
            row = word
        else:
            row = f"{row} {word}" if row else word
        while width(row) > cells:
            at = _fits(row, cells)
            rows.append(row[:at])
            row = row[at:]
    return [*rows, row] if row or not rows else rows


def _fits(text: str, cells: int) -> int:
    """How many letters fit, at least one."""
    room = cells
    for at, letter in enumerate(text):
        room -= width(letter)
        if room < 0:
            return max(1, at)
    return len(text)


# ------------------------------------------------------------ who is acted on


def address_lines(world: World | None, object: str, now: datetime, cells: int) -> list[Line]:
    """The full address: what it is and in which role as the World has it now, and on which site, so that nobody acts on the wrong machine."""
    kind, _, key = object.partition("/")
    first = Cell(f"{kind.removesuffix('s')} {key}", Tone.STRONG)
    role = _role(world, kind, key, now) if world is not None else ""
    site = world.site if world is not None else None
    where = [f"site {site.name}" if site and site.name else "", f"context {site.context}" if site and site.context else ""]
    place = Cell(" · ".join(part for part in where if part), Tone.MUTED)
    grave = Cell(f"{' · ' if place.text else ''}PRODUCTION" if site and site.production else "", Tone.WARN)
    left = (first, Cell(f" · {role}" if role else ""))
    used = sum(width(cell.text) for cell in (*left, place, grave))
    if used + 3 <= cells:
        return [(*left, Cell(" " * (cells - used)), place, grave)]
    return [left, (place, grave)] if place.text or grave.text else [left]


def _role(world: World, kind: str, key: str, now: datetime) -> str:
    """Role and state of a node; other kinds have none. What is old says so."""
    node = world.nodes.items.get(key) if kind == "nodes" else None
    if node is None:
        return ""
    state = world.sources["nodes"]
    age = "" if state.freshness is Freshness.LIVE else f" ({words.freshness(state, now)})"
    return f"{','.join(node.roles) or 'worker'} · {node.status}{age}"
