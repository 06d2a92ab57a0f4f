"""Upgrade plans, version skew, datastore snapshots."""

from __future__ import annotations

from coldtui.domain import k3s
from coldtui.domain.problems import Severity
from coldtui.domain.readings import Freshness, Known, Unknown
from tests.sample import NOW, Site, ago, broken, build, etcd_snapshot, healthy, meta, node, plan, state


def told(site: Site) -> list[tuple[Severity, str]]:
    return [(p.severity, p.sentence) for p in k3s.problems(build(site), NOW)]


def test_the_healthy_site_is_quiet() -> None:
    """One version, a recent snapshot and a finished plan are no problem."""
    assert told(healthy()) == []


def test_a_plan_under_way_and_a_plan_that_fails() -> None:
    """Applying is a notice with its progress; a failing job makes it a warning that names the node."""
    site = broken()
    site["upgrade_plans"] = [plan(applying=["k3s-worker-1"])]
    (found,) = k3s.problems(build(site), NOW)
    assert (found.severity, found.hits) == (Severity.NOTICE, "4 of 4 nodes done")
    site["pods"].append(
        {
            "metadata": meta(
                "apply-agents-on-k3s-worker-1-x",
                "system-upgrade",
                labels={"upgrade.cattle.io/plan": "agents", "upgrade.cattle.io/node": "k3s-worker-1"},
            ),
            "spec": {"nodeName": "k3s-worker-1", "containers": []},
            "status": {"phase": "Failed", "message": "disk full"},
        }
    )
    (failing,) = k3s.problems(build(site), NOW)
    assert (failing.severity, failing.sentence, failing.hits) == (
        Severity.WARNING,
        "upgrade plan agents fails on k3s-worker-1",
        "they stay on their version, perhaps cordoned",
    )


def test_a_plan_that_finds_no_version() -> None:
    """The condition's message is the cause."""
    site = broken()
    site["upgrade_plans"] = [
        plan(
            conditions=[
                {"type": "LatestResolved", "status": "False", "reason": "Error", "message": "channel gone", "lastTransitionTime": ""}
            ]
        )
    ]
    (found,) = k3s.problems(build(site), NOW)
    assert (found.sentence, found.cause) == ("upgrade plan agents finds no version", "channel gone")


def test_version_skew() -> None:
    """A mixture is a notice; an agent newer than the server, or more than three minors older, is not supported."""
    for version, severity, part in (
        ("v1.34.3+k3s1", Severity.NOTICE, "nodes run 2 versions"),
        ("v1.35.0+k3s1", Severity.WARNING, "is newer than the server"),
        ("v1.30.0+k3s1", Severity.WARNING, "4 minor versions older"),
    ):
        site = broken()
        site["nodes"][1] = node("k3s-worker-1", version=version)
        found = told(site)
        assert any(s is severity and part in text for s, text in found), found


def test_snapshots_of_the_datastore() -> None:
    """With etcd: none, an old one and a failed one are told apart. Without etcd there are none to miss."""
    site = broken()
    site["etcd_snapshots"] = []
    assert told(site) == [(Severity.WARNING, "no good snapshot of the K3s datastore")]
    site["etcd_snapshots"] = [etcd_snapshot(creationTime=ago(hours=30))]
    assert told(site) == [(Severity.WARNING, "last good snapshot of the K3s datastore is 30 h old")]
    site["etcd_snapshots"] = [
        etcd_snapshot("a"),
        etcd_snapshot("b", creationTime=ago(hours=1), error={"message": "no space"}, readyToUse=False),
    ]
    assert told(site) == [(Severity.WARNING, "last snapshot of the K3s datastore failed")]
    site["nodes"][0] = node("k3s-master", "control-plane")
    assert told(site) == []


def test_snapshots_not_read_are_not_missing() -> None:
    """Only a source that was read whole may say that there is none."""
    site = broken()
    site["etcd_snapshots"] = []
    for fresh in (Freshness.LOADING, Freshness.FAILED, Freshness.NOT_INSTALLED):
        world = build(site, sources={"etcd_snapshots": state("etcd_snapshots", fresh)})
        assert k3s.problems(world, NOW) == ()
        assert isinstance(k3s.last_snapshot(world), Unknown)


def test_the_newest_good_snapshot_counts() -> None:
    """A newer failed one does not hide it."""
    site = broken()
    site["etcd_snapshots"] = [
        etcd_snapshot("old", creationTime=ago(hours=9)),
        etcd_snapshot("new"),
        etcd_snapshot("bad", creationTime=ago(hours=1), error={"message": "x"}),
    ]
    found = k3s.last_snapshot(build(site))
    assert isinstance(found, Known)
    assert found.value.snapshot == "new"


def test_minor_versions() -> None:
    """K3s versions are read; other text is not a version."""
    assert [k3s.minor(v) for v in ("v1.34.4+k3s1", "v2.0.0", "latest", "")] == [(1, 34), (2, 0), None, None]
