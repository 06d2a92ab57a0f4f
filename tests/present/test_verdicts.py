"""What all listings and cards of these nouns have in common: nothing unknown is green, every row fits its columns."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

from coldtui.domain.readings import Freshness
from coldtui.domain.verdicts import Grade
from coldtui.domain.world import World
from coldtui.present import backups, k3s, postgres, storage, vips
from coldtui.present.lines import Line, plain_text, width
from coldtui.present.rows import Cell, Listing, Tone
from coldtui.present.verdicts import GRADES
from tests.sample import HOSTILE, NOW, broken, build, healthy, state

LISTINGS: tuple[Listing[Any], ...] = (
    postgres.INSTANCES, postgres.CLUSTERS, backups.BACKUPS, backups.SCHEDULES, storage.VOLUMES, storage.NODES, storage.CLAIMS, vips.VIPS, k3s.PLANS,
    k3s.SNAPSHOTS,
)  # fmt: skip
IDS = [listing.noun for listing in LISTINGS]
Card = Callable[[World, datetime, int], tuple[Line, ...]]
CARDS: tuple[Card, ...] = (
    postgres.postgres_card,
    storage.storage_card,
    backups.recoverable_card,
    lambda world, now, cells: (vips.vip_line(world, now, cells),),
    lambda world, now, cells: (k3s.datastore_line(world, now),),
)
NOT_LIVE = [f for f in Freshness if f is not Freshness.LIVE]


def all_stale(fresh: Freshness) -> World:
    blank = build(healthy())
    return build(healthy(), sources={name: state(name, fresh) for name in blank.sources})


def greens(cells: tuple[Cell, ...]) -> list[str]:
    """Texts in the colour of health, or with its glyph."""
    return [c.text for c in cells if c.tone is Tone.GOOD or "●" in c.text or any(tone is Tone.GOOD for _, tone in c.spans)]


def test_only_good_is_green() -> None:
    """Of all grades exactly one has the colour of health."""
    assert [g for g, (_, tone) in GRADES.items() if tone is Tone.GOOD] == [Grade.GOOD]
    assert len({glyph for glyph, _ in GRADES.values()}) == len(GRADES)


@pytest.mark.parametrize("listing", LISTINGS, ids=IDS)
@pytest.mark.parametrize("fresh", NOT_LIVE)
def test_no_row_is_green_unless_live(listing: Listing[Any], fresh: Freshness) -> None:
    """With every source in any state but live, no row of any listing shows health, though the objects are fine."""
    world = all_stale(fresh)
    for item in listing.items(world).values():
        assert greens(listing.row(world, item, NOW).cells) == []


@pytest.mark.parametrize("listing", LISTINGS, ids=IDS)
def test_a_live_row_is_green(listing: Listing[Any]) -> None:
    """The same rows are green when all is live: the test above does not pass because nothing ever is."""
    world = build(healthy())
    rows = [listing.row(world, item, NOW) for item in listing.items(world).values()]
    assert rows
    if listing is not k3s.PLANS:  # the sample's plan is done on each of its nodes
        assert all(greens(row.cells) for row in rows)


@pytest.mark.parametrize("card", CARDS, ids=["postgres", "storage", "recoverable", "vip", "datastore"])
@pytest.mark.parametrize("fresh", NOT_LIVE)
def test_no_card_is_green_unless_live(card: Card, fresh: Freshness) -> None:
    """Cards say in words why nothing can be told, and never show health."""
    for site in (healthy(), {}):
        blank = build(site)
        world = build(site, sources={name: state(name, fresh) for name in blank.sources})
        lines = card(world, NOW, 60)
        assert greens(tuple(c for line in lines for c in line)) == []
        assert plain_text(lines).strip()


@pytest.mark.parametrize("card", CARDS[:4])
@pytest.mark.parametrize("cells", [20, 38, 60, 120])
def test_cards_keep_their_width(card: Card, cells: int) -> None:
    """No line of a card is wider than its room."""
    for line in card(build(healthy()), NOW, cells):
        assert sum(width(c.text) for c in line) <= cells


@pytest.mark.parametrize("listing", LISTINGS, ids=IDS)
def test_rows_fit_columns_and_80_cells(listing: Listing[Any]) -> None:
    """A cell a column; the columns that are always shown fit 80 cells with two blanks between and one at each side; sort columns exist; nobody takes a reserved key."""
    world = build(healthy())
    always = [c for c in listing.columns if c.priority == 0]
    assert sum(c.width for c in always) + 2 * (len(always) - 1) <= 78
    assert set(listing.sorts) <= {c.id for c in listing.columns}
    assert listing.default_sort in listing.sorts
    keys = [c.sort_key for c in listing.columns if c.sort_key]
    assert len(keys) == len(set(keys))
    assert not set(keys) & set("AIDONG")
    assert all(width(c.title) <= c.width for c in listing.columns)
    for key, item in listing.items(world).items():
        row = listing.row(world, item, NOW)
        assert row.key == key
        assert len(row.cells) == len(listing.columns)
        assert all(not c.spans or "".join(t for t, _ in c.spans) == c.text for c in row.cells)


@pytest.mark.parametrize("listing", LISTINGS, ids=IDS)
def test_json_is_json_and_says_why_nulls_are_null(listing: Listing[Any]) -> None:
    """Every object turns into JSON with sources and reasons beside it; an unknown status has its reason."""
    for world in (build(healthy()), all_stale(Freshness.STALE)):
        for item in listing.items(world).values():
            assert listing.json is not None
            found = json.loads(json.dumps(listing.json(world, item, NOW)))
            assert {"_reasons", "_age_s", "_sources"} <= set(found)
            if "status" in found and found["status"] is None:
                assert found["_reasons"]["status"]


@pytest.mark.parametrize("listing", LISTINGS, ids=IDS)
def test_sorting_never_fails_on_mixed_objects(listing: Listing[Any]) -> None:
    """Sort keys of complete and of bare objects can be compared."""
    site = broken()
    for kind, raws in list(site.items()):
        bare = {"metadata": {"name": f"{HOSTILE}{kind}", "namespace": "x"}}
        site[kind] = [*raws, bare]
    site["services"][-1]["spec"] = {"type": "LoadBalancer"}
    world = build(site)
    items = list(listing.items(world).values())
    for key in listing.sorts.values():
        sorted(items, key=lambda item: key(world, item))
    for item in items:
        text = "".join(c.text for c in listing.row(world, item, NOW).cells) + listing.text(item)
        assert "\x1b" not in text
        assert "\u202e" not in text
