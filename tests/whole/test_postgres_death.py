"""A primary that is killed with -9 before a console: what it shows, how soon, and how far its estimate of the loss is from what was lost."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.whole.acting import Seat
from tests.whole.ground import until
from tests.whole.servers import Sampler, Servers, Watcher, size_of

Record = Callable[[str, object], None]
SEGMENT_B = 16 << 20
SHOWN_S = 2.0
NAMED = r"primary down|primary postgres-\d is"
LOSS = r"Loss now .*last seen"

pytestmark = pytest.mark.timeout(240)


def watched(servers: Servers, seat: Seat) -> Watcher:
    """A console that shows the database."""
    console = seat.console("--config", str(servers.config))
    console.until("5/5 nodes", 20)
    console.open("3", "PostgreSQL instances")
    made = Watcher(console)
    made.until(r"Loss now .* if postgres-\d died", 10)
    return made


def followed(servers: Servers, watcher: Watcher, name: str, began: float, record: Record) -> str:
    """From the kill of `name` to its successor, who is returned: what was painted, and when."""
    record("death_shown_s", watcher.first(NAMED, began))
    record("loss_with_its_age_shown_s", watcher.first(LOSS, began))
    assert watcher.first(NAMED, began)[0] < SHOWN_S
    until_other(servers, watcher, name)
    record("failing_over_shown_s", watcher.first("failing over", began))
    primary = servers.primary
    watcher.until(rf"Primary   {primary}  lease {primary}", 10)
    record("successor_shown_s", watcher.first(rf"Primary   {primary}  lease {primary}", began))
    return primary


def until_other(servers: Servers, watcher: Watcher, name: str) -> None:
    watcher.during(lambda: until(lambda: servers.primary != name, 40, f"another than {name} leads"))


def test_killed_under_load(servers: Servers, seat: Seat, record_property: Record) -> None:
    """Within 2 s the console names it, with the loss and its age; the operator's failover is followed; what was lost is within one WAL segment of the estimate."""
    watcher, name = watched(servers, seat), servers.primary
    servers.fault("pg-load")
    try:
        with servers.written() as load:
            sampler = Sampler(servers, name)
            watcher.look(2.5)
            began = watcher.during(lambda: servers.fault("pg-primary-killed", stays="1"))
            watcher.until(LOSS, 10)
            estimate = size_of(watcher.first(LOSS, began)[1])
            primary = followed(servers, watcher, name, began, record_property)
            lost = max(0, sampler.last() - servers.branched_at(primary))
        record_property("bytes_lost_estimate_and_truth", (estimate, lost))
        assert abs(estimate - lost) < SEGMENT_B
        record_property("rows_lost_of", (len(servers.missing(load, primary)), len(load.acknowledged)))
        assert "two primaries" not in "".join(text for at, text in watcher.shown if at > began)
    finally:
        servers.fault("pg-primary-killed", False)
        servers.fault("pg-load", False)
    servers.until_whole(watcher.console)


def test_killed_with_standbys_held_back(servers: Servers, seat: Seat, record_property: Record) -> None:
    """Standbys that are 16 MiB behind and cannot get it from the archive: what the console said would be lost, before and after the death, is what was lost."""
    watcher, name = watched(servers, seat), servers.primary
    with servers.faulty("archiver-failing"), servers.faulty("pg-cut-off", instance="all"):
        sampler = Sampler(servers, name)
        watcher.look(2.5)
        before = size_of(watcher.now(rf"Loss now .* if {name} died"))
        began = watcher.during(lambda: servers.fault("pg-primary-killed", stays="1"))
        try:
            watcher.until(LOSS, 10)
            after = size_of(watcher.first(LOSS, began)[1])
            primary = followed(servers, watcher, name, began, record_property)
            lost = sampler.last() - servers.branched_at(primary)
        finally:
            servers.fault("pg-primary-killed", False)
            servers.fault("pg-load", False)
    record_property("bytes_lost_before_after_truth", (before, after, lost))
    assert lost >= SEGMENT_B
    assert abs(before - lost) < SEGMENT_B / 16
    assert abs(after - lost) < SEGMENT_B / 16
    servers.until_whole(watcher.console)
