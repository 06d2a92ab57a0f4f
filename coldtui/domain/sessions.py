"""Sessions of a PostgreSQL server, who blocks whom, and what its databases need: sizes, wraparound, dead tuples, work in progress."""

from __future__ import annotations

import re
from datetime import datetime

from .errors import UsageError
from .text import plain
from .values import dataclass


@dataclass(frozen=True, slots=True)
class Session:
    """A row of pg_stat_activity. `pid` and `started` together are its identity: pids come again."""

    pid: int
    started: datetime
    """backend_start."""
    database: str
    user: str
    application: str
    address: str
    state: str
    """`active`, `idle`, `idle in transaction`, ...; empty: may not be seen (needs pg_monitor)."""
    wait: str = ""
    """`Lock: transactionid`; empty: it does not wait."""
    transaction_at: datetime | None = None
    query_at: datetime | None = None
    state_at: datetime | None = None
    query: str = ""
    """Cut at 1,000 characters, plain."""
    blocked_by: tuple[int, ...] = ()
    """pids (pg_blocking_pids)."""
    kind: str = "client backend"

    @property
    def key(self) -> str:
        return f"{self.pid}@{self.started:%Y%m%dT%H%M%S.%f}"


@dataclass(frozen=True, slots=True)
class Progress:
    """Vacuum, analyze, index or cluster under way."""

    pid: int
    what: str
    """`vacuum`, `vacuum full`, `analyze`, `create index`, `cluster`, `basebackup`."""
    database: str
    table: str
    phase: str
    done: int
    total: int

    @property
    def fraction(self) -> float | None:
        return self.done / self.total if self.total > 0 else None


@dataclass(frozen=True, slots=True)
class DatabaseFacts:
    name: str
    size_b: int | None
    """None: may not be read (needs CONNECT or pg_read_all_stats)."""
    xid_age: int
    """age(datfrozenxid): transactions since the oldest that is not frozen; 2^31 is the end."""
    mxid_age: int = 0
    connections: int = 0


@dataclass(frozen=True, slots=True)
class TableFacts:
    database: str
    schema: str
    name: str
    live: int
    dead: int
    size_b: int | None
    vacuumed: datetime | None = None
    """The newer of last_vacuum and last_autovacuum."""
    analyzed: datetime | None = None
    owner: str = ""
    ident: str = ""
    """Schema and name as SQL writes them, `public."Orders"`, exactly as the server has them: for statements, not to be shown. Empty: not known."""
    invalid: tuple[str, ...] = ()
    """Its indexes that are not valid, and are not being built: as SQL writes them."""

    @property
    def key(self) -> str:
        return f"{self.database}.{self.schema}.{self.name}"

    @property
    def shown(self) -> str:
        """`schema.name`; as SQL writes it where that would be taken for another."""
        simple = f"{self.schema}.{self.name}"
        clear = not self.ident or (name_parts(self.ident) == (self.schema, self.name) and simple.count(".") == 1 and '"' not in simple)
        return simple if clear else plain(self.ident)


_PART = r'("(?:[^"]|"")+"|[^".]+)'
_NAME = re.compile(rf"(?:{_PART}\.)?{_PART}", re.DOTALL)
_LEFT_OUT = re.compile(r'permission denied to \w+ ".*", skipping it|skipping ".*" --- only .* can \w+ it', re.DOTALL)


def name_parts(name: str) -> tuple[str, ...]:
    """`public.orders`, `"my.schema"."we""ird"` as schema and name, or the name alone. Without quotes it is taken letter by letter, the first dot
    parts it. Raises UsageError."""
    if '"' not in name:
        return tuple(name.split(".", 1))
    found = _NAME.fullmatch(name)
    if found is None:
        raise UsageError(f"table cannot be {plain(name)}", hint='schema.table, or "schema"."table" with each quote doubled')
    return tuple(part[1:-1].replace('""', '"') if part.startswith('"') else part for part in found.groups() if part)


def left_out(warning: str) -> bool:
    """Whether the server says that it left a table out of maintenance for the lack of a right."""
    return _LEFT_OUT.fullmatch(warning) is not None
