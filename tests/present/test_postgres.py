"""PostgreSQL as rows, card and JSON."""

from __future__ import annotations

import copy
import json
from datetime import timedelta

from coldtui.domain.readings import Freshness, Known
from coldtui.domain.replication import Archiver
from coldtui.domain.world import SiteFacts, World
from coldtui.present import postgres
from coldtui.present.lines import plain_text
from coldtui.present.postgres_listings import sql_notes
from coldtui.present.rows import Tone
from tests.sample import NOW, broken, build, healthy, instance_pod, state
from tests.topologies import known, server, trio, world_of


def test_an_instance_row() -> None:
    """Role, state, node and timeline of the primary; the lag of a replica is said to be unknown by a dash."""
    world = build(healthy())
    rows = {k: postgres.INSTANCES.row(world, v, NOW) for k, v in postgres.INSTANCES.items(world).items()}
    assert [c.text for c in rows["cold/postgres-1"].cells][:6] == ["postgres-1", "primary", "● ready", "k3s-worker-1", "7", ""]
    assert rows["cold/postgres-2"].cells[5].text == "–"


def test_a_crash_looping_instance_row() -> None:
    """The pod's own word is shown, and the row is in trouble."""
    site = broken()
    site["pods"][2] = instance_pod("postgres-3", "k3s-worker-3", "replica", ready=False, waiting="CrashLoopBackOff", restarts=9)
    world = build(site)
    item = postgres.INSTANCES.items(world)["cold/postgres-3"]
    row = postgres.INSTANCES.row(world, item, NOW)
    assert (row.cells[2].text, row.cells[2].tone, row.cells[6].text) == ("▲ CrashLoopBackOff", Tone.BAD, "9")
    assert postgres.INSTANCES.trouble(world, item, NOW)


def two_of_one_name() -> World:
    """The site's database, which is asked, and another of the same name in another namespace, with instances of the same names."""
    raw = healthy()
    other = copy.deepcopy(raw["pg_clusters"][0])
    other["metadata"].update(namespace="erp", uid="other")
    raw["pg_clusters"].append(other)
    facts = SiteFacts(pg_cluster="cold/cold-postgres")
    return world_of(trio(), base=build(raw, facts=facts))


def test_another_cluster_of_the_same_name_shows_nothing_of_this_one() -> None:
    """Connections and replication of the site's servers stand in its own rows only; the other's say that it is not asked."""
    world = two_of_one_name()
    items = postgres.INSTANCES.items(world)
    rows = {
        key: {c.id: x.text for c, x in zip(postgres.INSTANCES.columns, postgres.INSTANCES.row(world, item, NOW).cells, strict=True)}
        for key, item in items.items()
    }
    assert (rows["cold/postgres-2"]["sync"], rows["cold/postgres-2"]["connections"]) == ("async", "4")
    assert {rows["erp/postgres-2"][k] for k in ("sync", "connections", "received", "replayed", "lag")} == {"–"}
    assert postgres.INSTANCES.json is not None
    found = postgres.INSTANCES.json(world, items["erp/postgres-2"], NOW)
    assert (found["connections"], found["sql"]) == (None, None)
    assert "set postgres.cluster" in found["_reasons"]["sql"]
    pane = plain_text(postgres.describe(world, world.pg_clusters.items["erp/cold-postgres"], NOW))
    assert f"Not asked       {postgres.NOT_THE_SITES}" in pane
    assert "Primary         postgres-1" in pane
    assert list(sql_notes(world, "", NOW)) == [f"erp/cold-postgres: {postgres.NOT_THE_SITES}"]


def test_a_standby_that_is_ready_and_does_not_follow() -> None:
    """`ready` is the pod's word: a standby whose replay is paused, or that receives nothing, says so in the table."""
    held = known(server(replay_paused=True, listens="10.0.0.2:5432"))
    cut = known(server(receiver=None, listens="10.0.0.3:5432"))
    world = world_of(trio(p2=held, p3=cut))
    rows = {k: postgres.INSTANCES.row(world, v, NOW).cells[2].text for k, v in postgres.INSTANCES.items(world).items()}
    assert rows == {"cold/postgres-1": "● ready", "cold/postgres-2": "◐ paused", "cold/postgres-3": "◐ no stream"}


def test_an_old_answer_is_not_ready() -> None:
    """An instance that told something twenty minutes ago is not called ready on its word."""
    old = {f"p{n}": Known(server(primary=n == 1), "sql", NOW - timedelta(minutes=20)) for n in (1, 2, 3)}
    world = world_of(trio(**old))
    rows = [postgres.INSTANCES.row(world, v, NOW).cells[2].text for v in postgres.INSTANCES.items(world).values()]
    assert rows == ["? told 20m"] * 3


def test_a_cluster_row() -> None:
    """Verdict, counts, archiving and the age of the newest good backup on one line."""
    world = build(healthy())
    row = postgres.CLUSTERS.row(world, world.pg_clusters.items["cold/cold-postgres"], NOW)
    assert [c.text for c in row.cells] == ["cold-postgres", "● healthy", "3/3", "postgres-1", "7", "18.6", "● ok", "9h", "40d", "cold"]


def test_the_card() -> None:
    """Verdict, timeline, version, address and announcer head the card; each instance has its line."""
    text = plain_text(postgres.postgres_card(build(healthy()), NOW, 100)).splitlines()
    assert text[0] == "● healthy  timeline 7  18.6  VIP 192.168.15.200 ● k3s-worker-3"
    assert [line.split()[0] for line in text[1:4]] == ["postgres-1", "postgres-2", "postgres-3"]
    assert "lag not read" in text[2]


def test_the_card_without_a_cluster_says_which_nothing_it_is() -> None:
    """Not installed, loading, stale, forbidden, none, and a configured name that does not exist differ in words."""
    said = {
        fresh: plain_text(postgres.postgres_card(build({}, sources={"pg_clusters": state("pg_clusters", fresh)}), NOW, 90))
        for fresh in Freshness
    }
    assert len(set(said.values())) == len(Freshness)
    assert said[Freshness.LIVE] == "no PostgreSQL clusters"
    assert said[Freshness.NOT_INSTALLED] == "PostgreSQL clusters: not installed"
    missing = build({}, facts=SiteFacts(pg_cluster="cold/x"))
    assert (
        plain_text(postgres.postgres_card(missing, NOW, 90)) == "▲ missing  cluster cold/x of postgres.cluster does not exist; found: none"
    )


def test_the_site_document() -> None:
    """Exactly the five keys; what is not known is null with its reason."""
    found = postgres.status_json_database(build(healthy()), NOW)
    assert {k: v for k, v in found.items() if not k.startswith("_")} == {
        "status": "healthy",
        "primary": "postgres-1",
        "replicas": ["postgres-2", "postgres-3"],
        "replication_lag": None,
        "vip_status": "active",
    }
    assert found["_reasons"] == {"replication_lag": "needs SQL: no server was asked"}
    json.dumps(found)


def test_the_lag_of_the_site_document_has_its_age() -> None:
    """The oldest of the answers it rests on, and who gave them; null where there is no lag."""
    old = Known(server(listens="10.0.0.2:5432"), "sql", NOW - timedelta(seconds=90))
    found = postgres.status_json_database(world_of(trio(p2=old)), NOW)
    assert (found["replication_lag"], found["_replication_lag_source"], found["_replication_lag_age_s"]) == (0, "sql", 90)
    assert postgres.status_json_database(build(healthy()), NOW)["_replication_lag_age_s"] is None


def test_archiving_is_not_ok_on_the_operators_word_alone() -> None:
    """The operator writes its condition when it comes to it: what the primary says now is worse, and counts; an old word of it does not."""
    archiver = Archiver(9, "A0", NOW - timedelta(minutes=15), 3, "A1", NOW - timedelta(seconds=30), 9)
    for ago_s, word in ((1.0, "failing"), (600.0, "ok")):
        world = world_of(trio(p1=known(server(primary=True, archiver=archiver, listens="10.0.0.1:5432"), ago_s)))
        judged = postgres.archiving(world.pg_clusters.items["cold/cold-postgres"], world)
        assert judged.word == word
    fresh = world_of(trio(p1=known(server(primary=True, archiver=archiver))))
    assert postgres.archiving(fresh.pg_clusters.items["cold/cold-postgres"], fresh).why == "A1 failed, 9 segments (144 MiB) wait"


def test_the_site_document_while_stale() -> None:
    """A stale source makes the status null, with the reason; the last known primary stays, marked by its source."""
    found = postgres.status_json_database(build(healthy(), sources={"pods": state("pods", Freshness.STALE)}), NOW)
    assert found["status"] is None
    assert "pods are stale" in found["_reasons"]["status"]
    assert found["_sources"]["pods"] == "stale 30s"
    assert found["_age_s"] == 42


def test_the_site_document_without_a_database() -> None:
    """Every key is null and each has its reason."""
    found = postgres.status_json_database(build({}, sources={"pg_clusters": state("pg_clusters", Freshness.NOT_INSTALLED)}), NOW)
    assert [found[k] for k in ("status", "primary", "replicas", "replication_lag", "vip_status")] == [None] * 5
    assert set(found["_reasons"]) == {"status", "primary", "replicas", "replication_lag", "vip_status"}


def test_the_detail_pane() -> None:
    """The pane names archive, certificate and services."""
    world = build(healthy())
    text = plain_text(postgres.describe(world, world.pg_clusters.items["cold/cold-postgres"], NOW))
    for part in ("barman-cloud.cloudnative-pg.io 0.14.0", "store r2", "cold-postgres-rw", "cold-postgres-server until 2027-02-01 10:00Z"):
        assert part in text
    for part in ("State", "Phase", "Primary"):  # the head above says them
        assert part not in text
