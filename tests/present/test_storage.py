"""Storage as rows, card and JSON."""

from __future__ import annotations

from coldtui.domain.nodes import VolumeFill
from coldtui.domain.readings import Freshness
from coldtui.present import storage
from coldtui.present.lines import plain_text
from coldtui.present.rows import Tone
from tests.sample import GIB, NOW, broken, build, healthy, lh_engine, lh_node, lh_volume, state


def test_a_volume_row() -> None:
    """Claim, health, copies, size, fill, node, bytes on disk and age of the backup on one line."""
    world = build(healthy(), fills=(VolumeFill("cold", "postgres-1", 100, 90),))
    row = storage.VOLUMES.row(world, world.lh_volumes.items["longhorn-system/pvc-7f31"], NOW)
    assert [c.text for c in row.cells][:8] == ["cold/postgres-1", "● healthy", "3/3", "10 GiB", "90%", "k3s-worker-1", "4 GiB", "3h"]
    assert row.cells[4].tone is Tone.WARN


def test_copies_are_unknown_while_replicas_are_not_read() -> None:
    """`?/3` instead of 0/3."""
    site = broken()
    site["lh_replicas"] = []
    world = build(site, sources={"lh_replicas": state("lh_replicas", Freshness.LOADING)})
    assert storage.VOLUMES.row(world, world.lh_volumes.items["longhorn-system/pvc-7f31"], NOW).cells[2].text == "?/3"


def test_a_rebuild_shows_its_progress() -> None:
    """The degraded volume says how far its rebuild is, in row and card."""
    site = broken()
    site["lh_volumes"] = [lh_volume(robustness="degraded")]
    site["lh_engines"] = [lh_engine(rebuildStatus={"tcp://a:1": {"isRebuilding": True, "progress": 40}})]
    world = build(site)
    assert storage.VOLUMES.row(world, world.lh_volumes.items["longhorn-system/pvc-7f31"], NOW).cells[1].text == "◐ rebuild 40%"
    assert "◐ 1 rebuild 40%" in plain_text(storage.storage_card(world, NOW, 80))


def test_a_longhorn_node_row() -> None:
    """Fullness, room and promises; a disk that tells nothing gives dashes, never zeros."""
    world = build(healthy())
    row = storage.NODES.row(world, world.lh_nodes.items["longhorn-system/k3s-worker-1"], NOW)
    assert [c.text for c in row.cells][:7] == ["k3s-worker-1", "● ready", "30%", "70 GiB", "100 GiB", "20 GiB", "2"]
    world = build({"lh_nodes": [lh_node("w", 0, 0)]})
    dark = storage.NODES.row(world, world.lh_nodes.items["longhorn-system/w"], NOW)
    assert [c.text for c in dark.cells][1:5] == ["? disk unknown", "–", "–", "–"]


def test_the_card() -> None:
    """Capacity with a bar, health of volumes, the tightest disk, promises against the limit."""
    text = plain_text(storage.storage_card(build(healthy()), NOW, 60)).splitlines()
    assert text[0] == "90 GiB of 300 GiB ██████░░░░░░░░░░░░░░ 30%"
    assert text[1] == "1 volume  ● 1 healthy"
    assert text[2] == "Tightest  k3s-worker-1 30%"
    assert text[3] == "Promised  60 GiB of 210 GiB  to all copies"


def test_totals_that_miss_a_part_say_so() -> None:
    """A disk without information makes `≥`; a stale source says how old."""
    site = broken()
    site["lh_nodes"][0] = lh_node("k3s-worker-1", 0, 0)
    assert plain_text(storage.storage_card(build(site), NOW, 80)).startswith("≥ 60 GiB of ≥ 200 GiB")
    stale = plain_text(storage.storage_card(build(healthy(), sources={"lh_nodes": state("lh_nodes", Freshness.STALE)}), NOW, 80))
    assert "stale 30s" in stale.splitlines()[0]
    partial = plain_text(
        storage.storage_card(build(healthy(), sources={"lh_volumes": state("lh_volumes", Freshness.LIVE, partial=True)}), NOW, 80)
    )
    assert "≥ 1 volumes" in partial
    assert "healthy" not in partial


def test_without_longhorn() -> None:
    """Not installed is said; claims of other storage are counted, capacity is not guessed."""
    site = {"claims": healthy()["claims"]}
    sources = {k: state(k, Freshness.NOT_INSTALLED) for k in ("lh_nodes", "lh_volumes")}
    text = plain_text(storage.storage_card(build(site, sources=sources), NOW, 80))
    assert text.splitlines() == ["Longhorn nodes: not installed", "1 claim of other storage"]


def test_the_site_document() -> None:
    """The three keys in Gi, exact bytes beside; null with a reason when Longhorn is not there."""
    found = storage.status_json_storage(build(healthy()), NOW)
    assert {k: v for k, v in found.items() if not k.startswith("_")} == {"total_capacity": "300Gi", "used": "90Gi", "available": "210Gi"}
    assert (found["_total_b"], found["_whole"], found["_volumes"]) == (300 * GIB, True, 1)
    none = storage.status_json_storage(build({}, sources={"lh_nodes": state("lh_nodes", Freshness.NOT_INSTALLED)}), NOW)
    assert none["total_capacity"] is None
    assert none["_reasons"]["total_capacity"] == "Longhorn nodes are not installed here"


def test_claims_and_detail_panes() -> None:
    """A claim's row; a volume's pane lists its copies by node, a node's its disks."""
    world = build(healthy(), fills=(VolumeFill("cold", "postgres-1", 100, 45),))
    row = storage.CLAIMS.row(world, world.claims.items["cold/postgres-1"], NOW)
    assert [c.text for c in row.cells][:5] == ["cold", "postgres-1", "● Bound", "10 GiB", "45%"]
    pane = plain_text(storage.describe_volume(world, world.lh_volumes.items["longhorn-system/pvc-7f31"], NOW))
    assert all(f"● good  k3s-worker-{n}" in pane for n in (1, 2, 3))
    assert "/var/lib/longhorn/" in plain_text(storage.describe_node(world, world.lh_nodes.items["longhorn-system/k3s-worker-1"], NOW))
