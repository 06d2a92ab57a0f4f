"""Cancel a query, end a session: one that is meant by pid and beginning, so that a pid that came again is never hit."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from ...domain.errors import Forbidden, NotFound, StepFailed, UsageError
from ...domain.plans import Finding, Outlook, Plan, PlannedStep, Premise, Rung, outlook_of
from ...domain.sessions import Session
from ...domain.text import plain
from ...domain.values import dataclass
from ...ports import Chosen, Means
from ..engine import Operation, RunContext, Step
from ..params import param
from .servers import Servers, ask_servers, database_of, named, reach
from .session_findings import cancel_findings, longest, terminate_findings

CANCEL, TERMINATE = "postgres.cancel-query", "postgres.terminate-session"
LOOK_S, SLOW_S = 0.3, 10.0
READ_S = 5.0
"""For the list of sessions, which a plan cannot do without."""
GRANT = "grant pg_signal_backend to the login of postgres.user; a superuser's sessions need a superuser"


@dataclass(frozen=True, slots=True)
class CancelQuery:
    """End what a session runs now; the session stays."""

    pid: int = param("the session's process id", least=1)
    started: str = param("when the session began (backend_start), so that no other of this pid is meant; read now if not given", "")
    instance: str = param("the instance that it is on, the primary if not given", "")
    timeout: int = param("seconds after which it gives up waiting", 60, unit="s", least=1)


@dataclass(frozen=True, slots=True)
class TerminateSession:
    """End a session: its connection breaks, its open transaction is rolled back."""

    pid: int = param("the session's process id", least=1)
    started: str = param("when the session began (backend_start), so that no other of this pid is meant; read now if not given", "")
    instance: str = param("the instance that it is on, the primary if not given", "")
    timeout: int = param("seconds after which it gives up waiting", 60, unit="s", least=1)


Signal = CancelQuery | TerminateSession


@dataclass(frozen=True, slots=True)
class SessionFacts:
    servers: Servers
    instance: str
    sessions: tuple[Session, ...]
    session: Session | None
    """None: the one that was meant has ended."""
    read_at: datetime


async def gather(params: Signal, means: Means, deadline_s: float) -> SessionFacts:
    """Raises NotFound for a pid that nobody has, with the longest transactions; UsageError for a time that is none."""
    wanted = moment(params.started)
    servers = await ask_servers(means, deadline_s)
    instance = named(servers, params.instance)
    sessions = await database_of(means).sessions(instance, deadline_s=min(READ_S, deadline_s / 2))
    read_at = means.clock.now()
    session = next((s for s in sessions if s.pid == params.pid and wanted in (None, s.started)), None)
    if session is None and wanted is None:
        raise NotFound(f"no session {params.pid} on {instance}", hint=longest(sessions, read_at))
    return SessionFacts(servers, instance, sessions, session, read_at)


def moment(text: str) -> datetime | None:
    """A time as ISO 8601 or as PostgreSQL writes it; UTC if it names no zone. None: not given. Raises UsageError."""
    if not text.strip():
        return None
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError:
        raise UsageError(f"started cannot be {plain(text)!r}", hint="backend_start, such as 2026-01-17 02:00:00.123456+00") from None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


# ------------------------------------------------------------ plans


def plan_cancel(facts: SessionFacts, params: CancelQuery, now: datetime) -> Plan:
    session = facts.session
    if session is None:
        return _plan(facts, params, CANCEL, f"Cancel the query of session {params.pid}", (), (), _ended(facts, params))
    began = f" that began at {_clock(session.query_at)}" if session.query_at is not None else ""
    title = f"Cancel the query of session {session.pid}{began}"
    findings = cancel_findings(session, facts.sessions, now)
    query_at = session.query_at.isoformat() if session.query_at is not None else ""
    step = PlannedStep(CANCEL, title, {**_args(facts, session), "query_at": query_at}, "cannot be recalled")
    return _plan(facts, params, CANCEL, title, findings, (step,))


def plan_terminate(facts: SessionFacts, params: TerminateSession, now: datetime) -> Plan:
    session = facts.session
    if session is None:
        return _plan(facts, params, TERMINATE, f"End session {params.pid}", (), (), _ended(facts, params))
    title = f"End session {session.pid} that began at {_clock(session.started)}"
    findings = terminate_findings(session, facts.sessions, now)
    return _plan(facts, params, TERMINATE, title, findings, (PlannedStep(TERMINATE, title, _args(facts, session), "cannot be recalled"),))


def _ended(facts: SessionFacts, params: Signal) -> str:
    """What there is to say when the one that was meant is not there: pids come again, and a time may be mistyped."""
    other = next((s for s in facts.sessions if s.pid == params.pid), None)
    if other is None:
        return f"session {params.pid} has ended already"
    return f"no session {params.pid} began at {params.started}: it has ended, and the one of this pid began at {other.started:%Y-%m-%dT%H:%M:%S.%fZ}"


def _args(facts: SessionFacts, session: Session) -> dict[str, Any]:
    return {"instance": facts.instance, "pid": session.pid, "started": session.started.isoformat()}


def _plan(
    facts: SessionFacts,
    params: Signal,
    name: str,
    title: str,
    findings: tuple[Finding, ...],
    steps: tuple[PlannedStep, ...],
    done: str = "",
) -> Plan:
    return Plan(
        operation=name,
        title=f"{title} on {facts.instance}",
        object=address(params),
        findings=findings,
        steps=steps,
        locks=(),
        rung=Rung.VISIBLE if name == CANCEL else Rung.DISRUPTIVE,
        verb="cancel" if name == CANCEL else "terminate",
        confirm=str(params.pid),
        premises=(*facts.servers.premises, Premise(f"sessions of {facts.instance}", facts.read_at)),
        outlook=outlook_of(findings),
        blocked="; ".join(f.sentence for f in findings if f.outlook is Outlook.REFUSED),
        done=done,
    )


def address(params: Signal) -> str:
    return f"sessions/{params.pid}"


def _clock(at: datetime) -> str:
    """Exact to the microsecond: a plan that is made again must show another session of that pid as another step."""
    return f"{at:%H:%M:%S.%f}Z"


# ------------------------------------------------------------ steps


class Signalling(Step):
    """Arguments: `instance`, `pid`, `started`, and for a query `query_at`. Safe to repeat: the very session is looked for before each signal."""

    def __init__(self, name: str) -> None:
        self.name = name

    async def _found(self, planned: PlannedStep, ctx: RunContext) -> Session | None:
        """The session that is meant, while there is still what is to end."""
        args = planned.args
        meant = Chosen(args["pid"], datetime.fromisoformat(args["started"]))
        database = await reach(ctx.means, args["instance"])
        for session in await database.sessions(args["instance"], deadline_s=READ_S):
            if (session.pid, session.started) == (meant.pid, meant.started):
                return session if self.name == TERMINATE or _same_query(session, args["query_at"]) else None
        return None

    async def done(self, planned: PlannedStep, ctx: RunContext) -> bool:
        return await self._found(planned, ctx) is None

    async def run(self, planned: PlannedStep, ctx: RunContext) -> None:
        args, began, told = planned.args, ctx.now, False
        where = args["instance"]
        await ctx.ready()
        await ctx.patiently(lambda: self._signal(planned, ctx), about=where)
        try:
            while (session := await ctx.patiently(lambda: self._found(planned, ctx), about=where)) is not None:
                await ctx.waiting(f"{where}: {session.pid} to end{f', it waits on {session.wait}' if session.wait else ''}")
                if not told and (ctx.now - began).total_seconds() > SLOW_S:
                    told = True
                    await ctx.say(f"{session.pid} was told, and has not ended after {SLOW_S:.0f} s")
                await ctx.sleep(LOOK_S)
        except StepFailed as error:
            raise StepFailed(f"{args['pid']} on {where} was told to end and goes on", detail=error.title, hint=self._hint(args)) from error
        await ctx.waiting("")
        await ctx.say(f"{args['pid']} on {where}: {'the session is gone' if self.name == TERMINATE else 'the query has ended'}")

    async def _signal(self, planned: PlannedStep, ctx: RunContext) -> None:
        """Looks first: of an earlier try the outcome may be unknown, and the next query is not meant."""
        session = await self._found(planned, ctx)
        if session is None:
            return
        database, where = await reach(ctx.means, planned.args["instance"]), planned.args["instance"]
        send = database.terminate if self.name == TERMINATE else database.cancel
        try:
            await send(where, Chosen(session.pid, session.started))
        except Forbidden as error:
            raise Forbidden(error.title, detail=error.detail, hint=GRANT) from None

    def _hint(self, args: Mapping[str, Any]) -> str:
        if self.name == TERMINATE:
            return "it may be in the kernel (a slow disk) or roll back: look at its wait event again"
        return f"end the session instead: coldtui postgres terminate {args['pid']}"


def _same_query(session: Session, query_at: str) -> bool:
    begun = session.query_at.isoformat() if session.query_at is not None else ""
    return begun == query_at and not session.state.startswith("idle")


CANCEL_QUERY: Operation[CancelQuery, SessionFacts] = Operation(
    name=CANCEL,
    title="Cancel query",
    about="end what a session runs now; the session stays",
    params=CancelQuery,
    rung=Rung.VISIBLE,
    gather=gather,
    plan=plan_cancel,
    steps=(Signalling(CANCEL),),
    object=address,
)
TERMINATE_SESSION: Operation[TerminateSession, SessionFacts] = Operation(
    name=TERMINATE,
    title="Terminate session",
    about="end a session of the database; its open transaction is rolled back",
    params=TerminateSession,
    rung=Rung.DISRUPTIVE,
    gather=gather,
    plan=plan_terminate,
    steps=(Signalling(TERMINATE),),
    object=address,
)
