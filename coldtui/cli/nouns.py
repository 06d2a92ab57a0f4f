"""Which Listing each noun of the command line prints."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from importlib import import_module
from typing import TYPE_CHECKING, Any

from ..domain.kinds import KINDS
from ..domain.runboard import JOURNAL
from ..domain.world import DATABASE, SESSIONS
from ..present.rows import Column, Listing

if TYPE_CHECKING:
    from ..domain.world import World

_NOUNS: dict[str, tuple[str, str]] = {
    "nodes": ("nodes", "NODES_PLAIN"),
    "pods": ("pods", "PODS_PLAIN"),
    "deployments": ("deployments", "DEPLOYMENTS_PLAIN"),
    "statefulsets": ("deployments", "STATEFULSETS_PLAIN"),
    "daemonsets": ("deployments", "DAEMONSETS_PLAIN"),
    "events": ("events", "EVENTS_PLAIN"),
    "problems": ("problems", "PROBLEMS_PLAIN"),
    "postgres": ("postgres", "INSTANCES"),
    "postgres status": ("postgres", "INSTANCES"),
    "postgres sessions": ("postgres_listings", "SESSIONS_PLAIN"),
    "postgres locks": ("postgres_listings", "LOCKS_PLAIN"),
    "postgres databases": ("postgres_listings", "DATABASES_PLAIN"),
    "backups": ("backups", "BACKUPS"),
    "storage": ("storage", "VOLUMES"),
    "vips": ("vips", "VIPS"),
    "runs": ("runs", "RUNS_PLAIN"),
}
"""noun -> (module of present, name of its Listing)."""
_READINGS: dict[str, str] = {"sessions": "pg_sessions", "locks": "pg_sessions", "databases": "pg_databases"}
"""Listings of what the primary tells by SQL -> the field of the World that has it."""


STATE = (
    "deployments", "services", "endpointslices", "l2_statuses", "ip_pools", "l2_advertisements",
    "pg_poolers", "pg_backups", "pg_schedules", "pg_stores", "claims", "events", "node_stats",
)  # fmt: skip
"""What the whole state of the database rests on besides its instances."""


def reading(listing: Listing[Any]) -> str:
    """The field of the World whose reading decides about success; empty: the listing's main source does."""
    return _READINGS.get(listing.noun, "")


def find(noun: str) -> Listing[Any]:
    """Imported when asked for: a listing pays for its own noun only."""
    module, name = _NOUNS[noun]
    found: Listing[Any] = getattr(import_module(f"coldtui.present.{module}"), name)
    return found


def always(listing: Listing[Any], column: Column) -> bool:
    """Whether a column is printed without `-o wide`: those made for the command line say so by priority 0, the others up to 2."""
    return listing.noun in _NOUNS and not _NOUNS[listing.noun][1].endswith("_PLAIN") and column.priority <= 2


_SUMMARIES: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "postgres": (
        "postgres", "status_json_database",
        ("services", "endpointslices", "l2_statuses", "ip_pools", "l2_advertisements", "nodes", "claims", "node_stats"),
    ),
    "storage": ("storage", "status_json_storage", ("lh_nodes", "lh_volumes", "lh_replicas", "lh_engines", "lh_settings")),
    "backups": ("backups", "status_json_backups", ("pg_clusters", "pg_backups", "pg_schedules", "pg_stores", "lh_targets", "lh_volumes", "claims", "pods")),
}  # fmt: skip
"""noun -> (module of present, its part of the site's status, the kinds which that reads)."""


_BESIDE: dict[str, tuple[str, str]] = {
    "postgres": ("postgres_site", "site_json"),
    "sessions": ("postgres_listings", "primary_named"),
    "locks": ("postgres_listings", "primary_named"),
    "databases": ("postgres_listings", "primary_named"),
}
"""noun -> what stands beside its rows in JSON, in the shape of the site document."""


def beside(noun: str) -> Callable[[World, datetime], Any] | None:
    if noun not in _BESIDE:
        return None
    module, name = _BESIDE[noun]
    found: Callable[[World, datetime], Any] = getattr(import_module(f"coldtui.present.{module}"), name)
    return found


_NAMES: dict[str, tuple[str, ...]] = {"backups": ("lh_volumes",)}
"""noun -> kinds that its rows take names from, so that the same thing is called the same as in the console."""
_NOT_JUDGED = frozenset({"events", "replicasets", "pod_usage", "namespaces"})
"""Kinds in which no problem is looked for."""


def summary(noun: str) -> Callable[[World, datetime], Any] | None:
    """The noun's part of the site document's status, printed beside its rows; None when it has none."""
    if noun not in _SUMMARIES:
        return None
    module, name, _ = _SUMMARIES[noun]
    found: Callable[[World, datetime], Any] = getattr(import_module(f"coldtui.present.{module}"), name)
    return found


def besides(listing: Listing[Any], *, json: bool) -> tuple[str, ...]:
    """Kinds that a noun reads on top of its listing's own: problems everything that is judged, others for their summary in JSON."""
    if listing.noun == "problems":
        kinds = (*(kind for kind in KINDS if kind not in _NOT_JUDGED), JOURNAL)
    else:
        kinds = _NAMES.get(listing.noun, ())
        if listing.noun == "postgres":
            kinds = (DATABASE, "services", "pg_poolers")
        if reading(listing):
            kinds = ("pods", DATABASE, SESSIONS)
        if json and listing.noun in _SUMMARIES:
            kinds = tuple(dict.fromkeys((*kinds, *_SUMMARIES[listing.noun][2])))
    return tuple(kind for kind in kinds if kind not in listing.sources)
