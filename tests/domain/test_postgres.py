"""Verdicts and problems of PostgreSQL clusters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from immutables import Map

from coldtui.domain import pgverdicts, postgres
from coldtui.domain.postgres import MAJOR_UPGRADE, PHASES
from coldtui.domain.problems import Severity, problems
from coldtui.domain.readings import Freshness, Unknown
from coldtui.domain.verdicts import Grade
from coldtui.domain.world import SiteFacts, World
from coldtui.present.postgres import archiving
from tests.sample import NOW, Raw, Site, ago, ahead, broken, build, cluster, healthy, instance_pod, node, state
from tests.topologies import claim

Break = Callable[[Site], None]


def status(**fields: object) -> Break:
    return lambda site: site["pg_clusters"][0]["status"].update(fields)


def note(name: str, value: str) -> Break:
    return lambda site: site["pg_clusters"][0]["metadata"]["annotations"].update({name: value})


def pod(number: int, **more: Any) -> Break:
    def do(site: Site) -> None:
        old: Raw = site["pods"][number - 1]
        site["pods"][number - 1] = instance_pod(old["metadata"]["name"], old["spec"]["nodeName"], old["metadata"]["labels"]["role"], **more)

    return do


def gone(number: int) -> Break:
    def do(site: Site) -> None:
        del site["pods"][number - 1]

    return do


def both(*breaks: Break) -> Break:
    def do(site: Site) -> None:
        for b in breaks:
            b(site)

    return do


def operator_down(site: Site) -> None:
    site["deployments"][0]["status"] = {"replicas": 1, "unavailableReplicas": 1}


def node_down(name: str) -> Break:
    def do(site: Site) -> None:
        site["nodes"] = [node(name, ready="Unknown") if n["metadata"]["name"] == name else n for n in site["nodes"]]

    return do


def condition(type_: str, status_: str, reason: str, message: str = "", since: str = "") -> Break:
    def do(site: Site) -> None:
        found = site["pg_clusters"][0]["status"]["conditions"]
        site["pg_clusters"][0]["status"]["conditions"] = [c for c in found if c["type"] != type_] + [
            {"type": type_, "status": status_, "reason": reason, "message": message, "lastTransitionTime": since or ago(minutes=9)}
        ]

    return do


def label(number: int, role: str) -> Break:
    return lambda site: site["pods"][number - 1]["metadata"]["labels"].update({"cnpg.io/instanceRole": role})


def second_primary(site: Site) -> None:
    site["pods"][1]["metadata"]["labels"]["cnpg.io/instanceRole"] = "primary"


def world_of(*breaks: Break) -> World:
    site = broken()
    for b in breaks:
        b(site)
    return build(site)


def judge(world: World) -> tuple[Grade, str]:
    found = pgverdicts.verdict(world, world.pg_clusters.items["cold/cold-postgres"], NOW)
    return found.grade, found.word


def test_the_healthy_site_is_healthy_and_has_no_problem() -> None:
    """The sample is fine through and through: otherwise no other test here would prove anything."""
    world = build(healthy())
    assert judge(world) == (Grade.GOOD, "healthy")
    assert problems(world, NOW) == ()


ASKED = status(targetPrimary="postgres-2", phase="Switchover in progress", targetPrimaryTimestamp=ago(seconds=75))
"""A switchover as it is asked for: whoever asks writes the phase too."""


CASES: list[tuple[str, Break, Grade, str, str]] = [
    ("replica crash-loops though the phase is healthy", both(status(readyInstances=2), pod(3, ready=False, waiting="CrashLoopBackOff")),
     Grade.PART, "degraded", "cold-postgres: 2 of 3 instances ready"),
    ("count is full but a pod is not ready", pod(3, ready=False), Grade.PART, "degraded", ""),
    ("primary not ready", both(status(readyInstances=2), pod(1, ready=False)), Grade.BAD, "primary down", "primary postgres-1 is not ready"),
    ("primary pod gone", both(status(readyInstances=2), gone(1)), Grade.BAD, "primary down", "primary postgres-1 has no pod"),
    ("switchover", status(targetPrimary="postgres-2", phase="Switchover in progress", targetPrimaryTimestamp=ago(seconds=20)), Grade.PART, "switching over",
     "switchover from postgres-1 to postgres-2"),
    ("switchover ignored", ASKED, Grade.PART, "switchover ignored", "switchover from postgres-1 to postgres-2 is ignored"),
    ("switchover hangs", both(ASKED, label(1, "unhealthy")), Grade.BAD, "switchover hangs", "switchover from postgres-1 to postgres-2 hangs"),
    ("switchover hangs with its old primary stopped", both(ASKED, pod(1, ready=False)), Grade.BAD, "switchover hangs", "hangs"),
    ("major upgrade", both(status(phase=MAJOR_UPGRADE, readyInstances=0), gone(3), gone(2), gone(1)), Grade.PART, "upgrading",
     "major upgrade, no writes until it ends"),
    ("failover waits", status(targetPrimary="pending", phase="Failing over"), Grade.BAD, "failing over", "failover from postgres-1 to nobody yet"),
    ("no primary named", status(currentPrimary="", targetPrimary=""), Grade.UNKNOWN, "unknown", "cold-postgres has no primary"),
    ("replica fenced", both(note("cnpg.io/fencedInstances", '["postgres-3"]'), status(readyInstances=2)), Grade.PART, "degraded", "postgres-3 fenced"),
    ("all fenced", note("cnpg.io/fencedInstances", '["*"]'), Grade.BAD, "fenced", "all instances fenced"),
    ("fence unreadable", note("cnpg.io/fencedInstances", "x"), Grade.UNKNOWN, "unknown", "what is fenced cannot be read"),
    ("hibernated", note("cnpg.io/hibernation", "on"), Grade.OFF, "hibernated", "cold-postgres is hibernated"),
    ("ignored by its operator", note("cnpg.io/reconciliationLoop", "disabled"), Grade.PART, "unmanaged", "is ignored by its operator"),
    ("archiving switched off", note("cnpg.io/skipWalArchiving", "enabled"), Grade.BAD, "not archiving", "archives no WAL"),
    ("archiving fails", condition("ContinuousArchiving", "False", "ContinuousArchivingFailing", "403"), Grade.BAD, "not archiving", "WAL archiving fails"),
    ("two primaries by label", second_primary, Grade.BAD, "two primaries", "postgres-1 and postgres-2 both say"),
    ("mixed systems", condition("ConsistentSystemID", "False", "Mismatch", "two IDs"), Grade.BAD, "mixed systems", "of different systems"),
    ("disk full", status(phase="Not enough disk space"), Grade.BAD, "disk full", "Not enough disk space"),
    ("unrecoverable", status(phase="Cluster is unrecoverable and needs manual intervention"), Grade.BAD, "unrecoverable", "unrecoverable"),
    ("waits for the user", status(phase="Waiting for user action"), Grade.PART, "waits for you", "waits for a manual switchover"),
    ("a phase of tomorrow", status(phase="Doing new things"), Grade.PART, "Doing new things", ""),
    ("operator silent", status(phase=""), Grade.UNKNOWN, "unknown", ""),
    ("operator down", operator_down, Grade.PART, "unmanaged", "operator is down (0 of 1)"),
    ("node of the primary cut off", node_down("k3s-worker-1"), Grade.UNKNOWN, "unknown", "primary postgres-1 may be gone"),
    ("node of a replica cut off", node_down("k3s-worker-3"), Grade.UNKNOWN, "unknown", ""),
    ("nothing ready", both(status(readyInstances=0), pod(1, ready=False), pod(2, ready=False), pod(3, ready=False)), Grade.BAD, "primary down", "0 of 3"),
]  # fmt: skip


@pytest.mark.parametrize(("break_it", "grade", "word", "sentence"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_each_fault_has_its_verdict_and_its_problem(break_it: Break, grade: Grade, word: str, sentence: str) -> None:
    """A fault changes the headline, never leaves it healthy, and where someone must know it is also in the one list of problems."""
    world = world_of(break_it)
    assert judge(world) == (grade, word)
    found = [p.sentence for p in pgverdicts.problems(world, NOW)]
    assert not sentence or any(sentence in s for s in found), found


def test_one_failed_attempt_to_archive_is_no_outage() -> None:
    """The condition is False from the first failed attempt on; red comes when more is missing than archive_timeout lets be missing."""
    for since, grade, severity in (({"seconds": 2}, Grade.PART, Severity.WARNING), ({"minutes": 6}, Grade.BAD, Severity.CRITICAL)):
        world = world_of(condition("ContinuousArchiving", "False", "ContinuousArchivingFailing", "403", ago(**since)))
        assert judge(world) == (grade, "not archiving")
        assert [p.severity for p in pgverdicts.problems(world, NOW) if "archiving fails" in p.sentence] == [severity]
        assert archiving(world.pg_clusters.items["cold/cold-postgres"], world).grade is grade


def test_writes_are_not_said_to_go_through_an_address_for_reads() -> None:
    """A cluster whose only address leads to its replicas loses no writes through it."""
    site = broken()
    gone(1)(site)
    vip = next(s for s in site["services"] if s["spec"].get("type") == "LoadBalancer")
    vip["spec"]["selector"] = {"cnpg.io/cluster": "cold-postgres", "cnpg.io/instanceRole": "replica"}
    found = next(p for p in pgverdicts.problems(build(site), NOW) if p.code == "primary-down")
    assert found.hits == "writes through cold-postgres-rw"


def test_a_major_upgrade_is_one_warning() -> None:
    """All pods are gone on purpose: neither a lost primary nor missing copies are reported, and nothing is critical."""
    world = world_of(both(status(phase=MAJOR_UPGRADE, readyInstances=0), gone(3), gone(2), gone(1)))
    assert [p.severity for p in pgverdicts.problems(world, NOW)] == [Severity.WARNING]


def test_an_ignored_switchover_takes_no_writes_away() -> None:
    """It hits nothing: the old primary leads as before. One that has begun and hangs does."""
    for role, hits in (("primary", "postgres-1 leads as before"), ("unhealthy", "writes through")):
        (found,) = (p for p in pgverdicts.problems(world_of(both(ASKED, label(1, role))), NOW) if p.code == "role-change")
        assert found.hits.startswith(hits)


def test_a_switchover_has_begun_when_the_old_primary_is_touched() -> None:
    """Its own word counts where its pod looks as before; the phase counts only where neither pods nor servers tell."""

    def held(world: World) -> str:
        return postgres.overdue(world, world.pg_clusters.items["cold/cold-postgres"], NOW)

    world = world_of(ASKED)
    leads = {"sql/postgres-1": claim("postgres-1"), "manager/postgres-1": claim("postgres-1", ended=True, source="manager")}
    assert held(replace(world, pg_claims=Map(leads))) == "ignored"
    silent = claim("postgres-1", ended=True)
    assert held(replace(world, pg_claims=Map({"sql/postgres-1": replace(silent, seen=NOW - timedelta(seconds=30))}))) == "hangs"
    assert held(replace(world, pg_claims=Map({"sql/postgres-1": replace(silent, seen=NOW)}))) == "ignored"  # one answer that was missed
    unread = build(healthy(), sources={"pods": state("pods", Freshness.LOADING)})
    cluster_ = replace(world.pg_clusters.items["cold/cold-postgres"], instance_names=())
    unread = replace(unread, pg_clusters=replace(unread.pg_clusters, items=unread.pg_clusters.items.set("cold/cold-postgres", cluster_)))
    assert held(unread) == "hangs"
    assert held(replace(unread, pg_claims=Map(leads))) == "ignored"


def test_who_is_left_is_counted_without_the_primary() -> None:
    """With the primary down both ready standbys are left; with a standby down one is."""
    for number, left in ((1, 2), (3, 1)):
        found = pgverdicts.problems(world_of(both(status(readyInstances=2), pod(number, ready=False))), NOW)
        assert [p.hits for p in found if p.code == "copies"] == [f"{left} left to fail over to"]


def test_the_sites_cluster_may_be_named_without_its_namespace() -> None:
    """As acts take it: by its bare name where one namespace has it, else by nothing but the whole key."""
    world = world_of(both(status()))
    for named, found in (
        ("cold-postgres", "cold/cold-postgres"),
        ("cold/cold-postgres", "cold/cold-postgres"),
        ("db/cold-postgres", ""),
        ("x", ""),
    ):
        cluster = postgres.site_cluster(replace(world, site=SiteFacts(pg_cluster=named)))
        assert (cluster.key if cluster is not None else "") == found


def test_a_bare_name_is_missing_only_where_no_one_cluster_has_it() -> None:
    """One that is there is no mistake; one that several namespaces have is said to be, and neither is chosen."""
    world = replace(world_of(both(status())), site=SiteFacts(pg_cluster="cold-postgres"))
    assert postgres.absent(world) is None
    twin = replace(world.pg_clusters.items["cold/cold-postgres"], namespace="db")
    both_ = replace(world, pg_clusters=replace(world.pg_clusters, items=world.pg_clusters.items.set(twin.key, twin)))
    assert postgres.site_cluster(both_) is None
    said = ("cluster cold-postgres of postgres.cluster is in 2 namespaces", "found: cold/cold-postgres, db/cold-postgres")
    assert postgres.absent(both_) == said
    assert said[0] in [p.sentence for p in pgverdicts.problems(both_, NOW)]


def test_a_long_restore_is_no_outage() -> None:
    """Before its first primary a cluster is not in use: that none of it is ready warns at most."""
    world = world_of(
        both(status(phase="Setting up primary", currentPrimary="", targetPrimary="", readyInstances=0), gone(3), gone(2), gone(1))
    )
    assert [(p.code, p.severity, p.hits) for p in pgverdicts.problems(world, NOW)] == [
        ("copies", Severity.WARNING, "not in use before it is set up")
    ]


def test_a_problem_stays_itself_while_its_numbers_change() -> None:
    """Rows and acknowledgements go by the key: one more instance that falls, or a day less on a certificate, is the same problem."""

    def keys(ready: int, days: int) -> set[str]:
        expires = (NOW + timedelta(days=days)).strftime("%Y-%m-%d %H:%M:%S +0000 UTC")
        return {
            p.key for p in pgverdicts.problems(world_of(status(readyInstances=ready, certificates={"expirations": {"s": expires}})), NOW)
        }

    assert keys(2, 6) == keys(1, 5)
    assert len(keys(2, 6)) == 2


@pytest.mark.parametrize("named", ["db/nope", "nope/cold-postgres"])
def test_a_configured_cluster_that_is_not_there_is_named(named: str) -> None:
    """A wrong name or namespace is said with what there is instead, and not before the clusters were read."""
    world = replace(build(healthy()), site=SiteFacts(pg_cluster=named))
    (found,) = pgverdicts.problems(world, NOW)
    assert found.severity is Severity.CRITICAL
    assert found.sentence == f"cluster {named} of postgres.cluster does not exist"
    assert "cold/cold-postgres" in found.cause
    unread = build(healthy(), sources={"pg_clusters": state("pg_clusters", Freshness.STALE)})
    assert not pgverdicts.problems(replace(unread, site=SiteFacts(pg_cluster=named)), NOW)
    assert not pgverdicts.problems(replace(world, site=SiteFacts(pg_cluster="cold/cold-postgres")), NOW)


@pytest.mark.parametrize("phase", [*PHASES, "", "anything else"])
def test_no_phase_is_green_with_an_instance_missing(phase: str) -> None:
    """Whatever phase the operator wrote, two of three ready is not healthy."""
    world = world_of(status(phase=phase, readyInstances=2), gone(3))
    assert judge(world)[0] is not Grade.GOOD


@pytest.mark.parametrize("kind", ["pg_clusters", "pods"])
@pytest.mark.parametrize("fresh", [f for f in Freshness if f is not Freshness.LIVE])
def test_unknown_is_never_green(kind: str, fresh: Freshness) -> None:
    """With the cluster's or the pods' source in any state but live, nothing is called healthy and the reason is said."""
    world = build(healthy(), sources={kind: state(kind, fresh)})
    found = pgverdicts.verdict(world, world.pg_clusters.items["cold/cold-postgres"], NOW)
    assert found.grade is Grade.UNKNOWN
    assert found.why


def test_a_first_list_still_arriving_is_not_green() -> None:
    """Half a list of pods proves nothing, though its source is live."""
    world = build(healthy(), sources={"pods": state("pods", Freshness.LIVE, partial=True)})
    assert judge(world)[0] is Grade.UNKNOWN


def test_missing_pods_are_no_fault_while_pods_are_not_read() -> None:
    """Before pods were read their absence says nothing, so no primary is reported down."""
    site = broken()
    site["pods"] = []
    world = build(site, sources={"pods": state("pods", Freshness.LOADING)})
    assert pgverdicts.problems(world, NOW) == ()
    assert {i.state for i in postgres.instances(world, world.pg_clusters.items["cold/cold-postgres"])} == {"?"}


def test_instances_come_primary_first_with_role_from_labels() -> None:
    """Roles come from the current label, then the old one, then the status; the primary stands first whatever its number."""
    site = broken()
    site["pg_clusters"][0]["status"] |= {"currentPrimary": "postgres-2", "targetPrimary": "postgres-2"}
    site["pods"][1]["metadata"]["labels"] |= {"cnpg.io/instanceRole": "primary", "role": "replica"}
    site["pods"][0]["metadata"]["labels"] = {"role": "replica"}
    site["pods"][2]["metadata"]["labels"] = {}
    found = postgres.instances(build(site), build(site).pg_clusters.items["cold/cold-postgres"])
    assert [(i.name, i.role) for i in found] == [("postgres-2", "primary"), ("postgres-1", "replica"), ("postgres-3", "replica")]


def test_lag_is_said_to_be_unknown() -> None:
    """Nothing watched tells the lag, so it is Unknown with a reason instead of 0."""
    world = build(healthy())
    lags = {i.lag_bytes for i in postgres.instances(world, world.pg_clusters.items["cold/cold-postgres"])}
    assert lags == {Unknown("sql", "needs SQL: no server was asked")}


def test_reported_primaries_do_not_alarm_during_a_switchover() -> None:
    """What instances reported is old while roles change: two reported primaries alarm only when none is under way."""
    reported = {n: {"isPrimary": n != "postgres-3", "timeLineID": 7} for n in ("postgres-1", "postgres-2", "postgres-3")}
    calm = world_of(status(instancesReportedState=reported))
    moving = world_of(status(instancesReportedState=reported, targetPrimary="postgres-2", targetPrimaryTimestamp=ago(seconds=5)))
    assert judge(calm)[1] == "two primaries"
    assert judge(moving)[1] == "switching over"


def test_certificates_warn_before_they_expire() -> None:
    """Eight days ahead is quiet, six days warns, the past is critical."""
    for days, severity in ((8, None), (6, Severity.WARNING), (-1, Severity.CRITICAL)):
        expires = (NOW + timedelta(days=days)).strftime("%Y-%m-%d %H:%M:%S +0000 UTC")
        found = pgverdicts.problems(world_of(status(certificates={"expirations": {"s": expires}})), NOW)
        assert [p.severity for p in found] == ([] if severity is None else [severity])


def test_instances_on_one_node_are_named() -> None:
    """Two copies on one node are one copy when it dies."""
    site = broken()
    site["pods"][1]["spec"]["nodeName"] = "k3s-worker-1"
    (found,) = pgverdicts.problems(build(site), NOW)
    assert (found.severity, found.sentence) == (Severity.NOTICE, "cold-postgres: postgres-1 and postgres-2 share k3s-worker-1")


def test_a_lost_primary_names_what_it_hits() -> None:
    """The problem says which service and which address clients lose."""
    world = world_of(status(readyInstances=2), gone(1))
    found = next(p for p in pgverdicts.problems(world, NOW) if "primary" in p.sentence)
    assert found.severity is Severity.CRITICAL
    assert "cold-postgres-rw" in found.hits
    assert "192.168.15.200" in found.hits


def test_a_diverged_replica_is_seen_by_its_timeline() -> None:
    """A healthy phase with two timelines is a replica that may have diverged."""
    reported = {
        n: {"isPrimary": n == "postgres-1", "timeLineID": 9 if n == "postgres-3" else 7} for n in ("postgres-1", "postgres-2", "postgres-3")
    }
    assert any("2 timelines" in p.sentence for p in pgverdicts.problems(world_of(status(instancesReportedState=reported)), NOW))


def test_a_replica_with_an_old_control_file_has_not_diverged() -> None:
    """After a role change a standby goes on reporting the old timeline until its restartpoint: nothing is said of it, and none is shown."""
    reported = {
        n: {"isPrimary": n == "postgres-1", "timeLineID": 7 if n == "postgres-1" else 6} for n in ("postgres-1", "postgres-2", "postgres-3")
    }
    world = world_of(status(instancesReportedState=reported))
    assert not any("timeline" in p.sentence for p in pgverdicts.problems(world, NOW))
    c = world.pg_clusters.items["cold/cold-postgres"]
    assert [i.timeline for i in postgres.instances(world, c)] == [7, None, None]


def test_the_site_cluster_is_the_configured_one() -> None:
    """A configured name wins and is not replaced by another cluster when it is missing."""
    site = broken()
    other = cluster()
    other["metadata"] |= {"name": "another", "namespace": "a"}
    site["pg_clusters"].append(other)
    world = build(site)
    assert postgres.site_cluster(world) == world.pg_clusters.items["a/another"]
    named = replace(world, site=SiteFacts(pg_cluster="cold/cold-postgres"))
    assert postgres.site_cluster(named) == world.pg_clusters.items["cold/cold-postgres"]
    assert postgres.site_cluster(replace(world, site=SiteFacts(pg_cluster="cold/gone"))) is None


def test_a_pooler_short_of_instances_is_a_problem() -> None:
    """Clients of a pooler with nothing ready are cut off."""
    site = broken()
    site["pg_poolers"] = [
        {
            "metadata": {"name": "pool", "namespace": "cold"},
            "spec": {"cluster": {"name": "cold-postgres"}, "instances": 2},
            "status": {"instances": 0},
        }
    ]
    (found,) = pgverdicts.problems(build(site), NOW)
    assert (found.severity, found.sentence) == (Severity.CRITICAL, "pooler pool: 0 of 2 ready")


def test_ready_are_those_whose_pods_are() -> None:
    """The operator's number is old while it is down; a pod that is gone is not counted."""
    world = world_of(gone(3), operator_down, status(phase="Switchover in progress"))
    found = pgverdicts.verdict(world, world.pg_clusters.items["cold/cold-postgres"], NOW)
    assert "2 of 3 ready" in found.why


def test_times_of_the_future_do_not_break_a_verdict() -> None:
    """A cluster clock ahead of ours changes no judgement."""
    assert judge(world_of(status(currentPrimaryTimestamp=ahead(hours=3)))) == (Grade.GOOD, "healthy")


def test_a_cluster_being_made_is_not_an_alarm() -> None:
    """In its first ten minutes missing instances are a notice; afterwards a warning, since nothing was ever in use."""
    for minutes, severity in ((3, Severity.NOTICE), (30, Severity.WARNING)):
        site = broken()
        site["pg_clusters"][0]["metadata"]["creationTimestamp"] = ago(minutes=minutes)
        site["pg_clusters"][0]["status"] |= {
            "phase": "Setting up primary",
            "currentPrimary": "",
            "targetPrimary": "",
            "readyInstances": 0,
            "instanceNames": [],
        }
        site["pg_clusters"][0]["status"] |= {"instancesStatus": {}, "instancesReportedState": {}}
        site["pods"] = []
        assert [p.severity for p in pgverdicts.problems(build(site), NOW)] == [severity]


def test_the_plugin_is_not_mistaken_for_the_operator() -> None:
    """The Barman plugin bears the operator's label in some installs; its outage does not freeze phases."""
    site = broken()
    plugin = {
        "metadata": {**site["deployments"][0]["metadata"], "name": "barman-cloud"},
        "spec": site["deployments"][0]["spec"],
        "status": {"replicas": 1, "unavailableReplicas": 1},
    }
    site["deployments"].append(plugin)
    found = postgres.operator(build(site))
    assert found is not None
    assert found.name == "cnpg-controller-manager"
