"""Postgres: the CloudNativePG clusters and their instances, as the watched objects describe them."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

from ...domain.objects import Ref
from ...domain.world import World
from ...present import postgres as pg_words
from ...present.lines import Line
from ...present.postgres import InstanceOf
from .listings import ListingsScreen, Part, plain_part


def _of_cluster(world: World, item: InstanceOf, now: datetime) -> tuple[Line, ...]:
    return pg_words.describe(world, item.cluster, now)


def _instance_ref(item: InstanceOf) -> Ref:
    return Ref("pods", item.instance.name, item.cluster.namespace)


class PostgresScreen(ListingsScreen):
    PARTS: ClassVar[tuple[Part, ...]] = (
        Part("instances", pg_words.INSTANCES, _of_cluster, _instance_ref, lambda ref: ref.key if ref.kind == "pods" else None, share=2),
        plain_part("clusters", pg_words.CLUSTERS, "pg_clusters", pg_words.describe),
    )
