"""Whether the server of an instance runs on its host: its container runtime is asked over SSH, where the API's word for the node is not enough."""

from __future__ import annotations

import json
from collections.abc import Mapping

from ...domain.errors import ColdError
from ...domain.nodes import Node
from ...domain.pods import Pod
from ...domain.readings import Known, Reading, Unknown
from ...domain.text import plain
from ...domain.troubles import trouble_of
from ...ports import Command, Means
from ..hosts import HostFacts, gather_host, stranger

CONTAINER = "postgres"


async def server_on_host(means: Means, pod: Pod, node: Node | None, deadline_s: float) -> Reading[bool]:
    """Whether the server of that pod runs on its host: by the containers there, else by its processes. Never raises for a host that does not answer."""
    ip = node.internal_ip if node is not None else ""
    host: HostFacts = await gather_host(pod.node, ip, means, deadline_s)
    if host.trouble is not None:
        return Unknown("ssh", trouble_of(host.trouble).words)
    if why := stranger(host, node):
        return Unknown("ssh", why)
    try:
        runs = await _in_containers(means, pod, ip, deadline_s)
        if isinstance(runs, Unknown) and await _no_process(means, pod.node, ip, deadline_s):
            return Known(False, "ssh", means.clock.now())  # its containers outlive k3s, and so do their processes
    except ColdError as error:
        return Unknown("ssh", trouble_of(error).words)
    return runs


async def _in_containers(means: Means, pod: Pod, ip: str, deadline_s: float) -> Reading[bool]:
    listing = Command(("k3s", "crictl", "ps", "-o", "json"), mutates=False, root=True)
    done = await means.shell.run(pod.node, listing, ip=ip, deadline_s=deadline_s)
    if not done.ok:
        return Unknown("ssh", f"crictl on {pod.node}: {plain(' '.join(done.err[-1:]) or f'exit {done.exit}')}")
    try:
        return Known(runs_in("\n".join(done.out), pod), "ssh", means.clock.now())
    except ValueError:
        return Unknown("ssh", f"crictl on {pod.node} gives no list of containers")


async def _no_process(means: Means, node: str, ip: str, deadline_s: float) -> bool:
    """Whether the host says that no process of any PostgreSQL runs there."""
    done = await means.shell.run(node, Command(("pgrep", "-x", "-c", "postgres"), mutates=False, root=True), ip=ip, deadline_s=deadline_s)
    return done.exit == 1 and [line.strip() for line in done.out] == ["0"]


def runs_in(listing: str, pod: Pod) -> bool:
    """Whether `crictl ps -o json` has the server's container of a pod, of this pod or of a namesake. Raises ValueError."""
    found = json.loads(listing)
    if not isinstance(found, dict) or not isinstance(found.get("containers"), list):
        raise ValueError("no list of containers")
    return any(isinstance(one, dict) and _is_server(one.get("labels"), pod) for one in found["containers"])


def _is_server(labels: object, pod: Pod) -> bool:
    wanted = {
        "io.kubernetes.pod.namespace": pod.namespace,
        "io.kubernetes.pod.name": pod.name,
        "io.kubernetes.container.name": CONTAINER,
    }
    return isinstance(labels, Mapping) and all(labels.get(key) == value for key, value in wanted.items())
