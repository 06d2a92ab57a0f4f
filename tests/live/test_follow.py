"""A run followed: nothing twice, nothing lost, and any part of a long log is found again by its offset."""

from __future__ import annotations

from pathlib import Path

import pytest

from coldtui.adapters.journal import open_journal
from coldtui.domain.errors import NotFound
from coldtui.domain.runs import What
from coldtui.live.follow import Following, before, between, tail
from tests.journals import Wall, a_journal, begin, end, lines, under_way, write


def test_news_come_once_and_end(tmp_path: Path) -> None:
    """Events and lines come in order and once; the follower is over only when the run ended and all was read."""
    journal = a_journal(tmp_path)
    run = under_way(journal)
    following = Following(journal, run.id)
    news = following.look()
    assert [event.what for event in news.events][:2] == [What.RUNNER, What.STARTED]
    assert [line.text for line in news.part.lines] == ["pods/production/redis-0: evicted, stops"]
    assert not news.over
    assert following.look().events == ()
    write(journal, run, "one", "two")
    assert [line.text for line in following.look().part.lines] == ["one", "two"]
    write(journal, run, "last")
    end(journal, run)
    news = following.look()
    assert [line.text for line in news.part.lines] == ["last"]
    assert not news.over  # its events are news themselves
    assert following.look().over
    journal.close()


def test_a_run_that_is_not_there(tmp_path: Path) -> None:
    """An unknown id is NotFound, not a wait for ever."""
    journal = a_journal(tmp_path)
    with pytest.raises(NotFound):
        Following(journal, "20261124-999999-0000").look()
    journal.close()


@pytest.mark.parametrize("want_b", [1, 100, 4_000, 1 << 18, 1 << 24])
def test_a_log_is_read_backwards_whole(tmp_path: Path, want_b: int) -> None:
    """Pieces before pieces, from the end to the beginning, are together exactly the log, whatever their size."""
    journal = a_journal(tmp_path)
    run = begin(journal)
    texts = [f"line {n} {'x' * (n * 7 % 90)}" for n in range(3_000 if want_b > 1_000 else 40)]
    journal.write_log(run.id, lines(*texts))
    offset = size = journal.read_log(run.id).size
    found: list[str] = []
    while offset > 0:
        chunk = before(journal, run.id, offset, want_b)
        assert chunk.end == offset
        assert chunk.start < offset
        found[:0] = [line.text for line in chunk.lines]
        offset = chunk.start
    assert found == texts
    assert [line.text for line in between(journal, run.id, 0, size).lines] == texts
    journal.close()


def test_a_line_that_fills_a_piece_alone_is_found(tmp_path: Path) -> None:
    """The longest line that a log can have does not stop the way back."""
    journal = a_journal(tmp_path)
    run = begin(journal)
    texts = ["first", "y" * 16_000, "z" * 16_000, "last"]
    journal.write_log(run.id, lines(*texts))
    offset = journal.read_log(run.id).size
    found: list[str] = []
    while offset > 0:
        chunk = before(journal, run.id, offset, 500)
        found[:0] = [line.text for line in chunk.lines]
        assert chunk.start < offset
        offset = chunk.start
    assert found == texts
    journal.close()


@pytest.mark.parametrize("wanted", [0, 1, 7, 1_000, 20_000, 50_000])
def test_the_last_lines(tmp_path: Path, wanted: int) -> None:
    """`tail` finds where exactly so many lines are left, or the beginning of a shorter log."""
    journal = a_journal(tmp_path)
    run = begin(journal)
    texts = [f"line {n} of a longer log" for n in range(30_000)]
    journal.write_log(run.id, lines(*texts))
    offset = tail(journal, run.id, wanted)
    size = journal.read_log(run.id).size
    left = [line.text for line in between(journal, run.id, offset, size).lines]
    assert left == texts[len(texts) - wanted :] if wanted < len(texts) else left == texts
    journal.close()


def test_what_a_full_log_drops_is_counted_to_the_end(tmp_path: Path) -> None:
    """Past its cap the last line counts what was dropped and is written over: its final count is news, once."""
    journal = open_journal(str(tmp_path / "journal.db"), clock=Wall(), reserve_b=0, log_cap_b=20_000)
    run = under_way(journal)
    following = Following(journal, run.id)
    journal.write_log(run.id, lines(*("x" * 100 for _ in range(500))))
    told = following.look().part.lines
    first = int(told[-1].text.split()[0])
    assert first > 0
    journal.write_log(run.id, lines(*("x" * 100 for _ in range(500))))
    end(journal, run)
    news = following.look()
    assert [int(line.text.split()[0]) for line in news.part.lines] == [first + 500]
    assert news.start == news.part.next
    assert following.look().part.lines == ()
    journal.close()


def test_no_log_yet(tmp_path: Path) -> None:
    """A run without output has an empty log in every direction."""
    journal = a_journal(tmp_path)
    run = begin(journal)
    assert tail(journal, run.id, 10) == 0
    assert before(journal, run.id, 0).lines == ()
    assert Following(journal, run.id).look().part.size == 0
    journal.close()
