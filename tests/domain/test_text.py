"""Numbers and words that go together."""

from __future__ import annotations

from coldtui.domain.errors import Forbidden, Unreachable
from coldtui.domain.text import counted, times
from coldtui.domain.troubles import trouble_of


def test_one_is_singular() -> None:
    """One thing has no s, whatever it is called in the plural; thousands are grouped."""
    assert [counted(n, "line") for n in (0, 1, 2, 1200)] == ["0 lines", "1 line", "2 lines", "1,200 lines"]
    assert counted(1, "entry", "entries") == "1 entry"
    assert [times(n) for n in (1, 2, 3)] == ["once", "twice", "3 times"]


def test_a_missing_right_is_said_once() -> None:
    """Verb, resource and group say it all: the server's sentence about the same is left out; other errors keep their detail."""
    server = 'nodes.metrics.k8s.io is forbidden: User "x" cannot list resource "nodes"'
    error = Forbidden("needs list on nodes (metrics.k8s.io)", verb="list", resource="nodes.metrics.k8s.io", detail=server)
    assert trouble_of(error).words == "needs list on nodes (metrics.k8s.io)"
    assert trouble_of(Unreachable("refused", detail="by the host")).words == "refused: by the host"
