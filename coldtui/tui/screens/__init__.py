"""The screens, in one tuple. A screen that is not in it has no key, no command and no place in help."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from coldtui.domain.values import dataclass

if TYPE_CHECKING:
    from .base import WorldScreen


@dataclass(frozen=True, slots=True)
class Entry:
    """One screen that a digit opens."""

    number: int
    id: str
    """Its name as a command."""
    title: str
    """One word, for the hint line."""
    path: str
    """`module:Class`, loaded when the screen is first opened: start-up pays for one screen only."""
    aliases: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    """Kinds (`domain.kinds`) whose objects are found here; `open_ref` asks the screen to `reveal` them."""
    help: str = ""
    narrows: bool = True
    """Its command takes a namespace, a filter or a label."""
    takes: str = ""
    """What its command takes instead, for help."""

    def load(self) -> type[WorldScreen]:
        found: type[WorldScreen] = load(self.path)
        return found


_HERE = "coldtui.tui.screens"


def load(path: str) -> Any:
    module, name = path.split(":")
    return getattr(import_module(module), name)


SCREENS: tuple[Entry, ...] = (
    Entry(1, "status", "Status", f"{_HERE}.status:StatusScreen", ("home",), ("sources", "namespaces"), "Status: the whole site on one page", narrows=False),
    Entry(2, "nodes", "Nodes", f"{_HERE}.nodes:NodesScreen", ("node", "no"), ("nodes", "leases"), "Nodes: readiness, load, pods"),
    Entry(3, "postgres", "Postgres", f"{_HERE}.postgres:PostgresScreen", ("pg",), ("pg_clusters", "pg_poolers"), "CloudNativePG: instances, clusters"),
    Entry(
        4, "backups", "Backups", f"{_HERE}.backups:BackupsScreen", ("backup",),
        ("pg_backups", "pg_schedules", "pg_stores", "lh_backups", "lh_jobs", "lh_targets"), "Backups of every kind, and their schedules",
    ),
    Entry(
        5, "deployments", "Deploy", f"{_HERE}.deployments:DeploymentsScreen", ("deploy", "dp"),
        ("deployments", "statefulsets", "daemonsets"), "Deployments and their rollouts, stateful and daemon sets",
    ),
    Entry(6, "alerts", "Alerts", f"{_HERE}.alerts:AlertsScreen", ("alert", "problems"), (), "Alerts: what is wrong now, and what was looked at"),
    Entry(7, "runs", "Runs", f"{_HERE}.runs:RunsScreen", ("run", "jobs"), ("runs",), "Runs: what is under way, what was done, and their logs", takes="[ID | /FILTER]"),
    Entry(9, "pods", "Pods", f"{_HERE}.pods:PodsScreen", ("pod", "po"), ("pods", "pod_usage"), "Pods of all namespaces, their containers and logs"),
    Entry(0, "audit", "Audit", f"{_HERE}.audit:AuditScreen", (), (), "Audit: who did what, when, from where; verify looks at the chain", takes="[verify | /FILTER]"),
    Entry(0, "events", "Events", f"{_HERE}.events:EventsScreen", ("ev",), ("events",), "Events of the cluster, newest first"),
    Entry(
        0, "storage", "Storage", f"{_HERE}.storage:StorageScreen", ("volumes", "claims", "pvc", "lh"),
        ("lh_volumes", "lh_nodes", "lh_replicas", "lh_engines", "lh_snapshots", "claims", "volumes"), "Longhorn volumes and nodes, volume claims",
    ),
    Entry(0, "vips", "VIPs", f"{_HERE}.vips:VipsScreen", ("vip", "services"), ("services", "l2_statuses", "ip_pools"), "Addresses and who announces them"),
    Entry(0, "k3s", "K3s", f"{_HERE}.k3s:K3sScreen", ("plans",), ("upgrade_plans", "etcd_snapshots"), "Upgrade plans and datastore snapshots"),
)  # fmt: skip
"""In the order of their numbers; the first is the home screen. Number 0: opened by its command or from the palette only."""

VIEWS: dict[str, str] = {
    "describe": f"{_HERE}.describe:DescribeScreen",
    "logs": f"{_HERE}.logs:LogsScreen",
    "run": f"{_HERE}.run:RunScreen",
}
"""Screens that are opened on an object: `describe` (ref, yaml: bool), `logs` (ref, previous: bool) and `run` (id), as `module:Class`."""
