"""The lab's control socket: one JSON line in, one JSON line out. And the faults by the names that operators use."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from coldtui.domain.errors import ColdError, NotFound, Unreachable, UsageError
from coldtui.lab.apiserver.process import ApiServerError, ApiServerProcess
from coldtui.lab.client import Json
from coldtui.lab.controllers.base import Machines

Options = Mapping[str, Any]
DEADLINE_S = 15.0
LOST_NODE = "k3s-worker-3"


@dataclass(frozen=True, slots=True)
class ServerFault:
    """A fault of the API server under our name, with the options it is given unless the caller says otherwise."""

    fault: str
    about: str
    options: Options = field(default_factory=dict)


SERVER_FAULTS: dict[str, ServerFault] = {
    "api-down": ServerFault("down", "the API server's listener is closed"),
    "slow": ServerFault("slow", "every answer is 800 ms late", {"ms": 800, "jitter_ms": 400}),
    "forbidden": ServerFault(
        "forbidden", "leases and metrics are refused",
        {"resources": ["leases.coordination.k8s.io", "nodes.metrics.k8s.io", "pods.metrics.k8s.io"], "verbs": ["get", "list", "watch"]},
    ),
    "unauthorized": ServerFault("unauthorized", "401 for everybody"),
    "too-many": ServerFault("too-many", "429 for everybody", {"retry_after": 2}),
    "expired": ServerFault("expired", "watches and pages answer 410"),
    "garbage": ServerFault("garbage", "streams carry lines that are no JSON"),
    "cut": ServerFault("cut", "streams and lists end in the middle of a line"),
    "half-open": ServerFault("half-open", "streams fall silent without closing"),
    "metrics-down": ServerFault("metrics-down", "metrics.k8s.io answers 503"),
    "restored": ServerFault("restored", "versions go back, as after a restored datastore"),
    "clock-skew": ServerFault("clock-skew", "the server's clock is an hour ahead"),
}  # fmt: skip
OTHER_FAULTS = {
    "node-down": f"a machine loses power ({LOST_NODE} unless node=NAME says another)",
    "api-paused": "the API server is frozen: connections stay open, nobody answers",
}
CATALOGUE: dict[str, str] = {**OTHER_FAULTS, **{name: fault.about for name, fault in SERVER_FAULTS.items()}}
"""Every fault by name, and what it does."""


class ApiPower:
    """Whether the API server listens: not while the fault api-down is on, nor while its host is off or restarts K3s."""

    def __init__(self, server: ApiServerProcess) -> None:
        self._server = server
        self._reasons: set[str] = set()
        self._lock = asyncio.Lock()

    async def set(self, reason: str, down: bool, **options: Any) -> None:
        """Raises ColdError when it cannot be switched."""
        async with self._lock:
            before = bool(self._reasons)
            (self._reasons.add if down else self._reasons.discard)(reason)
            if before != bool(self._reasons):
                await order(self._server, "down", not before, options if down else {})

    async def host(self, up: bool) -> None:
        """The host of the control plane has gone down, or runs again."""
        await self.set("host", not up)


async def order(server: ApiServerProcess, fault: str, on: bool, options: Options) -> None:
    """Switch a fault of the API server's process. Raises ColdError."""
    try:
        await asyncio.to_thread(server.control, fault, on, **options)
    except (ApiServerError, OSError) as error:
        raise ColdError(f"fault {fault} could not be switched", detail=str(error)) from error


class Faults:
    """Switches faults of one running lab."""

    def __init__(self, server: ApiServerProcess, machines: Machines, nodes: Callable[[], set[str]]) -> None:
        self._server, self._machines, self._nodes = server, machines, nodes
        self.api = ApiPower(server)
        self.reopen: Callable[[bool], None] = lambda anew: None
        """Called after a fault that the streams of the controllers do not show: they are opened again, or the world is listed anew."""
        self.on: set[str] = set()

    async def switch(self, name: str, on: bool, options: Options) -> str:
        """Switch a fault and say in a sentence what is now. Raises UsageError for an unknown one, ColdError when it cannot be done."""
        if name not in CATALOGUE:
            raise UsageError(f"unknown fault {name}", hint="known: " + ", ".join(sorted(CATALOGUE)))
        if name == "node-down":
            said = self._node(on, str(options.get("node") or LOST_NODE))
        elif name == "api-paused":
            (self._server.pause if on else self._server.resume)()
            said = CATALOGUE[name] if on else "the API server answers again"
        else:
            chosen = SERVER_FAULTS[name]
            if name == "api-down":
                await self.api.set("fault", on, **options)
            else:
                await order(self._server, chosen.fault, on, {**(chosen.options if on else {}), **options})
            said = chosen.about if on else "ended"
            if name == "restored" or (name == "half-open" and not on):
                self.reopen(name == "restored")
        (self.on.add if on else self.on.discard)(name)
        return f"{name} {'on' if on else 'off'}: {said}"

    def _node(self, on: bool, node: str) -> str:
        if node not in self._nodes():
            raise NotFound(f"there is no machine {node}", hint="known: " + ", ".join(sorted(self._nodes())))
        if on:
            self._machines.power_off(node)
            return f"{node} has lost power; it is NotReady after 50 s"
        self._machines.power_on(node)
        return f"{node} boots"


Answer = Callable[[Json], Awaitable[Json]]


class ControlSocket:
    """Serves commands on a unix socket, for this user only."""

    def __init__(self, path: Path, answer: Answer) -> None:
        self.path, self._answer = path, answer
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        self._server = await asyncio.start_unix_server(self._serve, str(self.path))
        self.path.chmod(0o600)

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            self.path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(DEADLINE_S):
                line = await reader.readline()
                writer.write(json.dumps(await self._respond(line)).encode() + b"\n")
                await writer.drain()
        except (ConnectionError, TimeoutError):
            pass  # whoever asked has gone; nobody is left to be told
        finally:
            writer.close()

    async def _respond(self, line: bytes) -> Json:
        try:
            return {"ok": True, **await self._answer(json.loads(line))}
        except ColdError as error:
            return {"ok": False, "error": str(error)}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            return {"ok": False, "error": f"no command: {error}"}


def send(path: Path, command: Json, deadline_s: float = DEADLINE_S) -> Json:
    """One command to a running lab. Raises Unreachable when it does not answer, ColdError when it says no."""
    try:
        with socket.socket(socket.AF_UNIX) as line:
            line.settimeout(deadline_s)
            line.connect(str(path))
            line.sendall(json.dumps(command).encode() + b"\n")
            with line.makefile("rb") as answers:
                answer: Json = json.loads(answers.readline())
    except (OSError, ValueError) as error:
        raise Unreachable(f"the lab at {path.parent} does not answer", detail=str(error)) from error
    if not answer.get("ok"):
        raise ColdError(str(answer.get("error")))
    return answer
