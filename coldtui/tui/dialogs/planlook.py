"""The plan of an act as it is shown: verdict and address, what was found, and below it the lines in which it is answered."""

from __future__ import annotations

from collections.abc import Awaitable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from textual import events
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.message import Message
from textual.widgets import Button, Input

from ...domain.errors import ColdError, HostKeyUnknown
from ...domain.plans import Plan, Rung
from ...domain.runs import Run
from ...present import plans as plan_words
from ...present.lines import Line
from ...present.rows import Cell, Tone
from ..guard import Guarded
from ..widgets.lines import Lines
from . import planwords
from .base import Fresh
from .planwords import Stage, View
from .sheet import Sheet
from .typed import WordLine

if TYPE_CHECKING:
    from ...operations.desk import Prepared
    from ...operations.engine import AnyOperation
    from ..acting import Acting

WIDEST = 118
QUESTION = 84
"""Width of a y/N question."""


class ReasonInput(Guarded, Input):
    """One line for the audit. A paste may be part of it; enter is the dialog's."""

    class Entered(Message):
        """Enter, as it came."""

        def __init__(self, key: events.Key) -> None:
            super().__init__()
            self.key = key

    def on_key(self, event: events.Key) -> None:
        if event.key == "enter":
            event.stop()
            event.prevent_default()
            self.post_message(self.Entered(event))


class PlanLook(Fresh[Run | None]):
    """Shows the plan of an act in the stage that it is in, and makes it anew. How it is answered is `PlanDialog`'s."""

    AUTO_FOCUS = "#cancel"
    hold_s: ClassVar[float] = 3.0
    """How long rung 3 holds while everything is read again."""
    DEFAULT_CSS = """
    PlanLook > Vertical { padding: 0 1; max-width: 100%; max-height: 100%; margin: 2 0 0 0; }
    PlanLook #head, PlanLook #rule, PlanLook #note, PlanLook #keys { height: 1; }
    PlanLook #reason-line, PlanLook #foot { height: 1; }
    PlanLook #reason-line { display: none; }
    PlanLook #reason-label { width: 24; height: 1; }
    PlanLook ReasonInput { width: 1fr; height: 1; border: none; padding: 0; background: $panel; }
    PlanLook ReasonInput:focus { border: none; background-tint: $foreground 0%; }
    PlanLook WordLine { display: none; }
    PlanLook #keys { width: 1fr; }
    PlanLook #go { display: none; }
    PlanLook Button { min-width: 12; }
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
    def _stranger(self) -> str:
        """The node whose host is not known."""
        return self.acting.stranger_of(self.plan) if self.plan is not None else ""

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
        view = self._view()
        head = planwords.head(view, cells)
        self.query_one("#head", Lines).styles.height = len(head)
        self.query_one("#head", Lines).put_cells(head)
        fixed = 2 + 2 + len(head) + 3 + int(self._asks_word) + int(asks_reason)  # margin, border, head, rule and note and keys
        sheet = self.query_one(Sheet)
        sheet.fill(planwords.body(view, cells), max(3, room.height - fixed))
        self._show_rule()
        self.query_one("#note", Lines).put_cells([self.told or planwords.note(view)])
        self.query_one("#keys", Lines).put([self._keys()])
        label = "Close" if self._only_close else "Cancel"
        button = self.query_one("#cancel", Button)
        if str(button.label) != label:
            button.label = Content(label)

    def _show_rule(self) -> None:
        sheet = self.query_one(Sheet)
        self.query_one("#rule", Lines).put([sheet.rule(self.query_one("#rule").content_size.width or self.app.size.width)])

    def _view(self) -> View:
        return View(
            self.stage, self._object, self.plan, self.acting.world, self.acting.now, self.acting.monotonic() - self._since, self.hold_s,
            self.acting.why_not(), self.rung, self.error, self.refusal, self.changes,
        )  # fmt: skip

    def _keys(self) -> tuple[tuple[str, Tone | str], ...]:
        found: list[tuple[str, str]] = []
        if self.stage in {Stage.SHOWN, Stage.FAILED}:
            found.append(("plan.read-again", "try again" if self.stage is Stage.FAILED else "read again"))
            if self.acting.has_options(self.operation):
                found.append(("plan.options", "options"))
            if self._stranger:
                found.append(("plan.host-key", "host key"))
        found.append(("plan.cancel", "stop" if self.stage is Stage.HOLDING else "close" if self._only_close else "cancel"))
        out: list[tuple[str, Tone | str]] = []
        for id, text in found:
            out += [("   " if out else "", Tone.MUTED), (self.cold.key_of(id, self), "key"), (f" {text}", Tone.MUTED)]
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
            await self._met(self.acting.trusts(error), error)
        except ColdError as error:
            self._fail(error)
        else:
            self.changes = ()
            self._take(prepared)

    async def _met(self, known: Awaitable[bool], error: ColdError | None = None) -> None:
        """A host that is not known: the operator decides, and then it is planned again."""
        try:
            if await known or error is None:
                self._read()
            else:
                self._fail(error)
        except ColdError as trouble:
            self._fail(trouble)

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
