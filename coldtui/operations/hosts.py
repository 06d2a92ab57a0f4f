"""What is known of the host behind a node over SSH, and what that means for an act on it: shared by all operations that go there.

Everything is a read of the fixed table. A host that does not answer is a fact, not an error.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import field
from datetime import datetime

from ..domain.errors import ColdError, HostKeyChanged, HostKeyUnknown, NotFound, SecretWanted, StepFailed, Unreachable
from ..domain.nodes import Node
from ..domain.plans import Finding, Outlook, Premise, Weight
from ..domain.text import counted, plain
from ..domain.troubles import LineTrouble
from ..domain.values import dataclass
from ..ports import Command, Finished, Means, Self, Shell

BOOT_ID = "/proc/sys/kernel/random/boot_id"
ANSWER_S = 5.0
"""For one small read on a host."""
PROPERTIES = "Id,LoadState,ActiveState,SubState,Result,NRestarts,InvocationID,ActiveEnterTimestampMonotonic"
SERVER, AGENT = "k3s", "k3s-agent"


@dataclass(frozen=True, slots=True)
class Unit:
    """A service as systemd has it."""

    name: str
    """Without `.service`."""
    loaded: bool
    """Whether there is such a unit."""
    active: str = "inactive"
    """ActiveState: active, activating, deactivating, inactive, failed."""
    sub: str = "dead"
    invocation: str = ""
    """Another one with every start."""
    restarts: int = 0
    """By systemd itself since the last order."""
    result: str = ""
    entered: str = ""
    """When it became active, in the host's monotonic microseconds: `0` if it never was in this boot."""

    @property
    def words(self) -> str:
        return self.active if self.active == self.sub or self.sub == "running" else f"{self.active} ({self.sub})"


@dataclass(frozen=True, slots=True)
class HostFacts:
    """One look at a host."""

    node: str
    at: datetime
    address: str = ""
    """`user@host:port`; empty: not known."""
    trouble: ColdError | None = None
    """Why nothing could be learnt; None: it answered."""
    boot_id: str = ""
    up_s: float | None = None
    hostname: str = ""
    root: ColdError | None = None
    """Why root cannot be had; None: it can."""
    agent_only: str = ""
    """See `ports.Shell.agent_only`."""
    units: Mapping[str, Unit] = field(default_factory=dict)
    """k3s and k3s-agent, by name; empty: not readable."""
    people: tuple[str, ...] | None = None
    """Lines of `who`: terminals in use. None: not readable."""
    inhibitors: tuple[str, ...] = ()
    """Those that would block a shutdown, not only delay it."""

    @property
    def reached(self) -> bool:
        return self.trouble is None

    def premise(self) -> Premise:
        title = f"host of {self.node} over SSH"
        if self.trouble is None:
            return Premise(title, self.at)
        return Premise(title, None, self.trouble.title)


async def gather_host(node: str, ip: str, means: Means, deadline_s: float) -> HostFacts:
    """Never raises for a host that does not answer. `ip`: its address by the API; empty: not known."""
    shell, now = means.shell, means.clock.now()
    try:
        address = str(shell.address(node, ip))
    except NotFound as error:
        return HostFacts(node, now, trouble=error)
    try:
        async with asyncio.timeout(deadline_s):
            return await _look(node, ip, address, means, deadline_s)
    except TimeoutError:
        return HostFacts(node, now, address, LineTrouble(f"{address} did not answer within {deadline_s:.0f} s", kind="timeout"))
    except ColdError as error:
        return HostFacts(node, now, address, error)


async def _look(node: str, ip: str, address: str, means: Means, deadline_s: float) -> HostFacts:
    shell = means.shell
    boot = await boot_id(shell, node, ip, connect_s=deadline_s)
    asked = (("hostname",), ("cat", "/proc/uptime"), ("who",), ("systemd-inhibit", "--list", "--no-legend", "--no-pager"))
    reads = asyncio.gather(*(_try(shell, node, ip, argv) for argv in asked))
    (names, uptime, people, inhibitors), units, root = await asyncio.gather(reads, _units(shell, node, ip), _no_root(shell, node, ip))
    return HostFacts(
        node,
        means.clock.now(),
        address,
        boot_id=boot,
        up_s=_seconds(uptime),
        hostname=names.out[0] if names is not None and names.out else "",
        root=root,
        agent_only=shell.agent_only(node),
        units=units or {},
        people=people.out if people is not None and people.ok else None,
        inhibitors=tuple(line for line in inhibitors.out if line.split()[-1:] == ["block"]) if inhibitors is not None else (),
    )


async def boot_id(shell: Shell, node: str, ip: str = "", *, connect_s: float = ANSWER_S) -> str:
    """Which boot the host is in, in lower case with dashes. Raises what `Shell.run` raises."""
    done = await shell.run(node, Command(("cat", BOOT_ID), mutates=False), ip=ip, deadline_s=ANSWER_S, connect_s=connect_s)
    found = done.out[0].strip().lower() if done.ok and done.out else ""
    if len(found) != 36:
        raise LineTrouble(f"{node} does not tell its boot ID", kind="garbage", detail=(done.err or done.out or ("",))[-1])
    return found


async def read_units(shell: Shell, node: str, ip: str = "") -> dict[str, Unit]:
    """k3s and k3s-agent. Raises what `Shell.run` raises, and LineTrouble for an answer that is none."""
    argv = ("systemctl", "show", "--no-pager", f"--property={PROPERTIES}", SERVER, AGENT)
    done = await shell.run(node, Command(argv, mutates=False), ip=ip, deadline_s=ANSWER_S)
    found: dict[str, Unit] = {}
    for block in "\n".join(done.out).split("\n\n"):
        values = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        name = values.get("Id", "").removesuffix(".service")
        if name:
            found[name] = Unit(
                name,
                values.get("LoadState") not in ("not-found", "", None),
                values.get("ActiveState", ""),
                values.get("SubState", ""),
                values.get("InvocationID", ""),
                int(restarts) if (restarts := values.get("NRestarts", "0")).isdecimal() else 0,
                values.get("Result", ""),
                values.get("ActiveEnterTimestampMonotonic", ""),
            )
    if not done.ok or not found:
        raise LineTrouble(f"systemctl on {node} gives no answer", kind="garbage", detail=(done.err or ("",))[-1])
    return found


async def _units(shell: Shell, node: str, ip: str) -> dict[str, Unit] | None:
    try:
        return await read_units(shell, node, ip)
    except ColdError:
        return None


async def _try(shell: Shell, node: str, ip: str, argv: tuple[str, ...]) -> Finished | None:
    try:
        return await shell.run(node, Command(argv, mutates=False), ip=ip, deadline_s=ANSWER_S)
    except ColdError:
        return None


async def _no_root(shell: Shell, node: str, ip: str) -> ColdError | None:
    try:
        done = await shell.run(node, Command(("id", "-u"), mutates=False, root=True), ip=ip, deadline_s=ANSWER_S)
    except ColdError as error:
        return error
    return None if done.out == ("0",) else StepFailed(f"root cannot be had on {node}", detail=" ".join(done.err[-1:]))


def _seconds(done: Finished | None) -> float | None:
    try:
        return float(done.out[0].split()[0]) if done is not None and done.ok else None
    except (ValueError, IndexError):
        return None


# ------------------------------------------------------------ judged


def is_here(host: HostFacts, node: Node | None, me: Self) -> bool:
    """Whether this program runs on that machine: by the boot ID where both are known, else by name and address."""
    theirs = host.boot_id or (node.boot_id if node is not None else "")
    if theirs and me.boot_id:
        return theirs.lower() == me.boot_id.lower()
    names = {name for name in (host.hostname, node.hostname if node is not None else "") if name}
    return me.hostname in names or (node is not None and bool(node.internal_ip) and node.internal_ip in me.addresses)


def stranger(host: HostFacts, node: Node | None) -> str:
    """Why the host that answers is not the node; empty: nothing speaks against it."""
    if not host.reached or not host.hostname or node is None:
        return ""
    if host.boot_id == node.boot_id.lower() or not node.boot_id:
        return ""
    if host.hostname.split(".")[0] in {name.split(".")[0] for name in (node.name, node.hostname) if name}:
        return ""
    return f"{host.address} is another machine than {node.name}: it calls itself {host.hostname} and is in another boot"


def findings_of(host: HostFacts, node: Node | None, me: Self) -> Iterator[Finding]:
    """Whether the host can be acted on, and who else is there."""
    where = f"nodes/{host.node}"
    if host.trouble is not None:
        yield _unreached(host, where)
        return
    if why := stranger(host, node):
        yield Finding("host.other-machine", Weight.STOP, why, where, f"mend nodes.{plain(host.node)}.ssh", Outlook.REFUSED)
        return
    up = f", up {_up(host.up_s)}" if host.up_s is not None else ""
    yield Finding("host.reached", Weight.GOOD, f"{host.node} answers over SSH as {host.address}{up}", where)
    if host.root is not None:
        yield _rootless(host, where)
    if host.agent_only:
        remedy = "stay logged in until the run has ended, or name a key file in ssh.keys"
        yield Finding(
            "host.agent-only", Weight.WARNING, f"the run stops seeing {host.node} if you log out: {host.agent_only}", where, remedy
        )
    if node is not None and node.boot_id and host.boot_id != node.boot_id.lower():
        sentence = f"{host.node} has booted since its kubelet last reported"
        yield Finding("host.booted-since", Weight.NOTE, sentence, where)


def _unreached(host: HostFacts, where: str) -> Finding:
    error = host.trouble
    assert error is not None
    if isinstance(error, SecretWanted) and not error.wrong:
        return Finding(
            "needs-secret.key", Weight.NOTE, f"{host.node}: {error.title}", f"secrets/{error.secret}", error.hint, Outlook.NOT_EVALUATED
        )
    said = f"{error.title} · {error.detail}" if error.detail else error.title
    sentence = said if host.node in said else f"{host.node}: {said}"
    code = "host.key-unknown" if isinstance(error, HostKeyUnknown) else "host.key-changed" if isinstance(error, HostKeyChanged) else ""
    return Finding(code or "host.unreachable", Weight.STOP, sentence, where, error.hint, Outlook.REFUSED)


def _rootless(host: HostFacts, where: str) -> Finding:
    error = host.root
    assert error is not None
    if isinstance(error, SecretWanted) and not error.wrong:
        return Finding("needs-secret.sudo", Weight.NOTE, error.title, f"secrets/{error.secret}", error.hint)
    if isinstance(error, Unreachable):
        return Finding(
            "host.no-root", Weight.WARNING, f"root on {host.node}: not evaluated, {error.title}", where, error.hint, Outlook.NOT_EVALUATED
        )
    return Finding("host.no-root", Weight.STOP, str(error), where, error.hint, Outlook.REFUSED)


def blocked_by(findings: tuple[Finding, ...]) -> str:
    """Why nothing can be confirmed: the host cannot be acted on. Sentence and remedy."""
    for finding in findings:
        if finding.weight is Weight.STOP and finding.outlook is Outlook.REFUSED:
            return f"{finding.sentence}: {finding.remedy}" if finding.remedy else finding.sentence
    return ""


def people_of(host: HostFacts) -> Iterator[Finding]:
    """Who sits at a terminal there."""
    lines = [line for line in host.people or () if line.strip()]
    if lines:
        who = ", ".join(dict.fromkeys(f"{line.split()[0]}{_from(line)}" for line in lines[:4]))
        yield Finding("host.people", Weight.NOTE, f"{counted(len(lines), 'terminal')} in use on {host.node}: {who}", f"nodes/{host.node}")


def _from(line: str) -> str:
    last = line.split()[-1]
    return f" from {last.strip('()')}" if last.startswith("(") else ""


def _up(seconds: float) -> str:
    days, hours, minutes = int(seconds // 86_400), int(seconds // 3600) % 24, int(seconds // 60) % 60
    if days:
        return counted(days, "day")
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"
