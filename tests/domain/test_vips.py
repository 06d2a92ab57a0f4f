"""Who announces an address, who would, and what is wrong with it."""

from __future__ import annotations

import hashlib

import pytest

from coldtui.domain import vips
from coldtui.domain.problems import Severity
from coldtui.domain.readings import Freshness, Known, Unknown
from coldtui.domain.verdicts import Grade
from coldtui.domain.vips import IpPool, Vip
from coldtui.domain.world import World
from tests.sample import NOW, Site, ago, broken, build, endpoint_slice, healthy, l2_status, meta, node, state, vip_service

IP = "192.168.15.200"


def one(world: World) -> Vip:
    (found,) = vips.vips(world)
    return found


def word(site: Site) -> tuple[Grade, str]:
    found = one(build(site)).verdict
    return found.grade, found.word


def test_an_announced_address() -> None:
    """Service, pool, announcer and endpoints are joined; the elected node is MetalLB's own arithmetic."""
    v = one(build(healthy()))
    nodes = ["k3s-master", "k3s-worker-1", "k3s-worker-2", "k3s-worker-3", "k3s-worker-4"]
    order = sorted(nodes, key=lambda n: hashlib.sha256(f"{n}#{IP}".encode()).hexdigest())
    assert (v.address, v.pool, v.announcers, v.endpoints_ready, v.endpoints) == (IP, "lan", ("k3s-worker-3",), 1, 1)
    assert isinstance(v.elected, Known)
    assert isinstance(v.following, Known)
    assert v.elected.value == order[0]
    assert v.following.value == next(n for n in order if n != "k3s-worker-3")
    assert v.verdict.grade is Grade.GOOD
    assert vips.problems(build(healthy()), NOW) == ()


def no_announcer(site: Site) -> None:
    site["l2_statuses"] = []


def no_endpoint(site: Site) -> None:
    site["endpointslices"] = [endpoint_slice(ready=False)]


def no_advertisement(site: Site) -> None:
    site["l2_advertisements"] = [{"metadata": meta("other", "m"), "spec": {"ipAddressPools": ["other"]}}]


def no_address(site: Site) -> None:
    site["services"] = [vip_service(ip="")]


def two_announcers(site: Site) -> None:
    second = l2_status("k3s-worker-1")
    second["metadata"]["name"] = "l2-zzz"
    site["l2_statuses"].append(second)


def dead_announcer(site: Site) -> None:
    site["nodes"] = [node(n["metadata"]["name"], ready="Unknown") if n["metadata"]["name"] == "k3s-worker-3" else n for n in site["nodes"]]


@pytest.mark.parametrize(
    ("break_it", "grade", "said", "sentence"),
    [
        (no_announcer, Grade.BAD, "no announcer", f"VIP {IP} (cold-postgres-vip) is announced by nobody"),
        (no_endpoint, Grade.BAD, "no endpoints", f"VIP {IP} (cold-postgres-vip) has no ready endpoint"),
        (no_advertisement, Grade.BAD, "not announced", f"VIP {IP} (cold-postgres-vip) is announced by nobody"),
        (no_address, Grade.BAD, "no address", "service cold-postgres-vip has no address"),
        (two_announcers, Grade.PART, "two announcers", f"VIP {IP} (cold-postgres-vip) is announced by 2 nodes"),
        (dead_announcer, Grade.UNKNOWN, "unknown", f"VIP {IP} (cold-postgres-vip): its announcer k3s-worker-3 is NotReady"),
    ],
)  # fmt: skip
def test_each_fault_has_its_grade_and_its_problem(break_it: object, grade: Grade, said: str, sentence: str) -> None:
    """What keeps an address from working is told apart, and each is in the list of problems."""
    site = broken()
    assert callable(break_it)
    break_it(site)
    assert word(site) == (grade, said)
    assert sentence in [p.sentence for p in vips.problems(build(site), NOW)]


@pytest.mark.parametrize("kind", ["services", "endpointslices", "l2_statuses", "nodes"])
@pytest.mark.parametrize("fresh", [f for f in Freshness if f is not Freshness.LIVE])
def test_unknown_is_never_green(kind: str, fresh: Freshness) -> None:
    """An address is called announced only while all that this rests on is live."""
    found = one(build(healthy(), sources={kind: state(kind, fresh)})).verdict
    assert found.grade is not Grade.GOOD
    assert found.why


def test_older_metallb_says_it_in_events() -> None:
    """Without ServiceL2Status the newest nodeAssigned event names the announcer, and its source is told."""
    site = broken()
    site["l2_statuses"] = []
    site["events"] = [
        {
            "metadata": meta(f"e{i}", "cold"), "reason": "nodeAssigned", "message": f'announcing from node "{on}" with protocol "layer2"', "type": "Normal",
            "involvedObject": {"kind": "Service", "name": "cold-postgres-vip", "namespace": "cold"}, "lastTimestamp": ago(hours=i), "firstTimestamp": ago(hours=i),
        }
        for i, on in ((2, "k3s-worker-1"), (1, "k3s-worker-2"))
    ]  # fmt: skip
    v = one(build(site, sources={"l2_statuses": state("l2_statuses", Freshness.NOT_INSTALLED)}))
    assert (v.announcers, v.announced_by, v.verdict.word) == (("k3s-worker-2",), "events", "announced")


def test_who_may_announce() -> None:
    """Excluded, not ready and unmatched nodes are no candidates; with policy Local only nodes with an endpoint are."""
    site = broken()
    site["nodes"][1]["metadata"]["labels"]["node.kubernetes.io/exclude-from-external-load-balancers"] = ""
    site["nodes"][2] = node("k3s-worker-2", ready="False")
    site["l2_advertisements"][0]["spec"]["nodeSelectors"] = [
        {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "NotIn", "values": ["k3s-worker-4", "k3s-master"]}]}
    ]
    v = one(build(site))
    assert isinstance(v.elected, Known)
    assert v.elected.value == "k3s-worker-3"
    assert v.following == Unknown("election", "no other node may announce it")
    local = broken()
    local["services"] = [vip_service(externalTrafficPolicy="Local")]
    elected = one(build(local)).elected
    assert isinstance(elected, Known)
    assert elected.value == "k3s-worker-1"


def test_pools_hold_addresses() -> None:
    """CIDRs and ranges of both families hold what lies in them; nonsense holds nothing."""
    pool = IpPool("m", "p", ("10.0.0.0/24", "192.168.1.5-192.168.1.9", "fd00::/64"))
    assert [vips.contains(pool, a) for a in ("10.0.0.7", "192.168.1.9", "192.168.1.10", "fd00::1", "x")] == [True, True, False, True, False]
    assert not vips.contains(IpPool("m", "p", ("garbage",)), "10.0.0.1")


def test_an_address_that_nobody_holds() -> None:
    """A configured address without a Service is bad when services are known, and unknown when they are not."""
    assert vips.vip(build(healthy()), "10.9.9.9").verdict.word == "no Service"
    world = build({}, sources={"services": state("services", Freshness.LOADING)})
    assert vips.vip(world, "10.9.9.9").verdict.grade is Grade.UNKNOWN


def test_a_full_pool_is_a_notice() -> None:
    """A pool without a free address fails the next service."""
    site = broken()
    site["ip_pools"][0]["status"] = {"assignedIPv4": 11, "availableIPv4": 0}
    assert [(p.severity, p.sentence) for p in vips.problems(build(site), NOW)] == [
        (Severity.NOTICE, "address pool lan is used up (11 assigned)")
    ]


def test_the_database_is_found_behind_its_address() -> None:
    """Services that select the cluster, or one of its poolers, lead to the database; the writable one stands first."""
    site = broken()
    site["services"].append(
        vip_service("ro", "192.168.15.201", selector={"cnpg.io/cluster": "cold-postgres", "cnpg.io/instanceRole": "replica"})
    )
    site["services"].append(vip_service("pool", "192.168.15.202", selector={"cnpg.io/poolerName": "pool"}))
    site["services"].append(vip_service("web", "192.168.15.203", selector={"app": "web"}))
    site["pg_poolers"] = [{"metadata": meta("pool", "cold"), "spec": {"cluster": {"name": "cold-postgres"}, "type": "rw"}}]
    world = build(site)
    found = vips.database_vips(world, world.pg_clusters.items["cold/cold-postgres"])
    assert [v.address for v in found] == [IP, "192.168.15.202", "192.168.15.201"]
