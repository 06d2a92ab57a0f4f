"""The disk is full, really: a small file system of its own is filled up under the journal."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from coldtui.adapters.journal import SqliteJournal, open_journal
from coldtui.adapters.journal.reserve import MEND_S
from coldtui.adapters.journal.troubles import elsewhere
from coldtui.domain.errors import JournalTrouble, Locked
from coldtui.domain.runs import Run, RunLine, RunState, What
from tests.adapters.journal.means import START, HandClock, a_run, an_entry

SIZE_B, RESERVE_B = 4 << 20, 512 << 10
ON_RESERVE = "the disk is full: the journal lives on its reserve"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE_B}", "tmpfs", str(folder)], capture_output=True, check=False)
    if made.returncode:
        pytest.skip("mounting a small file system needs root")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True, timeout=30)


def opened(disk: Path, clock: HandClock, name: str = "journal.db") -> SqliteJournal:
    return open_journal(str(disk / name), clock=clock, reserve_b=RESERVE_B)


def fill(disk: Path) -> None:
    """To the last byte."""
    with open(disk / "ballast", "wb", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * 4096)
        except OSError:
            return


def until_it_fails(journal: SqliteJournal, run: Run) -> tuple[int, JournalTrouble]:
    """How many events got through, and what ended it."""
    for n in range(100_000):
        try:
            journal.record(run.id, What.SAID, text=f"{n} " + "x" * 900)
        except JournalTrouble as trouble:
            return n, trouble
    raise AssertionError("it never fails")


def begun(journal: SqliteJournal, run: Run | None = None) -> Run:
    run = run or a_run()
    journal.begin(run, an_entry(run))
    return run


def test_the_reserve_is_really_allocated(disk: Path, clock: HandClock) -> None:
    """Its bytes are taken from the disk, not only promised."""
    journal = opened(disk, clock)
    found = os.stat(disk / "journal.db.reserve")
    assert found.st_size == RESERVE_B <= found.st_blocks * 512
    assert journal.notice == ""
    journal.close()


def test_a_full_disk_is_bridged_by_the_reserve(disk: Path, clock: HandClock) -> None:
    """Acts, events and audit go on, and it is said; when the reserve is used up it is said where to go; with room the reserve is made again."""
    journal = opened(disk, clock)
    first = begun(journal)
    fill(disk)
    journal.set_state(first.id, RunState.DONE)
    while not journal.notice:
        journal.record(first.id, What.SAID, text="x" * 900)
    assert journal.notice == ON_RESERVE
    assert not (disk / "journal.db.reserve").exists()
    second = begun(journal)
    written, trouble = until_it_fails(journal, second)
    assert written > 100
    assert trouble.title == f"the journal cannot be written: no space left on {disk}"
    assert trouble.hint == f"free space, or name another journal: coldtui --journal {elsewhere('')} ..."
    assert len(journal.events(second.id)) == written
    assert journal.verify().whole

    (disk / "ballast").unlink()
    clock.move(MEND_S + 1)
    journal.record(second.id, What.SAID, text="room again")
    assert journal.notice == ""
    assert (disk / "journal.db.reserve").stat().st_size == RESERVE_B
    assert journal.events(second.id)[-1].text == "room again"
    journal.close()


def test_heartbeats_need_no_space(disk: Path, clock: HandClock) -> None:
    """Even without a reserve: the write-ahead log is folded into the database, where there is room for what only changes."""
    journal = open_journal(str(disk / "journal.db"), clock=clock, reserve_b=0)
    run = begun(journal)
    journal.close()
    journal = open_journal(str(disk / "journal.db"), clock=clock, reserve_b=0)
    journal.beat(run.id)
    fill(disk)
    for _ in range(200):
        clock.move(3)
        journal.beat(run.id)
    assert journal.run(run.id).beat == clock.now()
    journal.close()


def test_what_fails_for_want_of_space_leaves_nothing_half(disk: Path, clock: HandClock) -> None:
    """Run, lock, audit entry and head file are written all or not at all, at whichever byte the disk is full."""
    journal = opened(disk, clock)
    first = begun(journal, a_run(locks=()))
    fill(disk)
    until_it_fails(journal, first)
    before = journal.verify()
    refused = 0
    for n in range(20):
        run = a_run(locks=(f"node:{n}",))
        entries = journal.verify().entries
        try:
            journal.begin(run, an_entry(run))
        except JournalTrouble:
            refused += 1
            assert journal.verify().entries == entries
            assert journal.holder(f"node:{n}") is None
        else:
            assert journal.verify().entries == entries + 1
            assert journal.holder(f"node:{n}") is not None
    assert refused
    (disk / "ballast").unlink()
    begun(journal)
    after = journal.verify()
    assert after.whole
    assert after.entries == before.entries + 20 - refused + 1
    assert len(after.unproven) == 2
    with pytest.raises(Locked):
        begun(journal)
    journal.close()


def test_a_journal_opens_on_a_full_disk(disk: Path, clock: HandClock) -> None:
    """A console that is started during the trouble sees the runs and can act: what SQLite needs to open comes from the reserve."""
    journal = opened(disk, clock)
    run = begun(journal)
    journal.close()
    fill(disk)
    again = opened(disk, clock)
    assert again.run(run.id) == run
    again.set_state(run.id, RunState.DONE)
    begun(again)
    assert again.notice == ON_RESERVE
    assert again.verify().whole
    again.close()
    other = opened(disk, clock)
    assert other.notice == ON_RESERVE
    other.close()


def test_no_journal_can_be_made_on_a_full_disk(disk: Path, tmp_path: Path, clock: HandClock) -> None:
    """It is said where one can be made, and there it works, with its own folder."""
    fill(disk)
    with pytest.raises(JournalTrouble) as caught:
        opened(disk, clock, "state/journal.db")
    assert caught.value.title.startswith(f"the journal cannot be written: no space left on {disk}")
    assert "coldtui --journal" in caught.value.hint
    named = open_journal(str(tmp_path / "run/coldtui/journal.db"), clock=clock)
    begun(named)
    assert named.verify().whole
    named.close()


def test_a_log_that_finds_no_space_is_counted(disk: Path, clock: HandClock) -> None:
    """Output never raises and never eats the reserve; no line is torn; what got lost is told when there is room."""
    journal = opened(disk, clock)
    run = begun(journal)
    fill(disk)
    for n in range(40):
        journal.write_log(run.id, [RunLine(START, 0, "out", f"{n}-{k} " + "y" * 300) for k in range(7)])
    assert (disk / "journal.db.reserve").exists()
    before = journal.read_log(run.id)
    assert all(line.text.endswith("yyy") for line in before.lines)
    (disk / "ballast").unlink()
    journal.write_log(run.id, [RunLine(START, 0, "out", "room again")])
    lost, last = journal.read_log(run.id, offset=before.next).lines
    assert lost.text == f"{40 * 7 - len(before.lines)} lines lost: the disk did not take them"
    assert last.text == "room again"
    journal.close()


def test_a_database_that_may_not_grow_is_told_the_same(journal: SqliteJournal) -> None:
    """Without a file system of its own (this needs no root): SQLite's own limit is met, nothing is lost, and it goes on when there is room."""
    run = begun(journal)
    db = journal._store.opened().writer
    db.execute(f"PRAGMA max_page_count={db.execute('PRAGMA page_count').fetchone()[0] + 2}")
    written, trouble = until_it_fails(journal, run)
    assert "no space left" in trouble.title
    assert len(journal.events(run.id)) == written
    db.execute("PRAGMA max_page_count=1000000")
    journal.record(run.id, What.SAID, text="room again")
    assert journal.verify().whole


def test_the_place_that_is_offered_is_not_the_one_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    """In /run for root, in $XDG_RUNTIME_DIR for others; nothing when we are there already or there is none."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert elsewhere("/var/lib/coldtui/journal.db") == "/run/coldtui/journal.db"
    assert elsewhere("/run/coldtui/journal.db") == ""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/1000")
    assert elsewhere("/home/a/journal.db") == "/run/user/1000/coldtui/journal.db"
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    assert elsewhere("/home/a/journal.db") == ""


def test_a_file_system_that_became_read_only_is_told(disk: Path, clock: HandClock) -> None:
    """As after a disk error: what it is and where to go, with a journal there and without; and all is well once it is mended."""
    journal = opened(disk, clock)
    run = begun(journal)
    journal.close()
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True, timeout=30)
    for name in ("journal.db", "new.db", "folder/journal.db"):
        with pytest.raises(
            JournalTrouble, match=r"the journal cannot be written · .*: read-only file system · mount it writable, or name another"
        ):
            opened(disk, clock, name)
    subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True, timeout=30)
    again = opened(disk, clock)
    assert again.run(run.id) == run
    again.close()
