"""Lines that are longer than their box: broken at blanks, set in below their value, or beside each other."""

from __future__ import annotations

from coldtui.present.lines import label, plain_text, two_columns, wrap_line
from coldtui.present.rows import Cell


def test_a_long_value_goes_on_below_itself() -> None:
    """No word is cut, what belongs together stays so, and the label is written once."""
    line = (label("Primary", 9), Cell("postgres-1"), Cell("  gone for 42 s: it does not answer"), Cell("  lease postgres-1"))
    assert plain_text(wrap_line(line, 40)).split("\n") == [
        "Primary  postgres-1  gone for 42 s: it",
        "         does not answer",
        "         lease postgres-1",
    ]


def test_no_more_lines_than_wanted() -> None:
    """What does not fit in them is left out at the end, marked where a sentence is cut."""
    line = (label("Why", 5), Cell("one two three four five six seven eight nine ten eleven twelve"))
    found = plain_text(wrap_line(line, 25, 2)).split("\n")
    assert found[0] == "Why  one two three four"
    assert len(found) == 2
    assert found[1].endswith("…")


def test_a_word_longer_than_a_line_is_cut() -> None:
    """It ends, whatever comes."""
    assert plain_text(wrap_line((label("a", 2), Cell("x" * 50)), 10)).strip().endswith("…")


def test_short_lines_stand_beside_each_other() -> None:
    """In their order, two in a row where both have room; a long one has a row of its own."""
    lines = [(label("a", 3), Cell("1")), (label("b", 3), Cell("2")), (label("c", 3), Cell("x" * 30)), (label("d", 3), Cell("4"))]
    assert plain_text(two_columns(lines, 40)).split("\n") == ["a  1                b  2", "c  " + "x" * 30, "d  4"]
