"""The fixed statements: they wait for nobody's lock, tell each phase by its own numbers, and are understood by old servers."""

from __future__ import annotations

import pytest

from coldtui.adapters.postgres import sql
from coldtui.adapters.postgres.adapter import composed
from coldtui.domain.errors import UsageError
from coldtui.domain.sessions import TableFacts, left_out, name_parts

from .servers import Server, client, play


def test_a_locked_table_hides_no_other(server: Server) -> None:
    """While somebody has a table for himself its size is not known; its dead rows and all of the others are."""
    server.super("CREATE TABLE free (i int); CREATE TABLE held AS SELECT 1 AS i; CREATE INDEX held_i ON held (i)")
    server.super("ALTER TABLE held OWNER TO coldtui")

    async def scene() -> None:
        adapter, holder = server.adapter(), await client(server)
        for locked in ("LOCK TABLE held IN ACCESS EXCLUSIVE MODE", "DROP INDEX held_i"):
            await holder.execute("BEGIN")
            await holder.execute(locked)
            found = {t.name: t for t in await adapter.tables("p", "postgres", deadline_s=2.0)}
            assert (found["held"].size_b, found["free"].size_b) == (None, 0)
            await holder.execute("ROLLBACK")
        await holder.close()
        assert {t.name: t.size_b for t in await adapter.tables("p", "postgres")}["held"]

    try:
        play(scene())
    finally:
        server.super("DROP TABLE free, held")


def test_the_server_processes_are_no_sessions(monitor: Server) -> None:
    """Its own idle ones are left out; clients are shown."""

    async def scene() -> None:
        line = await client(monitor, "somebody")
        kinds = {s.kind for s in await monitor.adapter().sessions("p")}
        assert "client backend" in kinds
        assert kinds <= {"client backend", "autovacuum worker", "parallel worker"}
        await line.close()

    play(scene())


def test_each_phase_has_its_own_numbers() -> None:
    """Indexes are counted where the server counts them (17 and later), and a rewrite is called what was asked for."""
    assert "p.indexes_processed" in sql.progress(170000)
    assert "indexes_" not in sql.progress(160000)
    assert "lower(p.command)" in sql.progress(130000)
    assert "pg_stat_progress_analyze" not in sql.progress(120000)


def test_a_reindex_is_understood_by_all(server: Server) -> None:
    """In the words that PostgreSQL 13 understands too; these servers do it."""
    server.super('CREATE TABLE "Odd" (i int PRIMARY KEY); ALTER TABLE "Odd" OWNER TO coldtui')

    async def scene() -> None:
        await server.adapter(writable=True).maintain("p", "postgres", ("reindex", 'public."Odd"'))

    try:
        play(scene())
    finally:
        server.super('DROP TABLE "Odd"')
    assert composed(("reindex", "t"), "d")[0].as_string() == 'REINDEX (VERBOSE) TABLE CONCURRENTLY "t"'
    assert composed(("reindex",), "d")[0].as_string() == 'REINDEX (VERBOSE) DATABASE CONCURRENTLY "d"'


@pytest.mark.parametrize(
    ("warning", "lacking"),
    [
        ('permission denied to vacuum "orders", skipping it', True),
        ('skipping "orders" --- only table or database owner can vacuum it', True),
        ("cannot reindex system catalogs concurrently, skipping all", False),
        ('skipping reindex of invalid index "public.i_ccnew"', False),
        ('cannot reindex invalid index "public.i_ccnew" concurrently, skipping', False),
        ('skipping vacuum of "orders" --- relation no longer exists', False),
    ],
)
def test_only_a_lacking_right_is_one(warning: str, lacking: bool) -> None:
    """Of all that the server leaves out only what needs a right is told as that."""
    assert left_out(warning) is lacking


def test_names_are_parted_as_sql_parts_them() -> None:
    """Quoted names keep their dots and quotes; without quotes the first dot parts; half a quote is refused."""
    assert name_parts("public.Orders") == ("public", "Orders")
    assert name_parts('"my.schema"."we""ird\n"') == ("my.schema", 'we"ird\n')
    assert name_parts('"t.x"') == ("t.x",)
    for wrong in ('"open', 'a"b.c', '""'):
        with pytest.raises(UsageError):
            name_parts(wrong)
    odd = TableFacts("d", "my.schema", "t", 0, 0, None, ident='"my.schema".t')
    assert (odd.shown, TableFacts("d", "public", "Orders", 0, 0, None, ident='public."Orders"').shown) == ('"my.schema".t', "public.Orders")
