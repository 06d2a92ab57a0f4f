"""What goes out: colour only where it is wanted, text only as the stream can take it."""

from __future__ import annotations

import io

import pytest

from coldtui.cli.out import coloured, fitting, paint, table
from coldtui.present.rows import Cell, Tone


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stream", "environ", "colour"),
    [
        (Terminal(), {"TERM": "xterm"}, True),
        (Terminal(), {"TERM": "xterm", "NO_COLOR": "1"}, False),
        (Terminal(), {"TERM": "xterm", "NO_COLOR": ""}, True),
        (Terminal(), {"TERM": "dumb"}, False),
        (Terminal(), {}, False),
        (io.StringIO(), {"TERM": "xterm"}, False),
    ],
)
def test_colour_needs_a_terminal_and_no_objection(stream: io.StringIO, environ: dict[str, str], colour: bool) -> None:
    """No colour into a pipe, with a non-empty NO_COLOR, or on a dumb terminal."""
    assert coloured(stream, environ) is colour


def test_health_is_not_coloured_and_trouble_is() -> None:
    """Modest: only trouble and age stand out; the word is there in any case."""
    assert paint(Cell("Ready", Tone.GOOD), "Ready", True) == "Ready"
    assert paint(Cell("NotReady", Tone.BAD), "NotReady", True) == "\x1b[31mNotReady\x1b[0m"
    assert paint(Cell("NotReady", Tone.BAD), "NotReady", False) == "NotReady"


def test_columns_are_aligned_by_cells_as_kubectl_does() -> None:
    """Three blanks between columns; wide letters take two cells; no blank at the end of a line."""
    text = table(("NAME", "STATE"), [(Cell("漢字"), Cell("ok")), (Cell("abcdef"), Cell(""))])
    assert text.split("\n") == ["NAME     STATE", "漢字     ok", "abcdef"]


def test_a_stream_without_unicode_gets_ascii() -> None:
    """Glyphs become their ASCII form, other letters a question mark."""
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    assert fitting("● ▲ ≥ 12 – ü", stream) == "* ! >= 12 - ?"
