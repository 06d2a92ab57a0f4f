"""Services, endpoints and MetalLB objects as bytes in, values out."""

from __future__ import annotations

from coldtui.domain.selectors import Expression, Selector
from tests.sample import HOSTILE, decode, endpoint_slice, healthy, l2_status, meta, vip_service


def test_a_load_balancer_service() -> None:
    """Address, pool (also under MetalLB's old prefix), ports and policy arrive."""
    s = decode("services", vip_service())
    assert (s.lb_ips, s.pool, s.traffic_policy, s.ports[0].port, s.ports[0].node_port) == (
        ("192.168.15.200",),
        "lan",
        "Cluster",
        5432,
        31000,
    )
    raw = vip_service()
    raw["metadata"]["annotations"] = {
        "metallb.universe.tf/loadBalancerIPs": "10.0.0.1, 10.0.0.2",
        "metallb.universe.tf/address-pool": HOSTILE,
    }
    old = decode("services", raw)
    assert old.wanted_ips == ("10.0.0.1", "10.0.0.2")
    assert "\x1b" not in old.wanted_pool


def test_endpoints_absent_conditions_mean_what_the_api_says() -> None:
    """No `ready` means ready, no `serving` means as ready."""
    raw = endpoint_slice()
    raw["endpoints"] = [
        {"addresses": ["a"]},
        {"addresses": ["b"], "conditions": {"ready": False}},
        {"addresses": ["c"], "conditions": {"ready": False, "serving": True}},
    ]
    points = decode("endpointslices", raw).endpoints
    assert [(e.ready, e.serving) for e in points] == [(True, True), (False, False), (False, True)]


def test_pools_advertisements_statuses() -> None:
    """Ranges, selectors and the announcer arrive; counts of a MetalLB that does not count are unknown."""
    site = healthy()
    pool = decode("ip_pools", site["ip_pools"][0])
    assert (pool.addresses, pool.assigned, pool.available) == (("192.168.15.200-192.168.15.210",), 1, 10)
    assert decode("ip_pools", {"metadata": meta("x", "m"), "spec": {"addresses": []}}).available is None
    advert = decode(
        "l2_advertisements",
        {
            "metadata": meta("a", "m"),
            "spec": {"nodeSelectors": [{"matchLabels": {"zone": "a"}, "matchExpressions": [{"key": "gpu", "operator": "Exists"}]}]},
        },
    )
    assert advert.node_selectors == (Selector({"zone": "a"}, (Expression("gpu", "Exists"),)),)
    status = decode("l2_statuses", l2_status())
    assert (status.node, status.service_key, status.interfaces) == ("k3s-worker-3", "cold/cold-postgres-vip", ("eth0",))
