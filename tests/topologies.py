"""A World whose PostgreSQL servers were asked: three that agree, to be broken by tests."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from immutables import Map

from coldtui.domain.readings import Known, Reading
from coldtui.domain.replication import Claim, ManagerStatus, Receiver, SqlStatus, Standby
from coldtui.domain.world import World
from tests.sample import NOW, build, healthy

MIB = 1 << 20
HERE = 100 * MIB
SYSTEM = "7412345678901234567"
Readings = dict[str, Reading[SqlStatus]]


def server(*, primary: bool = False, at: int = HERE, **more: Any) -> SqlStatus:
    found = {
        "in_recovery": not primary, "system_id": SYSTEM, "timeline": 7, "version": "18.6", "started": datetime(2026, 11, 1, tzinfo=UTC), "connections": 4,
        "max_connections": 97, **({"current": at} if primary else {"received": at, "replayed": at, "receiver": Receiver("streaming")}), **more,
    }  # fmt: skip
    return SqlStatus(**found)


def known(value: SqlStatus, ago_s: float = 1.0) -> Known[SqlStatus]:
    return Known(value, "sql", NOW - timedelta(seconds=ago_s))


def trio(**changed: Reading[SqlStatus]) -> Readings:
    """postgres-1 is primary at `HERE` and the others have all; `p2=...` changes postgres-2."""
    rows = tuple(Standby(name, "streaming", "async", replay_lag_s=0.4) for name in ("postgres-2", "postgres-3"))
    found: Readings = {
        "postgres-1": known(server(primary=True, standbys=rows, listens="10.0.0.1:5432")),
        "postgres-2": known(server(listens="10.0.0.2:5432")),
        "postgres-3": known(server(listens="10.0.0.3:5432")),
        "vip": known(server(primary=True, listens="10.0.0.1:5432")),
    }
    return found | {name if name == "vip" else f"postgres-{name[1:]}": value for name, value in changed.items()}


def claim(name: str, since_s: float = 3600, seen_s: float = 1, lsn: int = HERE, *, ended: bool = False, source: str = "sql") -> Claim:
    return Claim(name, source, NOW - timedelta(seconds=since_s), NOW - timedelta(seconds=seen_s), lsn, ended)


def world_of(
    sql: Readings, *claims: Claim, base: World | None = None, managers: dict[str, ManagerStatus] | None = None, **more: Any
) -> World:
    told = {f"cold/{n}": Known(m, "manager", NOW - timedelta(seconds=1)) for n, m in (managers or {}).items()}
    made = claims or (claim("postgres-1"),)
    return replace(
        base or build(healthy()), pg_sql=Map(sql), pg_managers=Map(told), pg_claims=Map({f"{c.source}/{c.name}": c for c in made}), **more
    )
