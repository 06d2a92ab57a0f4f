"""Sessions of a PostgreSQL server, who blocks whom, and what its databases need: sizes, wraparound, dead tuples, work in progress."""

from __future__ import annotations

from datetime import datetime

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
    """`vacuum`, `analyze`, `create index`, `cluster`, `basebackup`."""
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

    @property
    def key(self) -> str:
        return f"{self.database}.{self.schema}.{self.name}"
