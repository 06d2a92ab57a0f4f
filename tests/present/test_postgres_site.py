"""The site's database for scripts: the document's shape, and beside it what the screen shows, with source and age."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from coldtui.domain.readings import Freshness, Known, Unknown
from coldtui.domain.replication import Archiver, PrimaryLease, Slot
from coldtui.domain.world import SiteFacts, World
from coldtui.present.postgres_listings import state_lines
from coldtui.present.postgres_site import site_json
from tests.clusters import SHAPES
from tests.sample import NOW, build, healthy, state
from tests.topologies import HERE, MIB, Readings, known, server, trio, world_of

ARCHIVER = Archiver(9, "A0", NOW - timedelta(minutes=15), 3, "A1", NOW - timedelta(seconds=30), 190)


def asked(**changed: Any) -> World:
    slots = (Slot("_cnpg_postgres_3", False, "physical", "extended", 3 << 30),)
    told = trio(p1=known(server(primary=True, archiver=ARCHIVER, slots=slots, listens="10.0.0.1:5432")), **changed)
    lease = Known(PrimaryLease("postgres-1", NOW - timedelta(seconds=3), 15), "lease", NOW - timedelta(seconds=2))
    return world_of(told, pg_lease=lease)


def test_the_shape_stays() -> None:
    """The keys that the site document names hold plain values; what is more stands beside them."""
    found = site_json(asked(), NOW)
    assert (found["cluster_name"], found["status"] is None) == ("cold-postgres", False)
    one = found["instances"][1]
    assert {k: one[k] for k in ("name", "role", "status", "connections", "replication_lag")} == {
        "name": "postgres-2", "role": "replica", "status": "ready", "connections": 4, "replication_lag": 0,
    }  # fmt: skip
    assert {k: found["vip"][k] for k in ("address", "active", "current_primary")} == {
        "address": "192.168.15.200", "active": True, "current_primary": "postgres-1",
    }  # fmt: skip
    json.dumps(found)


@pytest.mark.parametrize(
    ("key", "value", "source"),
    [
        ("phase", "Cluster in healthy state", "pg_clusters"),
        ("target_primary", "postgres-1", "pg_clusters"),
        ("reconciliation_disabled", False, "pg_clusters"),
        ("lease", {"holder": "postgres-1", "renewed": "2026-11-24T11:59:57Z", "lasts_s": 15}, "lease"),
    ],
)
def test_what_the_operator_says(key: str, value: Any, source: str) -> None:
    """Each has its source and how old it is."""
    found = site_json(asked(), NOW)[key]
    assert (found["value"], found["source"], found["age_s"] >= 0) == (value, source, True)


def test_the_primary_s_server() -> None:
    """Archiver, backlog in bytes, and a slot that holds WAL back."""
    found = site_json(asked(), NOW)
    archiver, slot = found["archiver"], found["slots"]["value"][0]
    assert (archiver["source"], archiver["age_s"]) == ("sql", 1)
    assert (archiver["value"]["failing"], archiver["value"]["waiting"], archiver["value"]["waiting_b"]) == (True, 190, 190 * 16 * MIB)
    assert (slot["name"], slot["active"], slot["retained_b"]) == ("_cnpg_postgres_3", False, 3 << 30)


def test_services_have_their_endpoints() -> None:
    """The address of the database and whom it leads to."""
    found = site_json(asked(), NOW)["services"]
    assert {"name": "cold-postgres-vip", "type": "LoadBalancer", "addresses": ["192.168.15.200"], "endpoints": ["postgres-1"]} in found[
        "value"
    ]
    unread = replace(asked(), sources=asked().sources.set("endpointslices", state("endpointslices", Freshness.LOADING)))
    told = site_json(unread, NOW)["services"]
    assert told["value"] is None
    assert told["why"].startswith("endpoint slices")


def test_where_an_instance_stands() -> None:
    """Received and replayed positions, whether it streams and replays, each with its source."""
    held = known(server(at=HERE, replayed=HERE - MIB, replay_paused=True, receiver=None, listens="10.0.0.2:5432"))
    one = site_json(asked(p2=held), NOW)["instances"][1]
    assert (one["received_lsn"]["value"], one["replayed_lsn"]["value"]) == ("0/6400000", "0/6300000")
    assert (one["streaming"]["value"], one["replay_paused"]["value"], one["pending_restart"]["value"]) == (False, True, False)


def test_an_old_lag_says_how_old() -> None:
    """A script that watches can tell the lag of now from one that was told twenty minutes ago."""
    old: Readings = {name: Known(r.value, "sql", NOW - timedelta(minutes=20)) for name, r in trio().items() if isinstance(r, Known)}
    found = site_json(world_of(old), NOW)
    one = found["instances"][1]
    assert (one["replication_lag_source"], one["replication_lag_age_s"]) == ("sql", 1200)
    assert (found["vip"]["source"], found["vip"]["age_s"]) == ("sql", 1200)


def test_the_address_of_the_configuration() -> None:
    """Where no service has an address, the one that the configuration tries is named beside what came of it."""
    raw = healthy() | {"services": []}
    world = world_of(trio(), base=build(raw, facts=SiteFacts(vip_probe="db.cold.example:5433")))
    found = site_json(world, NOW)["vip"]
    assert (found["address"], found["tried"], found["active"]) == ("db.cold.example", "db.cold.example:5433", True)


def test_a_cluster_that_does_not_exist() -> None:
    """Every null has the reason: which is configured, and which there are."""
    found = site_json(build(healthy(), facts=SiteFacts(pg_cluster="db/nope")), NOW)
    assert [found[k] for k in ("cluster_name", "status", "instances", "vip")] == [None] * 4
    assert found["_reasons"]["status"] == "cluster db/nope of postgres.cluster does not exist; found: cold/cold-postgres"


def test_nobody_tells_of_the_archiver() -> None:
    """Without SQL and manager it is null, and why stands beside it."""
    found = site_json(world_of(trio(p1=Unknown("sql", "connection refused"))), NOW)
    assert found["archiver"]["value"] is None
    assert "connection refused" in found["archiver"]["why"]


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.__name__)
def test_every_shape_of_cluster_is_told(shape: Callable[[], World]) -> None:
    """Being made, alone, upgraded, following another one, lost: the document and the lines of the command line can always be made."""
    world = shape()
    found = json.loads(json.dumps(site_json(world, NOW)))
    assert {"cluster_name", "status", "instances", "vip", "phase", "archiver", "slots"} <= set(found)
    assert all(set(found[key]) in ({"value", "source", "age_s"}, {"value", "why"}) for key in ("phase", "archiver", "slots", "lease"))
    assert state_lines(world, NOW)[0]
