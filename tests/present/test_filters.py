"""The filter grammar."""

from __future__ import annotations

import pytest

from coldtui.present.filters import matcher
from coldtui.present.pods import PODS
from tests.tui.worlds import pod

SOME = [
    pod("web-1", labels={"app": "web", "tier": "front"}), pod("web-2", state="CrashLoopBackOff", labels={"app": "web"}),
    pod("db-1", namespace="postgres", labels={"app": "db"}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("", ["web-1", "web-2", "db-1"]),
        ("  ", ["web-1", "web-2", "db-1"]),
        ("WEB", ["web-1", "web-2"]),
        ("!web", ["db-1"]),
        ("!", ["web-1", "web-2", "db-1"]),
        ("crash", ["web-2"]),
        ("^postgres/", ["db-1"]),
        ("web-[2-9]", ["web-2"]),
        ("web-[", []),
        ("postgres/db-1", ["db-1"]),
        ("-l app=web", ["web-1", "web-2"]),
        ("-l app=web,tier=front", ["web-1"]),
        ("-l app!=web", ["db-1"]),
        ("-l tier", ["web-1"]),
        ("-l !tier", ["web-2", "db-1"]),
        ("-l app==db", ["db-1"]),
    ],
)
def test_filters_keep_what_is_meant(written: str, kept: list[str]) -> None:
    """Text, inverse, expression and labels keep exactly their rows; what is half typed never raises."""
    fits = matcher(PODS, written)
    assert [p.name for p in SOME if fits is None or fits(p)] == kept
