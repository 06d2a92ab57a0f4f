"""What a console costs the servers: the connections that it holds to each, with the database shown, with its sessions shown, and with neither."""

from __future__ import annotations

import time
from collections import Counter
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


def looked(servers: Servers, console: Console) -> dict[str, list[frozenset[int]]]:
    """Server -> our backends there, look by look, over a while."""
    found: dict[str, list[frozenset[int]]] = {name: [] for name in servers.addresses}
    end = time.monotonic() + WHILE_S
    while time.monotonic() < end:
        for name in servers.addresses:
            found[name].append(frozenset(row[0] for row in servers.sql(name, OURS)))
        console.take_in(0.1)
    return found


def test_one_connection_each(servers: Servers, seat: Seat, record_property: Record) -> None:
    """Each server has one kept connection, whatever is shown. Beside it the primary has none that lasts: through the VIP one is made for each question,
    as a new client makes it, and one for the sizes of the databases."""
    primary = servers.primary
    console = seat.console("--config", str(servers.config))
    console.until("5/5 nodes", 20)
    console.open("3", "PostgreSQL instances")
    console.until(r"Loss now")
    console.until("leads to primary", 15)
    for what, keys, shows in (("instances", "", "[instances]"), ("sessions", "\t", "[sessions]"), ("nodes", "2", "Nodes [")):
        if keys:
            console.send(keys)
        console.until(shows)
        found = looked(servers, console)
        for name, looks in found.items():
            backends, at_once = Counter(pid for look in looks for pid in look), max(map(len, looks))
            lasting = [pid for pid, seen in backends.items() if seen > len(looks) / 2]
            record_property(f"{what}, {name}", (len(lasting), at_once, len(backends)))
            if name == primary:
                assert at_once <= 3
                assert len(backends) <= 2 * WHILE_S
            else:
                assert len(backends) <= 2  # a deadline that was missed once makes one anew
            assert len(lasting) == 1
