"""Backups: every backup of whatever kind, newest first, and the schedules that make them."""

from __future__ import annotations

from typing import Any, ClassVar

from ...domain.objects import Ref
from ...present import backups as backup_words
from .listings import ListingsScreen, Part


def _ref(item: Any) -> Ref:
    namespace, slash, name = item.object.key.partition("/")
    return Ref(item.kind, name, namespace) if slash else Ref(item.kind, namespace)


def _key_of(*kinds: str) -> Any:
    return lambda ref: f"{ref.kind}/{ref.key}" if ref.kind in kinds else None


class BackupsScreen(ListingsScreen):
    PARTS: ClassVar[tuple[Part, ...]] = (
        Part("backups", backup_words.BACKUPS, backup_words.describe, _ref, _key_of("pg_backups", "lh_backups", "etcd_snapshots"), share=2),
        Part("schedules", backup_words.SCHEDULES, backup_words.describe_schedule, _ref, _key_of("pg_schedules", "lh_jobs")),
    )
