"""Vacuum, analyze, reindex: on the primary, followed while they work, stopped on the server when the run is cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import datetime
from difflib import get_close_matches
from typing import Any

from ...domain.errors import JournalTrouble, NotFound, StepFailed
from ...domain.plans import Outlook, Plan, PlannedStep, Premise, Rung, outlook_of
from ...domain.readings import Reading, Unknown
from ...domain.runs import Run
from ...domain.sessions import DatabaseFacts, TableFacts
from ...domain.text import plain
from ...domain.values import dataclass
from ...ports import Database, Means
from ..engine import Operation, RunContext, Step
from ..params import param
from .facts import _ask
from .maintaining import Maintaining
from .maintenance_findings import MaintenanceFacts, findings_of
from .servers import ask_servers, database_of, primary

NAME = "postgres.maintenance"
KINDS = ("vacuum", "vacuum-full", "analyze", "reindex")
WORDS = {"vacuum": "Vacuum", "vacuum-full": "Vacuum full", "analyze": "Analyze", "reindex": "Reindex"}
READ_S = 5.0
MOST_TABLES = 20_000
SYSTEM = ("pg_catalog.", "pg_toast.")
"""Tables of the system are not among those that are counted."""


@dataclass(frozen=True, slots=True)
class Maintenance:
    """Remove dead rows, renew statistics or indexes."""

    kind: str = param("what to do; vacuum-full locks each table and asks for more", choices=KINDS)
    database: str = param("the database")
    table: tuple[str, ...] = param("schema.table, several with commas; the whole database if not given", ())
    timeout: int = param("seconds after which the statement is stopped, 0 never does", 0, unit="s", least=0)


async def gather(params: Maintenance, means: Means, deadline_s: float) -> MaintenanceFacts:
    """Raises NotFound for a database or a table that is not there, with the nearest; Refused or Unreachable where there is no one primary."""
    servers = await ask_servers(means, deadline_s)
    instance, database = primary(servers), database_of(means)
    at = means.clock.now()
    databases, tables, progress, sessions, runs = await asyncio.gather(
        database.databases(instance, deadline_s=READ_S),
        _ask("tables", _tables(database, instance, params.database), READ_S, at),
        _ask("progress", database.progress(instance, deadline_s=READ_S), READ_S, at),
        _ask("sessions", database.sessions(instance, deadline_s=READ_S), READ_S, at),
        _under_way(means),
    )
    _known_database(params.database, databases)
    names = tuple(dict.fromkeys(table_name(wanted, params.database, tables) for wanted in params.table))
    return MaintenanceFacts(params.kind, params.database, names, servers, instance, tables, progress, sessions, runs, at)


async def _tables(database: Database, instance: str, name: str) -> tuple[TableFacts, ...]:
    return await database.tables(instance, name, most=MOST_TABLES, deadline_s=READ_S)


async def _under_way(means: Means) -> tuple[Run, ...]:
    try:
        return await asyncio.to_thread(means.under_way)
    except JournalTrouble:
        return ()  # whoever confirms is told: the journal takes no run then


def _known_database(name: str, found: tuple[DatabaseFacts, ...]) -> None:
    names = [d.name for d in found]
    if name not in names:
        near = get_close_matches(name, names, n=2, cutoff=0.4)
        raise NotFound(
            f"no database {plain(name)}", hint=f"did you mean {' or '.join(near)}?" if near else f"there are: {', '.join(sorted(names))}"
        )


def table_name(wanted: str, database: str, tables: Reading[tuple[TableFacts, ...]]) -> str:
    """`schema.table`; a name without a schema is taken where only one schema has it. Raises NotFound with the nearest."""
    if isinstance(tables, Unknown) or wanted.startswith(SYSTEM):
        return wanted
    names = [f"{t.schema}.{t.name}" for t in tables.value]
    if wanted in names:
        return wanted
    alike = sorted(n for n in names if n.partition(".")[2] == wanted)
    if len(alike) == 1:
        return alike[0]
    near = alike or get_close_matches(wanted if "." in wanted else f"public.{wanted}", names, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else f"{database} has {len(names):,} tables; write schema.table"
    raise NotFound(f"{'several tables' if alike else 'no table'} {plain(wanted)} in {database}", hint=hint)


# ------------------------------------------------------------ plan


def plan_maintenance(facts: MaintenanceFacts, params: Maintenance, now: datetime) -> Plan:
    findings = findings_of(facts, now)
    what, where = WORDS[params.kind], ", ".join(facts.wanted) or f"database {params.database}"
    steps = [_step(facts, params, table) for table in facts.wanted] or [_step(facts, params, "")]
    return Plan(
        operation=NAME,
        title=f"{what} {where}" + (f" of {params.database}" if facts.wanted else ""),
        object=address(params),
        findings=findings,
        steps=tuple(steps),
        locks=(f"database:{params.database}",),
        rung=Rung.DESTRUCTIVE if params.kind == "vacuum-full" else Rung.VISIBLE,
        verb=params.kind,
        confirm=params.database,
        premises=(*facts.servers.premises, *_premises(facts)),
        outlook=outlook_of(findings),
        blocked="; ".join(f.sentence for f in findings if f.outlook is Outlook.REFUSED),
        needs_reason=params.kind == "vacuum-full",
    )


def _step(facts: MaintenanceFacts, params: Maintenance, table: str) -> PlannedStep:
    title = f"{WORDS[params.kind]} {table or f'all tables of {params.database}'}"
    args = {"instance": facts.instance, "database": params.database, "kind": params.kind, "table": table}
    return PlannedStep(NAME, title, args, "cancelling stops it on the server")


def _premises(facts: MaintenanceFacts) -> tuple[Premise, ...]:
    every: dict[str, Reading[Any]] = {f"tables of {facts.database}": facts.tables, "progress": facts.progress, "sessions": facts.sessions}
    return tuple(Premise(n, None, r.reason) if isinstance(r, Unknown) else Premise(n, r.as_of) for n, r in every.items())


def address(params: Maintenance) -> str:
    return f"databases/{params.database}"


# ------------------------------------------------------------ step


class Maintain(Step):
    """Arguments: `instance`, `database`, `kind`, `table` (empty: all). Memo: `finished`. Done again from its beginning after a crash: that is safe."""

    name = NAME

    async def done(self, planned: PlannedStep, ctx: RunContext) -> bool:
        """Nothing in a database says that it was vacuumed enough: only this run's own word counts."""
        return bool(ctx.memo_of(planned).get("finished"))

    async def run(self, planned: PlannedStep, ctx: RunContext) -> None:
        args = planned.args
        await ctx.patiently(lambda: self._still_leads(args, ctx), about=args["instance"])
        await ctx.ready()
        words = await Maintaining(ctx, database_of(ctx.means), args["instance"], args["database"], args["kind"], args["table"]).run()
        await ctx.remember(finished=True)
        await ctx.say(f"{planned.title}: {words}")

    async def _still_leads(self, args: Mapping[str, Any], ctx: RunContext) -> None:
        """Raises StepFailed when another instance leads now, or is about to."""
        servers = await ask_servers(ctx.means, READ_S)
        leads, cluster = primary(servers), servers.known_cluster
        if leads != args["instance"]:
            raise StepFailed(f"{leads} leads now, not {args['instance']}", hint="ask for it again")
        if cluster is not None and cluster.target_primary != cluster.current_primary:
            raise StepFailed(f"a switchover to {cluster.target_primary} is under way", hint="wait for its end, and ask for it again")

    def left_behind(self, planned: PlannedStep, ctx: RunContext) -> str:
        args = planned.args
        if args["kind"] != "reindex" or ctx.memo_of(planned).get("finished"):
            return ""
        where = args["table"] or args["database"]
        return f"indexes of {where} that are not valid and end in _ccnew may be left: drop them (DROP INDEX CONCURRENTLY)"


MAINTENANCE: Operation[Maintenance, MaintenanceFacts] = Operation(
    name=NAME,
    title="Maintain database",
    about="vacuum, analyze or reindex a database or some of its tables",
    params=Maintenance,
    rung=Rung.VISIBLE,
    gather=gather,
    plan=plan_maintenance,
    steps=(Maintain(),),
    object=address,
)
