"""Switchovers of a real database under load by the whole program: from the command line and by hand at a console, in processes of their own."""

from __future__ import annotations

import statistics
from collections.abc import Callable

import pytest

from coldtui.lab.postgres.load import Load
from tests.whole.acting import Seat
from tests.whole.servers import Servers, Switched, armed, by_command, by_console, other

Record = Callable[[str, object], None]
TIMES = [2, pytest.param(10, marks=pytest.mark.long)]


def in_a_row(servers: Servers, times: int, switch: Callable[[str], Switched], record: Record) -> None:
    """Each reports its outage and is one timeline further, with both standbys streaming when it says that it is done; no acknowledged row is lost."""
    outages: list[int] = []
    with servers.written() as load:
        for _ in range(times):
            target, timeline = other(servers), servers.status["timelineID"]
            done = switch(target)
            assert (done.before, done.after) == (timeline, timeline + 1)
            found = servers.status
            assert (found["currentPrimary"], found["targetPrimary"], found["timelineID"]) == (target, target, timeline + 1)
            assert servers.streaming(target) == set(servers.addresses) - {target}
            assert done.outage_ms > 0
            outages.append(done.outage_ms)
        record("outages_ms", outages)
        record("outage_min_median_max_ms", (min(outages), statistics.median(outages), max(outages)))
        record("longest_gap_of_the_writer_ms", round(max(load.gaps) * 1000))
    settle(servers, load, record)


def settle(servers: Servers, load: Load, record: Record) -> None:
    """Every acknowledged row is on every server."""
    servers.until_whole()
    record("acknowledged", len(load.acknowledged))
    for name in servers.addresses:
        assert servers.missing(load, name) == []


@pytest.mark.parametrize("times", TIMES)
@pytest.mark.timeout(300)
def test_from_the_command_line(servers: Servers, seat: Seat, times: int, record_property: Record) -> None:
    """In a row under a writing client: each exits with 0 and its outage in ms, one timeline further, all standbys streaming, no acknowledged row lost."""
    in_a_row(servers, times, lambda target: by_command(seat, servers, target), record_property)


@pytest.mark.parametrize("times", TIMES)
@pytest.mark.timeout(300)
def test_at_the_console(servers: Servers, seat: Seat, times: int, record_property: Record) -> None:
    """The same by keys: screen 3, the menu of the instance, the plan, its verb typed by hand; the console tells the outage in ms."""
    console = armed(seat, servers)
    in_a_row(servers, times, lambda target: by_console(console, target), record_property)
