"""The audit on the command line: listed, searched, verified."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from coldtui.adapters.journal import SqliteJournal
from tests.cli.means import Cli
from tests.journals import a_journal, a_run, an_entry, begin, end


@pytest.fixture
def journal(cli: Cli) -> Iterator[SqliteJournal]:
    """Confirmed, ended, refused."""
    folder = Path(cli.environ["COLDTUI_STATE"])
    folder.mkdir()
    made = a_journal(folder)
    end(made, begin(made))
    made.audit(an_entry(a_run(), "refused", outcome="refused: held by ben"))
    yield made
    made.close()


def test_newest_first_as_a_table_and_as_json(cli: Cli, journal: SqliteJournal) -> None:
    """Number, whole time, person, address, what, operation, object; the JSON has all of an entry."""
    rows = cli("audit", "list").rows
    assert [row[0] for row in rows] == ["NO", "3", "2", "1"]
    assert rows[3][1:7] == ["2026-11-24T14:02:10Z", "anna", "10.0.0.5", "confirmed", "node.drain", "nodes/k3s-worker-1"]
    made = cli("audit", "list", "--json").json
    assert [entry["what"] for entry in made["audit"]] == ["refused", "ended", "confirmed"]
    assert made["audit"][0]["prev"] == made["audit"][1]["hash"]
    assert made["audit"][2]["params"] == {"node": "k3s-worker-1", "grace": 30}


def test_filter_and_limit(cli: Cli, journal: SqliteJournal) -> None:
    """The filter goes over all entries before the limit; what is left out is said."""
    assert [row[0] for row in cli("audit", "list", "--filter", "held by", "--no-headers").rows] == ["3"]
    assert [row[0] for row in cli("audit", "list", "--filter", "!refused", "--limit", "1", "--no-headers").rows] == ["2"]
    limited = cli("audit", "list", "--limit", "2")
    assert len(limited.rows) == 3
    assert "--limit 0 shows all" in limited.err
    assert len(cli("audit", "list", "--limit", "0").rows) == 4
    none = cli("audit", "list", "--filter", "nobody")
    assert (none.code, none.out) == (0, "")
    assert "no entries match" in none.err


def test_verify_ends_with_zero_and_says_what_it_cannot_prove(cli: Cli, journal: SqliteJournal) -> None:
    """A chain that holds."""
    result = cli("audit", "verify")
    assert result.code == 0
    assert "the chain holds: 3 entries" in result.out
    assert "not proven" in result.out
    assert cli("audit", "verify", "--json").json["whole"] is True


@pytest.mark.parametrize(
    ("harm", "named"),
    [
        ("UPDATE audit SET body = replace(body, 'anna', 'eve') WHERE seq = 2", "2"),
        ("DELETE FROM audit WHERE seq = 2", "2"),
        ("DELETE FROM audit WHERE seq = 3", "3"),
    ],
)
def test_verify_ends_with_one_when_the_chain_is_broken(cli: Cli, journal: SqliteJournal, harm: str, named: str) -> None:
    """Edited, deleted, or cut off at the end: exit 1, and the entry is named."""
    with sqlite3.connect(journal.path) as db:
        for trigger in ("audit_is_not_edited", "audit_is_not_deleted"):
            db.execute(f"DROP TRIGGER {trigger}")
        db.execute(harm)
    db.close()
    result = cli("audit", "verify")
    assert result.code == 1
    assert "broken" in result.out
    assert named in result.out
    made = cli("audit", "verify", "--json")
    assert (made.code, made.json["whole"]) == (1, False)
