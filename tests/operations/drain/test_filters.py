"""The chain of filters: what kubectl would delete, what it wants to be told first, and every warning on the way."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from coldtui.domain.readings import Known, Unknown
from coldtui.operations.drain.pods import Filtered, Flag, Permits, Sets, filtered, verdict
from tests.adapters.kube.shapes import NOW
from tests.adapters.kube.test_drains import detail

OWNED = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "r", "uid": "u", "controller": True}
SET = {"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "d", "uid": "u", "controller": True}
CACHE = {"volumes": [{"name": "cache", "emptyDir": {}}]}
SETS: Sets = Known(frozenset({"default/d"}), "daemonsets", NOW)
NONE, ALL = Permits(), Permits(True, True)


def stamp(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def judged(permits: Permits = NONE, sets: Sets = SETS, *, owner: dict[str, Any] | None = OWNED, **raw: Any) -> Filtered:
    metadata = {"ownerReferences": [owner]} if owner else {}
    return verdict(detail(**{**raw, "metadata": {**metadata, **raw.get("metadata", {})}}), permits, sets, NOW)


def test_an_ordinary_pod_is_deleted() -> None:
    """It has a controller and nothing that dies with it: no question, no warning."""
    found = judged()
    assert (found.delete, found.warnings, found.needs, found.stays) == (True, (), (), "")


@pytest.mark.parametrize(("since_s", "skip", "stays"), [(0, 0, False), (61, 60, True), (60, 60, False), (61, 0, False), (3600, 60, True)])
def test_pods_whose_deletion_is_old_are_skipped(since_s: int, skip: int, stays: bool) -> None:
    """Only with the option, and only when more than so many whole seconds have passed since deletionTimestamp."""
    deleted = stamp(NOW - timedelta(seconds=since_s))
    found = judged(Permits(skip_wait_s=skip), metadata={"deletionTimestamp": deleted})
    assert (not found.delete, bool(found.stays)) == (stays, stays)


@pytest.mark.parametrize("phase", ["Running", "Succeeded", "Failed"])
def test_pods_of_a_daemon_set_stay_while_they_run(phase: str) -> None:
    """Whatever is permitted; finished ones are removed like any other."""
    found = judged(ALL, owner=SET, phase=phase)
    assert found.delete is (phase != "Running")
    assert bool(found.stays) is (phase == "Running")


@pytest.mark.parametrize("force", [False, True])
def test_pods_whose_daemon_set_is_gone(force: bool) -> None:
    """An error without --force, deleted with a warning under it."""
    found = judged(Permits(force=force), Known(frozenset(), "daemonsets", NOW), owner=SET)
    assert (found.delete, found.needs) == (force, () if force else (Flag.FORCE,))
    assert "DaemonSet d does not exist" in found.warnings[0]


def test_daemon_sets_that_cannot_be_read_decide_nothing() -> None:
    """The pod is neither deleted nor said to stay."""
    found = judged(ALL, Unknown("daemonsets", "may not be listed"), owner=SET)
    assert (found.delete, found.stays, found.unknown) == (False, "", "DaemonSet d: may not be listed")


def test_mirror_pods_stay() -> None:
    """Silently, before anything else about them counts."""
    found = judged(owner=None, spec=CACHE, metadata={"annotations": {"kubernetes.io/config.mirror": "x"}})
    assert (found.delete, found.needs) == (False, ())
    assert "mirror" in found.stays


@pytest.mark.parametrize(
    ("permits", "delete", "needs"),
    [
        (Permits(), False, (Flag.EMPTY_DIR,)),
        (Permits(delete_emptydir=True), True, ()),
        (Permits(force=True), False, (Flag.EMPTY_DIR,)),
    ],
)
def test_emptydir_data_needs_a_word(permits: Permits, delete: bool, needs: tuple[Flag, ...]) -> None:
    """It is deleted with the pod, so that it must be permitted by name."""
    found = judged(permits, spec=CACHE)
    assert (found.delete, found.needs) == (delete, needs)


@pytest.mark.parametrize(("force", "needs"), [(False, (Flag.FORCE,)), (True, ())])
def test_pods_without_a_controller_need_a_word(force: bool, needs: tuple[Flag, ...]) -> None:
    """Nothing makes them again."""
    found = judged(Permits(force=force), owner=None)
    assert (found.delete, found.needs) == (force, needs)


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
def test_finished_pods_ask_for_nothing(phase: str) -> None:
    """Neither their emptyDir data nor a missing controller counts any more."""
    found = judged(owner=None, spec=CACHE, phase=phase)
    assert (found.delete, found.needs, found.warnings) == (True, (), ())


def test_every_warning_is_kept() -> None:
    """kubectl loses the one about emptyDir when the next filter is content."""
    found = judged(ALL, Known(frozenset(), "daemonsets", NOW), owner=SET, spec=CACHE)
    assert found.delete
    assert len(found.warnings) == 2
    found = judged(ALL, owner=None, spec=CACHE)
    assert [w.partition(":")[0] for w in found.warnings] == ["emptyDir data is deleted", "no controller makes it again"]


def test_all_missing_words_are_told_at_once() -> None:
    """Not one after the other in three tries."""
    assert judged(owner=None, spec=CACHE).needs == (Flag.EMPTY_DIR, Flag.FORCE)


def test_the_first_filter_that_skips_ends_the_chain() -> None:
    """A pod being deleted for long is skipped although it has emptyDir data and no controller."""
    found = judged(Permits(skip_wait_s=1), owner=None, spec=CACHE, metadata={"deletionTimestamp": stamp(NOW - timedelta(minutes=5))})
    assert (found.delete, found.needs) == (False, ())


def test_pods_come_in_the_order_of_their_keys() -> None:
    """So that two plans of the same node read alike."""
    pods = [detail(name, metadata={"ownerReferences": [OWNED]}) for name in ("b", "c", "a")]
    assert [f.key for f in filtered(pods, Permits(), SETS, NOW)] == ["default/a", "default/b", "default/c"]
