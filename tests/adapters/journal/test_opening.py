"""A journal is opened: made, refused, set aside, found again; by several processes at once."""

from __future__ import annotations

import os
import resource
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from coldtui.adapters.journal import SqliteJournal, open_journal
from coldtui.adapters.journal.schema import VERSION
from coldtui.domain.errors import JournalTrouble, NotFound
from coldtui.domain.runs import RunLine, What
from tests.adapters.journal.means import START, HandClock, a_run, an_entry

ROOT = Path(__file__).parents[3]
ASIDE = "journal.db.corrupt-20261124T140210Z"


def opened(path: Path, clock: HandClock) -> SqliteJournal:
    return open_journal(str(path), clock=clock, reserve_b=64 << 10)


def written(path: Path, clock: HandClock) -> SqliteJournal:
    """A journal with a run and two entries; still open."""
    journal = opened(path, clock)
    run = a_run()
    journal.begin(run, an_entry(run))
    journal.audit(an_entry(run, what="started"))
    journal.write_log(run.id, (RunLine(START, 0, "out", "x"),))
    return journal


def test_a_new_journal_is_made_with_its_folder(tmp_path: Path, clock: HandClock) -> None:
    """WAL, full sync, our mark and version, an id of its own that stays; nobody else may read it."""
    with closing(opened(tmp_path / "a/b/journal.db", clock)) as journal:
        db = journal._store.opened().writer
        assert [db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous", "user_version")] == [
            "wal",
            2,
            VERSION,
        ]
        assert (journal.notice, journal.runs(), journal.audit_entries()) == ("", (), ())
        id = journal.id
        assert stat.S_IMODE(os.stat(tmp_path / "a/b").st_mode) & 0o007 == 0
    with closing(opened(tmp_path / "a/b/journal.db", clock)) as journal:
        assert journal.id == id
        assert len(id) == 32


@pytest.mark.parametrize(("folder_mode", "mode"), [(0o750, 0o640), (0o2770, 0o660), (0o2750, 0o640)])
def test_the_group_shares_what_the_folder_shares(tmp_path: Path, clock: HandClock, folder_mode: int, mode: int) -> None:
    """In a setgid folder of a group every file can be written by the group, whatever the umask; elsewhere nobody but the owner writes."""
    folder = tmp_path / "state"
    folder.mkdir()
    folder.chmod(folder_mode)
    before = os.umask(0o077)
    try:
        journal = written(folder / "journal.db", clock)
    finally:
        os.umask(before)
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert {path.name: oct(stat.S_IMODE(path.stat().st_mode)) for path in files} == {path.name: oct(mode) for path in files}
    assert {path.name for path in files} >= {"journal.db", "journal.db-wal", "journal.db.lock", "journal.db.reserve", "audit-head.json"}
    assert bool(stat.S_IMODE((folder / "runs").stat().st_mode) & 0o020) == (mode == 0o660)
    journal.close()


def test_a_journal_of_a_newer_version_is_refused_and_left_alone(tmp_path: Path, clock: HandClock) -> None:
    """The version found, the version known and the remedies are told; not a byte of it is changed."""
    path = tmp_path / "journal.db"
    written(path, clock).close()
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA user_version=7")
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    before, listed = path.read_bytes(), set(os.listdir(tmp_path))
    with pytest.raises(JournalTrouble) as caught:
        opened(path, clock)
    assert str(caught.value) == (
        f"the journal was made by a newer coldtui · {path} is of version 7, this one knows up to {VERSION}; it is left as it is · "
        f"use the newer coldtui, or name another journal: coldtui --journal {caught.value.hint.split('--journal ')[1]}"
    )
    assert path.read_bytes() == before
    assert set(os.listdir(tmp_path)) - listed <= {"journal.db-wal", "journal.db-shm"}, "SQLite's own, made by reading, and empty"
    assert not (tmp_path / "journal.db-wal").exists() or (tmp_path / "journal.db-wal").stat().st_size == 0


def test_what_is_no_journal_is_refused_and_left_alone(tmp_path: Path, clock: HandClock) -> None:
    """Another program's database and a text file that was named by mistake are neither filled with tables nor renamed."""
    database, text, folder = tmp_path / "grafana.db", tmp_path / "id_ed25519", tmp_path / "folder.db"
    with closing(sqlite3.connect(database)) as db:
        db.execute("CREATE TABLE t(a)")
    text.write_text("not yours " * 100)
    folder.mkdir()
    for path, words in ((database, "this file is no journal"), (text, "this file is no journal"), (folder, "is not a file")):
        with pytest.raises(JournalTrouble, match=words):
            opened(path, clock)
    assert text.read_text() == "not yours " * 100
    with closing(sqlite3.connect(database)) as db:
        assert db.execute("SELECT count(*) FROM sqlite_master").fetchone() == (1,)
    assert set(os.listdir(tmp_path)) == {"grafana.db", "id_ed25519", "folder.db"}


def spoil_head(path: Path) -> None:
    with open(path, "r+b") as file:
        file.write(b"garbage!" * 64)


def spoil_pages(path: Path) -> None:
    size = path.stat().st_size
    with open(path, "r+b") as file:
        file.seek(4096 + 50)
        file.write(b"\xff\x00\x17" * ((size - 4200) // 3))


def cut_short(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2 // 4096 * 4096)


def lose_table(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("DROP TABLE events")


@pytest.mark.parametrize("spoil", [spoil_head, spoil_pages, cut_short, lose_table], ids=lambda f: f.__name__)
def test_a_damaged_journal_is_kept_aside(tmp_path: Path, clock: HandClock, spoil: object) -> None:
    """It keeps its bytes under another name; a new journal begins, says so by name, and its audit begins with what was known of the old."""
    path = tmp_path / "journal.db"
    old = written(path, clock)
    id, head = old.id, old.audit_entries()[-1].hash
    old.close()
    assert callable(spoil)
    spoil(path)
    broken = path.read_bytes()
    with closing(opened(path, clock)) as journal:
        assert (tmp_path / ASIDE).read_bytes() == broken
        assert (
            journal.notice == f"the journal was damaged: it lies aside as {ASIDE}, and a new one began. Runs before that are not known here"
        )
        assert journal.id != id
        (first,) = journal.audit_entries()
        assert (first.what, first.params["aside"], first.params["entries"], first.params["head"]) == ("journal", ASIDE, 2, head)
        assert "lies aside as " + ASIDE in first.outcome
        found = journal.verify()
        assert found.whole
        assert any(ASIDE in text for text in found.unproven)
    with closing(opened(path, clock)) as again:
        assert ASIDE in again.notice
        assert len(again.audit_entries()) == 1
    (tmp_path / ASIDE).rename(tmp_path / "elsewhere")
    with closing(opened(path, clock)) as told:
        assert told.notice == ""


def test_garbage_under_the_journals_name_is_a_damaged_journal(tmp_path: Path, clock: HandClock) -> None:
    """Even when nothing else is there; and a second one within the same second gets a name of its own."""
    path = tmp_path / "journal.db"
    for name in (ASIDE, ASIDE + "-2"):
        path.write_bytes(b"\x00\x01garbage" * 1000)
        with closing(opened(path, clock)) as journal:
            assert name in journal.notice
        path.unlink()
    assert (tmp_path / ASIDE).exists()


def test_two_processes_set_a_damaged_journal_aside_once(tmp_path: Path, clock: HandClock) -> None:
    """The second that comes finds the new one; both write to it."""
    path = tmp_path / "journal.db"
    path.write_bytes(b"garbage" * 1000)
    told = together(path, 4)
    assert [name for name in os.listdir(tmp_path) if ".corrupt-" in name and not name.endswith(("-wal", "-shm"))] != []
    assert len({id for id, _ in told}) == 1
    assert len([name for name in os.listdir(tmp_path) if ".corrupt-" in name]) == 1
    with closing(opened(path, clock)) as journal:
        assert journal.verify().whole
        assert journal.verify().entries == 5


def test_damage_that_shows_in_use_sets_aside_at_the_next_call(tmp_path: Path, clock: HandClock) -> None:
    """One call fails with a clear line; the next is answered by a new journal, which does not know the run: its runner stops."""
    path = tmp_path / "journal.db"
    journal = written(path, clock)
    run = journal.runs()[0]
    for n in range(300):
        journal.record(run.id, What.SAID, text=f"{n} " + "x" * 400)
    journal._store.opened().writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with open(path, "r+b") as file:
        file.seek(4096 * 3)
        file.write(b"\xff" * 4096 * 20)
    with pytest.raises(JournalTrouble, match="the journal is damaged"):
        journal._store.read_alone(lambda db: db.execute("SELECT * FROM events").fetchall())
    assert journal.runs() == ()
    assert ASIDE in journal.notice
    with pytest.raises(NotFound):
        journal.record(run.id, What.SAID, text="x")
    journal.close()


def test_a_process_notices_that_the_file_is_another(tmp_path: Path, clock: HandClock) -> None:
    """Who has the old file open goes on in the new one, and does not write into what lies aside."""
    path = tmp_path / "journal.db"
    early = written(path, clock)
    before = early.changed()
    os.rename(path, tmp_path / "moved.db")
    with closing(opened(path, clock)) as later:
        run = a_run()
        later.begin(run, an_entry(run))
        assert early.changed() != before
        assert early.runs() == (run,)
        early.record(run.id, What.SAID, text="here")
        assert len(later.events(run.id)) == 1
        assert early.id == later.id
        early.close()
        assert later.runs() == (run,)


def test_a_journal_that_was_removed_is_missed(tmp_path: Path, clock: HandClock) -> None:
    """Whoever deletes the journal with its audit leaves the head file, or must think of it; the new audit tells what was there."""
    path = tmp_path / "journal.db"
    written(path, clock).close()
    for name in os.listdir(tmp_path):
        if name.startswith("journal.db"):
            (tmp_path / name).unlink()
    with closing(opened(path, clock)) as journal:
        (first,) = journal.audit_entries()
        assert first.outcome.startswith("the journal before was gone; its newest entry was 2, of 2026-11-24T14:02:10")
        assert journal.verify().faults == (
            "entry 1 (2026-11-24T14:02:10.000000+00:00): the journal before this one was gone, though its head file knew 2 entries",
        )


def test_the_rest_of_a_removed_journal_is_not_taken_for_the_new_one(tmp_path: Path, clock: HandClock) -> None:
    """Only the database was deleted, its WAL was left: that is kept aside too, and the new journal begins empty."""
    path = tmp_path / "journal.db"
    early = written(path, clock)
    path.unlink()
    with closing(opened(path, clock)) as journal:
        assert journal.runs() == ()
        assert (tmp_path / "journal.db.gone-20261124T140210Z-wal").exists()
        assert early.runs() == ()
    early.close()
    with closing(opened(path, clock)) as journal:
        assert journal.verify().entries == 1


OPENER = """
import sys
sys.path.insert(0, sys.argv[2])
from coldtui.adapters.journal import open_journal
from tests.adapters.journal.means import RealClock, an_entry
sys.stdin.readline()
journal = open_journal(sys.argv[1], clock=RealClock(), reserve_b=0)
entry = journal.audit(an_entry())
print(journal.id, entry.seq, flush=True)
"""


def together(path: Path, n: int) -> list[tuple[str, int]]:
    """(id, number of its entry) of `n` processes that open a journal at the same instant."""
    at_work = [
        subprocess.Popen([sys.executable, "-c", OPENER, str(path), str(ROOT)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(n)
    ]
    for process in at_work:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    told = []
    for process in at_work:
        out, _ = process.communicate(timeout=60)
        assert process.returncode == 0
        id, seq = out.split()
        told.append((id, int(seq)))
    return told


GATE = """
import os, sys
sys.path.insert(0, sys.argv[2])
from coldtui.adapters.journal import open_journal
from tests.adapters.journal.means import RealClock, an_entry
print("ready", flush=True)
for path in sys.stdin:
    with_it = open_journal(path.strip(), clock=RealClock(), reserve_b=0)
    print(with_it.id, with_it.audit(an_entry()).seq, flush=True)
    with_it.close()
"""


def test_two_processes_open_a_new_journal_at_the_same_instant(tmp_path: Path, clock: HandClock) -> None:
    """Twenty times: one journal is made, both write to it, neither sees an error."""
    pair = [
        subprocess.Popen([sys.executable, "-c", GATE, "", str(ROOT)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    try:
        for process in pair:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for n in range(20):
            path = tmp_path / str(n) / "journal.db"
            told = []
            for process in pair:
                assert process.stdin is not None
                process.stdin.write(f"{path}\n")
                process.stdin.flush()
            for process in pair:
                assert process.stdout is not None
                told.append(process.stdout.readline().split())
            assert [len(each) for each in told] == [2, 2], f"round {n}: {told}"
            assert told[0][0] == told[1][0]
            assert {told[0][1], told[1][1]} == {"1", "2"}
            with closing(opened(path, clock)) as journal:
                assert journal.verify().whole
    finally:
        for process in pair:
            process.communicate(timeout=30)


@pytest.mark.skipif(os.geteuid() != 0, reason="root writes everywhere; the test gives its rights up, which only root can")
def test_what_may_not_be_written_is_told_with_its_remedy(tmp_path: Path) -> None:
    """A folder, or a journal, of somebody else: what it is, why, and what to do. Tried as another user."""
    folder = tmp_path / "state"
    folder.mkdir(mode=0o755)
    for parent in (*tmp_path.parents, tmp_path):
        if parent.owner() == "root" and str(parent).startswith("/tmp/"):
            parent.chmod(0o755)
    said = as_nobody(folder / "journal.db")
    assert said.startswith(f"the journal cannot be written · {folder}: permission denied · mend its permissions, or name another journal")
    written(folder / "journal.db", HandClock()).close()
    folder.chmod(0o777)
    said = as_nobody(folder / "journal.db")
    assert said.startswith("the journal cannot be written")
    assert "permission denied · mend its permissions" in said
    assert "Traceback" not in said


def as_nobody(path: Path) -> str:
    """What the journal says to user nobody."""
    program = f"""
import os, sys
sys.path.insert(0, {str(ROOT)!r})
from coldtui.adapters.journal import open_journal
from coldtui.domain.errors import ColdError
from tests.adapters.journal.means import RealClock
os.setgroups([]); os.setgid(65534); os.setuid(65534)
try:
    open_journal({str(path)!r}, clock=RealClock())
    print("opened")
except ColdError as error:
    print(error)
"""
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False).stdout


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path, clock: HandClock) -> None:
    """A file stands where the folder should be."""
    (tmp_path / "file").write_text("")
    with pytest.raises(JournalTrouble, match=r"the journal cannot be used · .*file.* · mend it, or name another journal"):
        opened(tmp_path / "file/journal.db", clock)


def test_no_right_is_blamed_where_none_is_missing(tmp_path: Path, clock: HandClock) -> None:
    """Too many open files is not told as missing permissions."""
    path = tmp_path / "journal.db"
    written(path, clock).close()
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.open(os.devnull, os.O_RDONLY)  # the limit is on the number of a descriptor, not on how many there are
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, before[1]))
    try:
        with pytest.raises(JournalTrouble) as caught:
            opened(path, clock)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert caught.value.title == "the journal cannot be used"
    assert "permission" not in str(caught.value)
