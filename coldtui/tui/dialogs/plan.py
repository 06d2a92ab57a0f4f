"""The plan of an act, and its confirmation by rung: y/N, the verb typed, or the name typed with a reason and a hold while all is read again.

Letters may be typed at once: they go to the word, wherever the focus is. That is why keys of this dialog other than letters read again
(ctrl-r) and change options (ctrl-o). Focus begins on Cancel.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.widgets import Button, Input

from ...domain.errors import ColdError
from ...domain.plans import Rung, worse
from ...present.rows import Tone
from .planlook import PlanLook, ReasonInput
from .planwords import Stage
from .sheet import Sheet
from .typed import WordLine


class PlanDialog(PlanLook):
    """Answers with the run that was started, or None."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "cancel", "Cancel", id="plan.cancel", tooltip="Close without doing anything; during the hold: stop"),
        Binding("ctrl+r", "read_again", "Read again", id="plan.read-again", tooltip="Read everything afresh and plan again"),
        Binding("ctrl+o", "options", "Options", id="plan.options", tooltip="Change what it is asked with, then plan again"),
        Binding("ctrl+k", "meet", "Host key", show=False, id="plan.host-key", tooltip="Look at the key of a host that is not known yet"),
        Binding("A", "arm", "Arm", show=False, id="plan.arm", tooltip="Arm, where the plan can only be looked at"),
        Binding("down", "roll(1)", "Down", show=False, id="plan.down"),
        Binding("up", "roll(-1)", "Up", show=False, id="plan.up"),
        Binding("pagedown", "page(1)", "Page down", show=False, id="plan.page-down"),
        Binding("pageup", "page(-1)", "Page up", show=False, id="plan.page-up"),
    ]

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
        if message.text or self.told:
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

    def on_reason_input_entered(self, message: ReasonInput.Entered) -> None:
        message.stop()
        event = message.key
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
            again, _ = await asyncio.gather(desk.plan_again(prepared.operation, prepared.params), asyncio.sleep(self.hold_s))
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
        if action == "meet":
            return self.stage is Stage.SHOWN and bool(self._stranger)
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

    def action_meet(self) -> None:
        node, self.prepared = self._stranger, None
        self._begin(Stage.READING, self._met(self.acting.meet(node)))

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
