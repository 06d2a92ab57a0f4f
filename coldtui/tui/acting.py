"""Acting from the console: asking for an act, what was asked and not seen yet, undo, and what becomes of runs that were started.

Every act goes through the desk, and none is confirmed while the console is read-only (`arming`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from coldtui.domain.values import dataclass

from ..domain.errors import ColdError, HostKeyUnknown, Refused
from ..domain.objects import Ref
from ..domain.plans import Outlook, Plan, Rung
from ..domain.runs import Run, RunState
from ..domain.secret import Secret
from ..domain.text import counted
from ..domain.world import World
from ..present import words
from ..present.lines import Line
from ..present.rows import Cell, Tone
from ..present.runs import end_words
from .arming import Arming

if TYPE_CHECKING:
    from ..operations.desk import Desk, Prepared
    from ..operations.engine import AnyOperation
    from .app import ColdApp

UNDO_S = 10.0
SEEN_S = 10.0
"""So long after its run ended an act is shown as asked for while the World does not show it; then something else has undone it."""
KINDS_OF = {
    "node": "nodes", "pod": "pods", "postgres": "pg_instances", "deploy": "deployments",
    "postgres.cancel-query": "pg_sessions", "postgres.terminate-session": "pg_sessions",
    "postgres.maintenance": "pg_databases", "postgres.hibernate": "pg_clusters", "postgres.wake": "pg_clusters",
}  # fmt: skip
"""Noun of an operation, or its name where that says more -> kind of the objects that it acts on. Instances and sessions of PostgreSQL are no kinds of
the API: their screen says that it means them."""
ALSO = {"postgres.failover": "pg_clusters"}
"""Operations that are for a second kind too, which is not the object that they name."""
OBJECTS = {"postgres.failover": "to", "postgres.maintenance": "database"}
"""The field that names the object, where it is not the first that must be given."""
SEEN: Mapping[str, Callable[[World, str], bool]] = {
    "node.cordon": lambda world, key: (node := world.nodes.items.get(key)) is not None and node.unschedulable,
    "node.uncordon": lambda world, key: (node := world.nodes.items.get(key)) is not None and not node.unschedulable,
}
"""Whether the World shows what an operation of rung 0 does."""
KEY_UNKNOWN = "host.key-unknown"
"""Code of a finding that the host of `object` (`nodes/NAME`) shows a key that is in no known_hosts file."""
SECRET = "needs-secret."
"""A finding whose code begins like this, or whose object begins with `secrets/`, names in `object` a secret that the run needs, as in `ports.Means`:
`secrets/sudo/k3s-worker-1`."""


def kind_of(name: str) -> str:
    """Of the objects that the operation acts on; empty: of none that is shown."""
    return KINDS_OF.get(name) or KINDS_OF.get(name.partition(".")[0], "")


@dataclass(frozen=True, slots=True)
class Asked:
    """An act that was asked for and is not seen in the World yet."""

    operation: str
    text: str
    """`cordon asked`."""
    ended: float | None = None
    """When its run was done (monotonic)."""


@dataclass(frozen=True, slots=True)
class Undo:
    operation: str
    values: Mapping[str, Any]
    notice: str
    until: float


@dataclass(frozen=True, slots=True)
class Act:
    """Something that can be done to an object, for menu, palette and commands."""

    operation: str
    title: str
    """`Cordon k3s-worker-1`."""
    about: str
    rung: Rung
    values: Mapping[str, Any]
    choice: str = ""
    """What is chosen besides, such as the sort of maintenance."""
    whom: str = ""
    """The object, where it is not the one under the cursor."""

    @property
    def verb(self) -> str:
        """For the menu."""
        return " ".join(x for x in (self.choice or self.operation.partition(".")[2], self.whom) if x)


class Acting:
    """One for the app. Everything that can wait is a task of its own; a fault in one is shown like any other."""

    def __init__(self, app: ColdApp) -> None:
        self.app = app
        self.asked: dict[str, Asked] = {}
        """By address."""
        self.undoable: Undo | None = None
        self.started: dict[str, str] = {}
        """Runs that this console confirmed and whose end was not told yet: id -> title."""
        self.arming = Arming(self)
        self._tasks: set[asyncio.Task[Any]] = set()

    # ------------------------------------------------------------ what it works with

    @property
    def desk(self) -> Desk | None:
        return self.app.site.desk

    def need_desk(self) -> Desk:
        """Raises Refused where there is none."""
        if self.desk is None:
            raise Refused("this console cannot act", detail="it was opened without a journal")
        return self.desk

    @property
    def world(self) -> World | None:
        return self.app.world

    @property
    def now(self) -> datetime:
        return self.app.now()

    def monotonic(self) -> float:
        return self.app.monotonic()

    def spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """A task that outlives the screen that asked for it."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def do(self, work: Coroutine[Any, Any, None]) -> None:
        """In the background."""

        async def guarded() -> None:
            try:
                await work
            except Exception as error:  # noqa: BLE001 - the boundary: a fault of ours becomes a line on the screen
                self.app._handle_exception(error)

        self.spawn(guarded())

    @property
    def armed(self) -> bool:
        return self.arming.armed

    def why_not(self) -> str:
        """Why nothing can be confirmed now; empty: it can."""
        return self.arming.why_not()

    # ------------------------------------------------------------ what can be done

    def acts_on(self, ref: Ref | None, given: Mapping[str, str] | None = None, *, whom: str = "") -> tuple[Act, ...]:
        """To an object, in the order of the catalogue. `given`: what is known of it besides its name, for operations that have a field for it; empty:
        the object is not for that field."""
        if ref is None or self.desk is None:
            return ()
        made = []
        for name in self.desk.operations:
            if kind_of(name) == ref.kind or ALSO.get(name) == ref.kind:
                made += self._acts(self.desk.operations[name], ref, given or {}, whom)
        return tuple(made)

    def _acts(self, operation: AnyOperation, ref: Ref, given: Mapping[str, str], whom: str) -> list[Act]:
        """One, or one for each value of a choice that must be made; none where something else would have to be asked first."""
        from ..operations.params import params_of

        fields = {p.name: p for p in params_of(operation.params)}
        values = {} if ALSO.get(operation.name) == ref.kind else {object_param(operation): ref.name}
        values |= {name: value for name, value in given.items() if name in fields}
        values = {name: value for name, value in values.items() if value}
        missing = [p for p in fields.values() if p.required and p.name not in values]
        if len(missing) > 1 or any(not p.choices for p in missing):
            return []
        about, rung, title = sentence(operation.about), self.rung_of(operation), self.title_of(operation, ref.name)
        if not missing:
            return [Act(operation.name, title, about, rung, values, whom=whom)]
        name, choices = missing[0].name, missing[0].choices
        return [Act(operation.name, f"{x.capitalize()} {ref.name}", about, rung, {**values, name: x}, x, whom) for x in choices]

    @staticmethod
    def can_act_on(kind: str) -> bool:
        """Whether any operation is for this kind. Looks at names only: hints ask this at the first paint."""
        from ..operations.catalogue import OPERATIONS

        return any(kind_of(entry.name) == kind or ALSO.get(entry.name) == kind for entry in OPERATIONS)

    def rung_of(self, operation: AnyOperation) -> Rung:
        from ..operations.engine import raised

        return raised(operation.rung, self.need_desk().production)

    def object_of(self, operation: AnyOperation, values: Mapping[str, Any]) -> str:
        """Address of what an operation would act on, as far as its values tell."""
        name = str(values.get(object_param(operation), ""))
        return f"{kind_of(operation.name) or 'objects'}/{name}"

    @staticmethod
    def title_of(operation: AnyOperation, object: str) -> str:
        """`Drain k3s-worker-1` of `Drain node`."""
        noun = operation.name.partition(".")[0]
        kept = [word for word in operation.title.split(" ") if word.lower() != noun]
        return f"{' '.join(kept) or operation.title} {object}"

    def has_options(self, operation: AnyOperation) -> bool:
        from ..operations.params import params_of

        return len(params_of(operation.params)) > 1

    # ------------------------------------------------------------ asking

    def ask(self, name: str, values: Mapping[str, Any]) -> None:
        """For an act: rung 0 acts at once, all else shows its plan. Planning changes nothing and needs no arming."""
        try:
            operation = self.need_desk().find(name)
        except ColdError as error:
            self.app.say(str(error), Tone.WARN)
            return
        if self.rung_of(operation) > Rung.SMALL:
            self.show_plan(operation, values)
        elif why := self.why_not():
            self.app.say(f"READ-ONLY: {why}", Tone.WARN)
        else:
            self.do(self._at_once(operation, values))

    def show_plan(self, operation: AnyOperation, values: Mapping[str, Any], prepared: Prepared | None = None) -> None:
        from .dialogs.plan import PlanDialog

        def done(run: Run | None) -> None:
            if run is not None:
                self._started(operation, values, run)

        self.app.push_screen(PlanDialog(self, operation, values, prepared), done)

    async def _at_once(self, operation: AnyOperation, values: Mapping[str, Any], *, undoing: bool = False) -> None:
        """Rung 0: the row says that it was asked for until the World shows it."""
        object, verb = self.object_of(operation, values), operation.name.partition(".")[2]
        self._mark(object, Asked(operation.name, f"{verb} asked"))
        self.undoable = None
        try:
            prepared = await self.need_desk().prepare(operation.name, values)
            if prepared.plan.done:
                self._mark(object, None)
                self.app.say(prepared.plan.done, Tone.MUTED)
                return
            if not _plain(prepared.plan):
                self._mark(object, None)
                self.show_plan(operation, values, prepared)
                return
            run = await self.confirm(prepared)
        except ColdError as error:
            self._mark(object, None)
            self.app.say(f"{self.title_of(operation, object.partition('/')[2])}: {error}", Tone.BAD, sticky=True)
            return
        self._started(operation, values, run, undoing=undoing)

    async def confirm(self, prepared: Prepared, *, reason: str = "", secrets: Mapping[str, Secret] | None = None) -> Run:
        """Confirmed as its rung asks; goes on although the dialog that asked is closed. Raises as `Desk.confirm`, and Refused when read-only."""
        if why := self.why_not():
            raise Refused("read-only", detail=why)
        return await asyncio.shield(self.spawn(self.need_desk().confirm(prepared, reason=reason, secrets=secrets)))

    def _started(self, operation: AnyOperation, values: Mapping[str, Any], run: Run, *, undoing: bool = False) -> None:
        """A run is in the journal: ended already (rung 0), or with a runner of its own."""
        if run.state.ended:
            self._ended_here(operation, values, run, undoing=undoing)
            return
        self.started[run.id] = run.title
        if "runs" in self.app.MODES:
            self.app.go("runs", run.id)
        self.app.say(f"{run.title}: started, it goes on by itself", Tone.GOOD)

    def _ended_here(self, operation: AnyOperation, values: Mapping[str, Any], run: Run, *, undoing: bool) -> None:
        if run.state is not RunState.DONE:
            self._mark(run.object, None)
            self.app.say(f"{run.title}: {end_words(run)}", Tone.BAD, sticky=True)
            return
        verb = operation.name.partition(".")[2]
        if operation.name in SEEN:
            self._mark(run.object, Asked(operation.name, f"{verb} asked", self.monotonic()))
        said = f"{past(verb)} {run.object.partition('/')[2]}"
        # What the outcome tells besides, as that it is not recorded.
        more = run.outcome.partition("; ")[2]
        if undoing or not operation.undo or not self.armed:
            told = f"undone: {said}" if undoing else said
            self.app.say(f"{told} · {more}" if more else told, Tone.WARN if more else Tone.GOOD, sticky=bool(more))
            return
        notice = f"{self.app.key_of('undo')} undoes it ({UNDO_S:.0f} s)"
        notice = f"{notice} · {more}" if more else f"{said} · {notice}"
        self.undoable = Undo(operation.undo, {object_param(self.need_desk().find(operation.undo)): run.object.partition("/")[2]}, notice,
                             self.monotonic() + UNDO_S)  # fmt: skip
        self.app.say(notice, Tone.WARN if more else Tone.GOOD, sticky=True)
        self.app.screen.refresh_bindings()
        self.app.set_timer(UNDO_S, lambda: self._undo_over(notice), name="undo")

    def _undo_over(self, notice: str) -> None:
        if self.undoable is not None and self.undoable.notice == notice:
            self.undoable = None
            self.app.screen.refresh_bindings()
        self.app.unsay(notice)

    @property
    def can_undo(self) -> bool:
        return self.undoable is not None and self.armed and self.monotonic() < self.undoable.until

    def undo(self) -> None:
        """Within 10 s of an act of rung 0."""
        undo, self.undoable = self.undoable, None
        if undo is None:
            return
        self.app.unsay(undo.notice)
        self.do(self._at_once(self.need_desk().find(undo.operation), undo.values, undoing=True))

    # ------------------------------------------------------------ what was asked, and what became of it

    def _mark(self, object: str, asked: Asked | None) -> None:
        if asked is None:
            self.asked.pop(object, None)
        else:
            self.asked[object] = asked
        self.app.publish(force=True)

    def mark_of(self, ref: Ref) -> str:
        """What was asked for and is not seen yet, for the row of an object; empty: nothing."""
        found = self.asked.get(str(ref))
        return found.text if found is not None else ""

    def asked_line(self, ref: Ref) -> tuple[Line, ...]:
        """The same as a line for a card; none when nothing was asked for."""
        asked = self.mark_of(ref)
        return ((Cell(f"{words.GLYPHS['part']} {asked}", Tone.ACCENT),),) if asked else ()

    def settle(self, world: World) -> None:
        """A newer World: what it shows was done is asked for no more, and runs that ended are told of."""
        for object, asked in list(self.asked.items()):
            seen, over = SEEN.get(asked.operation), asked.ended is not None and self.monotonic() - asked.ended > SEEN_S
            if over or (seen is not None and seen(world, object.partition("/")[2])):
                del self.asked[object]
        if self.started:
            self._tell_ends(world)

    def _tell_ends(self, world: World) -> None:
        for run in world.runs.runs:
            if run.id in self.started and run.state.ended:
                del self.started[run.id]
                good = run.state is RunState.DONE
                self.app.call_later(self.app.say, f"{run.title}: {end_words(run)}", Tone.GOOD if good else Tone.BAD, sticky=not good)

    def last_words(self) -> str:
        """For after the console was left: that its runs go on. Reads the journal."""
        if not self.started or self.desk is None:
            return ""
        try:
            active = [run for run in self.desk.journal().runs(active=True) if run.id in self.started]
        except ColdError as error:
            return f"runs were started here, and the journal cannot be read: {error}"
        if not active:
            return ""
        return f"{counted(len(active), 'run goes', 'runs go')} on: coldtui run list"

    # ------------------------------------------------------------ what a run needs besides

    async def secrets_for(self, plan: Plan) -> Mapping[str, Secret] | None:
        """Asks for each secret that the plan says it needs; None when one was not given. They live in memory until the run is started."""
        from .dialogs.secret import SecretDialog

        found: dict[str, Secret] = {}
        for finding in plan.findings:
            if not finding.code.startswith(SECRET) and not finding.object.startswith("secrets/"):
                continue
            name = finding.object.removeprefix("secrets/")
            if name and name not in found:
                given = await self._asked(SecretDialog(name, finding, plan))
                if given is None:
                    return None
                found[name] = given
        return found

    def stranger_of(self, plan: Plan) -> str:
        """The node whose host key the plan could not accept; empty: none."""
        found = next((f.object for f in plan.findings if f.code == KEY_UNKNOWN), "")
        return found.partition("/")[2]

    async def meet(self, node: str) -> bool:
        """Asks the host of a node for its key and shows it; True when it is known now. Raises ColdError."""
        known = self.world.nodes.items.get(node) if self.world is not None else None
        error = await self.app.site.unknown_key(node, known.internal_ip if known is not None else "")
        return error is None or await self.trusts(error)

    async def trusts(self, error: HostKeyUnknown) -> bool:
        """Shows the key of an unknown host; True when it was accepted and kept. Raises ColdError when it could not be kept, or not audited."""
        from .dialogs.hostkey import HostKeyDialog

        if not await self._asked(HostKeyDialog(error, self.why_not())):
            return False
        if why := self.why_not():
            raise Refused("the key was not taken", detail=why)
        await self.need_desk().note("host-key", outcome=f"accepted {error.fingerprint} of {error.line.partition(' ')[0]}")
        path = await asyncio.to_thread(self.app.site.trust, error.line)
        self.app.say(f"key of {error.line.partition(' ')[0]} kept in {path}", Tone.MUTED)
        return True

    async def _asked(self, dialog: Any) -> Any:
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        def done(result: Any) -> None:
            if not answer.done():
                answer.set_result(result)

        self.app.push_screen(dialog, done)
        return await answer


def _plain(plan: Plan) -> bool:
    """Whether a plan of rung 0 has nothing that must be seen before."""
    return plan.rung is Rung.SMALL and not plan.blocked and plan.outlook in {Outlook.GO, Outlook.GO_AFTER}


def required(operation: AnyOperation) -> tuple[str, ...]:
    """The fields that must be given, in the order of the command line."""
    from ..operations.params import params_of

    return tuple(p.name for p in params_of(operation.params) if p.required)


def object_param(operation: AnyOperation) -> str:
    """The field that names the object: the first without a default, unless the operation says otherwise."""
    return OBJECTS.get(operation.name) or required(operation)[0]


def sentence(about: str) -> str:
    """As a line of its own, without a full stop."""
    return about[:1].upper() + about[1:].rstrip(".")


def past(verb: str) -> str:
    """`cordoned`."""
    return {"cordon": "cordoned", "uncordon": "uncordoned"}.get(verb, f"{verb} done:")
