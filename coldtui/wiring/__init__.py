"""Configuration becomes a Site: ports, live, state, and the desk at which faces ask for acts. Knows no face; adapters are imported only when
something is reached."""

from __future__ import annotations

from .acting import open_bench, open_desk, open_journal, open_means, open_shell, runs_end_at_logout
from .site import (
    Connector,
    KubeconfigFacts,
    Once,
    Site,
    kubeconfig_facts,
    kubeconfig_path,
    open_log,
    open_site,
    prepare_state,
    reach,
)

__all__ = [
    "Connector",
    "KubeconfigFacts",
    "Once",
    "Site",
    "kubeconfig_facts",
    "kubeconfig_path",
    "open_bench",
    "open_desk",
    "open_journal",
    "open_log",
    "open_means",
    "open_shell",
    "open_site",
    "prepare_state",
    "reach",
    "runs_end_at_logout",
]
