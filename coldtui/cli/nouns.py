"""Which Listing each noun of the command line prints."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from ..present.rows import Column, Listing

_NOUNS: dict[str, tuple[str, str]] = {
    "nodes": ("nodes", "NODES_PLAIN"),
    "pods": ("pods", "PODS_PLAIN"),
    "deployments": ("deployments", "DEPLOYMENTS_PLAIN"),
    "statefulsets": ("deployments", "STATEFULSETS_PLAIN"),
    "daemonsets": ("deployments", "DAEMONSETS_PLAIN"),
    "events": ("events", "EVENTS_PLAIN"),
    "problems": ("problems", "PROBLEMS_PLAIN"),
    "postgres": ("postgres", "INSTANCES"),
    "backups": ("backups", "BACKUPS"),
    "storage": ("storage", "VOLUMES"),
    "vips": ("vips", "VIPS"),
}
"""noun -> (module of present, name of its Listing)."""


def find(noun: str) -> Listing[Any]:
    """Imported when asked for: a listing pays for its own noun only."""
    module, name = _NOUNS[noun]
    found: Listing[Any] = getattr(import_module(f"coldtui.present.{module}"), name)
    return found


def always(listing: Listing[Any], column: Column) -> bool:
    """Whether a column is printed without `-o wide`: those made for the command line say so by priority 0, the others up to 2."""
    return not _NOUNS[listing.noun][1].endswith("_PLAIN") and column.priority <= 2
