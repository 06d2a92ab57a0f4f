"""What can be done to a run from every screen that shows one: cancel and resume."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import Binding, BindingType

from ...domain.errors import ColdError
from ...domain.objects import Ref
from ...domain.plans import plan_of_json
from ...domain.runboard import Health, RunBoard, health, place
from ...domain.runs import Run
from ...domain.secret import Secret
from ...present import runs as run_words
from ...present.lines import Line
from ...present.rows import Cell, Tone
from ...present.run import ACCEPTED
from ..dialogs.base import Dialog
from .base import WorldScreen
from .logs import ContainerList

GONE = frozenset({Health.LOST, Health.AFTER_BOOT})


class RunActs(WorldScreen):
    """Implement `chosen_run`. Stopping a run needs no arming: it only keeps things from being changed, and it is audited. Resuming does."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+x", "cancel_run", "Cancel run", id="runs.cancel", tooltip="Stop this run before its next act"),
        Binding("ctrl+g", "resume_run", "Resume", id="runs.resume", tooltip="Go on with a run whose runner is lost"),
    ]

    def chosen_run(self) -> Run | None:
        """The run that acts are about, as the journal has it now."""
        raise NotImplementedError

    @property
    def board(self) -> RunBoard:
        return self.world.runs if self.world is not None else RunBoard()

    def health_of(self, run: Run) -> Health:
        return health(run, self.board, self.now or self.cold.now())

    def subject(self) -> Ref | None:
        run = self.chosen_run() if self.is_mounted else None
        return Ref("runs", run.id) if run is not None else None

    # ------------------------------------------------------------ keys

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action in {"cancel_run", "resume_run", "menu"}:
            run = self.chosen_run() if self.is_mounted else None
            if run is None or not run.active:
                return False
            return action != "resume_run" or self.health_of(run) in GONE
        if action == "describe" and parameters == (True,):
            return False  # a run has no YAML
        return super().check_action(action, parameters)

    def action_menu(self) -> None:
        run = self.chosen_run()
        if run is None:
            return
        found = [("cancel", "stop before its next act", self.action_cancel_run)]
        if self.health_of(run) in GONE:
            why = self.cold.acting.why_not()
            found.insert(0, ("resume", f"not now: {why}" if why else "go on from what the world says is done", self.action_resume_run))

        def chosen(name: str | None) -> None:
            for known, _, act in found:
                if known == name:
                    act()

        self.app.push_screen(
            ContainerList(run.title, [name for name, _, _ in found], [(text, Tone.MUTED) for _, text, _ in found], 0), chosen
        )

    # ------------------------------------------------------------ cancel

    def action_cancel_run(self) -> None:
        run = self.chosen_run()
        if run is None or not run.active:
            return
        if self.cold.acting.desk is None:
            self.say(f"this console cannot act: coldtui run cancel {run.id}", Tone.WARN)
            return
        lost = self.health_of(run) in GONE
        second = "Its runner is lost: it is ended here, and nothing of it goes on." if lost else "It stops before its next act."
        lines = [
            *self._about(run),
            (Cell(second),),
            (Cell(f"{ACCEPTED[0].upper()}{ACCEPTED[1:]}."),),
            (Cell("It stands in the audit.   y/N", Tone.MUTED),),
        ]
        ask = Dialog("Cancel this run", lines, "Cancel the run", risky=True)
        self.app.push_screen(ask, lambda yes: self.cold.acting.do(self._cancel(run)) if yes else None)

    def _about(self, run: Run) -> list[Line]:
        now = self.now or self.cold.now()
        where = f"at {place(run)}" if run.step >= 0 else "before its first step"
        return [
            (Cell(run.title, Tone.STRONG), Cell(f"   {run.id}", Tone.MUTED)),
            (run_words.state_cell(self.board, run, now), Cell(f" {where}, asked by {run.who.login}")),
            (Cell(""),),
        ]

    async def _cancel(self, run: Run) -> None:
        try:
            now = await self.cold.acting.need_desk().cancel(run.id)
        except ColdError as error:
            self.cold.say(str(error), Tone.BAD, sticky=True)
            return
        if now.state.ended:
            self.cold.say(f"{run.title}: {run_words.end_words(now)}", Tone.WARN, sticky=True)
        else:
            self.cold.say(f"stops before its next act; {ACCEPTED}", Tone.WARN, sticky=True)

    # ------------------------------------------------------------ resume

    def action_resume_run(self) -> None:
        run, acting = self.chosen_run(), self.cold.acting
        if run is None or self.health_of(run) not in GONE:
            return
        if why := acting.why_not():
            self.say(f"READ-ONLY: {why}", Tone.WARN)
            return
        lines = [
            *self._about(run),
            (Cell("A new runner goes on from what the world says is done."),),
            (Cell("Nothing that was done is done again.   y/N", Tone.MUTED),),
        ]
        self.app.push_screen(Dialog("Resume this run", lines, "Resume"), lambda yes: acting.do(self._resume(run)) if yes else None)

    async def _resume(self, run: Run) -> None:
        acting = self.cold.acting
        try:
            secrets = await self._secrets(run)
            if secrets is None:
                return
            self.cold.say(f"{run.title}: its runner starts", Tone.MUTED)
            await acting.need_desk().resume(run.id, secrets=secrets)
        except ColdError as error:
            self.cold.say(str(error), Tone.BAD, sticky=True)
            return
        self.cold.say(f"{run.title}: resumed, it goes on by itself", Tone.GOOD)

    async def _secrets(self, run: Run) -> dict[str, Secret] | None:
        """Secrets were in the memory of the lost runner only: they are asked for again. None: one was not given."""
        try:
            plan = plan_of_json(run.plan)
        except ValueError:
            return {}
        found = await self.cold.acting.secrets_for(plan)
        return None if found is None else dict(found)
