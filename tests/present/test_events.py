"""Events as rows and lines."""

from __future__ import annotations

from datetime import timedelta

from coldtui.domain.events import Event
from coldtui.present.events import EVENTS, EVENTS_PLAIN, last_seen, line, newest, of_object
from coldtui.present.lines import plain_text
from coldtui.present.words import duration
from tests.tui.worlds import NOW, healthy, with_shelf


def event(name: str, *, minutes: float, type_: str = "Normal", count: int = 1) -> Event:
    last = NOW - timedelta(minutes=minutes)
    return Event(
        "default",
        name,
        type_,
        "Pulled",
        f"message of {name}",
        "Pod",
        "web-1",
        "default",
        count,
        last - timedelta(minutes=2),
        last,
        "kubelet",
    )


def test_last_seen_counts_as_kubectl_does() -> None:
    """Repeated events say how often over what time."""
    assert last_seen(event("a", minutes=3), NOW, duration) == "3m"
    assert last_seen(event("a", minutes=3, count=4), NOW, duration) == "3m (x4 over 5m)"


def test_newest_come_first() -> None:
    """The default order and the card's choice are by last occurrence, newest first."""
    some = [event("old", minutes=50), event("new", minutes=1), event("mid", minutes=9, type_="Warning")]
    world = with_shelf(healthy(), "events", some)
    ordered = sorted(some, key=lambda e: EVENTS.sorts[EVENTS.default_sort](world, e))
    assert [e.name for e in ordered] == ["new", "mid", "old"]
    assert [e.name for e in newest(world, 2)] == ["new", "mid"]
    assert [e.name for e in newest(world, 2, loud_first=True)] == ["mid", "new"]


def test_rows_name_the_object_as_kubectl_does() -> None:
    """OBJECT is kind/name in small letters, warnings are the filter's trouble."""
    one = event("a", minutes=1, type_="Warning")
    world = with_shelf(healthy(), "events", [one])
    row = {c.title: cell.text for c, cell in zip(EVENTS_PLAIN.columns, EVENTS_PLAIN.row(world, one, NOW).cells, strict=True)}
    assert row["OBJECT"] == "pod/web-1"
    assert row["LAST SEEN"] == "60s"
    assert EVENTS.trouble(world, one, NOW)
    assert "▲" in plain_text([line(world, one, NOW)])


def test_no_events_about_an_object_are_said() -> None:
    """An empty list of events is told in words."""
    assert "no events" in plain_text(of_object((), NOW))
    assert "message of b" in plain_text(of_object((event("a", minutes=5), event("b", minutes=1)), NOW)).splitlines()[0]
