"""The one list of decoders: name of a `domain.kinds.Kind` -> how it is read."""

from __future__ import annotations

from typing import Any

from .decoding import Decoder
from .deployments import BUDGETS, DAEMONSETS, DEPLOYMENTS, REPLICASETS, STATEFULSETS
from .events import EVENTS
from .nodes import LEASES, NODE_USAGE, NODES
from .pods import NAMESPACES, POD_USAGE, PODS

DECODERS: dict[str, Decoder[Any]] = {
    "nodes": NODES,
    "leases": LEASES,
    "node_usage": NODE_USAGE,
    "pods": PODS,
    "namespaces": NAMESPACES,
    "pod_usage": POD_USAGE,
    "events": EVENTS,
    "deployments": DEPLOYMENTS,
    "replicasets": REPLICASETS,
    "statefulsets": STATEFULSETS,
    "daemonsets": DAEMONSETS,
    "budgets": BUDGETS,
}
