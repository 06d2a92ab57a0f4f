"""K3s itself: upgrade plans and snapshots of its datastore."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar

from ...domain.world import World
from ...present import k3s as k3s_words
from ...present.lines import Line, pair
from ...present.words import age, stamp
from .listings import ListingsScreen, Part, plain_part


def _snapshot(world: World, item: Any, now: datetime) -> tuple[Line, ...]:
    made = f"{stamp(item.created)}  ({age(now - item.created)} ago)" if item.created else "unknown"
    return (pair("Node", item.node), pair("Created", made), *((pair("Error", item.error),) if item.error else ()))


class K3sScreen(ListingsScreen):
    PARTS: ClassVar[tuple[Part, ...]] = (
        plain_part("plans", k3s_words.PLANS, "upgrade_plans", k3s_words.describe_plan),
        plain_part("snapshots", k3s_words.SNAPSHOTS, "etcd_snapshots", _snapshot, share=2),
    )
