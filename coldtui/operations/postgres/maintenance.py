"""Vacuum, analyze, reindex: on the primary, followed while they work, stopped on the server when the run is cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import datetime
from difflib import get_close_matches
from typing import Any

from ...domain import kinds
from ...domain.errors import Forbidden, JournalTrouble, NotFound, Refused, StepFailed, Unauthorized
from ...domain.nodes import NodeStats, VolumeFill
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
from .maintaining import MOST_TABLES, Maintaining
from .maintenance_findings import COPIES, MaintenanceFacts, findings_of
from .servers import Servers, ask_servers, database_of, primary

NAME = "postgres.maintenance"
KINDS = ("vacuum", "vacuum-full", "analyze", "reindex")
WORDS = {"vacuum": "Vacuum", "vacuum-full": "Vacuum full", "analyze": "Analyze", "reindex": "Reindex"}
READ_S = 5.0
_DONE = {"vacuum-full": "rewritten", "analyze": "analyzed"}
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
    tables, volume, progress, sessions, runs = await asyncio.gather(
        _ask("tables", _tables(database, instance, params.database), READ_S, at),
        _volume(params.kind, servers, instance, means, at),
        _ask("progress", database.progress(instance, deadline_s=READ_S), READ_S, at),
        _ask("sessions", database.sessions(instance, deadline_s=READ_S), READ_S, at),
        _under_way(means),
    )
    if isinstance(tables, Unknown):
        await _known_database(params.database, database, instance, at)
    names = tuple(dict.fromkeys(table_name(wanted, params.database, tables) for wanted in params.table))
    return MaintenanceFacts(params.kind, params.database, names, servers, instance, tables, volume, progress, sessions, runs, at)


async def _tables(database: Database, instance: str, name: str) -> tuple[TableFacts, ...]:
    return await database.tables(instance, name, most=MOST_TABLES, deadline_s=READ_S)


async def _volume(kind: str, servers: Servers, instance: str, means: Means, at: datetime) -> Reading[VolumeFill]:
    """Of the instance's data, by the kubelet of its node."""
    cluster = servers.known_cluster
    if kind not in COPIES:
        return Unknown("volume", "nothing is copied")
    if cluster is None:
        return Unknown("volume", "it is not known in which cluster it is")

    async def ask() -> VolumeFill:
        pod = await means.kube.read(kinds.PODS, instance, cluster.namespace, deadline_s=READ_S)
        node = await means.kube.read(kinds.NODES, pod.node, deadline_s=READ_S)
        stats: NodeStats = await means.kube.node_stats(node.name, node.internal_ip, deadline_s=READ_S)
        for fill in stats.volumes:
            if (fill.namespace, fill.claim) == (cluster.namespace, instance):
                return fill
        raise NotFound(f"the kubelet of {node.name} tells nothing of it")

    return await _ask("kubelet", ask(), READ_S, at)


async def _under_way(means: Means) -> tuple[Run, ...]:
    try:
        return await asyncio.to_thread(means.under_way)
    except JournalTrouble:
        return ()  # whoever confirms is told: the journal takes no run then


async def _known_database(name: str, database: Database, instance: str, at: datetime) -> None:
    """Raises NotFound for one that is not there. Where that cannot be told either, the statement itself will."""
    found: Reading[tuple[DatabaseFacts, ...]] = await _ask("databases", database.databases(instance, deadline_s=READ_S), READ_S, at)
    names = [] if isinstance(found, Unknown) else [d.name for d in found.value]
    if names and name not in names:
        near = get_close_matches(name, names, n=2, cutoff=0.4)
        raise NotFound(
            f"no database {plain(name)}", hint=f"did you mean {' or '.join(near)}?" if near else f"there are: {', '.join(sorted(names))}"
        )


def table_name(wanted: str, database: str, tables: Reading[tuple[TableFacts, ...]]) -> str:
    """`schema.table`; a name without a schema is taken where only one schema has it. Raises NotFound with the nearest."""
    if isinstance(tables, Unknown) or wanted.startswith(SYSTEM):
        return wanted
    names = [t.shown for t in tables.value]
    if wanted in names:
        return wanted
    alike = sorted(t.shown for t in tables.value if wanted in (t.name, t.ident, f"{t.schema}.{t.name}"))
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
    ident = next((t.ident for t in facts.chosen if table and t.shown == table), "")
    args = {"instance": facts.instance, "database": params.database, "kind": params.kind, "table": table, "ident": ident}
    return PlannedStep(NAME, title, args, "cancelling stops it on the server")


def _premises(facts: MaintenanceFacts) -> tuple[Premise, ...]:
    every: dict[str, Reading[Any]] = {f"tables of {facts.database}": facts.tables, "progress": facts.progress, "sessions": facts.sessions}
    return tuple(Premise(n, None, r.reason) if isinstance(r, Unknown) else Premise(n, r.as_of) for n, r in every.items())


def address(params: Maintenance) -> str:
    return f"databases/{params.database}"


# ------------------------------------------------------------ step


class Maintain(Step):
    """Arguments: `instance`, `database`, `kind`, `table` (empty: all), `ident` (the table as SQL writes it; empty: by `table`). Memo: `sent`,
    `finished`. Done again from its beginning after a crash: that is safe."""

    name = NAME

    async def done(self, planned: PlannedStep, ctx: RunContext) -> bool:
        """Nothing in a database says that it was vacuumed enough: only this run's own word counts."""
        return bool(ctx.memo_of(planned).get("finished"))

    async def run(self, planned: PlannedStep, ctx: RunContext) -> None:
        args = planned.args
        await ctx.patiently(lambda: self._still_leads(args, ctx), about=args["instance"])
        await ctx.ready()
        await ctx.remember(sent=True)
        work = Maintaining(
            ctx, database_of(ctx.means), args["instance"], args["database"], args["kind"], args["table"], ident=args.get("ident", "")
        )
        try:
            words = await work.run()
        except (Forbidden, NotFound, Refused, Unauthorized):
            await ctx.remember(sent=False)  # it never began
            raise
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
        args, memo = planned.args, ctx.memo_of(planned)
        if not memo.get("sent") or memo.get("finished"):
            return ""
        kind, where = args["kind"], args["table"] or args["database"]
        if kind == "reindex":
            done = "" if args["table"] else "indexes that were built until then stay; "
            return (
                f"{done}indexes of {where} that are not valid and end in _ccnew or _ccold may be left: drop them (DROP INDEX CONCURRENTLY)"
            )
        if kind == "vacuum":
            return f"it was stopped in {where}: dead rows that were removed until then stay removed"
        # of one table, the server takes back what it did
        return "" if args["table"] else f"it was stopped in {where}: tables that were {_DONE[kind]} until then stay so"


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
