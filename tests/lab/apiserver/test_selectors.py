"""Label and field selectors."""

from __future__ import annotations

import pytest

from coldtui.lab.apiserver.errors import ApiError
from coldtui.lab.apiserver.objects import Objects, Write
from coldtui.lab.apiserver.selectors import field_selector, label_selector, match_labels
from tests.lab.apiserver.site import node, pod

LABELS = {"app": "web", "tier": "front", "n": "5"}


@pytest.mark.parametrize(
    ("text", "selected"),
    [
        ("app=web", True),
        ("app==web,tier!=back", True),
        ("app!=web", False),
        ("missing!=x", True),
        ("app in (web, db)", True),
        ("app notin (web)", False),
        ("missing notin (x)", True),
        ("tier", True),
        ("!tier", False),
        ("!missing,app", True),
        ("n>4,n<6", True),
        ("n>5", False),
        ("app=web,tier in (a,b)", False),
    ],
)
def test_label_selectors(text: str, selected: bool) -> None:
    """Every form of requirement selects what the real server selects; several are joined by and."""
    test = label_selector(text)
    assert test is not None
    assert test(LABELS) is selected


def test_a_selector_that_cannot_be_read_is_400() -> None:
    """Nonsense is refused instead of selecting everything."""
    with pytest.raises(ApiError) as refused:
        label_selector("a b c")
    assert refused.value.code == 400


def test_selector_objects() -> None:
    """No selector selects nothing, an empty one everything, and expressions count too."""
    assert match_labels(None) is None
    everything = match_labels({})
    assert everything is not None
    assert everything({})
    test = match_labels(
        {
            "matchLabels": {"app": "web"},
            "matchExpressions": [{"key": "tier", "operator": "In", "values": ["front"]}, {"key": "x", "operator": "DoesNotExist"}],
        }
    )
    assert test is not None
    assert test(LABELS)
    assert not test({"app": "web"})


def test_field_selectors_read_encoded_objects(objects: Objects) -> None:
    """spec.nodeName, status.phase and spec.unschedulable select as the server does, absent booleans being false."""
    pods, nodes = objects.registry.by_path["", "v1", "pods"], objects.registry.by_path["", "v1", "nodes"]
    objects.create(pods, "default", pod("a", on="w1"), Write())
    objects.create(nodes, "", node("w1"), Write())
    item = objects.get(pods, "default", "a")
    for text, selected in (("spec.nodeName=w1,status.phase=Pending", True), ("spec.nodeName!=w1", False), ("metadata.name=a", True)):
        test, _ = field_selector(text, pods)
        assert test is not None
        assert test(item) is selected, text
    test, name = field_selector("spec.unschedulable=false,metadata.name=w1", nodes)
    assert test is not None
    assert test(objects.get(nodes, "", "w1"))
    assert name == "w1"


def test_an_unsupported_field_is_400(objects: Objects) -> None:
    """Selecting by a field that is not declared is refused with the label's name."""
    with pytest.raises(ApiError, match=r"field label not supported: spec\.foo"):
        field_selector("spec.foo=1", objects.registry.by_path["", "v1", "pods"])
