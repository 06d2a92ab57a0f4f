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
from coldtui.lab.hosts.fleet import ANY, Fleet
from coldtui.lab.postgres.faults import ABOUT as DATABASE_FAULTS
from coldtui.lab.postgres.faults import PgFaults
from coldtui.lab.troubles import ABOUT as TROUBLES
from coldtui.lab.troubles import Troubles

Options = Mapping[str, Any]
DEADLINE_S = 30.0
"""For one command. Some bring pods up first."""
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
HOST_FAULTS = {
    "node-down": f"a machine loses power ({LOST_NODE} unless node=NAME says another)",
    "node-not-back": "the next machine that reboots, or the one that node=NAME names, stays off until this is switched off",
    "ssh-down": f"SSH of a host refuses connections ({LOST_NODE} unless node=NAME says another)",
    "ssh-hostkey": f"a host shows another host key ({LOST_NODE} unless node=NAME says another)",
    "sudo-password": f"sudo of a host wants a password, which is in ssh/sudo_password ({LOST_NODE} unless node=NAME says another)",
}
OTHER_FAULTS = {"api-paused": "the API server is frozen: connections stay open, nobody answers"}
CATALOGUE: dict[str, str] = {
    **HOST_FAULTS, **{name: f"{about}; on {LOST_NODE} unless node=NAME says another" for name, about in TROUBLES.items()}, **DATABASE_FAULTS, **OTHER_FAULTS,
    **{name: fault.about for name, fault in SERVER_FAULTS.items()},
}  # fmt: skip
"""Every fault by name, and what it does."""
ON_A_NODE = frozenset({*HOST_FAULTS, *TROUBLES})
"""Those that take node=NAME."""


class ApiPower:
    """Whether the API server listens: not while the fault api-down is on, nor while its host is off or starts K3s anew."""

    def __init__(self, server: ApiServerProcess) -> None:
        self._server = server
        self._reasons: set[str] = set()
        self._lock = asyncio.Lock()
        self._timer: asyncio.TimerHandle | None = None
        self._ending: asyncio.Task[None] | None = None

    async def set(self, reason: str, down: bool, seconds: float | None = None) -> None:
        """With ``seconds`` it is no reason any more after that time. Raises ColdError when it cannot be switched."""
        async with self._lock:
            before = bool(self._reasons)
            (self._reasons.add if down else self._reasons.discard)(reason)
            if before != bool(self._reasons):
                await order(self._server, "down", not before, {})
        if down and seconds is not None:
            self._timer = asyncio.get_running_loop().call_later(seconds, self._end, reason)

    def _end(self, reason: str) -> None:
        self._ending = asyncio.ensure_future(self.set(reason, False))

    async def host(self, up: bool) -> None:
        """The host of the control plane has gone down, or runs again."""
        await self.set("host", not up)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()


async def order(server: ApiServerProcess, fault: str, on: bool, options: Options) -> None:
    """Switch a fault of the API server's process. Raises ColdError."""
    try:
        await asyncio.to_thread(server.control, fault, on, **options)
    except (ApiServerError, OSError) as error:
        raise ColdError(f"fault {fault} could not be switched", detail=str(error)) from error


class Faults:
    """Switches faults of one running lab."""

    def __init__(self, server: ApiServerProcess, power: ApiPower, hosts: Fleet, troubles: Troubles, database: PgFaults) -> None:
        self._server, self._power, self._hosts, self._troubles, self._database = server, power, hosts, troubles, database
        self._lab = hosts.lab
        self.on: set[str] = set()

    async def switch(self, name: str, on: bool, options: Options) -> str:
        """Switch a fault and say in a sentence what is now. Raises UsageError for an unknown one, ColdError when it cannot be done."""
        if name not in CATALOGUE:
            raise UsageError(f"unknown fault {name}", hint="known: " + ", ".join(sorted(CATALOGUE)))
        if name in ON_A_NODE:
            said = await self._on_a_node(name, on, options)
        elif name in DATABASE_FAULTS:
            said = await self._database.switch(name, on, options)
        elif name == "api-paused":
            (self._server.pause if on else self._server.resume)()
            said = CATALOGUE[name] if on else "the API server answers again"
        else:
            said = await self._on_the_server(name, on, options)
        (self.on.add if on else self.on.discard)(name)
        return f"{name} {'on' if on else 'off'}: {said}"

    async def _on_the_server(self, name: str, on: bool, options: Options) -> str:
        chosen = SERVER_FAULTS[name]
        if name == "api-down":
            await self._power.set("fault", on, _seconds(options))
        else:
            await order(self._server, chosen.fault, on, {**(chosen.options if on else {}), **options})
        # The streams of the controllers do not show these: they are opened again, or the world is listed anew.
        if name == "restored" or (name == "half-open" and not on):
            self._lab.informers.reopen(anew=name == "restored")
        return chosen.about if on else "ended"

    async def _on_a_node(self, name: str, on: bool, options: Options) -> str:
        node = str(options.get("node") or ("" if name == "node-not-back" else LOST_NODE))
        if node and node not in self._hosts.machines:
            raise NotFound(f"there is no machine {node}", hint="known: " + ", ".join(sorted(self._hosts.machines)))
        if name in TROUBLES:
            return await self._troubles.switch(name, on, node, _seconds(options))
        match name:
            case "node-down":
                return self._power_of(node, on)
            case "node-not-back":
                return self._not_back(node, on)
            case "ssh-down":
                await self._hosts.refuse(node, on)
                return f"SSH of {node} refuses connections" if on else f"SSH of {node} answers"
            case "ssh-hostkey":
                await self._hosts.change_key(node, on)
                return f"{node} shows {'another' if on else 'its own'} host key"
            case _:
                self._hosts.want_password(node, on)
                return f"sudo on {node} wants the password in {self._hosts.password_file}" if on else f"sudo on {node} wants no password"

    def _power_of(self, node: str, on: bool) -> str:
        if on:
            self._hosts.hold(node)
            self._lab.machines.power_off(node)
            return f"{node} has lost power; it is NotReady after {self._lab.pace.grace:.0f} s"
        self._lab.machines.power_on(node)
        return f"{node} boots"

    def _not_back(self, node: str, on: bool) -> str:
        if on:
            self._hosts.stuck.add(node or ANY)
            return f"{node or 'the next machine'} stays off after its next reboot"
        back = self._hosts.release()
        return f"{', '.join(back)} boots" if back else "machines come back from a reboot"


def _seconds(options: Options) -> float | None:
    """Raises UsageError."""
    try:
        return float(options["seconds"]) if "seconds" in options else None
    except (TypeError, ValueError):
        raise UsageError(f"seconds={options['seconds']} is no number", hint="write seconds=60") from None


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
