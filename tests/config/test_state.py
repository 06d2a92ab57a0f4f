"""The state folder."""

from __future__ import annotations

import os
from pathlib import Path

from coldtui.config import state


def test_order_of_choice(tmp_path: Path) -> None:
    """Configured, then $COLDTUI_STATE, then the XDG folder; nothing is made by choosing."""
    environ = {"HOME": str(tmp_path), "COLDTUI_STATE": str(tmp_path / "env")}
    assert state.choose(str(tmp_path / "file"), environ) == str(tmp_path / "file")
    assert state.choose("", environ) == str(tmp_path / "env")
    if not os.path.isdir(state.SHARED):
        assert state.choose("", {"HOME": str(tmp_path)}) == str(tmp_path / ".local/state/coldtui")
        assert state.choose("", {"HOME": "/x", "XDG_STATE_HOME": str(tmp_path / "xdg")}) == str(tmp_path / "xdg/coldtui")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_made_and_a_file_in_its_place_is_told(tmp_path: Path) -> None:
    """What stands in the way is said with the remedy, and never worked around."""
    made = state.prepare(str(tmp_path / "a/b"))
    assert made.writable
    assert (tmp_path / "a/b").is_dir()
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file/below"):
        refused = state.prepare(str(path))
        assert not refused.writable
        assert "set state_dir" in refused.trouble


def test_the_journal_is_in_the_state_folder_unless_named() -> None:
    """There is one journal for all who share a state folder; a named one wins, with ~ and relative paths made absolute."""
    assert state.journal_path("", "/var/lib/coldtui") == "/var/lib/coldtui/journal.db"
    assert state.journal_path("/run/coldtui/journal.db", "/var/lib/coldtui") == "/run/coldtui/journal.db"
    assert state.journal_path("here.db", "/s") == str(Path("here.db").absolute())
