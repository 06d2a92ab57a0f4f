"""The store: versions, pages of a consistent snapshot, events, what a selector sees, and going back."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from coldtui.lab.apiserver import listing
from coldtui.lab.apiserver.errors import ApiError
from coldtui.lab.apiserver.objects import Objects, Write
from coldtui.lab.apiserver.selectors import label_selector
from coldtui.lab.apiserver.store import Collection, Subscription, load_lines
from coldtui.lab.apiserver.watch import as_seen
from tests.lab.apiserver.site import container, pod

Json = dict[str, Any]


@pytest.fixture
def pods(objects: Objects) -> Collection:
    """Ten pods p-0 ... p-9."""
    resource = objects.registry.by_path["", "v1", "pods"]
    for i in range(10):
        objects.create(resource, "default", pod(f"p-{i}"), Write())
    return objects.store.collection(resource)


def _names(page: listing.Page) -> list[str]:
    return [i.key[1] for i in page.items]


def test_pages_show_one_snapshot(pods: Collection, objects: Objects) -> None:
    """Objects that change, vanish or appear between two pages are listed as they were when the first page was made."""
    first = listing.page(pods, pods.resource, "", {"limit": "4"})
    assert first.remaining == 6
    pods.delete(("default", "p-7"))
    changed = pods.items["default", "p-8"].decoded()
    changed["status"]["phase"] = "Running"
    pods.put(changed)
    objects.create(pods.resource, "default", pod("p-75"), Write())
    second = listing.page(pods, pods.resource, "", {"limit": "4", "continue": first.token})
    third = listing.page(pods, pods.resource, "", {"limit": "4", "continue": second.token})
    assert _names(first) + _names(second) + _names(third) == [f"p-{i}" for i in range(10)]
    assert {p.version for p in (first, second, third)} == {first.version}
    assert third.items[0].decoded()["status"]["phase"] == "Pending"
    assert "continue" not in third.metadata()


def test_a_page_whose_snapshot_has_left_the_log_is_410(pods: Collection) -> None:
    """When more has changed than the log remembers, the continue token is answered with Expired."""
    token = listing.page(pods, pods.resource, "", {"limit": "4"}).token
    item = pods.items["default", "p-1"]
    for _ in range(pods.store.history + 1):
        item = pods.put_raw(item, item.raw)
    with pytest.raises(ApiError) as refused:
        listing.page(pods, pods.resource, "", {"limit": "4", "continue": token})
    assert (refused.value.code, refused.value.reason) == (410, "Expired")


def test_exact_and_future_versions(pods: Collection) -> None:
    """Exact lists the past, a version from the future is 504 with its cause and Retry-After, and ``0`` ignores the limit."""
    before = pods.store.version
    pods.delete(("default", "p-3"))
    old = listing.page(pods, pods.resource, "", {"resourceVersion": str(before), "resourceVersionMatch": "Exact"})
    assert "p-3" in _names(old)
    assert old.version == before
    assert len(listing.page(pods, pods.resource, "", {"resourceVersion": "0", "limit": "2"}).items) == 9
    with pytest.raises(ApiError) as refused:
        listing.page(pods, pods.resource, "", {"resourceVersion": "999999"})
    assert refused.value.code == 504
    assert refused.value.headers["Retry-After"] == "1"
    assert refused.value.details["causes"][0]["reason"] == "ResourceVersionTooLarge"


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ({"resourceVersionMatch": "Exact"}, 422),
        ({"resourceVersion": "0", "resourceVersionMatch": "Exact"}, 422),
        ({"resourceVersion": "1", "resourceVersionMatch": "Roughly"}, 422),
        ({"continue": "x", "resourceVersionMatch": "Exact"}, 422),
        ({"continue": "x", "resourceVersion": "5"}, 400),
        ({"continue": "not a token"}, 400),
        ({"resourceVersion": "abc"}, 400),
        ({"limit": "many"}, 400),
    ],
)
def test_bad_list_options_are_refused(pods: Collection, query: dict[str, str], code: int) -> None:
    """Combinations that the real server refuses are refused with the same code."""
    with pytest.raises(ApiError) as refused:
        listing.page(pods, pods.resource, "", query)
    assert refused.value.code == code


def test_a_selector_sees_entering_and_leaving(pods: Collection) -> None:
    """An object that begins to match is ADDED, one that ceases to match is DELETED with its last matching state and the new version."""
    subscription = Subscription("", "")
    pods.subscribers.add(subscription)
    test = label_selector("app=web")
    matches = lambda item: test is not None and test(item.labels or {})  # noqa: E731
    obj = pods.items["default", "p-1"].decoded()
    for label in ("db", "db", "web", "web"):
        obj["metadata"]["labels"] = {"app": label}
        pods.put(obj)
    pods.delete(("default", "p-1"))
    seen = [as_seen(e, matches, len(pods.prefix)) for e in subscription.take()]
    assert [s[0] if s else None for s in seen] == [b"DELETED", None, b"ADDED", b"MODIFIED", b"DELETED"]
    assert seen[0] is not None
    assert b'"app":"web"' in seen[0][1]
    assert seen[0][1].startswith(pods.prefix)


def test_a_subscription_gets_its_namespace_and_name_only(pods: Collection, objects: Objects) -> None:
    """Fan-out is filtered where the event is made, so a watcher of one object is not woken by the others."""
    one, other = Subscription("default", "p-1"), Subscription("elsewhere", "")
    pods.subscribers |= {one, other}
    for name in ("p-1", "p-2"):
        pods.put(pods.items["default", name].decoded())
    assert [e.item.key[1] for e in one.take()] == ["p-1"]
    assert other.take() == []


def test_put_raw_keeps_the_object_and_stamps_the_version(pods: Collection) -> None:
    """Changing bytes gives the object a new version and leaves the rest as it was."""
    before = pods.items["default", "p-1"]
    after = pods.put_raw(before, before.raw.replace(b"Pending", b"Running"))
    old, new = before.decoded(), after.decoded()
    assert int(new["metadata"]["resourceVersion"]) == after.rv > before.rv
    assert new["status"]["phase"] == "Running"
    old["metadata"].pop("resourceVersion")
    new["metadata"].pop("resourceVersion")
    assert old["spec"] == new["spec"]
    assert old["metadata"] == new["metadata"]


def test_bulk_loading_keeps_what_was_given(objects: Objects) -> None:
    """The bulk path stores status and metadata unchanged, adds uid and creation time, and leaves a sorted list."""
    bodies = [{"spec": {"containers": [container()]}, "status": {"phase": "Running"}, "kind": "Pod", "apiVersion": "v1",
               "metadata": {"name": n, "namespace": "default", "resourceVersion": "77", "labels": {"a": n}}} for n in ("z", "a", "m")]  # fmt: skip
    resource = objects.registry.by_path["", "v1", "pods"]
    made = list(
        load_lines(lambda *_: objects.store.collection(resource), map(msgspec.json.encode, bodies), "2026-11-01T00:00:00Z", lambda: "u")
    )
    pods = objects.store.collection(resource)
    assert [k[1] for k in pods.ordered()] == ["a", "m", "z"]
    stored = pods.items["default", "z"].decoded()
    assert stored["status"] == {"phase": "Running"}
    assert stored["metadata"]["uid"] == "u"
    assert stored["metadata"]["resourceVersion"] == str(made[0].rv)
    assert pods.items["default", "z"].labels == {"a": "z"}


def test_going_back_undoes_what_the_log_knows(pods: Collection, objects: Objects) -> None:
    """After a restore the objects of later versions are gone, deleted ones are back, and no version is newer than the store's."""
    target = pods.store.version
    pods.delete(("default", "p-1"))
    objects.create(pods.resource, "default", pod("late"), Write())
    pods.put(pods.items["default", "p-2"].decoded())
    newest = pods.store.rewind(pods.store.version - target)
    assert newest == target == pods.store.version
    assert ("default", "p-1") in pods.items
    assert ("default", "late") not in pods.items
    assert all(i.rv <= target and int(i.decoded()["metadata"]["resourceVersion"]) == i.rv for i in pods.items.values())
