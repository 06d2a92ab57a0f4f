"""Where writes to a Cluster are tried, with two Clusters on one site, and what is said where nobody lets us in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from coldtui.adapters.postgres import connect as connect_database
from coldtui.domain.errors import ColdError, Refused, Unauthorized
from coldtui.domain.readings import Unknown
from coldtui.domain.secret import Secret
from coldtui.domain.troubles import LineTrouble
from coldtui.lab.client import PG_CLUSTERS
from coldtui.lab.fakes.database import FakeDatabase, FakeServer
from coldtui.operations.engine import RunContext
from coldtui.operations.postgres import paths
from coldtui.operations.postgres.checks import confirm_word, switchover_findings
from coldtui.operations.postgres.facts import PgFacts, gather_cluster, site_key
from coldtui.operations.postgres.following import Aim, Following
from coldtui.operations.postgres.hibernating import HIBERNATE_CLUSTER, WAKE_CLUSTER, HibernateCluster, WakeCluster
from coldtui.operations.postgres.hibernation_steps import Hibernating, Waking
from coldtui.operations.postgres.paths import no_write, vip_of_another, with_ways, writing_way
from coldtui.operations.postgres.restarting import RESTART_INSTANCE, RestartInstance
from coldtui.operations.postgres.restarting_primary import RestartPrimary
from coldtui.operations.postgres.stopping import FailoverPace
from coldtui.operations.postgres.switchover import Switchover
from coldtui.operations.postgres.verifying import Look, Verifying
from coldtui.ports import Means
from tests.lab.postgres.conftest import NAME, NS, Place, Site
from tests.operations.drain.ground import journal_in
from tests.operations.postgres.ground import QUICK, config_of, ground, recorded
from tests.operations.postgres.running import Act, planned
from tests.operations.postgres.scene import NOW, SYSTEM, healthy
from tests.operations.postgres.scene import plan_of as switchover_plan

pytestmark = pytest.mark.timeout(240)
SITE, OTHER = "database/cold-postgres", "archive/cold-postgres"


def other(system: str = "7400000000000000099", **changes: Any) -> PgFacts:
    """A second Cluster, whose VIP there is none of: the one that is configured answers as the site's."""
    facts = healthy()
    cluster = replace(facts.cluster, namespace="archive", system_id=system)
    return replace(facts, cluster=cluster, clusters=(OTHER, SITE), site=SITE, **changes)


def means_of(**servers: Callable[[], Exception] | None) -> Means:
    """What fails with each; none: writes are accepted there."""
    status = healthy().status("postgres-1")
    fake = FakeDatabase({name: FakeServer(status, address="10.42.1.5:5432", fails=fails) for name, fails in servers.items()})
    return cast(Means, replace(cast(Any, _nothing()), database=fake))


def _nothing() -> Means:
    from coldtui.live.pace import SystemClock
    from coldtui.operations.engine import offline
    from tests.operations.means import ME

    return offline(SystemClock(), ME)


def called(means: Means, method: str) -> list[str]:
    return [target for name, target in cast(FakeDatabase, means.database).calls if name == method]


async def test_the_vip_of_another_proves_nothing() -> None:
    """Neither where its database differs nor where ours is a restored copy of it: writes are tried at our own Service."""
    for facts in (other(), other(SYSTEM), replace(other(), site="")):
        assert vip_of_another(facts)
        means = means_of(vip=None, rw=None)
        assert (await writing_way(means, facts)).target == "rw"
        assert called(means, "probe_write") == ["rw"]
    means = means_of(vip=None)
    way = await writing_way(means, other())
    assert (way.target, way.why, way.blind) == ("", "the VIP is that of database/cold-postgres", True)


async def test_the_vip_is_ours_where_its_database_is() -> None:
    """Also while it does not answer: then there is nothing to compare; one that leads elsewhere when it answers is left."""
    facts = replace(healthy(), clusters=(SITE, OTHER), site=SITE)
    assert (await writing_way(means_of(vip=None, rw=None), facts)).target == "vip"
    silent = replace(facts, sql={**facts.sql, "vip": Unknown("vip", "no answer")})
    assert not vip_of_another(silent)
    assert (await writing_way(means_of(vip=None, rw=None), silent)).target == "vip"
    elsewhere = replace(silent, cluster=replace(silent.cluster, system_id="7400000000000000099"))
    assert (await writing_way(means_of(vip=None, rw=None), elsewhere)).target == "rw"


async def test_a_service_that_was_not_told_is_not_taken_for_ours() -> None:
    """The address of a Cluster that was looked at before stands there still."""
    assert (await writing_way(means_of(rw=None), other(rw=False))).target == ""


def test_the_plan_says_whose_vip_it_is() -> None:
    """The outage will not be measured through another's address."""
    found = {f.code: f.sentence for f in switchover_findings(other(), "postgres-2", NOW)}
    assert found["postgres.vip-other"].startswith("the VIP is that of database/cold-postgres: ")


def test_namesakes_are_confirmed_with_their_namespace() -> None:
    """One word for two Clusters would confirm the wrong one."""
    assert (confirm_word(other()), confirm_word(other(), "postgres-2")) == (OTHER, "archive/postgres-2")
    assert confirm_word(replace(other(), clusters=(OTHER, "database/else"))) == "cold-postgres"


@pytest.mark.parametrize(
    ("configured", "keys", "site"),
    [
        ("", (OTHER, SITE), OTHER),
        (SITE, (OTHER, SITE), SITE),
        ("cold-postgres", (SITE,), SITE),
        ("cold-postgres", (OTHER, SITE), ""),
        ("", (), ""),
    ],
)
def test_which_cluster_is_the_sites(configured: str, keys: tuple[str, ...], site: str) -> None:
    """The configured one, else the first; a name that two have tells none."""
    assert site_key(configured, keys) == site


def unauthorized() -> ColdError:
    return Unauthorized("no password fits")


def away() -> ColdError:
    return LineTrouble("did not answer within 2 s", kind="timeout")


def hanging() -> ColdError:
    return LineTrouble("does not end a commit within 2 s", kind="server")


def standby() -> ColdError:
    return Refused("leads to a standby")


async def said(means: Means, facts: PgFacts) -> tuple[str, list[str]]:
    """(what is waited for, what was not seen)."""
    unseen: list[str] = []

    async def tell(why: str) -> None:
        unseen.append(why)

    return await no_write(means, facts, "postgres-1", tell), unseen


async def test_what_tells_only_of_us_is_not_waited_for() -> None:
    """A refused login, or a Service address without a route, ends the wait with what was not seen; a silent VIP or a standby there does not."""
    facts = replace(healthy(), site=SITE, sql={**healthy().sql, "vip": Unknown("vip", "no answer")})
    assert await said(means_of(vip=unauthorized, rw=away, **{"postgres-1": unauthorized}), facts) == ("", ["no password fits"])
    assert await said(means_of(rw=away, **{"postgres-1": away}), facts) == ("", ["did not answer within 2 s"])
    assert await said(means_of(rw=away, **{"postgres-1": None}), facts) == ("", [])
    for fails in ({"vip": away, "rw": away}, {"vip": unauthorized, "rw": standby}, {"rw": standby}, {"rw": hanging}):
        waiting, unseen = await said(means_of(**fails, **{"postgres-1": None}), facts)
        assert waiting.startswith("a write to be accepted: ")
        assert unseen == []

    def starting() -> ColdError:
        return LineTrouble("the database system is starting up", kind="server")

    waiting, unseen = await said(means_of(rw=away, **{"postgres-1": starting}), facts)
    assert (waiting.partition(":")[0], unseen) == ("postgres-1 to accept a write", [])


class Hanging(FakeDatabase):
    """It answers, and no commit on it ends."""

    async def probe_write(self, target: str, *, deadline_s: float = 1.0) -> str:
        await super().probe_write(target, deadline_s=deadline_s)
        raise hanging()


async def test_a_primary_whose_commits_hang_takes_no_writes() -> None:
    """Also where only its own address can be used: that it left recovery proves nothing."""
    facts = replace(healthy(), site=SITE, sql={**healthy().sql, "vip": Unknown("vip", "no answer")})
    means = means_of(**{"postgres-1": None})
    means = replace(means, database=Hanging(cast(FakeDatabase, means.database).servers))
    assert await said(means, facts) == ("postgres-1 to accept a write: does not end a commit within 2 s", [])


@pytest.mark.parametrize(("fails", "waits"), [(standby, True), (hanging, True), (unauthorized, False), (None, False)])
async def test_a_switchover_without_a_probe_waits_for_a_write(fails: Callable[[], ColdError] | None, waits: bool, tmp_path: Path) -> None:
    """Nothing could be measured since no write was accepted before it: it is done when one is, or when none can be tried from here, which is said."""
    plan = switchover_plan()
    with journal_in(tmp_path) as journal:
        means = means_of(vip=fails, **{"postgres-2": unauthorized})
        ctx = RunContext(recorded(journal, 1, plan), Switchover("postgres-2"), means, journal, step=0)
        aim = Aim("database", "cold-postgres", "postgres-1", "postgres-2", 7, True, NOW)
        lacking = await Following(ctx, aim, QUICK, None, replace(healthy(), site=SITE))._no_write()
        assert lacking.startswith("a write to be accepted: ") is waits
        assert bool(lacking) is waits
        told = [e.text for e in journal.events(ctx.run) if e.text]
        assert bool(told) is (fails is unauthorized)


async def test_what_could_not_be_read_of_the_paths_is_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whose VIP it is, and where the Service leads: otherwise a wait for a write would end with what an API that is back could tell."""
    asked: list[str] = []
    whole = replace(healthy(), site=SITE)

    async def gathered(key: str, means: Means, deadline_s: float) -> PgFacts:
        asked.append(key)
        return whole

    monkeypatch.setattr(paths, "gather_cluster", gathered)
    means = means_of(vip=standby)
    for lacking in (replace(healthy(), site=""), replace(whole, rw=False)):
        assert await with_ways(means, lacking, 1.0) is whole
    assert await with_ways(means, whole, 1.0) is whole
    assert asked == [SITE, SITE]


async def test_after_a_failover_the_vip_is_found_once_the_api_tells_whose_it_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Facts that told neither are not taken for a site on which no write can be tried."""

    async def gathered(key: str, means: Means, deadline_s: float) -> PgFacts:
        return replace(healthy(), site=SITE)

    monkeypatch.setattr(paths, "gather_cluster", gathered)
    silent = replace(healthy(), site="", rw=False, sql={**healthy().sql, "vip": Unknown("vip", "no answer")})
    managers = {"postgres-1": healthy().manager("postgres-1")}
    look = Look(healthy().cluster, None, managers, ("postgres-1",), None, Unknown("operator", "not asked"))
    with journal_in(tmp_path) as journal:
        plan = switchover_plan()
        means = means_of(vip=standby, **{"postgres-1": unauthorized})
        ctx = RunContext(recorded(journal, 1, plan), Switchover("postgres-2"), means, journal, step=0)
        seen = Verifying(plan.steps[0], ctx, FailoverPace(), "postgres-1", 7, "postgres-2", silent)
        assert await seen._not_leading(look) == "a write to be accepted: leads to a standby"


# --- on real servers


def test_an_act_on_the_other_cluster_leaves_the_vip_alone(real: Site, tmp_path: Path) -> None:
    """With the site's Cluster configured as another, a switchover here ends by its own proof and claims nothing of the VIP."""

    async def scene(on: Place) -> None:
        site = f"default/{NAME}"
        namesake = {
            "apiVersion": "postgresql.cnpg.io/v1", "kind": "Cluster", "metadata": {"name": NAME, "namespace": "default"},
            "spec": {"instances": 1, "storage": {"size": "1Gi"}},
        }  # fmt: skip
        await on.client.create(PG_CLUSTERS, namesake, "default")
        try:
            async with ground(on, tmp_path) as at:
                at.means = replace(at.means, pg_cluster=site)
                facts = await gather_cluster(SITE, at.means, 10.0)
                assert (facts.site, facts.namesakes, facts.status("vip") is not None) == (site, True, True)
                to = next(n for n in facts.cluster.instance_names if n != facts.primary)
                going = await at.going(to, cluster=SITE)
                assert going.plan.confirm == f"{NS}/{to}"
                await going.perform()
                assert going.memo["outage_ms"] is None
                assert f"the outage was not measured: the VIP is that of {site}; " in going.memo["outcome"]
                assert (await on.status())["currentPrimary"] == to
        finally:
            await on.client.delete(PG_CLUSTERS, NAME, "default")

    real.play(scene)


def test_without_a_login_restart_and_waking_end_rightly(real: Site, tmp_path: Path) -> None:
    """With a wrong password everywhere: done, and what was not seen is in the outcome, with the reason."""

    async def scene(on: Place) -> None:
        primary = (await on.status())["currentPrimary"]
        before = on.sql(primary, "SELECT pg_postmaster_start_time()")
        async with ground(on, tmp_path) as at:
            own, wrong = (
                at.means.database,
                connect_database(config_of(on), writable=True, environ={}, secrets={"postgres": Secret("wrong")}),
            )
            await own.aclose()
            at.means = replace(at.means, database=wrong)
            params = RestartInstance(primary)
            act = Act(at, await planned(at, RESTART_INSTANCE, params), params, (RestartPrimary(QUICK),), 1)
            await act.perform()
            assert act.memo["outcome"].startswith(f"{primary} was told to restart and leads")
            assert "that its server is a new one was not seen: SQL did not answer before" in act.memo["outcome"]
            assert "that it takes writes was not seen: " in act.memo["outcome"]
            assert "does not let coldtui in" in act.memo["outcome"]
            assert act.memo["outage_ms"] is None
            await on.until_whole()
            assert on.sql(primary, "SELECT pg_postmaster_start_time()") > before

            sleep, wake = HibernateCluster(NAME), WakeCluster(NAME)
            await Act(at, await planned(at, HIBERNATE_CLUSTER, sleep), sleep, (Hibernating(QUICK),), 2).perform()
            act = Act(at, await planned(at, WAKE_CLUSTER, wake), wake, (Waking(QUICK),), 3)
            await act.perform()
            (told,) = [text for text in act.said if text.startswith(f"{NAME} is awake: ")]
            assert "; that it takes writes was not seen: " in told
            await on.until_whole()

    real.play(scene)
