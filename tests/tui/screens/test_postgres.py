"""The Postgres screen over servers that were asked: pictures of what an operator has to see at a glance."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

import pytest
from pytest_textual_snapshot import SVGImageExtension  # type: ignore[import-untyped]
from syrupy.assertion import SnapshotAssertion

from coldtui.domain.readings import Unknown
from coldtui.domain.world import World
from coldtui.tui.site import Options
from tests.sample import NOW, state
from tests.tui.consoles import Console, console, run
from tests.tui.screens import pg_states as states
from tests.tui.screens.pg_states import STATES, busy, site

SIZES = [(80, 24), (120, 40)]
Check = Callable[[Console, str], None]


def _same(snapshot: SnapshotAssertion) -> Check:
    pictures = snapshot.use_extension(SVGImageExtension)

    def check(c: Console, name: str) -> None:
        """The picture is as it was; the number in its names is of the moment."""
        svg = re.sub(r"terminal-\d+", "terminal-0", c.app.export_screenshot())
        assert svg == pictures(name=f"{name}-{c.app.size.width}x{c.app.size.height}"), name

    return check


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_pictures(snapshot: SnapshotAssertion, size: tuple[int, int]) -> None:
    """Each state of the database looks as it did, whatever was shown before it."""
    same = _same(snapshot)

    async def check() -> None:
        async with console(site(), start="postgres", size=size, options=Options(theme="cold")) as c:
            await c.at(NOW)
            for name, made in STATES.items():
                await c.put(made())
                same(c, name)
            await c.put(busy())
            for part in ("sessions", "locks", "databases", "clusters"):
                await c.press("tab")
                await c.at(NOW)
                same(c, part)

    run(check())


@pytest.mark.parametrize(
    ("case", "says"),
    [
        ("electing", "electing, 12 s of 10 to 40 s"),
        ("operator-down", "will not fail over: the operator is down"),
        ("fenced", "will not fail over: postgres-1 is fenced"),
        ("wedged", "will not fail over: postgres-1 does not answer, its pod is Ready"),
        ("quorum-not-met", "will not fail over: the failover quorum is not met: 1 of 2"),
        ("status-cut", "would not fail over now: the pod of postgres-1 is Ready while its status endpoint fails"),
        ("unready", "postgres-1 answers, but its pod is not well"),
        ("unready", "will not fail over: postgres-1 answers as primary while its pod is not Ready"),
        ("receiver-held", "will not fail over: the WAL receiver of postgres-3 still runs"),
        ("switchover-ignored", "to postgres-2, asked 75 s ago: the operator has not begun"),
        ("healthy", "automatic, 2 candidates"),
        ("two-primaries", "would not fail over now: postgres-1 and postgres-2 both say"),
        ("api-down", "not known: its Cluster was never read"),
    ],
)
def test_what_becomes_of_the_primary_is_said_in_the_head(case: str, says: str) -> None:
    """The cause is named right, at 80 columns, before anything else is looked at."""
    from coldtui.present.lines import plain_text
    from coldtui.present.postgres_head import head

    assert says in " ".join(plain_text(head(STATES[case](), NOW)).split())


def test_unknown_is_never_green() -> None:
    """Where the API or SQL tells nothing, no glyph of health stands before what it would have told."""
    from coldtui.present.postgres_head import head
    from coldtui.present.rows import Tone

    for case in ("api-down", "api-paused", "sql-refused"):
        for line in head(STATES[case](), NOW):
            for cell in line:
                green = cell.tone is Tone.GOOD
                assert not green or "●" in cell.text, (case, cell)
    lines = head(states.api_paused(), NOW)
    assert not any(cell.tone is Tone.GOOD and "healthy" in cell.text for line in lines for cell in line)


def test_the_head_keeps_its_lines_while_the_seconds_run() -> None:
    """Nothing below jumps when only ages change."""
    from datetime import timedelta

    from coldtui.present.postgres_head import head

    for case in ("healthy", "electing", "wedged", "operator-down"):
        world = STATES[case]()
        assert len({len(head(world, NOW + timedelta(seconds=s))) for s in range(8)}) == 1, case


def test_databases_with_archiver_and_slots() -> None:
    """The age towards wraparound, dead rows, a failing archiver with what waits, a slot that holds WAL back and a vacuum are told."""

    async def check() -> None:
        async with console(busy(), start="postgres", size=(80, 40)) as c:
            await c.press("tab", "tab", "tab")
            text = " ".join(c.text.split())
            for part in (
                "1,200,000,000",
                "56%",
                "000000070000000400000061",
                "keeps 3 GiB, extended",
                "public.orders 300,000 (43%)",
                "vacuum public.orders",
            ):
                assert part in text, part

    run(check())


def test_a_part_that_is_not_read_says_why() -> None:
    """No rows is not the same as nothing read: the strip of parts has the reason."""

    async def check() -> None:
        world = replace(site(), pg_sessions=Unknown("sql", "needs pg_monitor"))
        async with console(world, start="postgres") as c:
            await c.press("tab")
            assert "needs pg_monitor" in c.text

    run(check())


def test_phase_time() -> None:
    """Exact where its beginning was seen or is written; else at least so long; nothing just after the start."""
    from coldtui.domain.replication import Watched
    from coldtui.present.postgres_head import phase_time

    world = site()
    c = world.pg_clusters.items["cold/cold-postgres"]
    assert phase_time(world, c, NOW) == "  for 11m"
    for since, words in ((700, "  for at least 11m"), (3, "")):
        seen: World = replace(world, pg_watched=Watched(c.phase, states.before(since)))
        assert phase_time(seen, c, NOW) == words
    world = states.electing()
    assert phase_time(world, world.pg_clusters.items["cold/cold-postgres"], NOW) == "  for 5s"
    assert state("pods", world.sources["pods"].freshness).as_of == NOW
