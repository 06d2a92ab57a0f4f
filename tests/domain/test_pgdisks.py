"""Disks of an instance: by the kubelet where it tells, else only how large the claim is."""

from __future__ import annotations

from coldtui.domain import storage_troubles
from coldtui.domain.nodes import VolumeFill
from coldtui.domain.pgdisks import disks, fullest
from coldtui.domain.postgres import instances
from coldtui.domain.readings import Known, Unknown
from tests.sample import GIB, NOW, build, healthy


def test_used_and_whole() -> None:
    """A volume of data and one of WAL, each with its share; what no kubelet tells is unknown with the reason, never empty."""
    site = healthy()
    site["pg_clusters"][0]["spec"]["walStorage"] = {"size": "2Gi"}
    fills = (VolumeFill("cold", "postgres-1", 10 * GIB, 4 * GIB), VolumeFill("cold", "postgres-1-wal", 2 * GIB, GIB * 3 // 2))
    world = build(site, fills=fills)
    c = world.pg_clusters.items["cold/cold-postgres"]
    first, second, _ = instances(world, c)
    found = disks(world, c, first)
    assert [(d.what, d.claim) for d in found] == [("PGDATA", "postgres-1"), ("WAL", "postgres-1-wal")]
    worst = fullest(found)
    assert worst is not None
    assert (worst.what, worst.fraction) == ("WAL", 0.75)
    other = disks(world, c, second)[0]
    assert isinstance(other.used, Unknown)
    assert other.used.reason == "the kubelet of k3s-worker-2 was not asked"
    assert fullest(disks(world, c, second)) is None


def test_the_claim_tells_its_size() -> None:
    """Without a kubelet the size of the claim is known, its use is not."""
    world = build(healthy())
    c = world.pg_clusters.items["cold/cold-postgres"]
    found = disks(world, c, instances(world, c)[0])[0]
    assert not isinstance(found.used, Known)
    assert found.capacity_b == 10 * GIB
    assert found.fraction is None


def test_a_full_volume_is_named_after_its_instance() -> None:
    """An operator looks for the server that stops, not for a claim; how full it is does not make it another problem."""

    def told(data: int, wal: int) -> list[tuple[str, str, str]]:
        fills = (VolumeFill("cold", "postgres-1", 10 * GIB, data), VolumeFill("cold", "postgres-1-wal", 2 * GIB, wal))
        return [(p.sentence, p.hits, p.key) for p in storage_troubles.problems(build(healthy(), fills=fills), NOW)]

    first, second = told(GIB * 85 // 10, GIB * 19 // 10)
    assert first[:2] == ("data volume of postgres-1 is 85% full", "PostgreSQL of postgres-1 is stopped when it is full")
    assert second[0] == "WAL volume of postgres-1 is 95% full"
    assert [key for *_, key in told(GIB * 95 // 10, GIB * 18 // 10)] == [first[2], second[2]]
