"""The audit: appended only, chained, and what `verify` finds when somebody was at it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from coldtui.adapters.journal import SqliteJournal, open_journal
from coldtui.adapters.journal.audit import body_of, hash_of
from coldtui.adapters.journal.schema import GUARDS
from coldtui.domain.runs import AuditEntry
from tests.adapters.journal.means import HandClock, a_run, an_entry

COUNT = 12


@pytest.fixture
def filled(journal: SqliteJournal, clock: HandClock) -> SqliteJournal:
    """Twelve entries, a minute apart."""
    for n in range(1, COUNT + 1):
        clock.move(60)
        journal.audit(replace(an_entry(a_run(node=f"node-{n}")), at=clock.now()))
    return journal


class Intruder:
    """Somebody with SQL and a text editor, who knows how the hashes are made."""

    def __init__(self, journal: SqliteJournal) -> None:
        self.db = sqlite3.connect(journal.path, isolation_level=None)
        self.guards = [row[0] for row in self.db.execute("SELECT sql FROM sqlite_master WHERE type = 'trigger'")]
        for name in GUARDS:
            self.db.execute(f"DROP TRIGGER {name}")
        self.head = Path(journal.path).parent / "audit-head.json"

    def done(self) -> None:
        """Covers the traces."""
        for sql in self.guards:
            self.db.execute(sql)
        self.db.close()

    def row(self, seq: int) -> tuple[str, str]:
        body, hash = self.db.execute("SELECT body, hash FROM audit WHERE seq = ?", (seq,)).fetchone()
        return body, hash

    def put(self, seq: int, body: str, hash: str) -> None:
        self.db.execute("INSERT OR REPLACE INTO audit VALUES (?, ?, ?)", (seq, body, hash))

    def edit(self, seq: int, *, rehash: bool = False) -> None:
        body, hash = self.row(seq)
        body = body.replace("kernel update", "none of mine")
        self.put(seq, body, hash_of(body) if rehash else hash)

    def delete(self, *seqs: int) -> None:
        self.db.executemany("DELETE FROM audit WHERE seq = ?", [(seq,) for seq in seqs])

    def renumber(self, first: int, by: int) -> None:
        for (seq,) in self.db.execute(f"SELECT seq FROM audit WHERE seq >= ? ORDER BY seq {'DESC' if by > 0 else ''}", (first,)).fetchall():
            self.db.execute("UPDATE audit SET seq = ? WHERE seq = ?", (seq + by, seq))

    def close_up(self, seq: int) -> None:
        self.delete(seq)
        self.renumber(seq + 1, -1)

    def spoil(self, seq: int) -> None:
        self.db.execute("UPDATE audit SET body = x'ff00' WHERE seq = ?", (seq,))

    def swap(self, one: int, two: int) -> None:
        a, b = self.row(one), self.row(two)
        self.put(one, *b)
        self.put(two, *a)

    def insert(self, seq: int) -> None:
        """A forged entry that continues the one before."""
        self.renumber(seq, 1)
        _, prev = self.row(seq - 1)
        body = body_of(replace(an_entry(a_run(node="forged")), seq=seq, prev=prev))
        self.put(seq, body, hash_of(body))

    def rewrite(self, first: int) -> None:
        """Every hash from an edited entry on is made anew: the chain holds."""
        prev = self.row(first - 1)[1] if first > 1 else ""
        for (seq,) in self.db.execute("SELECT seq FROM audit WHERE seq >= ? ORDER BY seq", (first,)).fetchall():
            made = json.loads(self.row(seq)[0].replace("kernel update", "none of mine")) | {"prev": prev}
            body = json.dumps(made, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
            prev = hash_of(body)
            self.put(seq, body, prev)

    def hide_head(self) -> None:
        self.head.unlink()

    def old_head(self) -> None:
        _, hash = self.row(4)
        self.head.write_text(json.dumps(json.loads(self.head.read_text()) | {"count": 4, "hash": hash}))

    def bad_head(self) -> None:
        self.head.write_text("{}")


def test_a_chain_that_nobody_touched_holds(filled: SqliteJournal) -> None:
    """Each entry names the hash before it, the head is the newest, and what cannot be proven is listed."""
    found = filled.verify()
    entries = filled.audit_entries()
    assert (found.entries, found.faults, found.head) == (COUNT, (), entries[-1].hash)
    assert [e.seq for e in entries] == list(range(1, COUNT + 1))
    assert [e.prev for e in entries] == ["", *(e.hash for e in entries[:-1])]
    assert all(hash_of(body_of(e)) == e.hash for e in entries)
    assert len(found.unproven) == 2
    assert "wrote all of it anew" in found.unproven[0]
    assert "before this journal was made (2026-11-24 14:02:10Z)" in found.unproven[1]


ATTACKS: list[tuple[str, Callable[[Intruder], None], list[str]]] = [
    ("edited", lambda i: i.edit(5), ["entry 5 (2026-11-24 14:07:10Z confirmed node.drain nodes/node-5) was edited: its hash is another"]),
    ("edited, hash made anew", lambda i: i.edit(5, rehash=True), ["entry 6 (", "does not continue entry 5 (2026-11-24 14:07:10Z", "edited and its hash made anew"]),
    ("edited newest, hash made anew", lambda i: i.edit(COUNT, rehash=True), [f"another hash of entry {COUNT}"]),
    ("deleted", lambda i: i.delete(5), ["entry 5 is missing before entry 6 (2026-11-24 14:08:10Z", "deleted"]),
    ("several deleted", lambda i: i.delete(5, 6, 7), ["entries 5 to 7 are missing before entry 8 ("]),
    ("first deleted", lambda i: i.delete(1), ["entry 1 is missing before entry 2 ("]),
    ("deleted and closed up", lambda i: i.close_up(5), ["place 5 holds entry 6 (", "deleted", "knew 12 entries"]),
    ("reordered", lambda i: i.swap(5, 8), ["place 5 holds entry 8 (", "place 8 holds entry 5 (", "reordered"]),
    ("neighbours reordered", lambda i: i.swap(5, 6), ["place 5 holds entry 6 (", "place 6 holds entry 5 ("]),
    ("inserted", lambda i: i.insert(5), ["place 6 holds entry 5 (2026-11-24 14:07:10Z", "inserted before it"]),
    ("inserted before all", lambda i: i.put(0, *i.row(3)), ["place 0 holds entry 3 (", "inserted"]),
    ("cut tail", lambda i: i.delete(11, 12), ["the head file knew 12 entries, the newest of 2026-11-24T14:14:10", "entries 11 to 12 are cut off"]),
    ("all cut", lambda i: i.delete(*range(1, 13)), ["entries 1 to 12 are cut off"]),
    ("one cut", lambda i: i.delete(12), ["entry 12 is cut off"]),
    ("rewritten to the end", lambda i: i.rewrite(5), ["another hash of entry 12"]),
    ("head file removed", lambda i: i.hide_head(), ["the head file was missing"]),
    ("head file of long ago", lambda i: i.old_head(), ["knew 4 of 12 entries"]),
    ("head file without sense", lambda i: i.bad_head(), ["the head file could not be read (it makes no sense)"]),
    ("made unreadable", lambda i: i.put(5, "{", i.row(5)[1]), ["entry 5 cannot be read: it was edited"]),
    ("made a blob", lambda i: i.spoil(5), ["entry 5 cannot be read"]),
    ("hash taken away", lambda i: i.put(5, i.row(5)[0], ""), ["entry 5 (", "its hash is another"]),
]  # fmt: skip


@pytest.mark.parametrize(("name", "attack", "words"), ATTACKS, ids=[name for name, *_ in ATTACKS])
def test_what_was_done_to_the_audit_is_named(
    filled: SqliteJournal, name: str, attack: Callable[[Intruder], None], words: list[str]
) -> None:
    """Each way to falsify it is found, with number, time and what the entry was, in at most three sentences."""
    intruder = Intruder(filled)
    attack(intruder)
    intruder.done()
    found = filled.verify()
    assert not found.whole
    assert 1 <= len(found.faults) <= 3
    for part in words:
        assert any(part in fault for fault in found.faults), found.faults


def test_a_guard_that_was_taken_away_is_named(filled: SqliteJournal) -> None:
    """Whoever dropped a trigger, or put a harmless one in its place, is seen even without a change of an entry."""
    with closing(sqlite3.connect(filled.path)) as db:
        db.execute("DROP TRIGGER audit_is_not_edited")
        db.execute("DROP TRIGGER audit_is_not_deleted")
        db.execute("CREATE TRIGGER audit_is_not_deleted BEFORE DELETE ON audit BEGIN SELECT 1; END")
    assert filled.verify().faults == (
        "the guard audit_is_not_edited was taken away: entries could be changed by plain SQL",
        "the guard audit_is_not_deleted was changed: entries could be changed by plain SQL",
    )


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE audit SET body = '{}' WHERE seq = 3",
        "DELETE FROM audit WHERE seq = 12",
        "DELETE FROM audit",
        "INSERT OR REPLACE INTO audit VALUES (3, '{}', '')",
        "INSERT INTO audit VALUES (20, '{}', '')",
        "INSERT INTO audit VALUES (0, '{}', '')",
    ],
)
def test_plain_sql_cannot_change_the_audit(filled: SqliteJournal, sql: str) -> None:
    """A slip of the hand in `sqlite3 journal.db` is refused by the database itself."""
    with closing(sqlite3.connect(filled.path, isolation_level=None)) as db, pytest.raises(sqlite3.IntegrityError, match="append-only"):
        db.execute(sql)
    assert filled.verify().whole


def test_a_cut_tail_is_not_covered_by_what_is_appended_after(filled: SqliteJournal) -> None:
    """The next entry writes the head file anew; what it knew is kept in it and goes on being told."""
    intruder = Intruder(filled)
    intruder.delete(11, 12)
    intruder.done()
    filled.audit(an_entry(what="armed"))
    filled.audit(an_entry(what="disarmed"))
    assert filled.notice == "the audit does not fit its head file: coldtui audit verify"
    intruder = Intruder(filled)
    intruder.delete(12)
    intruder.done()
    filled.audit(an_entry(what="armed"))
    found = filled.verify()
    assert found.entries == 12
    assert found.faults == (
        "when entry 11 was appended, the head file knew 12 entries, the newest of 2026-11-24T14:14:10.000000+00:00: entries 11 to 12 are cut off",
        "when entry 12 was appended, the head file knew 12 entries, the newest of 2026-11-24T14:02:10.000000+00:00: entry 12 is cut off",
    )


def test_a_head_that_is_one_behind_is_no_attack(filled: SqliteJournal) -> None:
    """A process that was ended between entry and head file is told as such, not as a fault; the next entry mends it."""
    head = Path(filled.path).parent / "audit-head.json"
    before = head.read_text()
    filled.audit(an_entry(what="armed"))
    head.write_text(before)
    found = filled.verify()
    assert found.whole
    assert "entry 13: the head file is one entry behind" in found.unproven[0]
    filled.audit(an_entry(what="disarmed"))
    assert filled.verify().whole
    assert len(filled.verify().unproven) == 2


def test_a_first_entry_without_head_is_no_attack(journal: SqliteJournal) -> None:
    """The same for the very first entry, when there was no head file yet."""
    journal.audit(an_entry())
    (Path(journal.path).parent / "audit-head.json").unlink()
    assert journal.verify().whole
    assert "entry 1: the head file is one entry behind" in journal.verify().unproven[0]


def test_an_empty_audit_holds(journal: SqliteJournal) -> None:
    """Nothing is written and nothing is missing."""
    found = journal.verify()
    assert (found.entries, found.head, found.faults) == (0, "", ())


def test_many_faults_are_counted_not_listed(filled: SqliteJournal) -> None:
    """Somebody who edits a thousand entries does not flood the terminal."""
    with closing(sqlite3.connect(filled.path, isolation_level=None)) as db:
        db.execute("DROP TRIGGER audit_is_not_edited")
        db.execute("DROP TRIGGER audit_is_appended")
        db.executemany("INSERT INTO audit VALUES (?, '{}', '')", [(n,) for n in range(100, 400)])
    found = filled.verify()
    assert len(found.faults) == 51
    assert found.faults[-1].endswith(" more")


def test_entries_are_listed_from_either_end(filled: SqliteJournal) -> None:
    """After a number, with a limit, newest or oldest first."""
    assert [e.seq for e in filled.audit_entries(after=9)] == [10, 11, 12]
    assert [e.seq for e in filled.audit_entries(limit=2, newest_first=True)] == [12, 11]
    assert [e.seq for e in filled.audit_entries(after=10, limit=1)] == [11]


def test_an_entry_keeps_all_its_fields(journal: SqliteJournal) -> None:
    """What is read back is what was given, with number and hashes filled in, odd characters made harmless."""
    given = replace(
        an_entry(params={"node": "a\x1b[31mb", "deep": [{"k\u202e": "v\n"}], "n": 3, "none": None, "yes": True}),
        reason='said "no" \\ maybe → ünï',
        outcome="partial: 3 of 6",
        premises=(("pods", "0.4 s"), ("budgets", "403")),
    )
    entry = journal.audit(given)
    assert entry == replace(
        given, seq=1, hash=entry.hash, params={"node": "a\ufffd[31mb", "deep": [{"k\ufffd": "v "}], "n": 3, "none": None, "yes": True}
    )
    assert journal.audit_entries() == (entry,)
    assert journal.verify().whole


def test_the_head_file_says_what_the_newest_entry_is(filled: SqliteJournal) -> None:
    """Anyone may copy it to a safe place and compare later: journal, count, hash, time."""
    head = json.loads((Path(filled.path).parent / "audit-head.json").read_text())
    newest: AuditEntry = filled.audit_entries(newest_first=True, limit=1)[0]
    assert head == {"journal": filled.id, "count": 12, "hash": newest.hash, "at": "2026-11-24T14:14:10.000000+00:00", "disputes": []}


def test_journals_side_by_side_have_heads_of_their_own(journal: SqliteJournal, tmp_path: Path, clock: HandClock) -> None:
    """Another journal in the same folder does not disturb the chain of the first."""
    second = open_journal(str(tmp_path / "other.db"), clock=clock, reserve_b=0)
    for each in (journal, second, journal, second):
        each.audit(an_entry())
    assert journal.verify().whole
    assert second.verify().whole
    assert second.id != journal.id
    second.close()
