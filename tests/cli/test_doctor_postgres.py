"""`coldtui doctor` on a site with three real servers: password, grants, VIP, the way through the API, the right to switch over."""

from __future__ import annotations

import pytest

from tests.cli.means import Cli
from tests.cli.pgsite import Json, PgCli, closed_port, pg_cli
from tests.lab.postgres.conftest import Place, Site, real

__all__ = ["real"]


@pytest.fixture
def pg(real: Site, cli: Cli) -> PgCli:
    made = pg_cli(real, cli)
    made.play(_whole)
    return made


async def _whole(place: Place) -> None:
    """The site is whole when this is called."""


def found(pg: PgCli, config: Json | None = None) -> dict[str, list[tuple[str, str, str]]]:
    """What the doctor says of the database, by check: (state, words, remedy)."""
    answer = pg("doctor", "--json", config=config)
    assert "Traceback" not in answer.err
    made: dict[str, list[tuple[str, str, str]]] = {}
    for check in answer.json["checks"]:
        if check["name"].startswith("database"):
            made.setdefault(check["name"].partition(" ")[2], []).append((check["state"], check["words"], check["remedy"] or ""))
    return made


def test_a_database_that_can_be_asked_is_well(pg: PgCli) -> None:
    """One line each: who answers SQL, where the VIP leads, /pg/status through the API, the right to switch over."""
    said = found(pg)
    assert {name: [state for state, *_ in lines] for name, lines in said.items()} == {
        "SQL": ["ok"],
        "VIP": ["ok"],
        "status": ["ok"],
        "rights": ["ok"],
    }
    assert said["SQL"][0][1].startswith("postgres-1, postgres-2, postgres-3 answer, PostgreSQL ")
    assert "leads to the primary" in said["VIP"][0][1]
    assert "may switch cold-postgres over" in said["rights"][0][1]


def test_a_wrong_password_is_one_line_with_its_remedy(pg: PgCli) -> None:
    """The same trouble of all servers is said once; the VIP is not blamed for it."""
    (pg.cli.folder / "wrong").write_text("wrong\n")
    said = found(pg, pg.changed(password_file=str(pg.cli.folder / "wrong")))
    assert [(state, "password authentication failed" in words) for state, words, _ in said["SQL"]] == [("warn", True)]
    assert "postgres.password_file" in said["SQL"][0][2]
    assert "VIP" not in said


def test_a_cluster_that_does_not_exist_is_named(pg: PgCli) -> None:
    """A wrong postgres.cluster is found, with those that there are and what to mend."""
    said = found(pg, pg.changed(cluster="database/nope"))["cluster"]
    assert said == [
        ("warn", "cluster database/nope of postgres.cluster does not exist; found: database/cold-postgres", "mend postgres.cluster")
    ]


def test_a_missing_grant_is_told_as_the_statement_that_mends_it(pg: PgCli) -> None:
    """Without pg_monitor: what is not shown, and the GRANT for this very user."""
    names = list(pg.config["postgres"]["instances"])
    primary = next(name for name in names if pg.place.sql(name, "SELECT pg_is_in_recovery()") == [(False,)])
    pg.place.sql(primary, "REVOKE pg_monitor FROM coldtui")
    try:
        lines = found(pg)["SQL"]
    finally:
        pg.place.sql(primary, "GRANT pg_monitor TO coldtui")
    assert any(state == "warn" and remedy == "GRANT pg_monitor TO coldtui" for state, _, remedy in lines)


def test_a_vip_where_nobody_listens_is_named(pg: PgCli) -> None:
    """The servers answer and the address does not: that is a warning of its own."""
    config = {**pg.config, "vip": {"probe": f"127.0.0.1:{closed_port()}"}}
    state, words, remedy = found(pg, config)["VIP"][0]
    assert (state, "connection refused" in words) == ("warn", True)
    assert "vip.probe" in remedy


def test_a_vip_that_leads_to_a_standby_is_named(pg: PgCli) -> None:
    """Writes through it would fail."""
    instances = pg.config["postgres"]["instances"]
    standby = next(name for name in instances if pg.place.sql(name, "SELECT pg_is_in_recovery()") == [(True,)])
    state, words, _ = found(pg, {**pg.config, "vip": {"probe": instances[standby]}})["VIP"][0]
    assert (state, "a standby" in words) == ("warn", True)


def test_without_the_api_the_servers_are_still_tried(pg: PgCli) -> None:
    """The API is away: SQL and VIP are told all the same."""
    said = found(pg, pg.without_api())
    assert [state for state, *_ in said["SQL"]] == ["ok"]
    assert [state for state, *_ in said["VIP"]] == ["ok"]
    assert "status" not in said
