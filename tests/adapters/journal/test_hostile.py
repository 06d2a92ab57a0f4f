"""What another user of a shared folder may have written into the journal: it is shown harmless, or left out and counted."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from coldtui.adapters.journal import SqliteJournal
from coldtui.domain.errors import JournalTrouble, Locked
from coldtui.domain.runs import What
from tests.adapters.journal.means import a_run, an_entry

ODD = "a\x1b[31m\u202eb\nc\x00\ud83d"
"""As text in JSON it is escaped; in a column it stands as it is (but for what is no UTF-8)."""


def execute(journal: SqliteJournal, sql: str, *values: object) -> None:
    with closing(sqlite3.connect(journal.path, isolation_level=None)) as db:
        db.execute("PRAGMA ignore_check_constraints=ON")
        db.execute(sql, values)


def test_text_of_rows_is_made_plain(journal: SqliteJournal) -> None:
    """Columns, keys and values of JSON, of runs, events and the audit."""
    run = a_run()
    journal.begin(run, an_entry(run))
    journal.record(run.id, What.SAID, text="x")
    spoiled = "a\x1b[31m\u202eb"
    execute(journal, "UPDATE runs SET title = ?, reason = ?, params = ?", spoiled, spoiled, '{"a\\u001b[31m": ["\\u202e", {"k": "\\n"}]}')
    execute(journal, "UPDATE standing SET outcome = ?, cancel_by = ?, steps = ?", spoiled, spoiled, '["\\u001b[2J"]')
    execute(journal, "UPDATE events SET text = ?, object = ?", spoiled, spoiled)
    execute(journal, "DROP TRIGGER audit_is_not_edited")
    execute(journal, "UPDATE audit SET body = replace(body, 'kernel update', ?)", "x\\u001b[31m\x1b\u202ey".replace("\x1b", ""))
    (found,) = journal.runs()
    assert found.title == found.reason == found.outcome == found.cancel_by == "a\ufffd[31m\ufffdb"
    assert found.params == {"a\ufffd[31m": ["\ufffd", {"k": " "}]}
    assert found.steps == ("\ufffd[2J",)
    (event,) = journal.events(run.id)
    assert event.text == event.object == "a\ufffd[31m\ufffdb"
    (entry,) = journal.audit_entries()
    assert entry.reason == "x\ufffd[31m\ufffdy"
    with pytest.raises(Locked) as caught:
        journal.begin(a_run(), an_entry())
    assert str(caught.value).isprintable()
    assert all(fault.isprintable() for fault in journal.verify().faults)


ROWS = [
    "UPDATE runs SET plan = '{'",
    "UPDATE runs SET plan = '[1]'",
    "UPDATE runs SET who = '{}'",
    "UPDATE runs SET who = 7",
    "UPDATE runs SET created = 'yesterday'",
    "UPDATE runs SET created = '2026-11-24T14:02:10'",
    "UPDATE runs SET rung = 'high'",
    "UPDATE runs SET title = x'fffe'",
    "UPDATE runs SET params = '" + "[" * 20_000 + "'",
    "UPDATE standing SET state = 'dreaming'",
    "UPDATE standing SET steps = '{}'",
    "UPDATE standing SET beat = 'now'",
    "UPDATE standing SET step = x'00'",
]


@pytest.mark.parametrize("sql", ROWS)
def test_a_run_without_sense_does_not_hide_the_others(journal: SqliteJournal, sql: str) -> None:
    """It is left out of the listing and counted in the notice; asked for by name it is told; its lock still holds."""
    good, bad = a_run(locks=()), a_run()
    for run in (good, bad):
        journal.begin(run, an_entry(run))
    execute(journal, f"{sql} WHERE {'id' if ' runs ' in sql else 'run'} = '{bad.id}'")
    assert journal.runs() == (good,)
    assert journal.runs() == (good,)
    assert journal.notice == "1 run of the journal cannot be read and is left out"
    with pytest.raises(JournalTrouble, match=f"run {bad.id} cannot be read"):
        journal.run(bad.id)
    with pytest.raises(Locked, match=f"site is held by run {bad.id}, since 14:02:10Z"):
        journal.begin(a_run(), an_entry())


@pytest.mark.parametrize("change", ["memo = '{'", "memo = '[]'", "what = 'dreamt'", "at = ''", "step = 'x'", "text = x'00'"])
def test_an_event_without_sense_does_not_hide_the_others(journal: SqliteJournal, change: str) -> None:
    """The same for events."""
    run = a_run()
    journal.begin(run, an_entry(run))
    for n in range(3):
        journal.record(run.id, What.SAID, text=str(n))
    execute(journal, f"UPDATE events SET {change} WHERE text = '1'")
    assert [event.text for event in journal.events(run.id)] == ["0", "2"]
    assert journal.notice == "1 event of the journal cannot be read and is left out"


def test_an_entry_without_sense_does_not_hide_the_others(journal: SqliteJournal) -> None:
    """The same for the audit, where `verify` names it besides."""
    for _ in range(4):
        journal.audit(an_entry())
    execute(journal, "DROP TRIGGER audit_is_not_edited")
    execute(journal, "UPDATE audit SET body = '{' WHERE seq = 2")
    execute(journal, "UPDATE audit SET body = x'ff' WHERE seq = 3")
    assert [entry.seq for entry in journal.audit_entries()] == [1, 4]
    assert journal.notice == "2 audit entries of the journal cannot be read and are left out"


def test_what_is_no_utf8_is_shown_as_such(journal: SqliteJournal) -> None:
    """SQLite keeps any bytes as text; they do not end a listing."""
    run = a_run()
    journal.begin(run, an_entry(run))
    execute(journal, "UPDATE runs SET title = CAST(x'61ff62' AS TEXT)")
    assert journal.runs()[0].title == "a\ufffdb"
    assert journal.run(run.id).title == "a\ufffdb"


def test_odd_words_are_written_harmless(journal: SqliteJournal) -> None:
    """Lone surrogates, NUL and line ends in what we are given end neither in an error nor in the file."""
    run = a_run()
    journal.begin(run, an_entry(run))
    event = journal.record(run.id, What.ITEM, text=ODD, object=ODD, memo={ODD: [ODD]})
    assert journal.events(run.id) == (event,)
    assert event.text == "a\ufffd[31m\ufffdb c\ufffd\ufffd"
    journal.ask_cancel(run.id, ODD)
    assert journal.run(run.id).cancel_by == event.text
    journal.audit(an_entry(params={ODD: ODD}))
    assert journal.verify().whole
