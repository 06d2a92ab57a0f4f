"""A journal in a folder of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from coldtui.adapters.journal import SqliteJournal, open_journal
from tests.adapters.journal.means import HandClock


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def journal(tmp_path: Path, clock: HandClock) -> Iterator[SqliteJournal]:
    """With a small reserve, so that a test costs no 4 MB."""
    made = open_journal(str(tmp_path / "journal.db"), clock=clock, reserve_b=64 << 10)
    yield made
    made.close()


@pytest.fixture
def other(tmp_path: Path, clock: HandClock, journal: SqliteJournal) -> Iterator[SqliteJournal]:
    """The same journal as another process has it open."""
    made = open_journal(journal.path, clock=clock, reserve_b=64 << 10)
    yield made
    made.close()
