"""The audit on the screen: listed, searched, opened whole, verified."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from coldtui.adapters.journal import SqliteJournal
from coldtui.domain.runs import AuditEntry, RunLine, Who
from coldtui.tui.screens.audit import PIECE, AuditScreen
from coldtui.tui.screens.run import RunScreen, RunText
from tests.journals import Wall, a_run, an_entry
from tests.tui import worlds
from tests.tui.consoles import Console, console, run
from tests.tui.screens.journaled import none_yet, running, world_of
from tests.tui.screens.waiting import shows, until
from tests.tui.worlds import NOW


@pytest.fixture
def journal(tmp_path: Path) -> Any:
    made = running(tmp_path, Wall(NOW))
    yield made
    made.close()


def screen(c: Console) -> AuditScreen:
    found = c.app.top
    assert isinstance(found, AuditScreen)
    return found


async def opened(c: Console, journal: SqliteJournal) -> AuditScreen:
    c.site.live.journal = journal
    found = screen(c)
    found._look()
    await until(c, lambda: not found._reading and bool(found._rows), "entries")
    return found


def test_entries_newest_first(journal: SqliteJournal) -> None:
    """What was done last stands on top; an end says how it ended."""

    async def check() -> None:
        async with console(world_of(journal), start="audit") as c:
            found = await opened(c, journal)
            lines = [line for line in c.lines() if "nodes/k3s-worker" in line]
            assert [words in line for words, line in zip(("confirmed", "cancelled", "confirmed", "partial"), lines, strict=False)] == [
                True
            ] * 4
            assert found.list.keys[0] == str(len(journal.audit_entries()))

    run(check())


def test_an_entry_opens_whole(journal: SqliteJournal) -> None:
    """Enter shows person, address, parameters, premises and hashes; `r` the run that it is about."""

    async def check() -> None:
        async with console(world_of(journal), start="audit", size=(120, 40)) as c:
            await opened(c, journal)
            await c.press("enter")
            await until(c, lambda: isinstance(c.app.top, RunText), "the entry")
            entry = journal.audit_entries(newest_first=True, limit=1)[0]
            await shows(c, "10.0.0.5", "pods of k3s-worker-1", entry.hash, entry.prev, "kernel update")
            await c.press("escape", "r")
            await until(c, lambda: isinstance(c.app.top, RunScreen), "the run")

    run(check())


def test_what_is_written_meanwhile_appears(journal: SqliteJournal) -> None:
    """An act of another console is listed within moments, without a key."""

    async def check() -> None:
        async with console(world_of(journal), start="audit") as c:
            found = await opened(c, journal)
            journal.audit(an_entry(a_run(), "armed", who=Who("zoe", "zoe"), operation="", object=""))
            await until(c, lambda: "armed" in c.text, "the new entry")
            assert "zoe" in c.text
            assert found.list.keys[0] == str(len(journal.audit_entries()))

    run(check())


def test_verify_says_what_holds_and_what_is_not_proven(journal: SqliteJournal) -> None:
    """V walks the chain and shows the result below the list; esc takes it away."""

    async def check() -> None:
        async with console(world_of(journal), start="audit") as c:
            await opened(c, journal)
            await c.press("V")
            await shows(c, "✓ the chain holds", "not proven")
            await c.press("escape")
            assert "the chain holds" not in c.text
            assert isinstance(c.app.top, AuditScreen)
            c.app.run_command("audit verify")
            await shows(c, "✓ the chain holds")

    run(check())


def test_verify_names_a_deleted_entry(journal: SqliteJournal) -> None:
    """An entry that somebody took out of the file is named."""
    with sqlite3.connect(journal.path) as db:
        db.execute("DROP TRIGGER audit_is_not_deleted")
        db.execute("DELETE FROM audit WHERE seq = 3")
    db.close()

    async def check() -> None:
        async with console(world_of(journal), start="audit") as c:
            await opened(c, journal)
            await c.press("V")
            await shows(c, "✗ the chain is broken", "3")

    run(check())


def test_without_a_journal_there_is_nothing_to_verify() -> None:
    """On a fresh machine V says so and nothing is made."""

    async def check() -> None:
        async with console(worlds.healthy(), start="audit") as c:
            await c.press("V")
            await shows(c, "there is no journal")

    run(check())


class ManyEntries:
    """A journal with a hundred thousand entries, made when they are asked for."""

    id = "many"
    notice = ""
    path = "/nonexistent/journal.db"

    def __init__(self, count: int) -> None:
        base = an_entry(a_run())
        people = [Who(name, name, f"10.0.0.{n}") for n, name in enumerate(("anna", "ben", "carol", "dirk"))]
        self.entries = [
            replace(
                base, seq=n, at=NOW - timedelta(minutes=count - n), who=people[n % 4], object=f"nodes/k3s-worker-{n % 500}",
                what="ended" if n % 2 else "confirmed", outcome="done in 4.2 s" if n % 2 else "", run=f"20261025-{n:06}-7f3a",
            )
            for n in range(1, count + 1)
        ]  # fmt: skip

    def changed(self) -> int:
        return len(self.entries)

    def audit_entries(self, *, after: int = 0, limit: int = 1_000_000, newest_first: bool = False) -> Sequence[AuditEntry]:
        if newest_first:
            return tuple(reversed(self.entries[max(after, len(self.entries) - limit) :]))
        return tuple(self.entries[after : after + limit])


def test_a_hundred_thousand_entries_are_listed_and_searched() -> None:
    """The newest are there at once, then all; a filter finds the few that match among all of them, and only those."""

    async def check() -> None:
        journal: Any = ManyEntries(100_000)
        async with console(none_yet(), start="audit", size=(120, 40)) as c:
            c.site.live.journal = journal
            found = screen(c)
            found._look()
            await until(c, lambda: 0 < len(found._rows) < 100_000 and bool(found.list.keys), "the newest")
            assert found.list.keys[0] == "100000"
            await until(c, lambda: len(found._rows) == 100_000 and len(found.list.keys) == 100_000, "all")
            await c.press("slash")
            for letter in "worker-417":
                await c.press(letter)
            assert len(found.list.keys) == 200
            assert "[200 of 100000]" in c.text
            await c.press("enter")
            found.list.set_filter("carol")
            assert len(found.list.keys) == 25_000
            assert PIECE < 100_000

    run(check())


def test_a_hostile_entry_is_only_text(journal: SqliteJournal) -> None:
    """Markup and control characters of an outcome neither end the console nor reach the terminal."""
    journal.audit(an_entry(a_run(), "ended", outcome="done: [/b][@click=app.quit]x[/] \x1b[31m"))
    assert RunLine(None, 0, "out", "").text == ""

    async def check() -> None:
        async with console(world_of(journal), start="audit", size=(120, 40)) as c:
            await opened(c, journal)
            assert "\x1b" not in c.text
            await c.press("enter")
            await shows(c, "[/b][@click=app.quit]x[/]")

    run(check())
