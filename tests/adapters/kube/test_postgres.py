"""CloudNativePG objects as bytes in, values out."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from coldtui.adapters.kube.postgres import moment
from coldtui.domain.postgres import Synchronous
from tests.sample import HOSTILE, cluster, decode, meta


def test_a_cluster_keeps_what_the_console_needs() -> None:
    """Primary, counts, timelines, certificates, plugin and version all arrive, from the fields the operator writes."""
    c = decode("pg_clusters", cluster())
    assert (c.key, c.instances, c.ready_instances, c.timeline) == ("cold/cold-postgres", 3, 3, 7)
    assert c.current_primary_since == datetime(2026, 11, 20, 3, 4, 5, 123456, UTC)
    assert c.certificates == {"cold-postgres-server": datetime(2027, 2, 1, 10, tzinfo=UTC)}
    assert c.version == "18.6"
    assert c.archiver is not None
    assert (c.archiver.loaded_version, c.archiver.parameters["barmanObjectName"]) == ("0.14.0", "r2")
    assert {r.name: (r.is_primary, r.timeline) for r in c.reported}["postgres-1"] == (True, 7)
    assert c.instances_status == {"healthy": ("postgres-1", "postgres-2", "postgres-3")}


def test_annotations_that_act_are_read() -> None:
    """Fence, hibernation, ignored reconciliation and switched-off archiving change what the cluster does, so none may be missed."""
    raw = cluster()
    raw["metadata"]["annotations"] = {
        "cnpg.io/fencedInstances": '["postgres-2"]',
        "cnpg.io/hibernation": "on",
        "cnpg.io/reconciliationLoop": "disabled",
        "cnpg.io/skipWalArchiving": "enabled",
    }
    c = decode("pg_clusters", raw)
    assert (c.fenced, c.hibernated, c.reconciliation_disabled, c.skip_wal_archiving) == (("postgres-2",), True, True, True)


def test_a_fence_that_is_no_list_is_kept_as_unreadable() -> None:
    """A broken annotation must not look like "nothing is fenced"."""
    raw = cluster()
    raw["metadata"]["annotations"] = {"cnpg.io/fencedInstances": "postgres-2"}
    c = decode("pg_clusters", raw)
    assert (c.fenced, c.fenced_unreadable) == ((), "postgres-2")
    raw["metadata"]["annotations"] = {"cnpg.io/fencedInstances": "null"}
    nobody = decode("pg_clusters", raw)
    assert (nobody.fenced, nobody.fenced_unreadable) == ((), "")


def test_hostile_text_is_made_plain() -> None:
    """Escape and bidi characters in a phase or an instance name never reach a screen; markup stays visible text."""
    c = decode("pg_clusters", cluster(phase=HOSTILE, currentPrimary=HOSTILE, instanceNames=[HOSTILE]))
    for text in (c.phase, c.current_primary, c.instance_names[0]):
        assert "\x1b" not in text
        assert "\u202e" not in text
        assert "[/b]" in text


def test_a_cluster_just_made_has_no_status() -> None:
    """Before the operator speaks everything is empty, and nothing is guessed."""
    c = decode("pg_clusters", {"metadata": meta("new", "cold"), "spec": {"instances": 3}})
    assert (c.phase, c.current_primary, c.timeline, c.nodes_used, c.ready_instances) == ("", "", None, None, 0)


def test_synchronous_replication_and_replica_clusters() -> None:
    """The configuration that decides about lost writes is read; a distributed topology's follower is a replica cluster."""
    raw = cluster()
    raw["spec"]["postgresql"] = {"synchronous": {"method": "any", "number": 1, "dataDurability": "preferred"}}
    raw["spec"]["replica"] = {"primary": "other", "source": "other"}
    c = decode("pg_clusters", raw)
    assert c.synchronous == Synchronous("any", 1, "preferred", False)
    assert c.replica_cluster


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-05-01 10:00:00 +0000 UTC", datetime(2026, 5, 1, 10, tzinfo=UTC)),
        ("2026-05-01 12:00:00 +0200 CEST", datetime(2026, 5, 1, 10, tzinfo=UTC)),
        ("2026-05-01T10:00:00.123456Z", datetime(2026, 5, 1, 10, 0, 0, 123456, UTC)),
        ("2026-05-01T10:00:00", None),
        ("0001-01-01T00:00:00Z", None),
        ("soon", None),
        ("", None),
    ],
)
def test_times_written_as_text(text: str, expected: datetime | None) -> None:
    """Go's own form and RFC 3339 are times; text without a zone, Go's zero time and nonsense are not."""
    assert moment(text) == expected


def test_a_pooler() -> None:
    """Wanted and actual instances of a pooler are told apart."""
    p = decode(
        "pg_poolers",
        {
            "metadata": meta("pool", "cold"),
            "spec": {"cluster": {"name": "cold-postgres"}, "type": "ro", "instances": 2, "pgbouncer": {"poolMode": "transaction"}},
            "status": {"instances": 1},
        },
    )
    assert (p.cluster, p.type, p.instances, p.ready, p.pool_mode) == ("cold-postgres", "ro", 2, 1, "transaction")


def test_a_failover_quorum() -> None:
    """How many of which synchronous standbys must have confirmed a commit is read from the status; one without a status names nobody."""
    q = decode(
        "pg_quorums",
        {
            "metadata": meta("cold-postgres", "cold"),
            "status": {
                "method": "ANY",
                "primary": "cold-postgres-1",
                "standbyNames": ["cold-postgres-2", "cold-postgres-3"],
                "standbyNumber": 1,
            },
        },
    )
    assert (q.key, q.primary, q.standby_names, q.standby_number) == (
        "cold/cold-postgres",
        "cold-postgres-1",
        ("cold-postgres-2", "cold-postgres-3"),
        1,
    )
    empty = decode("pg_quorums", {"metadata": meta("cold-postgres", "cold")})
    assert (empty.standby_names, empty.standby_number) == ((), 0)
