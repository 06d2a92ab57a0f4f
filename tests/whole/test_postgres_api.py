"""The database on a small screen while the Kubernetes API is frozen or refuses: what SQL tells goes on, all else bears its age, every key is answered."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.whole.acting import Seat
from tests.whole.ground import until
from tests.whole.servers import Servers, Watcher, size_of

Record = Callable[[str, object], None]
AT = re.compile(r"Primary +(postgres-\d).* at ([0-9A-F]+)/([0-9A-F]+)")
ROW = r"^ {} +{} +.*answers SQL"

pytestmark = pytest.mark.timeout(240)


@pytest.fixture
def watcher(servers: Servers, seat: Seat) -> Iterator[Watcher]:
    """A console of 80x24 that shows the database, under load."""
    with servers.faulty("pg-load"):
        console = seat.console("--config", str(servers.config), cols=80, rows=24)
        console.until("5/5 nodes", 20)
        console.open("3", "PostgreSQL instances")
        made = Watcher(console)
        made.until(r"4 agree \d+s", 15)  # all three sources have told
        made.until(r"Loss now .* if postgres-\d died", 15)
        yield made


def written(watcher: Watcher) -> int:
    """Where the primary writes, as the screen has it."""
    found = AT.search(watcher.console.text)
    assert found is not None, watcher.console.text
    return (int(found[2], 16) << 32) | int(found[3], 16)


def ages(watcher: Watcher, source: str) -> list[int]:
    """Seconds that stand behind the values of a source."""
    return [int(n) for n in re.findall(rf"\b{source} (\d+)s\b", watcher.console.text)]


def steps(watcher: Watcher, count: int) -> list[int]:
    """So many newer positions of the primary, each shown by itself, and a key answered after each."""
    found = [written(watcher)]
    keys = 0
    while len(found) <= count:
        last = found[-1]

        def moved(last: int = last) -> bool:
            return written(watcher) > last

        until(moved, 10, "SQL goes on", watcher.console)
        found.append(written(watcher))
        watcher.console.send("jjjkkk"[keys % 6])
        keys += 1
    return found


def aged(watcher: Watcher, servers: Servers, record: Record) -> None:
    """The site is stale, its values say of when they are, those of SQL are fresh, roles and lag are there by SQL alone."""
    watcher.until(r"○ stale \d+s", 20)
    found = steps(watcher, 4)
    watcher.until(r"agree (1[0-9]|[2-9]\d)s", 30)
    steps(watcher, 2)
    record("written_meanwhile_b", found[-1] - found[0])
    assert max(ages(watcher, "SQL")) <= 5, watcher.console.text
    assert min(ages(watcher, "agree")) >= 10
    assert re.search(r"Phase .* as of \d+s ago", watcher.console.text), watcher.console.text
    by_sql(watcher, servers, watcher.console.text)
    wrong = [text for _, text in watcher.shown if "would not fail over" in text]
    assert not wrong, f"an API that is away says nothing about the instances:\n{wrong[0]}"


def by_sql(watcher: Watcher, servers: Servers, text: str) -> None:
    """Roles, lag and loss, as SQL alone tells them."""
    primary = next(name for name in servers.addresses if servers.sql(name, "SELECT NOT pg_is_in_recovery()") == [(True,)])
    for name in servers.addresses:
        role = "primary" if name == primary else "replica"
        line = re.search(ROW.format(name, role), text, re.M)
        assert line is not None, text
        if role == "replica":
            row = next(x for x in text.split("\n") if x.startswith(f" {name} "))
            assert size_of(row) < 16 << 20
    assert re.search(rf"Loss now .* if {primary} died", text), text


def every_key(watcher: Watcher, record: Record) -> None:
    """From screen to screen and back."""
    spent = [watcher.console.press(key) for key in ("2", "3", "5", "3", "1", "3")]
    watcher.until("PostgreSQL instances", 5)
    record("slowest_screen_ms", round(max(spent)))


def test_frozen(servers: Servers, watcher: Watcher, record_property: Record) -> None:
    """SIGSTOP of the API server: the screen stays usable; positions, lag and loss go on by SQL; phase, pods and Cluster carry their age; all is live again after."""
    servers.pause()
    try:
        aged(watcher, servers, record_property)
        every_key(watcher, record_property)
    finally:
        servers.resume()
    watcher.until("all live|● kube", 45)
    watcher.until(r"4 agree [0-5]s", 45)


def test_refused(servers: Servers, seat: Seat, watcher: Watcher, tmp_path: Path, record_property: Record) -> None:
    """With the API down: the same, and a console that was never told of a cluster shows roles, lag and loss by SQL alone."""
    servers.kill()
    stranger = Seat(tmp_path / "stranger", seat.place)
    try:
        aged(watcher, servers, record_property)
        fresh = stranger.console("--config", str(servers.config), cols=80, rows=24)
        other = Watcher(fresh)
        other.until("Kubernetes API", 15)
        fresh.open("3", "PostgreSQL instances")
        until(lambda: len(re.findall(r"^ postgres-\d .*answers SQL", fresh.text, re.M)) == 3, 15, "three by SQL", fresh, watcher.console)
        other.until(r"Loss now .* if postgres-\d died", 10)
        by_sql(other, servers, fresh.text)
    finally:
        stranger.close()
        servers.start()
