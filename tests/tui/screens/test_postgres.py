"""The Postgres screen over servers that were asked: pictures of what an operator has to see at a glance."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from immutables import Map
from textual.app import App

from coldtui.domain.readings import Freshness, Known, Unknown
from coldtui.domain.replication import Archiver, ManagerStatus, PrimaryLease, Slot
from coldtui.domain.sessions import DatabaseFacts, Session
from coldtui.domain.world import World
from coldtui.tui.app import ColdApp
from coldtui.tui.site import Options
from tests.sample import NOW, build, healthy, state
from tests.topologies import HERE, MIB, SYSTEM, claim, known, server, trio, world_of
from tests.tui.consoles import FixedLive, FixedSite, console, run

Compare = Callable[..., bool]
REFUSED = "does not let coldtui in: password authentication failed · check postgres.password_file"


def shown(world: World) -> App[int]:
    """The console at the moment of the readings."""
    return ColdApp(
        FixedSite(FixedLive(world), None), Options(theme="cold", start="postgres", now=lambda: NOW, state_dir=Path("/nonexistent"))
    )


def _ago(seconds: float) -> Any:
    return NOW - timedelta(seconds=seconds)


def site(*claims: Any, **changed: Any) -> World:
    lease = Known(PrimaryLease("postgres-1", _ago(3), 15), "lease", _ago(1))
    trends = Map(
        {"pg_tps": (40.0, 55.0, 48.0, 61.0), "pg_wal": (1e5, 3e5, 2e5), "pg_connections": (4.0, 5.0), "pg_lag/postgres-2": (0.0, 2e6, 0.0)}
    )
    return world_of(trio(**changed), *claims, base=build(healthy()), pg_lease=lease, trends=trends)


def two_primaries() -> World:
    promoted = known(server(primary=True, timeline=8, at=HERE + MIB))
    return site(claim("postgres-1"), claim("postgres-2", since_s=12), p2=promoted)


def gone() -> World:
    lost = Unknown("sql", "postgres-1 (10.42.1.7:5432): connection refused")
    return site(
        claim("postgres-1", seen_s=42, lsn=HERE + 5 * MIB, ended=True), p1=lost, vip=Unknown("sql", "vip did not answer within 2 s")
    )


def refused() -> World:
    names = ("postgres-1", "postgres-2", "postgres-3")
    told = {
        n: ManagerStatus(
            n, n == "postgres-1", SYSTEM, 7 if n == "postgres-1" else None, HERE if n == "postgres-1" else None, HERE, HERE, True
        )
        for n in names
    }
    sql = {n: Unknown("sql", f"{n} {REFUSED}") for n in (*names, "vip")}
    return world_of(dict(sql), claim("postgres-1", source="manager"), base=build(healthy()), managers=told)


def api_down() -> World:
    down = {name: state(name, Freshness.FAILED) for name in ("kube", "pg_clusters", "pods", "nodes", "services")}
    return world_of(trio(p3=known(server(at=HERE - 16 * MIB))), base=build({}, sources=down))


STATES: dict[str, Callable[[], World]] = {
    "agreed": site,
    "lagging": lambda: site(p2=known(server(at=HERE, replayed=HERE - 48 * MIB, replay_paused=True))),
    "two-primaries": two_primaries,
    "gone": gone,
    "refused": refused,
    "api-down": api_down,
}


@pytest.mark.parametrize("size", [(80, 24), (120, 40)], ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("case", STATES)
def test_picture(snap_compare: Compare, case: str, size: tuple[int, int]) -> None:
    """The screen looks as it did."""
    app = shown(STATES[case]())
    assert snap_compare(app, terminal_size=size, press=["j"])


def busy() -> World:
    def session(pid: int, application: str, status: str, *blocked: int, wait: str = "", tx_s: float = 15) -> Session:
        return Session(
            pid, _ago(600), "app", "app", application, "10.42.3.9", status, wait, _ago(tx_s), _ago(tx_s), _ago(tx_s),
            "UPDATE orders SET note = $1 WHERE id = $2", blocked,
        )  # fmt: skip

    waits = "Lock: transactionid"
    sessions = (
        session(23252, "web-checkout", "active", 23251, wait=waits, tx_s=20),
        session(23251, "report-nightly", "active", 23249, wait=waits, tx_s=40),
        session(23249, "billing-import", "idle in transaction", wait="Client: ClientRead", tx_s=400),
        session(24000, "web", "active", tx_s=1),
    )
    archiver = Archiver(900, "000000070000000400000060", _ago(900), 12, "000000070000000400000061", _ago(30), 9)
    first = server(
        primary=True,
        archiver=archiver,
        slots=(Slot("_cnpg_postgres_3", False, "physical", "extended", 3 << 30),),
        blocks_hit=990,
        blocks_read=10,
    )
    facts = (DatabaseFacts("app", 12 << 30, 1_200_000_000, 0, 40), DatabaseFacts("postgres", None, 77))
    return replace(site(p1=known(first)), pg_sessions=Known(sessions, "sql", _ago(1)), pg_databases=Known(facts, "sql", _ago(1)))


@pytest.mark.parametrize("size", [(80, 24), (120, 40)], ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("part", ["sessions", "locks"])
def test_parts(snap_compare: Compare, part: str, size: tuple[int, int]) -> None:
    """Sessions with flags, who blocks whom with the root first."""
    tabs = ["tab"] * (1 + ["sessions", "locks"].index(part))
    app = shown(busy())
    assert snap_compare(app, terminal_size=size, press=tabs)


def test_databases_with_archiver_and_slots() -> None:
    """The age towards wraparound, a failing archiver with what waits, and a slot that holds WAL back are told."""

    async def check() -> None:
        async with console(busy(), start="postgres") as c:
            await c.press("tab", "tab", "tab")
            for part in ("1,200,000,000", "56%", "000000070000000400000061", "keeps 3 GiB, extended"):
                assert part in c.text

    run(check())


def test_a_part_that_is_not_read_says_why() -> None:
    """No rows is not the same as nothing read: the strip of parts has the reason."""

    async def check() -> None:
        world = replace(site(), pg_sessions=Unknown("sql", "needs pg_monitor"))
        async with console(world, start="postgres") as c:
            await c.press("tab")
            assert "needs pg_monitor" in c.text

    run(check())
