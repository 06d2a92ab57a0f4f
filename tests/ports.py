"""Ports for servers that a test starts later, or starts again."""

from __future__ import annotations

import random
import socket

PORTS = range(10_000, 15_000)
"""Below those from which the kernel takes ports for outgoing connections, and from which a test of the lab's own servers takes them: what was free
when it was looked for is free when the server starts."""


def free_port() -> int:
    """A port of the loopback on which nobody listens."""
    for port in random.sample(PORTS, 500):
        with socket.socket() as one:
            try:
                one.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
    raise AssertionError(f"no port of {PORTS} is free")
