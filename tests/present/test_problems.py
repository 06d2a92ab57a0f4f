"""Problems as rows and the worst line."""

from __future__ import annotations

from coldtui.domain.problems import problems
from coldtui.present.lines import plain_text
from coldtui.present.problems import PROBLEMS, tally, worst_line
from tests.tui.worlds import NOW, healthy, lost, node, pod, with_nodes, with_pods


def test_rows_are_worst_first_with_word_and_glyph() -> None:
    """A dead node stands before a crash loop; severity is a word beside its glyph."""
    world = with_pods(healthy(), [pod("loop", state="CrashLoopBackOff")])
    world = with_nodes(world, [node("dead", ready="False")])
    items = PROBLEMS.items(world)
    ordered = sorted(items.values(), key=lambda p: PROBLEMS.sorts["severity"](world, p))
    rows = [PROBLEMS.row(world, p, NOW) for p in ordered]
    assert rows[0].cells[0].text == "▲ CRITICAL"
    assert rows[0].cells[2].text == "dead is not ready"
    assert any(row.cells[2].text == "loop is CrashLoopBackOff" for row in rows[1:])
    assert len({row.key for row in rows}) == len(rows)


def test_a_healthy_site_has_none_and_says_so() -> None:
    """No problem is said in words, not by an empty line."""
    assert PROBLEMS.items(healthy()) == {}
    assert plain_text([worst_line((), NOW)]) == "no problems known"


def test_a_lost_api_is_one_problem_with_since_and_what_it_hits() -> None:
    """The worst line tells what, since when and what it hits."""
    found = problems(lost(healthy()), NOW)
    assert plain_text([worst_line(found, NOW)]) == (
        "▲ CRITICAL  Kubernetes API: connection refused by 127.0.0.1:6443 for 30s · hits everything shown is old"
    )
    assert tally(found) == "1 critical"
