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
    """Whether the container of that pod's server runs on its host. Never raises for a host that does not answer."""
    ip = node.internal_ip if node is not None else ""
    host: HostFacts = await gather_host(pod.node, ip, means, deadline_s)
    if host.trouble is not None:
        return Unknown("ssh", trouble_of(host.trouble).words)
    if why := stranger(host, node):
        return Unknown("ssh", why)
    listing = Command(("k3s", "crictl", "ps", "-o", "json"), mutates=False, root=True)
    try:
        done = await means.shell.run(pod.node, listing, ip=ip, deadline_s=deadline_s)
    except ColdError as error:
        return Unknown("ssh", trouble_of(error).words)
    if not done.ok:
        return Unknown("ssh", f"crictl on {pod.node}: {plain(' '.join(done.err[-1:]) or f'exit {done.exit}')}")
    try:
        return Known(runs_in("\n".join(done.out), pod), "ssh", means.clock.now())
    except ValueError:
        return Unknown("ssh", f"crictl on {pod.node} gives no list of containers")


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
