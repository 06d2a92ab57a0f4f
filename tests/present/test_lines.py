"""Lines of cells and totals that say how whole they are."""

from __future__ import annotations

from coldtui.present.lines import count, cut, cut_line, pad, plain_text, table, width
from coldtui.present.rows import Cell
from tests.tui.worlds import healthy, loading, partial, stale


def test_width_counts_cells_not_letters() -> None:
    """Wide letters take two cells, combining marks none."""
    assert (width("abc"), width("漢字"), width("e\u0301")) == (3, 4, 1)
    assert cut("漢字漢字", 5) == "漢字…"
    assert pad("漢", 4) == "漢  "
    assert (cut("abc", 3), cut("abcd", 3), cut("abc", 0)) == ("abc", "ab…", "")


def test_a_cut_line_fits_and_marks_the_cut() -> None:
    """No line is wider than its room."""
    line = (Cell("12345"), Cell("67890"))
    assert plain_text([cut_line(line, 7)]) == "123456…"
    assert plain_text([cut_line(line, 10)]) == "1234567890"


def test_half_a_name_is_left_out_but_a_sentence_is_cut() -> None:
    """At the end of a line a name that does not fit whole goes with the blanks before it; a sentence keeps its beginning."""
    line = (Cell("State   "), Cell("ready"), Cell("  "), Cell("k3s-worker-4"))
    assert plain_text([cut_line(line, 20)]) == "State   ready"
    sentence = (Cell("State   "), Cell("ready"), Cell("  the last archived WAL is not read"))
    assert plain_text([cut_line(sentence, 27)]) == "State   ready  the last ar…"


def test_totals_are_exact_only_when_every_part_is() -> None:
    """12, ≥ 12, 12 stale and ? for live, arriving, lost and never read."""
    assert count(healthy(), 12, "pods").text == "12"
    assert count(partial(healthy(), "pods"), 12, "pods").text == "≥ 12"
    assert count(stale(healthy(), "pods"), 12, "pods", "nodes").text == "12 stale"
    assert count(loading(), 0, "pods").text == "?"


def test_a_table_aligns_its_columns() -> None:
    """Columns are as wide as their widest text, numbers to the right."""
    lines = table(("NAME", "N"), [(Cell("a"), Cell("5")), (Cell("longer"), Cell("15"))], right=frozenset({1}))
    assert plain_text(lines).splitlines() == ["NAME     N", "a        5", "longer  15"]
