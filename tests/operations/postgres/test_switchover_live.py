"""Switchovers with three real servers under a writing client: what is done, measured, proven, and said when it does not go on."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, cast

import pytest

from coldtui.domain.errors import Cancelled, Conflict, Refused, StepFailed, Unreachable
from coldtui.lab.client import PG_CLUSTERS
from coldtui.lab.postgres.load import writing
from coldtui.ports import Kube
from tests.lab.conftest import until
from tests.lab.postgres.conftest import NAME, NS, Place, Site
from tests.operations.postgres.ground import Going, Meddled, ground

pytestmark = pytest.mark.timeout(240)


def other_than(name: str, names: list[str]) -> str:
    return next(n for n in sorted(names) if n != name)


def test_three_in_a_row_lose_no_acknowledged_row(real: Site, tmp_path: Path) -> None:
    """Under a writing client: each is proven, one timeline further, with its outage in ms; all standbys stream, and every acknowledged row is everywhere."""

    async def scene(on: Place) -> None:
        async with ground(on, tmp_path) as at, writing(on.database.app_dsn, on.database.servers.passwords.app) as load:

            async def written() -> bool:
                return len(load.acknowledged) > 20

            await until(written)
            for _ in range(3):
                before = await on.status()
                target = other_than(before["currentPrimary"], before["instanceNames"])
                going = await at.going(target)
                await going.perform()
                after = await on.status()
                assert (after["currentPrimary"], after["targetPrimary"]) == (target, target)
                assert after["timelineID"] == before["timelineID"] + 1
                assert await on.lease() == target
                assert await on.endpoints("rw") == [target]
                assert going.memo["outage_ms"] > 0
                assert f"timeline {before['timelineID']} -> {after['timelineID']}; writes through vip stopped for" in going.memo["outcome"]
                stages = [text.partition(" s: ")[2] for text in going.said if " s: " in text]
                assert f"currentPrimary is {target}" in stages
                assert load.gaps  # the writer saw it too
                assert await on.whole() or await on.until_whole()
            count = len(load.acknowledged)

            async def more() -> bool:
                return len(load.acknowledged) > count + 10

            await until(more)
        await on.until_whole()
        for server in on.database.servers.values():
            assert await load.missing(server.dsn("app")) == []

    real.play(scene)


@contextmanager
def ignored(on: Place) -> Iterator[None]:
    """Nobody acts on a change of targetPrimary."""
    on.database.managers.orders.ignore_target = True
    try:
        yield
    finally:
        on.database.managers.orders.ignore_target = False


async def target_of(on: Place) -> tuple[dict[str, Any], str]:
    status = await on.status()
    return status, other_than(status["currentPrimary"], status["instanceNames"])


async def until_asked(on: Place, to: str) -> None:
    async def asked() -> bool:
        return bool((await on.status())["targetPrimary"] == to)

    await until(asked)


async def put_back(on: Place, old: str) -> None:
    """As the operator does when the target is lost."""
    status = {
        "targetPrimary": old,
        "targetPrimaryTimestamp": "2026-11-24T12:00:00.000001Z",
        "phase": "Waiting for the instances to become active",
    }
    await on.client.patch(PG_CLUSTERS, NAME, {"status": status}, NS, sub="status")


def test_an_operator_that_ignores_it_is_said_to(real: Site, tmp_path: Path) -> None:
    """Neither the service nor the primary changed: it is warned, then called ignored, with what stands in the Cluster; nothing claims that it will come."""

    async def scene(on: Place) -> None:
        status, to = await target_of(on)
        async with ground(on, tmp_path) as at:
            going = await at.going(to, timeout=15)
            with ignored(on), pytest.raises(StepFailed) as failed:
                await going.perform()
            assert failed.value.title == f"the switchover to {to} was not done in time"
            assert (
                f"currentPrimary is still {status['currentPrimary']}, {status['currentPrimary']} still runs as primary"
                in failed.value.detail
            )
            assert "the operator ignores it: " in failed.value.detail
            assert any(re.match(r"after \d+ s it is not done: currentPrimary is still", text) for text in going.said)
            assert any(text.startswith("the operator ignores it: ") for text in going.said)
            assert going.left == f"the switchover of cold-postgres to {to} was asked for, and may go on by itself"
            assert not any("will be" in text for text in going.said)

    real.play(scene)


def test_a_target_that_is_put_back_is_an_abandoned_switchover(real: Site, tmp_path: Path) -> None:
    """It is said at once, with the operator's phase, and nothing is asked for again."""

    async def scene(on: Place) -> None:
        status, to = await target_of(on)
        async with ground(on, tmp_path) as at:
            going = await at.going(to)
            with ignored(on):
                task = asyncio.create_task(going.perform())
                await until_asked(on, to)
                await put_back(on, status["currentPrimary"])
                with pytest.raises(StepFailed, match=f"abandoned: targetPrimary was put back to {status['currentPrimary']}"):
                    await task
                assert (going.memo["outage_ms"], going.said.count("no write through vip was refused")) == (0, 1)  # told however it ends
                with pytest.raises(StepFailed, match="abandoned"):
                    await going.again().perform()
            assert (await on.status())["targetPrimary"] == status["currentPrimary"]

    real.play(scene)


async def killed_when_asked(going: Going, on: Place, to: str) -> str:
    """Stop the runner as kill -9 would; returns the targetPrimaryTimestamp that stands."""
    await going.killed_at(lambda event: event.text.startswith("asked for: "))
    assert (await on.status())["targetPrimary"] == to
    return str((await on.status())["targetPrimaryTimestamp"])


def test_a_killed_run_asks_no_second_time(real: Site, tmp_path: Path) -> None:
    """Taken up again it follows what the first attempt asked for, to the proof; it does not claim to have measured the outage."""

    async def scene(on: Place) -> None:
        status, to = await target_of(on)
        async with ground(on, tmp_path) as at:
            going = await at.going(to)
            with ignored(on):
                stamp = await killed_when_asked(going, on, to)
            again = going.again()
            await again.perform()
            after = await on.status()
            assert (after["currentPrimary"], after["timelineID"]) == (to, status["timelineID"] + 1)
            assert datetime.fromisoformat(after["targetPrimaryTimestamp"]) == datetime.fromisoformat(stamp)
            assert "the outage was not measured from its beginning" in again.memo["outcome"]
            done = again.again()
            await done.perform()  # a third attempt finds everything done
            assert (await on.status())["timelineID"] == after["timelineID"]

    real.play(scene)


def test_an_order_that_never_arrived_is_given_once_more(real: Site, tmp_path: Path) -> None:
    """Of an unknown outcome the Cluster is looked at; as it has no such target the patch is sent, once."""

    async def scene(on: Place) -> None:
        status, to = await target_of(on)

        async def lose(nth: int) -> None:
            if nth == 1:
                raise Unreachable("the line broke")

        async with ground(on, tmp_path) as at:
            kube = at.meddle(lose)
            going = await at.going(to)
            await going.perform()
            assert kube.sent == 2
            assert any(text.startswith("whether the switchover was asked for is not known") for text in going.said)
            assert (await on.status())["timelineID"] == status["timelineID"] + 1

    real.play(scene)


def test_a_cluster_that_changed_is_judged_anew(real: Site, tmp_path: Path) -> None:
    """A conflict sends nothing: what changed is judged, and what does not speak against it lets the next patch go."""

    async def scene(on: Place) -> None:
        status, to = await target_of(on)

        async def touch(nth: int) -> None:
            if nth == 1:
                await on.annotate(note="touched")

        async with ground(on, tmp_path) as at:
            kube = at.meddle(touch)
            going = await at.going(to)
            await going.perform()
            assert kube.sent == 2
            assert any("the Cluster changed while it was looked at: nothing was sent" in text for text in going.said)
            assert (await on.status())["timelineID"] == status["timelineID"] + 1

    real.play(scene)


class Twice(Meddled):
    """The first patch arrives, and is sent once more by what lies in between: the client hears of a conflict with itself."""

    async def patch(self, *args: Any, **how: Any) -> Any:
        found = await super().patch(*args, **how)
        if self.sent == 1:
            raise Conflict("the object was changed")
        return found


def test_a_conflict_with_its_own_order_is_no_conflict(real: Site, tmp_path: Path) -> None:
    """The order stands there with its own time: it is followed, not taken for somebody else's, and not sent again."""

    async def scene(on: Place) -> None:
        status, to = await target_of(on)

        async def nothing(nth: int) -> None: ...

        async with ground(on, tmp_path) as at:
            kube = Twice(at.kube, nothing)
            at.means = replace(at.means, kube=cast(Kube, kube))
            going = await at.going(to)
            await going.perform()
            assert kube.sent == 1
            assert not any("by somebody else" in text or "judged anew" in text for text in going.said)
            assert (await on.status())["timelineID"] == status["timelineID"] + 1

    real.play(scene)


def test_a_target_that_was_fenced_meanwhile_is_refused(real: Site, tmp_path: Path) -> None:
    """After the conflict the pre-checks refuse, with the reason; the Cluster keeps its target, and nothing is left behind."""

    async def scene(on: Place) -> None:
        status, to = await target_of(on)

        async def fence(nth: int) -> None:
            await on.annotate(fencedInstances=f'["{to}"]')

        try:
            async with ground(on, tmp_path) as at:
                kube = at.meddle(fence)
                going = await at.going(to)
                with pytest.raises(Refused, match=f"{to} is fenced") as refused:
                    await going.perform()
                assert refused.value.hint == "plan again"
                assert kube.sent == 1
                assert going.left == ""
                assert (await on.status())["targetPrimary"] == status["targetPrimary"]
        finally:
            await on.annotate(fencedInstances=None)

    real.play(scene)


def test_cancel_after_the_order_says_that_it_goes_on(real: Site, tmp_path: Path) -> None:
    """There is no way to call it back: the run ends, and what stands is said."""

    async def scene(on: Place) -> None:
        _, to = await target_of(on)
        async with ground(on, tmp_path) as at:
            going = await at.going(to)
            with ignored(on):
                task = asyncio.create_task(going.perform())
                await until_asked(on, to)
                going.ctx.cancel()
                with pytest.raises(Cancelled):
                    await task
                assert (going.memo["outage_ms"], going.said.count("no write through vip was refused")) == (0, 1)
            assert going.left == f"the switchover of cold-postgres to {to} was asked for, and may go on by itself"

    real.play(scene)


def test_without_sql_it_is_done_and_the_outage_is_not_claimed(real: Site, tmp_path: Path) -> None:
    """The other three proofs hold; the plan had said that SQL could not be read."""

    async def scene(on: Place) -> None:
        status, to = await target_of(on)
        async with ground(on, tmp_path) as at:
            at.means = replace(at.means, database=None)  # type: ignore[arg-type]
            going = await at.going(to)
            assert {p.name for p in going.plan.premises if p.as_of is None} >= {f"SQL of {to}"}
            await going.perform()
            assert going.memo["outage_ms"] is None
            assert "the outage was not measured: no connection to the database servers" in going.memo["outcome"]
            assert (await on.status())["timelineID"] == status["timelineID"] + 1

    real.play(scene)
