from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from coldtui.adapters.kube.decoders import DECODERS
from coldtui.adapters.kube.decoding import UNDECODABLE
from coldtui.domain.kinds import KINDS, NODE_STATS
from tests.adapters.kube.shapes import NOW, Json, decode, listing, meta, pod


@pytest.mark.parametrize("name", [name for name in KINDS if name != NODE_STATS.name])
def test_every_kind_has_a_decoder(name: str) -> None:
    """A kind that is watched or polled can also be read."""
    assert DECODERS[name].listing(json.dumps(listing()).encode(), NOW).items == ()


BROKEN: list[Json] = [
    {"metadata": {"name": 7}},
    {"metadata": {}},
    {},
    pod(metadata={"creationTimestamp": "yesterday"}),
    pod(metadata={"creationTimestamp": "2026-01-01T00:00:00"}),
    pod(spec={"containers": [{"name": "a", "resources": {"requests": {"cpu": "lots"}}}]}),
    pod(spec={"containers": "none"}),
    pod(statuses=({"name": "app", "ready": "yes"},)),
]


@pytest.mark.parametrize("broken", BROKEN)
def test_one_broken_object_does_not_lose_the_page(broken: Json) -> None:
    """The others are read, and the broken one is counted."""
    found = DECODERS["pods"].listing(json.dumps(listing(pod("a"), broken, pod("b"), version="7", token="t")).encode(), NOW)
    assert [p.name for p in found.items] == ["a", "b"]
    assert (found.skipped, found.meta.resource_version, found.meta.continue_) == (1, "7", "t")


@pytest.mark.parametrize("raw", [b"", b"<html>", b"[]", b'{"items": 3}', b'{"metadata":{},"items":[{]}'])
def test_a_page_that_is_no_list_is_refused(raw: bytes) -> None:
    """It does not become an empty cluster."""
    with pytest.raises(UNDECODABLE):
        DECODERS["pods"].listing(raw, NOW)


def test_an_endless_nesting_is_counted_not_a_crash() -> None:
    """A hostile object of a hundred thousand brackets is refused as any other."""
    raw = b'{"metadata":{"name":"x","labels":' + b'{"a":' * 100_000 + b"1" + b"}" * 100_000 + b"}}"
    with pytest.raises(UNDECODABLE):
        DECODERS["pods"].item(raw, NOW)


def test_outside_text_is_made_plain_everywhere() -> None:
    """Escape sequences and bidi marks in names, labels, images, reasons and messages never reach a value."""
    evil = "a\x1b[31m\u202eb"
    item = pod(
        evil,
        phase=evil,
        containers=(evil,),
        metadata={"labels": {evil: evil}, "namespace": evil},
        spec={"nodeName": evil},
        message=evil,
        podIP=evil,
    )
    assert "\x1b" not in repr(decode("pods", item)).replace("\\x1b", "\x1b")
    assert "\u202e" not in repr(decode("pods", item)).replace("\\u202e", "\u202e")


def test_what_many_objects_share_is_kept_once() -> None:
    """Namespaces, nodes, images and label sets of two pods are the same objects in memory: 20,000 pods need it."""
    one, two = decode("pods", pod("a", metadata={"labels": {"x": "y"}})), decode("pods", pod("b", metadata={"labels": {"x": "y"}}))
    assert one.labels is two.labels
    assert one.node is two.node
    assert one.namespace is two.namespace
    assert one.containers[0].image is two.containers[0].image


def test_sharing_is_bounded() -> None:
    """A cluster with endless different labels does not fill the memory of shared words."""
    from coldtui.adapters.kube import decoding

    for number in range(decoding._WORDS_KEPT + 10):
        decoding.words({"name": f"value-{number}"})
    assert len(decoding._words) <= decoding._WORDS_KEPT
    assert len(decoding._sets) <= decoding._SETS_KEPT


@pytest.mark.parametrize("name", sorted(DECODERS))
def test_keys_follow_the_rule_by_which_a_deletion_is_found(name: str) -> None:
    """`namespace/name`, or the name alone for kinds of the cluster and of one namespace: a DELETED event is read by that rule only."""
    kind = KINDS[name]
    item: Json = {
        "metadata": meta("thing", "space"),
        "timestamp": "2026-03-01T12:00:00Z",
        "usage": {"cpu": "1", "memory": "1"},
        "spec": {},
        "status": {},
    }
    try:
        value = decode(name, item)
    except UNDECODABLE:
        pytest.skip("needs more than metadata")
    assert value.key == ("space/thing" if kind.namespaced and not kind.namespace else "thing")


_AT_ONCE = """
import sys, threading
import msgspec
from coldtui.adapters.kube.decoding import decoder
sys.setswitchinterval(1e-6)
TEXT = '''
class Inner{n}(msgspec.Struct):
    a: int | None = None
    b: list[str] | None = None
class Outer{n}(msgspec.Struct):
    one: Inner{n} | None = None
    many: dict[str, Inner{n}] | None = None
'''
for n in range(100):
    exec("from __future__ import annotations" + TEXT.format(n=n))
kinds = [globals()[f"Outer{n}"] for n in range(100)]
start = threading.Barrier(6)
def make():
    start.wait()
    for kind in kinds:
        decoder(kind)(b'{"one": {"a": 1}}')
threads = [threading.Thread(target=make) for _ in range(6)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""


def test_types_are_made_ready_by_one_thread_at_a_time() -> None:
    """Reflectors and plans decode a kind for the first time at the same moment: msgspec would end the process by a segmentation fault."""
    done = subprocess.run([sys.executable, "-c", _AT_ONCE], cwd=Path(__file__).parents[3], timeout=60, check=False)
    assert done.returncode == 0
