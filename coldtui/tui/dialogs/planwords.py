"""What the dialog of a plan shows in each of its stages, as lines."""

from __future__ import annotations

from datetime import datetime
from enum import Enum

from coldtui.domain.values import dataclass

from ...domain.errors import ColdError
from ...domain.plans import Plan, Rung
from ...domain.world import World
from ...present import plans as plan_words
from ...present import words
from ...present.lines import Line
from ...present.rows import Cell, Tone

ELAPSED_S = 1.0
"""From then on a wait shows how long it lasts."""


class Stage(Enum):
    READING = "reading"
    SHOWN = "shown"
    FAILED = "failed"
    """It could not be planned; the error is shown."""
    HOLDING = "holding"
    STARTING = "starting"
    """Confirmed: it goes into the journal, and its runner comes up."""


@dataclass(frozen=True, slots=True)
class View:
    """All that is shown of a plan."""

    stage: Stage
    object: str
    plan: Plan | None
    world: World | None
    now: datetime
    waited_s: float
    """How long the stage lasts."""
    hold_s: float
    read_only: str
    """Why nothing can be confirmed from this console; empty: it can."""
    rung: Rung
    error: ColdError | None = None
    refusal: ColdError | None = None
    """Why it was confirmed and not started."""
    changes: tuple[str, ...] = ()
    """What got worse since the plan was confirmed."""


def head(view: View, cells: int) -> list[Line]:
    """Verdict and address: always in sight."""
    address = plan_words.address_lines(view.world, view.object, view.now, cells)
    if view.stage is Stage.FAILED:
        return [(Cell("✗ CANNOT BE PLANNED", Tone.BAD), Cell("  nothing was changed", Tone.MUTED)), *address]
    if view.plan is not None:
        return [*plan_words.head_lines(view.plan, view.now, cells), *address]
    return [(Cell("◐ READING THE SITE", Tone.WARN), Cell(f"  {_elapsed(view)}", Tone.MUTED)), *address]


def body(view: View, cells: int) -> list[Line]:
    """What scrolls."""
    if view.stage is Stage.FAILED and view.error is not None:
        return error_lines(view.error, cells)
    if view.plan is None:
        return [(Cell("reading the site, nothing is changed by that …", Tone.MUTED),)]
    refusal = error_lines(view.refusal, cells) if view.refusal is not None else []
    return [*refusal, *plan_words.worse_lines(view.changes, cells), *plan_words.body_lines(view.plan, cells)]


def note(view: View) -> Line:
    """The line above the answer: what holds it, or what is asked."""
    match view.stage:
        case Stage.READING | Stage.FAILED:
            return ()
        case Stage.HOLDING:
            left = max(0, round(view.hold_s - view.waited_s))
            return (Cell(f"◐ holding {left} s while everything is read again", Tone.WARN), Cell(" · esc stops", Tone.MUTED))
        case Stage.STARTING:
            return (Cell(f"◐ confirmed, starting … {_elapsed(view)}", Tone.WARN),)
    if view.plan is None or view.plan.done or plan_words.blocked_words(view.plan):
        return ()
    if view.read_only:
        return (Cell("READ-ONLY", Tone.WARN), Cell(f" this is the plan only · {view.read_only}"))
    if view.rung < Rung.DISRUPTIVE:
        return (Cell(f"{view.plan.title}?", Tone.STRONG), Cell("  y/N"))
    return ()


def _elapsed(view: View) -> str:
    return f"{int(view.waited_s)} s" if view.waited_s >= ELAPSED_S else ""


def error_lines(error: ColdError, cells: int) -> list[Line]:
    """What went wrong, where, and what can be done."""
    out = plan_words.hung(Cell(f"{words.GLYPHS['failed']} ", Tone.BAD), error.title, Tone.STRONG, cells)
    if error.detail:
        out += plan_words.hung(Cell("  "), error.detail, Tone.PLAIN, cells)
    if error.hint:
        out += plan_words.hung(Cell(f"  {words.GLYPHS['arrow']} ", Tone.ACCENT), error.hint, Tone.PLAIN, cells)
    return out
