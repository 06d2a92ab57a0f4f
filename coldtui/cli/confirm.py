"""Confirming on the command line: `--yes WORD` where there is no terminal, else the ladder of the rungs, typed."""

from __future__ import annotations

import shlex
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from ..domain.errors import Cancelled, Refused
from ..domain.plans import Plan, Rung, worse
from ..domain.text import plain
from . import out

if TYPE_CHECKING:
    from ..operations.desk import Desk, Prepared
    from .run import Call


async def ask(call: Call, desk: Desk, prepared: Prepared) -> str:
    """Make sure that the operator wants this plan, as its rung asks. Returns the reason. Raises Refused."""
    plan, flags = prepared.plan, call.parsed.flags
    reason = str(flags.get("reason") or "").strip()
    word = flags.get("yes")
    if word is None and plan.rung is not Rung.SMALL:
        reason = _on_terminal(call, desk, plan, reason)
    elif word is not None and word != plan.confirm:
        raise Refused(
            f"--yes {plain(str(word))!r} does not confirm {plan.title!r}", detail="nothing was done", hint=f"the word is {plan.confirm}"
        )
    if plan.needs_reason and not reason:
        raise Refused(f"{plan.title} needs a reason", detail="nothing was done", hint="add --reason 'why'")
    if plan.rung is Rung.DESTRUCTIVE:
        await _still_so(desk, prepared)
    return reason


async def _still_so(desk: Desk, prepared: Prepared) -> None:
    """The hold of rung 3: everything is read again before anything is written."""
    out.say("reading everything again")
    again = await desk.plan_again(prepared.operation, prepared.params)
    if found := worse(prepared.plan, again.plan):
        await desk.refuse(again, f"the plan got worse: {'; '.join(found)}")
        raise Refused("the plan got worse since it was shown", detail="; ".join(found), hint="look at it again with --plan")


# ------------------------------------------------------------ typed


def terminal() -> bool:
    return sys.stdin.isatty() and sys.stderr.isatty()


def command_line(call: Call, plan: Plan) -> str:
    """The command that would do it: as it was called, with the word that confirms it."""
    reason = ["--reason", "why"] if plan.needs_reason and not call.parsed.flags.get("reason") else []
    return shlex.join(["coldtui", *call.argv, "--yes", plan.confirm, *reason])


def _on_terminal(call: Call, desk: Desk, plan: Plan, reason: str) -> str:
    if not terminal():
        raise Refused(f"{plan.title} is not confirmed", detail="there is no terminal to ask on", hint=command_line(call, plan))
    from ..present import plans

    for line in out.lines(plans.plan_lines(plan, desk.clock.now(), out.columns()), sys.stderr).splitlines():
        print(out.fitting(line, sys.stderr), file=sys.stderr)
    if plan.rung is Rung.VISIBLE:
        wanted, question = ["y", "yes"], f"{plan.title}? [y/N] "
    else:
        word = plan.verb if plan.rung is Rung.DISRUPTIVE else plan.confirm
        wanted, question = [word], f"Type {word} to go on: "
    typed = _asked(question)
    if typed.lower() not in wanted if plan.rung is Rung.VISIBLE else typed not in wanted:
        raise Refused(
            f"{plan.title} is not confirmed", detail="nothing was done", hint=f"not {wanted[0]}: {plain(typed)!r}" if typed else ""
        )
    if plan.needs_reason and not reason:
        reason = _asked("Reason, for the audit: ")
    return reason


def _asked(question: str) -> str:
    """Raises Cancelled for ctrl-c."""
    try:
        return read_line(question)
    except KeyboardInterrupt:
        print(file=sys.stderr)  # the question stands on this line still
        raise Cancelled("cancelled", detail="nothing was done") from None


def read_line(question: str) -> str:
    """What is typed from now on; what was typed before was not meant for this. ctrl-c is KeyboardInterrupt, the end of input an empty answer."""
    with interruptible():
        _forget_typed()
        print(out.fitting(question, sys.stderr), end="", file=sys.stderr, flush=True)
        return sys.stdin.readline().strip()


def _forget_typed() -> None:
    import termios

    with suppress(termios.error, ValueError, OSError):
        termios.tcflush(sys.stdin, termios.TCIFLUSH)


@contextmanager
def interruptible() -> Iterator[None]:
    """While the loop waits for a person: ctrl-c ends that at once, not only after the next line."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def held() -> Iterator[None]:
    """Between the confirmation and the moment at which the run goes by itself neither ctrl-c nor a closed terminal may tear it."""

    def later(number: int, frame: object) -> None:
        out.say("it is being started: a moment")

    before = (signal.signal(signal.SIGINT, later), signal.signal(signal.SIGHUP, signal.SIG_IGN))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before[0])
        signal.signal(signal.SIGHUP, before[1])
