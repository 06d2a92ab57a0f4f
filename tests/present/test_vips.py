"""Addresses as rows, a line and JSON."""

from __future__ import annotations

from coldtui.domain.readings import Freshness
from coldtui.present import vips
from coldtui.present.lines import plain_text
from tests.sample import NOW, broken, build, endpoint_slice, healthy, state, vip_service


def test_a_row() -> None:
    """Address, verdict, announcer, service and ready endpoints on one line."""
    world = build(healthy())
    (item,) = vips.VIPS.items(world).values()
    cells = [c.text for c in vips.VIPS.row(world, item, NOW).cells]
    assert cells[:5] == ["192.168.15.200", "● announced", "k3s-worker-3", "cold/cold-postgres-vip", "1/1"]
    assert cells[6:8] == ["5432/TCP", "lan"]


def test_endpoints_not_read_are_not_zero() -> None:
    """Without endpoint slices the count is a dash and the state unknown."""
    site = broken()
    site["endpointslices"] = []
    world = build(site, sources={"endpointslices": state("endpointslices", Freshness.LOADING)})
    (item,) = vips.VIPS.items(world).values()
    cells = [c.text for c in vips.VIPS.row(world, item, NOW).cells]
    assert (cells[1], cells[4]) == ("? unknown", "–")


def test_the_line_shows_the_worst() -> None:
    """One bad address of two is the one that is named."""
    site = broken()
    site["services"].append(vip_service("web", "192.168.15.201", selector={"app": "web"}))
    site["endpointslices"].append(endpoint_slice("web", ready=False))
    assert plain_text([vips.vip_line(build(site), NOW, 80)]) == "VIP      192.168.15.201 ▲ no endpoints  and 1 more"
    assert plain_text([vips.vip_line(build({}), NOW, 80)]) == "VIP      no LoadBalancer services"


def test_json_and_pane() -> None:
    """The prediction and who announces are there for scripts and in the pane."""
    world = build(healthy())
    (item,) = vips.VIPS.items(world).values()
    assert vips.VIPS.json is not None
    found = vips.VIPS.json(world, item, NOW)
    assert (found["announced_by"], found["endpoints_ready"], found["status"]) == (["k3s-worker-3"], 1, "announced")
    assert found["next"] != "k3s-worker-3"
    assert "lowest SHA-256" in plain_text(vips.describe(world, item, NOW))
