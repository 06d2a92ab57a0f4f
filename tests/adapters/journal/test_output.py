"""The output of runs: appended, followed by byte offset, capped."""

from __future__ import annotations

import os
import re
from datetime import timedelta
from pathlib import Path

import pytest

from coldtui.adapters.journal import SqliteJournal, open_journal
from coldtui.adapters.journal.output import LINE_AT_MOST
from coldtui.domain.errors import JournalTrouble, NotFound
from coldtui.domain.runs import RunLine, What
from tests.adapters.journal.means import START, HandClock, a_run, an_entry

ID = "20261124-140210-7f3a"


def lines(*texts: str, step: int = 1, stream: str = "out") -> tuple[RunLine, ...]:
    return tuple(RunLine(START + timedelta(seconds=n), step, stream, text) for n, text in enumerate(texts))


def followed(journal: SqliteJournal, limit_b: int) -> list[RunLine]:
    """The whole log, part by part."""
    found: list[RunLine] = []
    offset = 0
    while (part := journal.read_log(ID, offset=offset, limit_b=limit_b)).next != offset:
        found += part.lines
        offset = part.next
    return found


def test_lines_come_out_as_they_went_in(journal: SqliteJournal) -> None:
    """Time, step, stream and text, also of empty and spaced lines and of lines without a time."""
    given = (
        *lines("evicting redis-0", "", "  two  spaces ", stream="out"),
        RunLine(None, -1, "err", "no time"),
        RunLine(START, 0, "say", "ünï → ok"),
    )
    journal.write_log(ID, given[:2])
    journal.write_log(ID, given[2:])
    part = journal.read_log(ID)
    assert part.lines == given
    assert part.next == part.size == os.stat(journal.log_path(ID)).st_size
    assert Path(journal.log_path(ID)).read_text().split("\n")[0] == "2026-11-24T14:02:10.000000Z 1 out evicting redis-0"


def test_a_follower_reads_each_line_once(journal: SqliteJournal) -> None:
    """By the offset it was given, whatever the size of its parts, also smaller than a line."""
    given = lines(*(f"line {n} " + "x" * (n * 7 % 300) for n in range(200)))
    journal.write_log(ID, given)
    for limit_b in (1, 50, 333, 4096, 1 << 20):
        assert followed(journal, limit_b) == list(given)
    end = journal.read_log(ID).next
    assert journal.read_log(ID, offset=end).lines == ()
    journal.write_log(ID, lines("more"))
    assert [line.text for line in journal.read_log(ID, offset=end).lines] == ["more"]


def test_reading_from_the_end_begins_with_a_whole_line(journal: SqliteJournal) -> None:
    """A negative offset counts from the end; an offset in the middle of a line goes to the next one."""
    journal.write_log(ID, lines(*(f"line {n}" for n in range(10))))
    size = journal.read_log(ID).size
    length = size // 10
    assert [line.text for line in journal.read_log(ID, offset=-2 * length).lines] == ["line 8", "line 9"]
    assert [line.text for line in journal.read_log(ID, offset=-2 * length - 3).lines] == ["line 8", "line 9"]
    assert journal.read_log(ID, offset=length + 5).lines[0].text == "line 2"
    assert len(journal.read_log(ID, offset=-10_000_000).lines) == 10
    beyond = journal.read_log(ID, offset=size + 500)
    assert (beyond.lines, beyond.next) == ((), size)


def test_a_torn_line_is_held_back(journal: SqliteJournal) -> None:
    """A line that is being written is not shown; when its writer was ended, the next write closes it."""
    journal.write_log(ID, lines("whole"))
    with open(journal.log_path(ID), "a") as file:
        file.write("2026-11-24T14:02:11.000000Z 1 out to")
    part = journal.read_log(ID)
    assert [line.text for line in part.lines] == ["whole"]
    assert part.next < part.size
    assert journal.read_log(ID, offset=part.next).lines == ()
    journal.write_log(ID, lines("after"))
    assert [line.text for line in journal.read_log(ID, offset=part.next).lines] == ["to", "after"]


def test_there_is_no_log_before_the_first_line(journal: SqliteJournal) -> None:
    """A run that said nothing yet has an empty log, not an error."""
    assert journal.read_log(ID) == journal.read_log(ID, offset=-100)
    assert (journal.read_log(ID).lines, journal.read_log(ID).size) == ((), 0)


def test_text_is_harmless_on_the_way_in_and_out(journal: SqliteJournal) -> None:
    """Escape sequences, line ends and a forged line cannot get through, neither written by us nor put there by another."""
    journal.write_log(ID, lines("a\x1b[2Jb", "one\n2026-11-24T14:02:10.000000Z 1 out forged", "c\rd\u202ee"))
    with open(journal.log_path(ID), "ab") as file:
        file.write(b"2026-11-24T14:02:10Z 1 out \x1b]0;title\x07 \xff\xfe\r\n\x1b[31mno line of ours\n1 2\n2026 x y z\n\n")
    found = journal.read_log(ID).lines
    assert [line.text for line in found] == [
        "a\ufffd[2Jb", "one 2026-11-24T14:02:10.000000Z 1 out forged", "c\ufffdd\ufffde",
        "\ufffd]0;title\ufffd \ufffd\ufffd\ufffd", "\ufffd[31mno line of ours", "1 2", "2026 x y z", "",
    ]  # fmt: skip
    assert [line.at is None for line in found] == [False, False, False, False, True, True, True, True]


def test_a_very_long_line_is_cut_and_a_foreign_one_does_not_stop_the_reader(journal: SqliteJournal) -> None:
    """Nobody has to hold a line of 3 MB in memory: its beginning is shown, and the reader gets past it."""
    journal.write_log(ID, lines("x" * 100_000))
    assert len(journal.read_log(ID).lines[0].text) == LINE_AT_MOST
    with open(journal.log_path(ID), "ab") as file:
        file.write(b"y" * 3_000_000 + b"\n")
    journal.write_log(ID, lines("last"))
    found = followed(journal, 1000)
    assert found[-1].text == "last"
    assert found[1].text.startswith("yyy")
    assert 1_000_000 < len(found[1].text) < 1_200_000
    assert len(found) == 3


def test_a_full_log_counts_what_it_drops(tmp_path: Path, clock: HandClock) -> None:
    """Past the cap nothing but the number in the last line changes; the count goes on in another process."""
    path = str(tmp_path / "journal.db")
    journal = open_journal(path, clock=clock, reserve_b=0, log_cap_b=1000)
    journal.write_log(ID, lines(*(f"line {n:04}" for n in range(15))))
    full = journal.read_log(ID)
    assert full.size <= 1000
    journal.write_log(ID, lines(*(f"line {n:04}" for n in range(15, 50))))
    journal.write_log(ID, lines("x"))
    journal.close()
    other = open_journal(path, clock=clock, reserve_b=0, log_cap_b=1000)
    other.write_log(ID, lines("y", "z"))
    part = other.read_log(ID)
    written = [line for line in part.lines if re.fullmatch(r"line \d{4}", line.text)]
    dropped = 53 - len(written)
    assert part.lines[-1].text == f"{dropped:09} lines dropped: the log is full at 1,000 bytes"
    assert len(part.lines) == len(written) + 1 > len(full.lines)
    assert part.size <= 1000 + 200
    other.close()


def test_every_line_is_either_there_or_counted(tmp_path: Path, clock: HandClock) -> None:
    """At each size of cap and batch: written and dropped add up."""
    for cap in (1, 60, 61, 120, 500, 777):
        for batch in (1, 3, 40):
            journal = open_journal(str(tmp_path / f"{cap}-{batch}" / "journal.db"), clock=clock, reserve_b=0, log_cap_b=cap)
            for n in range(0, 40, batch):
                journal.write_log(ID, lines(*(f"line {n + k}" for k in range(batch) if n + k < 40)))
            found = journal.read_log(ID).lines
            assert len(found) - 1 + int(found[-1].text[:9]) == 40
            journal.close()


def test_lines_that_the_disk_did_not_take_are_counted(journal: SqliteJournal) -> None:
    """The runner is not stopped by it; the first line that gets through is preceded by the number."""
    runs = Path(journal.path).parent / "runs"
    runs.write_text("in the way")
    journal.write_log(ID, lines("a", "b"))
    journal.write_log(ID, lines("c"))
    runs.unlink()
    journal.write_log(ID, lines("d"))
    assert [line.text for line in journal.read_log(ID).lines] == ["3 lines lost: the disk did not take them", "d"]


@pytest.mark.parametrize("id", ["../journal", "/etc/passwd", "", "a/b", ".hidden", "a\x00b", "-x"])
def test_only_ids_of_runs_name_files(journal: SqliteJournal, id: str) -> None:
    """No id leads out of the folder."""
    with pytest.raises(NotFound, match="is no run"):
        journal.log_path(id)
    with pytest.raises(NotFound):
        journal.read_log(id)


def test_a_link_is_not_followed(journal: SqliteJournal, tmp_path: Path) -> None:
    """In a shared folder somebody could lay one to a file that only root may write."""
    target = tmp_path / "target"
    target.write_text("before")
    (tmp_path / "runs").mkdir()
    Path(journal.log_path(ID)).symlink_to(target)
    journal.write_log(ID, lines("x"))
    assert target.read_text() == "before"
    with pytest.raises(JournalTrouble, match="the output of a run cannot be read"):
        journal.read_log(ID)


def test_an_event_knows_where_the_log_was(journal: SqliteJournal) -> None:
    """Its offset is where the lines after it begin."""
    run = a_run()
    journal.begin(run, an_entry(run))
    journal.write_log(run.id, lines("before"))
    event = journal.record(run.id, What.STARTED, step=0)
    journal.write_log(run.id, lines("after"))
    assert [line.text for line in journal.read_log(run.id, offset=event.offset).lines] == ["after"]
