"""Deployments, their rollouts and history."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from coldtui.domain.deployments import DaemonSet, Deployment, ReplicaSet, StatefulSet
from coldtui.domain.objects import Condition, Owner
from coldtui.present.deployments import (
    DAEMONSETS,
    DEPLOYMENTS,
    DEPLOYMENTS_PLAIN,
    STATEFULSETS,
    card_line,
    detail,
    history,
    json_of,
    rollout_sentence,
    rollout_words,
    set_words,
    tree_rows,
)
from coldtui.present.lines import plain_text
from coldtui.present.rows import Tone
from tests.tui.worlds import NOW, deployment, healthy, pod, stale, with_pods, with_shelf


def shaped(**change: Any) -> Deployment:
    return replace(deployment("web"), **change)


FAILED = (Condition("Progressing", "False", "ProgressDeadlineExceeded", "timed out", NOW - timedelta(minutes=3)),)


@pytest.mark.parametrize(
    ("one", "short", "sentence"),
    [
        (shaped(generation=8), "waits to be observed", "Waiting for deployment spec update to be observed..."),
        (shaped(conditions=FAILED), "exceeded its progress deadline", 'deployment "web" exceeded its progress deadline'),
        (
            shaped(updated=1),
            "1 of 3 updated",
            'Waiting for deployment "web" rollout to finish: 1 out of 3 new replicas have been updated...',
        ),
        (
            shaped(replicas=4),
            "1 old pending termination",
            'Waiting for deployment "web" rollout to finish: 1 old replicas are pending termination...',
        ),
        (
            shaped(available=2),
            "2 of 3 updated available",
            'Waiting for deployment "web" rollout to finish: 2 of 3 updated replicas are available...',
        ),
        (shaped(), "complete", 'deployment "web" successfully rolled out'),
        (shaped(paused=True), "paused", 'deployment "web" is paused'),
    ],
)
def test_rollout_is_told_in_kubectls_order(one: Deployment, short: str, sentence: str) -> None:
    """Each stage of a rollout has its words, the sentence is kubectl's."""
    assert rollout_words(one) == short
    assert rollout_sentence(one) == sentence


def test_plain_columns_begin_as_kubectl_does() -> None:
    """The command line's deployments begin with kubectl's columns."""
    assert [c.title for c in DEPLOYMENTS_PLAIN.columns[:6]] == ["NAMESPACE", "NAME", "READY", "UP-TO-DATE", "AVAILABLE", "AGE"]
    world = healthy()
    made = DEPLOYMENTS_PLAIN.row(world, world.deployments.items["cold-prod/cold-backend"], NOW)
    assert [c.text for c in made.cells[:6]] == ["cold-prod", "cold-backend", "3/3", "3", "3", "41d"]


def test_a_short_deployment_is_marked_and_a_stale_one_is_not_green() -> None:
    """Missing replicas show in glyph and tone; a lost API takes the green away."""
    one = deployment("web", available=0)
    world = with_shelf(healthy(), "deployments", [one])
    cells = {c.id: cell for c, cell in zip(DEPLOYMENTS.columns, DEPLOYMENTS.row(world, one, NOW).cells, strict=True)}
    assert cells["rollout"].text.startswith("▲")
    fine = deployment("web")
    old = stale(with_shelf(healthy(), "deployments", [fine]))
    assert Tone.GOOD not in {c.tone for c in DEPLOYMENTS.row(old, fine, NOW).cells}
    assert Tone.GOOD not in {c.tone for c in card_line(old, fine, NOW)}


def replica_set(name: str, revision: int, *, desired: int, image: str, owner: str = "uid-web") -> ReplicaSet:
    return ReplicaSet(
        "cold-prod", name, f"uid-{name}", NOW - timedelta(days=10 - revision), Owner("Deployment", "web", owner), revision, desired, desired, desired,
        desired, (("app", image),), f"release {revision}",
    )  # fmt: skip


def test_tree_and_history_follow_ownership() -> None:
    """The tree shows the deployment, its living ReplicaSets and their pods; the history all revisions, newest first; strangers are left out."""
    sets = [
        replica_set("web-new", 3, desired=1, image="app:3"), replica_set("web-old", 2, desired=1, image="app:2"),
        replica_set("web-gone", 1, desired=0, image="app:1"), replica_set("other-1", 9, desired=1, image="x:1", owner="uid-other"),
    ]  # fmt: skip
    pods = [
        pod("web-new-1", owner=Owner("ReplicaSet", "web-new", "uid-web-new")), pod("web-old-1", owner=Owner("ReplicaSet", "web-old", "uid-web-old")),
        pod("stranger", owner=Owner("ReplicaSet", "other-1", "uid-other-1")),
    ]  # fmt: skip
    one = deployment("web")
    world = with_pods(with_shelf(with_shelf(healthy(), "deployments", [one]), "replicasets", sets), pods)
    assert [row.key for row in tree_rows(world, one, NOW)] == [
        "deployments/cold-prod/web", "replicasets/cold-prod/web-new", "pods/cold-prod/web-new-1", "replicasets/cold-prod/web-old",
        "pods/cold-prod/web-old-1",
    ]  # fmt: skip
    lines = plain_text(history(world, one, NOW)).splitlines()
    assert [line.split()[:2] for line in lines[1:]] == [["3", "3"], ["2", "2"], ["1", "1"]]
    assert "release 3" in plain_text(detail(world, one, NOW))


def test_json_tells_version_replicas_and_rollout() -> None:
    """A script finds version, numbers and kubectl's sentence."""
    world = healthy()
    found = json_of(world, world.deployments.items["cold-prod/cold-backend"], NOW)
    assert found["version"] == "v1.5.173"
    assert found["replicas"] == {"desired": 3, "ready": 3, "updated": 3, "available": 3, "all": 3}
    assert found["message"] == 'deployment "cold-backend" successfully rolled out'


def test_sets_tell_where_they_stand() -> None:
    """Stateful and daemon sets say what is missing."""
    made = NOW - timedelta(days=1)
    stateful = StatefulSet("db", "pg", "u", made, 1, 1, 3, 3, 2, 3, 2, (("pg", "pg:18.6"),))
    daemon = DaemonSet("sys", "speaker", "u", made, 2, 1, 5, 5, 5, 5, 5, ())
    assert set_words(stateful) == "2 of 3 ready"
    assert set_words(daemon) == "waits to be observed"
    world = with_shelf(healthy(), "statefulsets", [stateful])
    assert [c.text for c in STATEFULSETS.row(world, stateful, NOW).cells[:5]] == ["db", "pg", "2/3", "18.6", "◐ 2 of 3 ready"]


def test_json_of_sets_has_what_that_of_deployments_has() -> None:
    """Rollout, sentence, trouble and freshness stand in the JSON of stateful and daemon sets too."""
    made = NOW - timedelta(days=1)
    stateful = StatefulSet("db", "pg", "u", made, 1, 1, 3, 3, 2, 3, 2, (("pg", "pg:18.6"),))
    daemon = DaemonSet("sys", "speaker", "u", made, 2, 2, 5, 5, 5, 5, 5, ())
    world = with_shelf(with_shelf(healthy(), "statefulsets", [stateful]), "daemonsets", [daemon])
    make = STATEFULSETS.json
    assert make is not None
    found = make(world, stateful, NOW)
    assert (found["rollout"], found["trouble"]) == ("not-ready", "db/pg has 2 of 3 replicas ready")
    assert found["message"] == 'Waiting for stateful set "pg" rollout to finish: 2 of 3 pods are ready...'
    assert (found["_freshness"], found["_age_s"]) == ("live", 2)
    other = DAEMONSETS.json
    assert other is not None
    fine = other(stale(world), daemon, NOW)
    assert (fine["rollout"], fine["message"], fine["trouble"]) == ("complete", 'daemon set "speaker" successfully rolled out', None)
    assert fine["_freshness"] == "stale"
