"""What a console costs the servers: the connections that it holds to each, with the database shown, with its sessions shown, and with neither."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from tests.whole.acting import Seat
from tests.whole.ground import Console
from tests.whole.servers import Servers

Record = Callable[[str, object], None]
OURS = "SELECT pid FROM pg_stat_activity WHERE application_name = 'coldtui'"
WHILE_S = 5.0
"""Two questions of each kind at least."""

pytestmark = pytest.mark.timeout(120)


def most(servers: Servers, console: Console) -> tuple[dict[str, int], dict[str, int]]:
    """Server -> the most connections of ours at once, and how many backends they were, over a while."""
    at_once, pids = dict.fromkeys(servers.addresses, 0), {name: set[int]() for name in servers.addresses}
    end = time.monotonic() + WHILE_S
    while time.monotonic() < end:
        for name in servers.addresses:
            found = {row[0] for row in servers.sql(name, OURS)}
            at_once[name] = max(at_once[name], len(found))
            pids[name] |= found
        console.take_in(0.1)
    return at_once, {name: len(found) for name, found in pids.items()}


def test_one_connection_each(servers: Servers, seat: Seat, record_property: Record) -> None:
    """Each server has one kept connection, the primary a second one that came through the VIP; none is made anew, whatever is shown."""
    primary = servers.primary
    console = seat.console("--config", str(servers.config))
    console.until("5/5 nodes", 20)
    console.open("3", "PostgreSQL instances")
    console.until(r"Loss now")
    console.until("leads to primary", 15)
    wanted = {name: 2 if name == primary else 1 for name in servers.addresses}
    for what, keys, shows in (("instances", "", "[instances]"), ("sessions", "\t", "[sessions]"), ("nodes", "2", "Nodes [")):
        if keys:
            console.send(keys)
        console.until(shows)
        at_once, backends = most(servers, console)
        record_property(what, (at_once, backends))
        assert at_once == wanted
        assert backends == wanted
