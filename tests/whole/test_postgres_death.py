"""A primary that is killed with -9 before a console: what it shows, how soon, and how far its estimate of the loss is from what was lost."""

from __future__ import annotations

import contextlib
import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.whole.acting import Seat
from tests.whole.ground import until
from tests.whole.servers import HEALTHY, Sampler, Servers, Watcher, size_of

Record = Callable[[str, object], None]
SEGMENT_B = 16 << 20
SHOWN_S = 10.0
"""2 s are promised and recorded, from before the fault is asked for."""
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
        servers.fault("pg-load")  # else the fault begins with one
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


LOST = re.compile(
    r"\(([\d,]+) bytes\) of WAL lost: (postgres-\d) had written up to (\S+) .* it was estimated at \S+ MiB \(([\d,]+) bytes\)"
)


def number(text: str) -> int:
    return int(text.replace(",", ""))


@contextmanager
def dead(servers: Servers) -> Iterator[tuple[str, int]]:
    """No operator, standbys that are 16 MiB behind, and a primary that is killed and stays so; yields it and where it was. All is well again after."""
    name = servers.primary
    try:
        servers.fault("operator-down")
        servers.fault("archiver-failing")
        servers.fault("pg-cut-off", instance="all")
        sampler = Sampler(servers, name)
        servers.fault("pg-primary-killed", stays="1")
        yield name, sampler.last()
    finally:
        for fault in ("pg-cut-off", "archiver-failing", "operator-down", "pg-primary-killed", "pg-load"):
            servers.fault(fault, False)


def test_failed_over_by_hand(servers: Servers, seat: Seat, record_property: Record) -> None:
    """With the operator down nothing happens by itself: the failover from the command line proves the death, tells the loss before and after, both true, and waits for the operator to lead clients there."""
    with contextlib.ExitStack() as stack:
        name, written = stack.enter_context(dead(servers))
        arguments = (
            "--config",
            str(servers.config),
            "postgres",
            "failover",
            "--primary-lsn",
            f"{written >> 32:X}/{written & 0xFFFFFFFF:X}",
        )
        plan = seat.run(*arguments, "--plan")
        assert plan.code == 0, plan.err
        assert "the operator is down" in plan.out
        told = re.search(r"about \S+ MiB \(([\d,]+) bytes\) would be lost", plan.out)
        assert told is not None, plan.out
        estimate = number(told[1])
        process = seat.start(*arguments, "--yes", "cold-postgres", "--reason", "the primary is dead, and nobody elects")
        run = seat.begun()
        until(lambda: bool(LOST.search(seat.story(run))), 60, "the new primary leads")
        assert f"{name} is stopped" in seat.story(run)
        stack.close()  # the operator is back, and so is the old primary
        ended = finished(process)
        servers.until_whole()
        primary = servers.primary
        found = LOST.search(ended)
        assert found is not None, ended
        lost = written - servers.branched_at(primary)
        record_property("bytes_lost_estimate_told_truth", (estimate, number(found[1]), lost))
        assert primary != name
        assert found[2] == name
        assert (estimate, number(found[4]), number(found[1])) == (lost, lost, lost)
        assert lost >= SEGMENT_B
        assert servers.status["phase"] == HEALTHY
        assert servers.streaming(primary) == set(servers.addresses) - {primary}


def finished(process: subprocess.Popen[str]) -> str:
    """What a command told until it ended well."""
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, out + err
    return out
