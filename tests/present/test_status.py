"""The site at a glance."""

from __future__ import annotations

from dataclasses import replace

import pytest

from coldtui.domain.nodes import NodeUsage
from coldtui.present.lines import plain_text, width
from coldtui.present.rows import Tone
from coldtui.present.status import cluster_card, cluster_json, deployments_card, events_card, report, status_json, title
from tests.tui.worlds import NOW, deployment, failed, healthy, loading, lost, node, saved, with_nodes, with_shelf


def card(world: object, cells: int = 60) -> str:
    return plain_text(cluster_card(world, NOW, cells))  # type: ignore[arg-type]  # a World; object keeps the call sites short


def test_cluster_json_is_the_site_documents() -> None:
    """The cluster part has exactly the document's keys, with source and age beside."""
    found = cluster_json(healthy(), NOW)
    assert {k: v for k, v in found.items() if not k.startswith("_")} == {
        "total_nodes": 5, "ready_nodes": 5, "master_node": "k3s-master", "k3s_version": "v1.34.4+k3s1",
    }  # fmt: skip
    assert (found["_age_s"], found["_sources"], found["_reasons"]) == (2, {"nodes": "live"}, {})


def test_cluster_json_of_an_unread_site_is_null() -> None:
    """Never read means null, not zero nodes."""
    found = cluster_json(loading(), NOW)
    assert (found["total_nodes"], found["ready_nodes"], found["master_node"], found["k3s_version"]) == (None, None, None, None)
    assert found["_reasons"]["total_nodes"] == "loading"


def test_status_json_is_the_site_documents() -> None:
    """Four parts with exactly the document's keys; source, age and reasons stand beside with an underscore."""
    found = status_json(healthy(), NOW)
    bare = {part: [key for key in values if not key.startswith("_")] for part, values in found.items() if not part.startswith("_")}
    assert bare == {
        "cluster": ["total_nodes", "ready_nodes", "master_node", "k3s_version"],
        "database": ["status", "primary", "replicas", "replication_lag", "vip_status"],
        "storage": ["total_capacity", "used", "available"],
        "backups": ["last_backup", "backup_status", "r2_connection"],
    }
    assert all(found[part]["_source"] == "kubernetes" and found[part]["_age_s"] == 2 for part in bare)


def test_status_json_of_an_unread_site_has_no_fact() -> None:
    """Nothing read means null everywhere, with a reason for each null."""
    found = status_json(loading(), NOW)
    for part in ("cluster", "database", "storage", "backups"):
        for key, value in found[part].items():
            if not key.startswith("_"):
                assert value is None, (part, key)
                assert found[part]["_reasons"][key], (part, key)


def test_cluster_card_tells_the_worst_node_beside_each_share() -> None:
    """CPU, memory and disk show the whole and the worst node."""
    text = card(healthy())
    assert "● 5 ready" in text
    assert "15 running" in text
    assert "CPU" in text
    assert "worst k3s-master 71%" in text
    assert "worst k3s-worker-2 62%" in text


def test_a_missing_sample_is_said() -> None:
    """A share over fewer nodes than there are says over how many."""
    world = with_shelf(healthy(), "node_usage", [NodeUsage("k3s-master", 4000, 2**30, NOW)])
    assert "50% of 1/5 nodes" in card(world)


@pytest.mark.parametrize("cells", [30, 39, 41, 60, 110])
def test_cards_fit_their_width(cells: int) -> None:
    """No card's line is wider than its room, whatever the site looks like."""
    long_names = with_nodes(healthy(), [node("n" * 120)])
    for world in (healthy(), lost(healthy()), loading(), long_names):
        for line in (*cluster_card(world, NOW, cells), *deployments_card(world, NOW, cells, 5), *events_card(world, NOW, cells, 5)):
            assert sum(width(cell.text) for cell in line) <= cells


def test_nothing_is_green_when_lost_loading_or_saved() -> None:
    """Cards and title of a site that is not live carry no tone of health."""
    for world in (lost(healthy()), loading(), saved(healthy())):
        head = title(world, NOW)
        lines = (
            *cluster_card(world, NOW, 60),
            *deployments_card(world, NOW, 60, 5),
            *events_card(world, NOW, 60, 5),
            (*head.sources, head.nodes),
        )
        assert Tone.GOOD not in {cell.tone for line in lines for cell in line}


def test_title_tells_each_group_of_sources() -> None:
    """Live, stale, saved, loading and failed sources read differently in the title."""
    assert [c.text for c in title(healthy(), NOW).sources][:2] == ["● kube", "● pg"]
    assert title(lost(healthy()), NOW).sources[0].text == "○ kube stale 30s"
    assert title(saved(healthy()), NOW).sources[0].text == "○ kube saved 12m"
    assert title(loading(), NOW).sources[0].text == "· kube loading"
    assert title(failed(healthy(), "pg_clusters"), NOW).sources[1].text == "▲ pg failed"
    assert title(loading(), NOW).nodes.text == "?/? nodes"
    assert title(healthy(), NOW).nodes.text == "5/5 nodes"


def test_a_dead_node_changes_the_card_and_the_title() -> None:
    """One node that is not ready shows in glyph, number and tone."""
    world = with_nodes(healthy(), [node("a"), node("b", ready="False")])
    assert "▲ 1 of 2 ready" in card(world)
    assert title(world, NOW).nodes.tone is Tone.BAD


def test_deployments_in_trouble_come_first_and_the_rest_is_counted() -> None:
    """A short card shows what needs an eye and how many more there are."""
    some = [deployment(f"fine-{i}") for i in range(6)] + [deployment("broken", available=0)]
    world = with_shelf(healthy(), "deployments", some)
    lines = plain_text(deployments_card(world, NOW, 70, 4)).splitlines()
    assert "broken" in lines[0]
    assert lines[-1].strip() == "4 more, 4 complete"


def test_an_empty_site_says_so_and_an_unread_one_does_not() -> None:
    """No deployments and not read yet are different words."""
    empty = with_shelf(with_shelf(healthy(), "deployments", []), "events", [])
    assert plain_text(deployments_card(empty, NOW, 60, 4)) == "no deployments"
    assert plain_text(events_card(empty, NOW, 60, 4)) == "no events in the last hour"
    assert plain_text(deployments_card(replace(loading()), NOW, 60, 4)) == "loading"


def test_the_report_is_the_whole_site_in_plain_lines() -> None:
    """`coldtui status` tells title, problems and every card."""
    text = plain_text(report(healthy(), NOW))
    for words in ("cold-site", "5/5 nodes", "PostgreSQL", "cold-postgres-1", "Storage", "Recoverable", "Deployments", "cold-backend"):
        assert words in text
    assert "CRITICAL  Kubernetes API" in plain_text(report(lost(healthy()), NOW))
