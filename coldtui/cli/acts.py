"""`coldtui NOUN VERB OBJECT`: every operation as a command, made from its declaration. Planned, confirmed as its rung asks, followed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ..domain.errors import ColdError, Exit, Forbidden, JournalTrouble, NotFound, Refused, UsageError
from .args import Command, Flag

if TYPE_CHECKING:
    from ..domain.runs import Run
    from ..operations.desk import Desk, Prepared
    from ..operations.engine import Operation
    from ..operations.params import Param
    from .run import Call

ACT: tuple[Flag, ...] = (
    Flag(("--plan",), "print the plan, change nothing; the word that confirms it is the last line"),
    Flag(("--yes",), "confirm with this word: what --plan printed last", "WORD"),
    Flag(("--reason",), "why, for the audit", "TEXT"),
    Flag(("--json",), "print JSON: the plan, or a line for each event and the result as the last"),
    Flag(("--detach",), "do not follow: print the id of the run and return"),
    Flag(("--secrets-fd",), "read passwords from this file descriptor: one JSON object, name to text", "N", number=True),
)
EXITS = (
    "Exit codes: 0 done, or the plan may be confirmed (--plan), or started (--detach); 1 failed, 2 usage, 3 refused by the plan or not confirmed,\n"
    "4 unreachable, 5 not permitted, 6 cancelled. ctrl-c asks the run to stop before its next act, a second one stops following; a closed\n"
    "terminal only stops following."
)


ALIASES: dict[str, str] = {
    "postgres restart": "postgres.restart-instance",
    "postgres reclone": "postgres.reclone-instance",
    "postgres cancel": "postgres.cancel-query",
    "postgres terminate": "postgres.terminate-session",
}
"""What an operator types -> the operation. Help lists these; the operation's own name works as well."""


def operation_name(command: str) -> str:
    """`postgres.cancel-query` of `postgres cancel` and of `postgres cancel-query`."""
    return ALIASES.get(command, command.replace(" ", ".", 1))


class Verbs(Mapping[str, Command]):
    """The operations of a noun as commands. Names cost nothing; a command imports its operation."""

    def __init__(self, noun: str) -> None:
        self.noun = noun

    def _names(self) -> tuple[str, ...]:
        """The short name where there is one."""
        from ..operations.catalogue import OPERATIONS

        short = {name: alias.partition(" ")[2] for alias, name in ALIASES.items()}
        mine = (entry.name for entry in OPERATIONS if entry.name.startswith(f"{self.noun}."))
        return tuple(short.get(name, name.partition(".")[2]) for name in mine)

    def __getitem__(self, verb: str) -> Command:
        from ..operations.catalogue import CATALOGUE

        name = f"{self.noun} {verb}"
        return command_of(CATALOGUE[operation_name(name)], name)

    def __contains__(self, verb: object) -> bool:
        from ..operations.catalogue import CATALOGUE

        return isinstance(verb, str) and operation_name(f"{self.noun} {verb}") in CATALOGUE

    def __iter__(self) -> Iterator[str]:
        return iter(self._names())

    def __len__(self) -> int:
        return len(self._names())


def command_of(operation: Operation[Any, Any], name: str = "") -> Command:
    """Positional words are the parameters that must be given, flags the others. `name` as it was typed, the operation's if not given."""
    from ..operations.params import params_of

    every = params_of(operation.params)
    flags = tuple(_flag(p) for p in every if not p.required or p.named)
    taken = {name for flag in flags for name in flag.names}
    own = tuple(flag for flag in ACT if not taken & set(flag.names))
    words = tuple(f"[{p.name.upper()}]" if p.named else p.name.upper() for p in every if p.required)
    return Command(name or operation.name.replace(".", " "), operation.about, "acts:run", (*flags, *own), words, more=EXITS)


def _flag(p: Param) -> Flag:
    about = p.about + (f": {', '.join(p.choices)}" if p.choices else "") + (" (raises what must be confirmed)" if p.grave else "")
    if p.kind is bool and p.default:
        return Flag((f"--no-{p.flag[2:]}",), f"do not: {about}", dest=p.name)
    if p.kind is bool:
        return Flag((p.flag,), about, dest=p.name)
    if not p.required and (p.kind is int or p.default):
        unit = f" {p.unit}" if p.unit else ""
        about += f" (default {_text(p.default)}{unit})"
    value = "N" if p.kind is int else "A,B" if p.kind is tuple else "TEXT"
    return Flag((p.flag,), about, value, p.choices, dest=p.name)


def _text(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def values_of(operation: Operation[Any, Any], words: tuple[str, ...], flags: Mapping[str, Any]) -> dict[str, Any]:
    """What was given, as `params.make` takes it."""
    from ..operations.params import params_of

    every = params_of(operation.params)
    given: dict[str, Any] = dict(zip((p.name for p in every if p.required), words, strict=False))
    for p in every:
        if (p.named or not p.required) and p.name in flags:
            given[p.name] = not p.default if p.kind is bool else flags[p.name]
    for p in every:
        if p.required and p.named and p.name not in given:
            raise UsageError(f"{p.flag} is missing: {p.about}", hint=f"write {p.flag} NAME")
    return given


# ------------------------------------------------------------ the act


def run(call: Call) -> Exit:
    flags = call.parsed.flags
    if flags.get("plan") and (flags.get("detach") or flags.get("yes")):
        raise UsageError("--plan changes nothing", hint="leave --yes and --detach out, or --plan")
    from ..wiring import open_desk

    try:
        return asyncio.run(_act(call, open_desk(call.site(), "command line")))
    except ColdError as error:
        if flags.get("json") and not flags.get("plan"):
            from .follow import not_begun

            not_begun(error)
        raise


async def _act(call: Call, desk: Desk) -> Exit:
    assert call.parsed.command is not None
    operation = desk.find(operation_name(call.parsed.command.name))
    try:
        prepared = await desk.prepare(operation.name, values_of(operation, call.parsed.words, call.parsed.flags))
        if call.parsed.flags.get("plan"):
            return _print_plan(call, desk, prepared)
        return await _confirm(call, desk, prepared)
    finally:
        await desk.aclose()


def _print_plan(call: Call, desk: Desk, prepared: Prepared) -> Exit:
    """The word that confirms is the last line, or the last key."""
    from ..present import plans
    from . import out

    plan = prepared.plan
    blocked = desk.forbidden or plans.blocked_words(plan)
    if call.parsed.flags.get("json"):
        document = plans.plan_document(plan)
        out.dump({**{k: v for k, v in document.items() if k != "confirm"}, "blocked": blocked or None, "confirm": plan.confirm})
    else:
        out.data(out.lines(plans.plan_lines(plan, desk.clock.now(), out.columns())))
        if not blocked and not plan.done:
            out.data(
                f"{plans.rung_words(plan.rung)}; in a script: --yes and this word{' and --reason' if plan.needs_reason else ''}\n{plan.confirm}"
            )
    if blocked:
        out.say(out.clean(f"cannot be confirmed: {blocked}"))
        return Exit.NOT_PERMITTED if not desk.forbidden and plans.not_permitted(plan) else Exit.REFUSED
    return Exit.DONE


async def _confirm(call: Call, desk: Desk, prepared: Prepared) -> Exit:
    from ..present import plans
    from . import confirm, out, secrets
    from .follow import Follower, result, said_end, said_started

    plan, flags, json = prepared.plan, call.parsed.flags, bool(call.parsed.flags.get("json"))
    if plan.done:
        out.say(out.clean(plan.done))
        if json:
            result(None, "done", plan.done, Exit.DONE)
        return Exit.DONE
    if why := desk.forbidden or plans.blocked_words(plan):
        await desk.refuse(prepared, why, reason=flags.get("reason") or "")
        if not desk.forbidden and plans.not_permitted(plan):
            raise Forbidden(why, detail="nothing was done")
        raise Refused(why, detail="nothing was done", hint="start without --read-only" if why == desk.forbidden else "")
    reason = await confirm.ask(call, desk, prepared)
    given = secrets.given(call, plan)
    with confirm.held():
        run: Run = await desk.confirm(prepared, reason=reason, secrets=given)
    if run.state.ended and (flags.get("detach") or not await _recorded(desk, run)):
        return said_end(run, desk.clock.now(), json=json)
    if flags.get("detach"):
        return said_started(run, json=json)
    journal = await asyncio.to_thread(desk.journal)
    return await Follower(desk, journal, run, json=json, started=True).run()


async def _recorded(desk: Desk, run: Run) -> bool:
    """Whether it is in the journal: a small act is done also where that cannot be written."""
    try:
        journal = await asyncio.to_thread(desk.journal)
        await asyncio.to_thread(journal.run, run.id)
    except (JournalTrouble, NotFound):
        return False
    return True
