"""The Postgres screen over servers that were asked: pictures of what an operator has to see at a glance."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
from pytest_textual_snapshot import SVGImageExtension  # type: ignore[import-untyped]
from syrupy.assertion import SnapshotAssertion

from coldtui.domain.readings import Unknown
from coldtui.domain.world import World
from coldtui.tui.site import Options
from tests.clusters import SHAPES
from tests.sample import NOW, state
from tests.topologies import known, server
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


@pytest.mark.parametrize("case", ["healthy", "two-primaries", "lagging"])
def test_pictures_without_colours(snapshot: SnapshotAssertion, monkeypatch: pytest.MonkeyPatch, case: str) -> None:
    """Under NO_COLOR marks, words, bold and reverse say what colours said."""
    monkeypatch.setenv("NO_COLOR", "1")
    same = _same(snapshot)

    async def check() -> None:
        async with console(STATES[case](), start="postgres", options=Options(theme="cold")) as c:
            await c.at(NOW)
            same(c, case)

    run(check())


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_picture_of_a_page(snapshot: SnapshotAssertion, size: tuple[int, int]) -> None:
    """All about the primary on a page of its own."""
    same = _same(snapshot)

    async def check() -> None:
        async with console(busy(), start="postgres", size=size, options=Options(theme="cold")) as c:
            await c.press("enter")
            await c.at(NOW)
            same(c, "page")

    run(check())


@pytest.mark.parametrize(
    ("case", "says"),
    [
        ("electing", "electing a new primary: 12 s so far, usually 10 to 40 s"),
        ("operator-down", "will not fail over: the operator is down"),
        ("fenced", "will not fail over: postgres-1 is fenced"),
        ("wedged", "will not fail over: postgres-1 does not answer, its pod is Ready"),
        ("quorum-not-met", "will not fail over: the failover quorum is not met: a commit may be only on postgres-2"),
        ("status-cut", "would not fail over now: the pod of postgres-1 is Ready while its status endpoint fails"),
        ("unready", "postgres-1 ▲ answers, but its pod is not well"),
        ("unready", "will not fail over: postgres-1 answers as primary while its pod is not Ready"),
        ("receiver-held", "waits for the WAL receiver of postgres-3 to end"),
        ("switchover-ignored", "to postgres-2, asked 75 s ago: the operator has not begun"),
        ("healthy", "automatic, 2 candidates"),
        ("two-primaries", "would not fail over now: postgres-1 and postgres-2 both say"),
        ("api-down", "not known: its Cluster was never read"),
        ("creating", "none yet: it has no primary"),
        ("operator-away", "would not fail over now: the operator is down"),
        ("operator-away", "frozen: the operator is down"),
        ("quorum-met", "takes 10 to 40 s; quorum met"),
        ("switchover-ignored", "→ bring deployment cnpg-system/cnpg-controller-manager back"),
        ("wedged", "last at 0/6900000, 50s ago"),
        ("told-long-ago", "last at 0/6400000, 20m ago"),
        ("two-primaries", "▲ postgres-1 (Cluster, lease, VIP, -rw, timeline 7) and postgres-2 (newest, timeline 8)"),
        ("two-primaries", "▲ leads to postgres-1, one of 2 primaries"),
        ("archiver-fails", "▲ fails on 000000070000000400000061, last archived 50m ago, 190 segments (3 GiB) wait"),
        ("sql-refused", "▲ SQL does not let coldtui in"),
        ("operator-down", "-rw to ▲ nobody"),
    ],
)
def test_what_becomes_of_the_primary_is_said_in_the_head(case: str, says: str) -> None:
    """The cause is named right, at 80 columns, before anything else is looked at."""
    from coldtui.present.lines import plain_text
    from coldtui.present.postgres_head import head

    assert says in " ".join(plain_text(head(STATES[case](), NOW)).split())


def test_a_remedy_names_our_acts_by_what_each_face_has() -> None:
    """The console tells the key, and that it is to be armed first; the command line tells the command. A remedy is never in the dimmest tone."""
    from coldtui.present.lines import plain_text
    from coldtui.present.postgres_failover import Keys
    from coldtui.present.postgres_head import head
    from coldtui.present.rows import Tone

    keys = Keys("enter", "x", "A")
    for case, console_says, command_says in (
        ("operator-down", "or fail over (x) (A arms)", "or coldtui postgres failover"),
        ("fenced", "unfence postgres-1 (x)", "coldtui postgres unfence postgres-1"),
        ("wedged", "(and 1 more cause: enter)", "(and 1 more cause)"),
    ):
        world = STATES[case]()
        assert console_says in " ".join(plain_text(head(world, NOW, keys=keys)).split()), case
        assert command_says in " ".join(plain_text(head(world, NOW)).split()), case
    remedies = [cell for line in head(STATES["two-primaries"](), NOW) for cell in line if cell.text.startswith("→")]
    assert remedies
    assert all(cell.tone is Tone.STRONG for cell in remedies)


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_the_console_never_tells_a_command_of_the_shell(size: tuple[int, int]) -> None:
    """Head, box and page name the key, at both sizes and in each state."""

    async def check() -> None:
        async with console(site(), start="postgres", size=size) as c:
            await c.at(NOW)
            for name, made in STATES.items():
                await c.put(made())
                assert "coldtui postgres" not in c.text, name
                await c.press("enter")
                assert "coldtui postgres" not in c.text, name
                await c.press("escape")

    run(check())


def test_the_head_gives_way_to_the_box_below_it() -> None:
    """At 80x24 the box of the instance keeps its border and three lines in each state, and says by which key the rest is seen."""

    async def check() -> None:
        async with console(site(), start="postgres") as c:
            await c.at(NOW)
            for name, made in STATES.items():
                await c.put(made())
                foot = c.lines()[-2]
                assert (foot[0], foot[-1]) == ("╰", "╯"), name
                top = next(n for n, line in enumerate(c.lines()) if line.startswith("╭"))
                assert len(c.lines()) - 2 - top >= 4, name
                assert " more" not in foot or "more: enter" in foot, name

    run(check())


def test_enter_opens_all_that_the_box_cuts() -> None:
    """The page of an instance has every cause, every value and, of the primary, what it does; it acts on the same object, and esc goes back."""

    async def check() -> None:
        async with console(states.wedged(), start="postgres") as c:
            await c.at(NOW)
            await c.press("j", "enter")
            await c.at(NOW)
            text = " ".join(c.text.split())
            for part in ("still renews the Lease", "status endpoint fails", "≥ 5 MiB", "Restarts", "System"):
                assert part in text, part
            assert str(c.app.top.acts_on()) == "pg_instances/cold/postgres-2"
            await c.put(busy())
            assert "▲" not in c.text.split("postgres-2")[1], "the page follows the World"
            await c.press("escape", "k", "enter")
            assert "public.orders" in c.text
            assert "keeps 3 GiB" in c.text
            await c.press("escape", "tab", "enter")
            assert "UPDATE orders" in c.text
            assert "23249" in c.text

    run(check())


def test_a_page_looks_for_its_row_once_in_each_world() -> None:
    """Drawing it and asking what can be done to it, key by key, is one look through a queue of hundreds."""
    from coldtui.tui.screens.postgres import PostgresScreen
    from coldtui.tui.screens.postgres_page import PostgresPage

    locks, made = PostgresScreen.PARTS[2], []

    def items(world: World) -> Mapping[str, Any]:
        made.append(world)
        return locks.listing.items(world)

    async def check() -> None:
        async with console(busy(), start="postgres") as c:
            key = next(iter(locks.listing.items(busy())))
            await c.app.push_screen(PostgresPage(replace(locks, listing=replace(locks.listing, items=items)), key, "a session"))
            await c.at(NOW)
            await c.at(NOW)
            assert c.app.top.acts_on() is not None
            assert len(made) == 1
            await c.put(busy())
            assert len(made) == 2

    run(check())


def test_what_was_told_long_ago_does_not_look_alive() -> None:
    """Twenty minutes without an answer: rows are dim and say since when; node, restarts and the last position are not in the colours of now."""
    from coldtui.present.postgres_topology import MEMBERS, readings
    from coldtui.present.rows import Tone

    world = STATES["told-long-ago"]()
    for item in MEMBERS.items(world).values():
        row = MEMBERS.row(world, item, NOW)
        assert row.dim
        assert row.cells[2].text == "? told 20m"
        assert {cell.tone for cell in (row.cells[7], row.cells[11])} == {Tone.STALE}
        assert any("last told 20m ago" in cell.text for line in readings(world, item, NOW) for cell in line)


def test_colours_never_stand_alone() -> None:
    """What is amber or red in a row or in the pane of an instance has a mark or a word of its own."""
    from coldtui.present.postgres_topology import MEMBERS, readings
    from coldtui.present.rows import Tone

    for case in ("lagging", "archiver-fails", "connections-full", "operator-down", "two-primaries"):
        world = STATES[case]()
        for item in MEMBERS.items(world).values():
            row = MEMBERS.row(world, item, NOW).cells
            shown = [cell for n, cell in enumerate(row) if n in (3, 4, 10)] + [
                line[1] for line in readings(world, item, NOW) if len(line) == 3
            ]
            for cell in shown:
                assert cell.tone not in (Tone.WARN, Tone.BAD) or "▲" in cell.text, (case, cell)
    assert MEMBERS.row(states.wedged(), MEMBERS.items(states.wedged())["cold/postgres-2"], NOW).cells[4].text == "≥ 5 MiB"
    silent = MEMBERS.row(states.wedged(), MEMBERS.items(states.wedged())["cold/postgres-1"], NOW)
    assert silent.cells[2].text == "▲ no answer"


def test_sources_that_agree_are_one_line() -> None:
    """Role: one line while SQL, the manager, the label and the Cluster agree; one for each where one says otherwise."""
    from coldtui.present.lines import plain_text
    from coldtui.present.postgres_topology import MEMBERS, readings

    world = site()
    assert "Role     primary           4 agree" in plain_text(readings(world, MEMBERS.items(world)["cold/postgres-1"], NOW))
    world = STATES["two-primaries"]()
    split = plain_text(readings(world, MEMBERS.items(world)["cold/postgres-2"], NOW))
    for part in ("▲ primary         SQL", "▲ primary         status", "▲ replica         label", "▲ replica         Cluster"):
        assert part in split, part


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.__name__)
def test_every_shape_of_cluster_is_shown(shape: Callable[[], World]) -> None:
    """Of one instance or two, being made, joining, upgraded, following: head, rows, box and page are drawn, and nothing is red by design."""
    from coldtui.present.postgres_head import head
    from coldtui.present.postgres_topology import MEMBERS, readings, whole
    from coldtui.present.rows import Tone

    world = shape()
    lines = head(world, NOW)
    assert lines
    for item in MEMBERS.items(world).values():
        assert MEMBERS.row(world, item, NOW).cells[0].text == item.name
        readings(world, item, NOW)
        whole(world, item, NOW)
    if shape.__name__ in ("one", "two", "asked_for", "setting_up", "restoring", "joining", "replica_cluster"):
        assert not [cell for line in lines for cell in line if cell.tone is Tone.BAD]


def test_a_configured_cluster_that_does_not_exist_is_named() -> None:
    """Instead of an empty head: which one is wanted, and which there are."""
    from coldtui.present.lines import plain_text
    from coldtui.present.postgres_head import head

    world = site()
    other = replace(world, site=replace(world.site, pg_cluster="db/nope"))
    assert "▲ cluster db/nope of postgres.cluster does not exist; found: cold/cold-postgres" in plain_text(head(other, NOW, 118))


def test_a_server_without_archive_is_not_green() -> None:
    """Where the Cluster has no archive the server's own count is of what is thrown away; a backup's marker is no segment."""
    from coldtui.domain.replication import Archiver, segment
    from coldtui.present.lines import plain_text
    from coldtui.present.postgres_head import head

    done = known(server(primary=True, archiver=Archiver(9, "000000070000000400000060.00000028.backup", states.before(60))))
    world = site(p1=done)
    assert "Archive   ● 000000070000000400000060  60s ago" in plain_text(head(world, NOW))
    assert segment("00000008.history") == "history of timeline 8"
    shelf = world.pg_clusters
    c = replace(shelf.items["cold/cold-postgres"], plugins=(), in_tree_archive=False)
    bare = replace(world, pg_clusters=replace(shelf, items=shelf.items.set(c.key, c)))
    assert "Archive   none configured" in plain_text(head(bare, NOW))


def test_what_waits_elsewhere_is_marked_in_the_strip() -> None:
    """A chain of locks and an old transaction are seen from the instances; the key to the next part is named."""

    async def check() -> None:
        async with console(busy(), start="postgres") as c:
            await c.at(NOW)
            assert "sessions ▲ tx 6m40s  locks ▲ 2 blocked  databases  clusters  tab" in c.text
            await c.press("tab")
            assert "clusters  tab next  SQL 0s" in c.text
            assert "ago" in c.text

    run(check())


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
