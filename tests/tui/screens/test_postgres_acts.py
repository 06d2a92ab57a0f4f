"""What can be done to the rows of the Postgres screen: each act has the object and all that makes it that one filled in."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from coldtui.operations.catalogue import Catalogue
from tests.tui.consoles import Console, console, run
from tests.tui.screens.pg_states import before, busy

DESK = SimpleNamespace(operations=Catalogue(), production=False)
START = before(600).isoformat()
LAST_SEEN = {"primary_lsn": "0/6400000"}


def offered(c: Console) -> dict[str, dict[str, Any]]:
    """By the words of the menu."""
    acting, screen = c.app.acting, c.app.top
    own = acting.acts_on(screen.acts_on(), screen.act_values())
    others = [act for ref, known in screen.acts_besides() for act in acting.acts_on(ref, known, whom=ref.name)]
    return {act.verb: dict(act.values) for act in (*others, *own)}


def test_a_session_is_ended_by_its_pid_and_its_start() -> None:
    """Cancel and terminate are offered with pid and backend start, and nothing else is."""

    async def check() -> None:
        async with console(busy(), start="postgres", desk=DESK) as c:
            await c.press("tab")
            found = offered(c)
            assert found == {
                "cancel-query": {"pid": "23249", "started": START},
                "terminate-session": {"pid": "23249", "started": START},
            }
            await c.press("x")
            assert "What can be done to 23249" in c.text

    run(check())


def test_who_waits_is_offered_the_root() -> None:
    """In the tree of locks a row that waits offers to end who is at the root of it, first and by its pid."""

    async def check() -> None:
        async with console(busy(), start="postgres", desk=DESK) as c:
            await c.press("tab", "tab")
            assert set(offered(c)) == {"cancel-query", "terminate-session"}
            await c.press("j", "j")
            found = offered(c)
            assert found["terminate-session 23249"] == {"pid": "23249", "started": START}
            assert found["terminate-session"]["pid"] == "23252"
            await c.press("x")
            first, last = c.text.index("terminate-session 23249"), c.text.index("terminate-session 23252")
            assert first < last

    run(check())


def test_a_database_is_maintained() -> None:
    """Each sort of maintenance is an act of its own, on the database under the cursor."""

    async def check() -> None:
        async with console(busy(), start="postgres", desk=DESK) as c:
            await c.press("tab", "tab", "tab")
            found = offered(c)
            assert found["vacuum"] == {"kind": "vacuum", "database": "app"}
            assert {"vacuum", "analyze", "reindex", "vacuum-full"} <= set(found)

    run(check())


def test_an_instance_and_its_cluster() -> None:
    """Switchover, restart and fence are for an instance; failover for both, with a standby as the one that is to lead, and with the last position
    of the primary's WAL that this console saw, by which its plan tells the loss."""

    async def check() -> None:
        async with console(busy(), start="postgres", desk=DESK) as c:
            found = offered(c)
            assert found["failover"] == LAST_SEEN, "a primary is failed over from, never to"
            assert "switchover" not in found
            await c.press("j")
            found = offered(c)
            assert found["switchover"] == {"to": "postgres-2"}
            assert {"restart-instance", "fence", "unfence"} <= set(found)
            assert found["failover"] == {"to": "postgres-2", **LAST_SEEN}
            await c.press("tab", "tab", "tab", "tab")
            found = offered(c)
            assert found["failover"] == {"cluster": "cold/cold-postgres", **LAST_SEEN}
            assert found["hibernate"] == {"cluster": "cold/cold-postgres"}
            assert "switchover" not in found

    run(check())
