"""Nodes as rows, JSON and lines."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from immutables import Map

from coldtui.domain.readings import Unknown
from coldtui.domain.world import World
from coldtui.present.lines import plain_text
from coldtui.present.nodes import NODES, NODES_PLAIN, detail, json_of
from coldtui.present.rows import Row, Tone
from tests.tui.worlds import HOSTILE, NOW, forbidden, healthy, loading, node, stale, with_nodes


def row(world: World, name: str = "k3s-master") -> dict[str, str]:
    made: Row = NODES.row(world, world.nodes.items[name], NOW)
    return {column.id: cell.text for column, cell in zip(NODES.columns, made.cells, strict=True)}


def plain_row(world: World, name: str) -> dict[str, str]:
    made = NODES_PLAIN.row(world, world.nodes.items[name], NOW)
    return {column.title: cell.text for column, cell in zip(NODES_PLAIN.columns, made.cells, strict=True)}


def test_a_healthy_node_says_everything_in_one_row() -> None:
    """Every column of a healthy node has its value from the right source."""
    assert row(healthy()) == {
        "name": "k3s-master", "status": "● Ready", "roles": "control-plane,master", "cpu": "71%", "mem": "65%", "disk": "38%", "pods": "2/110",
        "age": "41d", "version": "v1.34.4+k3s1", "ip": "192.168.15.110", "cpu_req": "2%", "mem_req": "2%", "lease": "0s", "taints": "<none>",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("ready", "cordoned", "word", "glyph"),
    [
        ("True", False, "Ready", "●"),
        ("False", False, "NotReady", "▲"),
        ("Unknown", False, "NotReady", "▲"),
        ("True", True, "Ready,SchedulingDisabled", "◐"),
        ("Unknown", True, "NotReady,SchedulingDisabled", "▲"),
    ],
)
def test_status_is_kubectls_word_with_a_glyph(ready: str, cordoned: bool, word: str, glyph: str) -> None:
    """The status is kubectl's word; the glyph beside it tells trouble without colour."""
    world = with_nodes(healthy(), [node("n1", ready=ready, cordoned=cordoned)])
    assert row(world, "n1")["status"] == f"{glyph} {word}"
    assert plain_row(world, "n1")["STATUS"] == word


def test_roles_of_a_worker_without_labels_are_none() -> None:
    """A node without role labels shows kubectl's <none>, and is a worker in the site document."""
    world = healthy()
    assert row(world, "k3s-worker-1")["roles"] == "<none>"
    assert json_of(world, world.nodes.items["k3s-worker-1"], NOW)["role"] == "worker"


def test_a_stale_node_is_never_green() -> None:
    """With the API lost, no cell of a node that was ready keeps the tone of health."""
    world = stale(healthy())
    made = NODES.row(world, world.nodes.items["k3s-master"], NOW)
    assert made.dim
    assert made.cells[1].text == "○ Ready"
    assert Tone.GOOD not in {cell.tone for cell in made.cells}
    assert Tone.GOOD not in {cell.tone for line in detail(world, world.nodes.items["k3s-master"], NOW) for cell in line}


def test_json_has_the_site_documents_keys_and_floats() -> None:
    """The node of the site document: exactly its keys without underscore, percentages as floats with one decimal."""
    world = healthy()
    found = json_of(world, world.nodes.items["k3s-master"], NOW)
    assert {k: v for k, v in found.items() if not k.startswith("_")} == {
        "name": "k3s-master", "status": "Ready", "role": "control-plane,master", "cpu_usage": 71.0, "memory_usage": 65.5, "disk_usage": 38.0, "pods": 2,
    }  # fmt: skip
    assert found["_reasons"] == {}
    assert found["_age_s"] == 2


def test_unknown_usage_is_null_with_a_reason_and_never_zero() -> None:
    """What no source tells is null in JSON, – in the row, and the reason is beside it."""
    world = forbidden(healthy(), "node_usage")
    world = replace(world, node_stats=world.node_stats.set("k3s-master", Unknown("kubelet k3s-master", "needs get on nodes/stats")))
    found = json_of(world, world.nodes.items["k3s-master"], NOW)
    assert (found["cpu_usage"], found["memory_usage"], found["disk_usage"]) == (None, None, None)
    assert found["_reasons"]["cpu_usage"].startswith("not permitted")
    assert found["_reasons"]["disk_usage"] == "needs get on nodes/stats"
    assert (row(world)["cpu"], row(world)["disk"]) == ("–", "–")


def test_pods_that_were_never_read_are_unknown() -> None:
    """A node whose pods were not read shows ? and null, not 0."""
    base = healthy()
    world = replace(loading(), nodes=base.nodes)
    assert row(world)["pods"] == "?/110"
    assert json_of(world, world.nodes.items["k3s-master"], NOW)["pods"] is None


def test_pods_of_a_partial_list_are_a_lower_bound() -> None:
    """While the list of pods still arrives, the count says that it is at least so many."""
    base = healthy()
    world = replace(base, sources=base.sources.set("pods", replace(base.sources["pods"], partial=True)))
    assert row(world)["pods"] == "≥ 2/110"


def test_plain_columns_begin_as_kubectl_does() -> None:
    """The command line's columns are kubectl's first, in its order, with its exact ages."""
    assert [c.title for c in NODES_PLAIN.columns[:5]] == ["NAME", "STATUS", "ROLES", "AGE", "VERSION"]
    world = with_nodes(healthy(), [replace(node("n1"), created=NOW - timedelta(seconds=77))])
    assert plain_row(world, "n1")["AGE"] == "77s"


def test_trouble_agrees_with_the_judge() -> None:
    """The trouble-only filter keeps exactly the nodes that the domain calls troubled."""
    world = with_nodes(healthy(), [node("fine"), node("bad", ready="False")])
    assert [name for name, n in world.nodes.items.items() if NODES.trouble(world, n, NOW)] == ["bad"]


def test_sorting_by_usage_puts_the_fullest_first_and_the_unknown_last() -> None:
    """Sort keys ascend to what matters: the busiest node first, one without a sample last."""
    world = with_nodes(healthy(), [*healthy().nodes.items.values(), node("unknown")])
    ordered = sorted(world.nodes.items.values(), key=lambda n: NODES.sorts["cpu"](world, n))
    assert (ordered[0].name, ordered[-1].name) == ("k3s-master", "unknown")


def test_detail_tells_sizes_conditions_and_versions() -> None:
    """The node's page has capacity, allocatable, requests, limits and usage, each condition, and the versions."""
    world = healthy()
    text = plain_text(detail(world, world.nodes.items["k3s-master"], NOW))
    for words in (
        "ALLOC",
        "REQUESTS",
        "LIMITS",
        "5680m 71%",
        "● Ready",
        "● DiskPressure",
        "containerd://2.1.5-k3s1",
        "no trouble known",
    ):
        assert words in text


def test_hostile_names_stay_in_their_cell() -> None:
    """A name with markup or wide letters is shown as it is and parsed by nobody."""
    for name in HOSTILE:
        world = with_nodes(healthy(), [node(name)])
        assert row(world, name)["name"] == name
        assert NODES.row(world, world.nodes.items[name], NOW).cells[0].spans == ()


def test_an_empty_world_has_no_rows() -> None:
    """Nothing read means no rows, not invented ones."""
    assert dict(NODES.items(replace(loading(), node_stats=Map()))) == {}
