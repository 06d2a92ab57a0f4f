"""The plan of an act, and its confirmation by rung: y/N, the verb typed, or the name typed with a reason and a hold while all is read again.

Letters may be typed at once: they go to the word, wherever the focus is. That is why keys of this dialog other than letters read again
(ctrl-r) and change options (ctrl-o). Focus begins on Cancel.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping
from enum import Enum
from typing import TYPE_CHECKING, Any, ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widgets import Button, Input

from ...domain.errors import ColdError, HostKeyUnknown
from ...domain.plans import Plan, Rung, worse
from ...domain.runs import Run
from ...present import plans as plan_words
from ...present import words
from ...present.lines import Line
from ...present.rows import Cell, Tone
from ..guard import Guarded
from ..widgets.lines import Lines
from .base import Fresh
from .sheet import Sheet
from .typed import WordLine

if TYPE_CHECKING:
    from ...operations.desk import Prepared
    from ...operations.engine import AnyOperation
    from ..acting import Acting

HOLD_S = 3.0
"""How long rung 3 holds while everything is read again."""
ELAPSED_S = 1.0
"""From then on a wait shows how long it lasts."""
WIDEST = 118
QUESTION = 84
"""Width of a y/N question."""


class Stage(Enum):
    READING = "reading"
    SHOWN = "shown"
    FAILED = "failed"
    """It could not be planned; the error is shown."""
    HOLDING = "holding"
    STARTING = "starting"
    """Confirmed: it goes into the journal, and its runner comes up."""


class ReasonInput(Guarded, Input):
    """One line for the audit. A paste may be part of it; enter is the dialog's."""

    def on_key(self, event: events.Key) -> None:
        if event.key == "enter":
            event.stop()
            event.prevent_default()
            dialog = self.screen
            assert isinstance(dialog, PlanDialog)
            dialog.entered(event)


class PlanDialog(Fresh[Run | None]):
    """Answers with the run that was started, or None."""

    AUTO_FOCUS = "#cancel"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "cancel", "Cancel", id="plan.cancel", tooltip="Close without doing anything; during the hold: stop"),
        Binding("ctrl+r", "read_again", "Read again", id="plan.read-again", tooltip="Read everything afresh and plan again"),
        Binding("ctrl+o", "options", "Options", id="plan.options", tooltip="Change what it is asked with, then plan again"),
        Binding("A", "arm", "Arm", show=False, id="plan.arm", tooltip="Arm, where the plan can only be looked at"),
        Binding("down", "roll(1)", "Down", show=False, id="plan.down"),
        Binding("up", "roll(-1)", "Up", show=False, id="plan.up"),
        Binding("pagedown", "page(1)", "Page down", show=False, id="plan.page-down"),
        Binding("pageup", "page(-1)", "Page up", show=False, id="plan.page-up"),
    ]
    DEFAULT_CSS = """
    PlanDialog > Vertical { padding: 0 1; max-width: 100%; max-height: 100%; margin: 2 0 0 0; }
    PlanDialog #head, PlanDialog #rule, PlanDialog #note, PlanDialog #keys { height: 1; }
    PlanDialog #reason-line, PlanDialog #foot { height: 1; }
    PlanDialog #reason-line { display: none; }
    PlanDialog #reason-label { width: 24; height: 1; }
    PlanDialog ReasonInput { width: 1fr; height: 1; border: none; padding: 0; background: $panel; }
    PlanDialog ReasonInput:focus { border: none; background-tint: $foreground 0%; }
    PlanDialog WordLine { display: none; }
    PlanDialog #keys { width: 1fr; }
    PlanDialog #go { display: none; }
    """

    def __init__(self, acting: Acting, operation: AnyOperation, values: Mapping[str, Any], prepared: Prepared | None = None) -> None:
        """`values`: of its parameters. `prepared`: a plan that is made already."""
        super().__init__()
        self.acting, self.operation, self.values = acting, operation, dict(values)
        self.prepared = prepared
        self.stage = Stage.SHOWN if prepared is not None else Stage.READING
        self.error: ColdError | None = None
        self.changes: tuple[str, ...] = ()
        """What got worse since the plan was confirmed."""
        self.refusal: ColdError | None = None
        """Why it was confirmed and not started."""
        self.told: Line = ()
        self._since = 0.0

    # ------------------------------------------------------------ layout

    def compose(self) -> ComposeResult:
        with Vertical() as box:
            box.border_title = Content(self._title)
            yield Lines(id="head")
            yield Sheet(id="body")
            yield Lines(id="rule")
            yield Lines(id="note")
            yield WordLine(self.cold.hand, id="word")
            with Horizontal(id="reason-line"):
                yield Lines(id="reason-label")
                yield ReasonInput(placeholder="tab leads here", compact=True, max_length=200, id="reason")
            with Horizontal(id="foot"):
                yield Lines(id="keys")
                yield Button(Content("Cancel"), id="cancel", compact=True)
                yield Button(Content(self._verb), id="go", compact=True, variant="primary")

    def on_mount(self) -> None:
        self.query_one(Input).cursor_blink = False
        self.set_interval(1.0, self._tick, name="plan's age and waits")
        if self.prepared is None:
            self._read()
        else:
            self._take(self.prepared)
        self.renew()

    def on_resize(self) -> None:
        self.show()

    @property
    def plan(self) -> Plan | None:
        return self.prepared.plan if self.prepared is not None else None

    @property
    def _title(self) -> str:
        return self.plan.title if self.plan is not None else self.acting.title_of(self.operation, self._object.partition("/")[2])

    @property
    def _object(self) -> str:
        return self.plan.object if self.plan is not None else self.acting.object_of(self.operation, self.values)

    @property
    def _verb(self) -> str:
        return self.operation.title.partition(" ")[0]

    @property
    def rung(self) -> Rung:
        """As it is confirmed here; an act that needs no question is asked about when it is shown at all."""
        return max(self.plan.rung, Rung.VISIBLE) if self.plan is not None else self.operation.rung

    # ------------------------------------------------------------ what may be done with it

    @property
    def why_not(self) -> str:
        """Why it cannot be confirmed; empty: it can."""
        if self.plan is None or self.stage is not Stage.SHOWN:
            return "there is no plan"
        if self.plan.done:
            return self.plan.done
        return plan_words.blocked_words(self.plan) or self.acting.why_not()

    @property
    def _only_close(self) -> bool:
        """Whether there is nothing to cancel."""
        return self.stage in {Stage.SHOWN, Stage.FAILED} and bool(self.why_not)

    @property
    def _asks_word(self) -> bool:
        return self.rung >= Rung.DISRUPTIVE and not self.why_not

    @property
    def _needs_reason(self) -> bool:
        return self.plan is not None and self.plan.needs_reason and not self.why_not

    @property
    def _asks_reason(self) -> bool:
        return self._asks_word or self._needs_reason

    # ------------------------------------------------------------ showing

    def show(self) -> None:
        """All from the state that it is in."""
        if not self.is_mounted or not self.query("#keys"):
            return
        room = self.app.size
        outer = min(room.width, WIDEST) if self.rung >= Rung.DISRUPTIVE or self.plan is None else min(room.width, QUESTION)
        box = self.query_one(Vertical)
        box.styles.width = outer
        cells = outer - 4
        word, asks_reason, go = self.query_one(WordLine), self._asks_reason, self.rung < Rung.DISRUPTIVE and not self.why_not
        word.display = self._asks_word
        self.query_one("#reason-line").display = asks_reason
        self.query_one("#go").display = go
        label = "Reason, for the audit" if self._needs_reason else "Reason, if you like"
        self.query_one("#reason-label", Lines).put([((f"{label}: ", Tone.PLAIN),)])
        head = self._head(cells)
        self.query_one("#head", Lines).styles.height = len(head)
        self.query_one("#head", Lines).put_cells(head)
        fixed = 2 + 2 + len(head) + 3 + int(self._asks_word) + int(asks_reason)  # margin, border, head, rule and note and keys
        sheet = self.query_one(Sheet)
        sheet.fill(self._body(cells), max(3, room.height - fixed))
        self._show_rule()
        self.query_one("#note", Lines).put_cells([self.told or self._note()])
        self.query_one("#keys", Lines).put([self._keys()])
        label = "Close" if self._only_close else "Cancel"
        button = self.query_one("#cancel", Button)
        if str(button.label) != label:
            button.label = Content(label)

    def _show_rule(self) -> None:
        sheet = self.query_one(Sheet)
        self.query_one("#rule", Lines).put([sheet.rule(self.query_one("#rule").content_size.width or self.app.size.width)])

    def _head(self, cells: int) -> list[Line]:
        address = plan_words.address_lines(self.acting.world, self._object, self.acting.now, cells)
        if self.plan is not None and self.stage is not Stage.FAILED:
            return [*plan_words.head_lines(self.plan, self.acting.now, cells), *address]
        if self.stage is Stage.FAILED:
            return [(Cell("✗ CANNOT BE PLANNED", Tone.BAD), Cell("  nothing was changed", Tone.MUTED)), *address]
        return [(Cell("◐ READING THE SITE", Tone.WARN), Cell(f"  {self._elapsed}", Tone.MUTED)), *address]

    def _body(self, cells: int) -> list[Line]:
        if self.stage is Stage.FAILED and self.error is not None:
            return error_lines(self.error, cells)
        if self.plan is None:
            return [(Cell("reading the site, nothing is changed by that …", Tone.MUTED),)]
        refusal = error_lines(self.refusal, cells) if self.refusal is not None else []
        return [*refusal, *plan_words.worse_lines(self.changes, cells), *plan_words.body_lines(self.plan, cells)]

    @property
    def _elapsed(self) -> str:
        waited = self.acting.monotonic() - self._since
        return f"{int(waited)} s" if waited >= ELAPSED_S else ""

    def _note(self) -> Line:
        """The line above the answer: what holds it, or what is asked."""
        match self.stage:
            case Stage.READING | Stage.FAILED:
                return ()
            case Stage.HOLDING:
                left = max(0, round(HOLD_S - (self.acting.monotonic() - self._since)))
                return (Cell(f"◐ holding {left} s while everything is read again", Tone.WARN), Cell(" · esc stops", Tone.MUTED))
            case Stage.STARTING:
                return (Cell(f"◐ confirmed, starting … {self._elapsed}", Tone.WARN),)
        if self.plan is None or self.plan.done or plan_words.blocked_words(self.plan):
            return ()
        if why := self.acting.why_not():
            return (Cell("READ-ONLY", Tone.WARN), Cell(f" this is the plan only · {why}"))
        if self.rung < Rung.DISRUPTIVE:
            return (Cell(f"{self.plan.title}?", Tone.STRONG), Cell("  y/N"))
        return ()

    def _keys(self) -> tuple[tuple[str, Tone | str], ...]:
        found: list[tuple[str, str]] = []
        if self.stage in {Stage.SHOWN, Stage.FAILED}:
            found.append(("plan.read-again", "try again" if self.stage is Stage.FAILED else "read again"))
            if self.acting.has_options(self.operation):
                found.append(("plan.options", "options"))
        found.append(("plan.cancel", "stop" if self.stage is Stage.HOLDING else "close" if self._only_close else "cancel"))
        out: list[tuple[str, Tone | str]] = []
        for id, text in found:
            out += [(self.cold.key_of(id, self), "key"), (f" {text}   ", Tone.MUTED)]
        return tuple(out)

    def note(self, text: str, tone: Tone = Tone.WARN) -> None:
        """Say why nothing happened, or what did; stays until the next key that does something."""
        self.told = (Cell(text, tone),) if text else ()
        self.show()

    def _tick(self) -> None:
        if self.stage in {Stage.READING, Stage.HOLDING, Stage.STARTING} or int(self.acting.monotonic()) % 5 == 0:
            self.show()

    def arming_changed(self) -> None:
        """From the app: the console was armed or is read-only again."""
        if self.stage is Stage.SHOWN:
            self.told = ()
            self.query_one(WordLine).clear()
            self.renew()
            self.show()
            if self.why_not and self.focused is not self.query_one("#cancel"):
                self.query_one("#cancel").focus()

    # ------------------------------------------------------------ planning

    def _begin(self, stage: Stage, work: Coroutine[Any, Any, None] | None = None) -> None:
        self.stage, self._since, self.told = stage, self.acting.monotonic(), ()
        self.query_one("#cancel", Button).focus()
        self.show()
        if work is not None:
            self.run_worker(self._safely(work), group="plan", exclusive=True, exit_on_error=False)

    async def _safely(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception as error:  # noqa: BLE001 - the boundary: a fault of ours is shown, in the dialog and below it
            self.app._handle_exception(error)
            self._fail(
                ColdError("a fault of this program", detail=f"{type(error).__name__}: {error}", hint="nothing was confirmed; see the log")
            )

    def _read(self) -> None:
        self._begin(Stage.READING, self._prepare())

    async def _prepare(self) -> None:
        desk = self.acting.need_desk()
        try:
            prepared = await desk.prepare(self.operation.name, self.values)
        except HostKeyUnknown as error:
            await self._meet(error)
        except ColdError as error:
            self._fail(error)
        else:
            self.changes = ()
            self._take(prepared)

    async def _meet(self, error: HostKeyUnknown) -> None:
        """A host that is not known: the operator decides, and then it is planned again."""
        try:
            known = await self.acting.trusts(error)
        except ColdError as trouble:
            self._fail(trouble)
            return
        if known:
            self._read()
        else:
            self._fail(error)

    def _take(self, prepared: Prepared) -> None:
        """A plan is there, or another one: what was typed for the one before is void."""
        self.prepared, self.error, self.refusal = prepared, None, None
        self.stage = Stage.SHOWN
        self.query_one(Vertical).border_title = Content(prepared.plan.title)
        word, plan = self.query_one(WordLine), prepared.plan
        if self.rung >= Rung.DESTRUCTIVE:
            word.ask(plan.confirm, "Type the name")
        elif self.rung is Rung.DISRUPTIVE:
            word.ask(plan.verb, "Type the verb")
        self.renew()
        self.query_one("#cancel", Button).focus()
        self._to_top()
        self.show()

    def _to_top(self) -> None:
        sheet = self.query_one(Sheet)
        sheet.roll(-len(sheet.lines))

    def _fail(self, error: ColdError) -> None:
        self.error, self.stage, self.told = error, Stage.FAILED, ()
        self.query_one("#cancel", Button).focus()
        self.show()

    # ------------------------------------------------------------ answers

    def on_key(self, event: events.Key) -> None:
        go = self.query_one("#go", Button)
        if self.rung < Rung.DISRUPTIVE and self.stage is Stage.SHOWN and event.key in {"y", "n"}:
            event.stop()
            if event.key == "n":
                self.action_cancel()
            elif why := self.why_not:
                self.note(why)
            else:
                self.decide(event, self._go)
        elif event.key == "enter" and self.focused is go:
            event.stop()
            self.decide(event, self._go)
        elif event.is_printable and event.character != " " and self._asks_word and self.focused is self.query_one("#cancel"):
            event.stop()
            word = self.query_one(WordLine)
            word.focus()
            word.take(event)
        elif event.key in {"left", "right"} and not isinstance(self.focused, Input):
            event.stop()
            self.focus_next() if event.key == "right" else self.focus_previous()

    def on_paste(self, event: events.Paste) -> None:
        event.stop()
        if self._asks_word:
            self.note("pasted text is not taken here: type it")

    def on_word_line_told(self, message: WordLine.Told) -> None:
        message.stop()
        self.note(message.text)

    def on_word_line_entered(self, message: WordLine.Entered) -> None:
        message.stop()
        if self._needs_reason and not self.reason:
            self.query_one(ReasonInput).focus()
            self.note("give a reason: it stands in the audit")
        else:
            self._go()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        event.stop()
        if event.button.id == "go" and self.rung < Rung.DISRUPTIVE:
            self._go()
        elif event.button.id == "cancel":
            self.action_cancel()

    def entered(self, event: events.Key) -> None:
        """Enter in the line of the reason."""
        word = self.query_one(WordLine)
        if doubt := word.doubt() if self._asks_word else "":
            self.note(doubt)
            word.focus()
        elif self._needs_reason and not self.reason:
            self.note("give a reason: it stands in the audit")
        elif doubt := self.cold.hand.doubt(event.key, event.time):
            self.note(doubt)
        else:
            self._go()

    @property
    def reason(self) -> str:
        return self.query_one(ReasonInput).value.strip()

    def _go(self) -> None:
        """Answered as its rung asks."""
        if why := self.why_not:
            self.note(why)
        elif self.rung >= Rung.DESTRUCTIVE:
            self._begin(Stage.HOLDING, self._hold())
        else:
            self._begin(Stage.STARTING, self._confirm())

    async def _hold(self) -> None:
        """Rung 3: hold, and read again; whatever got worse stops it."""
        prepared, desk = self.prepared, self.acting.need_desk()
        assert prepared is not None
        try:
            again, _ = await asyncio.gather(desk.plan_again(prepared.operation, prepared.params), asyncio.sleep(HOLD_S))
        except ColdError as error:
            self._back("could not be read again, nothing was started", Tone.BAD, error)
            return
        self.changes = worse(prepared.plan, again.plan)
        if self.changes:
            self._take(again)
            self.note("stopped: it got worse while it was held, nothing was started", Tone.BAD)
            return
        self.prepared, self.stage = again, Stage.SHOWN
        if why := self.why_not:
            self._back(f"nothing was started: {why}")
            return
        self.stage, self._since = Stage.STARTING, self.acting.monotonic()
        self.show()
        await self._confirm()

    async def _confirm(self) -> None:
        prepared = self.prepared
        assert prepared is not None
        secrets = await self.acting.secrets_for(prepared.plan)
        if secrets is None:
            self._back("nothing was started: a password was asked for and not given")
            return
        self._since = self.acting.monotonic()
        try:
            run = await self.acting.confirm(prepared, reason=self.reason, secrets=secrets)
        except ColdError as error:
            self._back("not started", Tone.BAD, error)
        else:
            self.dismiss(run)

    def _back(self, text: str, tone: Tone = Tone.WARN, error: ColdError | None = None) -> None:
        """To the plan, with a word and what went wrong; it must be confirmed anew."""
        self.stage, self.refusal = Stage.SHOWN, error
        self.query_one(WordLine).clear()
        self._to_top()
        self.query_one("#cancel", Button).focus()
        self.renew()
        self.note(text, tone)

    # ------------------------------------------------------------ keys

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action == "read_again":
            return self.stage in {Stage.SHOWN, Stage.FAILED}
        if action == "arm":
            return self.stage is Stage.SHOWN and bool(self.acting.why_not())
        if action == "options":
            return self.stage in {Stage.SHOWN, Stage.FAILED} and self.acting.has_options(self.operation)
        return True

    def action_cancel(self) -> None:
        if self.stage is Stage.HOLDING:
            self.workers.cancel_group(self, "plan")
            self._back("stopped, nothing was started")
        elif self.stage is Stage.STARTING:
            self.note("it is confirmed and starts; it can be stopped once it runs")
        else:
            self.dismiss(None)

    def action_arm(self) -> None:
        self.acting.arming.toggle()

    def action_read_again(self) -> None:
        self.prepared = None
        self._read()

    def action_options(self) -> None:
        from .form import FormDialog

        def done(values: Mapping[str, Any] | None) -> None:
            if values is not None:
                self.values = dict(values)
                self.action_read_again()

        self.app.push_screen(FormDialog(self.operation, self.values, self._title), done)

    def action_roll(self, by: int) -> None:
        self.query_one(Sheet).roll(by)
        self._show_rule()

    def action_page(self, by: int) -> None:
        sheet = self.query_one(Sheet)
        sheet.roll(by * sheet.page)
        self._show_rule()


def error_lines(error: ColdError, cells: int) -> list[Line]:
    """What went wrong, where, and what can be done."""
    out = plan_words.hung(Cell(f"{words.GLYPHS['failed']} ", Tone.BAD), error.title, Tone.STRONG, cells)
    if error.detail:
        out += plan_words.hung(Cell("  "), error.detail, Tone.PLAIN, cells)
    if error.hint:
        out += plan_words.hung(Cell(f"  {words.GLYPHS['arrow']} ", Tone.ACCENT), error.hint, Tone.PLAIN, cells)
    return out
