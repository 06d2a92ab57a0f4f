"""`coldtui doctor`: what works, what does not, and how to mend it. Every check ends by a deadline, whatever hangs.

The deadlines grow with the measured round trip, so that a slow API is called slow and not dead.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import shutil
import sys
from collections.abc import Awaitable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from coldtui.domain.values import dataclass

from ..domain.drains import LH_ATTACHMENTS
from ..domain.errors import ColdError, Exit, Forbidden, Unauthorized
from ..domain.kinds import LEASES, NODE_USAGE, NODES, PG_QUORUMS, POD_USAGE, WATCHED, Kind
from ..domain.readings import Freshness, Known, Unknown
from ..domain.sources import SKEW_S
from ..domain.text import counted, one_of
from . import out

if TYPE_CHECKING:
    from ..domain.world import World
    from ..ports import Kube
    from ..wiring import KubeconfigFacts, Site
    from .run import Call

OK, WARN, FAIL = "ok", "warn", "FAIL"
EXPIRES_SOON = timedelta(days=30)
FIRST_S = 5.0
"""For the first answer of the API; what it took gives the deadlines of the rest."""
SLOW_S = 0.5
"""A round trip over this is felt in every action."""
AT_ONCE = 8
"""Questions about rights that wait for their answers side by side."""


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the doctor's."""

    name: str
    state: str
    """`ok`, `warn` or `FAIL`."""
    words: str
    remedy: str = ""
    exit: Exit = Exit.FAILED
    """What a failure means for the exit code."""


# ---------------------------------------------------------------- this machine


def configuration(call: Call) -> Iterator[Check]:
    config = call.config
    yield Check("configuration", OK, config.file or "no file: defaults, environment and flags only")
    for note in config.notes:
        yield Check("environment", WARN, note, "unset it or mend its name")
    if config.keymap:
        from ..tui.keymap import conflicts  # loads every screen: only where keys were changed

        found = conflicts(config.keymap)
        for sentence in found:
            yield Check("keymap", WARN, sentence.removeprefix("keymap: "), f"mend keymap in {config.file}")
        if not found:
            yield Check("keymap", OK, f"{counted(len(config.keymap), 'binding')} changed, no key twice")
    if config.theme:
        from ..tui.theme import names

        if config.theme in names():
            yield Check("theme", OK, config.theme)
        else:
            near = one_of(names(), config.theme)
            yield Check(
                "theme", WARN, f"there is no theme {config.theme}", f"did you mean {near}?" if near else f"one of {', '.join(names())}"
            )


def state_and_log(site: Site) -> Iterator[Check]:
    folder = site.state_dir
    if folder.writable:
        yield Check("state folder", OK, f"{folder.path}, {_free(folder.path)}")
    else:
        what, _, remedy = folder.trouble.rpartition(": ")
        yield Check("state folder", FAIL, what, remedy)
    if site.log_trouble:
        yield Check("log", WARN, f"no log: {site.log_trouble}", "mend the state folder or set log.file")
    else:
        yield Check("log", OK, site.log)


def runs() -> Iterator[Check]:
    """Nothing is said where a run outlives its login, as it does almost everywhere."""
    from ..wiring import runs_end_at_logout

    if runs_end_at_logout():
        yield Check("runs", WARN, "a run ends when you log out: logind has KillUserProcesses=yes", "loginctl enable-linger, or act as root")


def _free(path: str) -> str:
    from ..present.words import size

    try:
        return f"{size(shutil.disk_usage(path).free)} free"
    except OSError as error:
        return f"free space not known ({error.strerror})"


def terminal(environ: Mapping[str, str]) -> Iterator[Check]:
    term = environ.get("TERM", "")
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        yield Check("terminal", WARN, "not a terminal: the console cannot be drawn here, the commands can", "run it in a terminal")
    elif term in ("", "dumb"):
        yield Check("terminal", FAIL, f"TERM is {term or 'not set'}: the console cannot be drawn", "export TERM=xterm-256color")
    else:
        columns, lines = shutil.get_terminal_size()
        small = columns < 80 or lines < 24
        yield Check(
            "terminal", WARN if small else OK, f"{term}, {columns}x{lines}", "the console is made for 80x24 and more" if small else ""
        )
    encoding = (sys.stdout.encoding or "").lower().replace("-", "")
    if encoding == "utf8":
        yield Check("characters", OK, "UTF-8")
    else:
        yield Check("characters", WARN, f"{encoding or 'unknown'}: glyphs are shown in ASCII", "export LC_ALL=C.UTF-8")
    yield Check("colours", OK, _colours(term, environ))
    if environ.get("TMUX") or environ.get("STY"):
        name = "tmux" if environ.get("TMUX") else "screen"
        fine = term.startswith(("tmux", "screen"))
        yield Check(
            "multiplexer", OK if fine else WARN, f"{name}, TERM {term or 'not set'}",
            "" if fine else f"set -g default-terminal {name}-256color",
        )  # fmt: skip
    if environ.get("SSH_CONNECTION"):
        yield Check("connection", OK, "over SSH: fewer frames, mouse off unless asked for")


def _colours(term: str, environ: Mapping[str, str]) -> str:
    if environ.get("NO_COLOR"):
        return "none (NO_COLOR)"
    if environ.get("COLORTERM") in ("truecolor", "24bit"):
        return "16 million"
    return "256" if "256" in term else "16: a theme for few colours is used"


def compiled() -> Iterator[Check]:
    """Without compiled modules a start takes three and a half times as long."""
    missing = 0
    total = 0
    for package in ("coldtui", "textual"):
        spec = importlib.util.find_spec(package)
        for root in (spec.submodule_search_locations or ()) if spec else ():
            for folder, _, names in os.walk(root):
                for name in names:
                    if name.endswith(".py"):
                        total += 1
                        missing += not os.path.exists(importlib.util.cache_from_source(os.path.join(folder, name)))
    if missing * 4 > total:  # a few modules are never imported
        yield Check(
            "compiled modules",
            WARN,
            f"{missing} of {total} modules are not compiled: starts are slow",
            f"{sys.executable} -m compileall -q {_roots()}",
        )
    else:
        yield Check("compiled modules", OK, f"{total - missing} of {total} modules")


def _roots() -> str:
    found = []
    for package in ("coldtui", "textual"):
        spec = importlib.util.find_spec(package)
        found += list(spec.submodule_search_locations or ()) if spec else []
    return " ".join(found)


# ---------------------------------------------------------------- the credentials


def credentials(facts: KubeconfigFacts, now: datetime) -> Iterator[Check]:
    if facts.trouble is not None:
        error = facts.trouble
        yield Check("kubeconfig", FAIL, f"{error.title}{': ' + error.detail if error.detail else ''}", error.hint)
        return
    where = ", ".join(facts.paths) or "the pod's own service account"
    yield Check("kubeconfig", OK, f"{where}, context {facts.context or 'none'}, {facts.server or 'in cluster'}")
    for path in facts.paths:
        mode = os.stat(path).st_mode
        if mode & 0o044:
            yield Check("kubeconfig", WARN, f"{path} can be read by others (mode {mode & 0o777:04o})", f"chmod 600 {path}")
    program = facts.login.removeprefix("exec plugin ")
    if program != facts.login and shutil.which(program) is None:
        yield Check("login", FAIL, f"credential plugin {program} is not installed", "install it or use another context")
    else:
        yield Check("login", OK, f"{facts.user or 'user'}: {facts.login}")
    if facts.certificate_until is not None:
        yield certificate(facts.certificate_until, now)


def certificate(until: datetime, now: datetime) -> Check:
    from ..present.words import duration, stamp

    left = until - now
    renew = "K3s renews it at its next restart within 120 days of the end; then copy k3s.yaml again"
    if left <= timedelta(0):
        return Check(
            "client certificate", FAIL, f"expired {duration(-left)} ago ({stamp(until)})", "copy the renewed k3s.yaml from the server again"
        )
    if left < EXPIRES_SOON:
        return Check("client certificate", WARN, f"expires in {duration(left)} ({stamp(until)})", renew)
    return Check("client certificate", OK, f"valid until {stamp(until)}")


# ---------------------------------------------------------------- the API


@dataclass(frozen=True, slots=True)
class Right:
    """One thing that the console asks the API for."""

    verb: str
    resource: str
    """Plural, with `/subresource`."""
    group: str
    namespace: str
    needed: bool
    """Without it the first screens stay empty; without the others a part is shown as not permitted."""


def _rights(kind: Kind) -> tuple[Right, ...]:
    verbs = ("get", "list") if kind.polled else ("get", "list", "watch")
    return tuple(Right(verb, kind.plural, kind.group, kind.namespace, not (kind.custom or kind is LEASES)) for verb in verbs)


RIGHTS: tuple[Right, ...] = (
    *(right for kind in (*WATCHED, NODE_USAGE, POD_USAGE, LH_ATTACHMENTS, PG_QUORUMS) for right in _rights(kind)),
    Right("get", "pods/log", "", "", False),
)
"""What the account of deploy/viewer-rbac.yaml grants, but for the kubelets' summary, which has two ways."""


async def permissions(kube: Kube, deadline_s: float) -> list[Check]:
    """One line when all is permitted; else a line for each group and set of verbs that lacks something."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def ask(verb: str, group: str, resource: str, namespace: str = "") -> bool:
        plural, _, sub = resource.partition("/")
        async with gate:
            return await kube.may(verb, group, plural, namespace=namespace, subresource=sub, deadline_s=deadline_s)

    if await ask("*", "*", "*"):
        return [Check("permissions", OK, f"all {len(RIGHTS) + 1} granted: this user may do everything (a read-only account would do)")]
    answers, stats = await asyncio.gather(
        asyncio.gather(*(ask(r.verb, r.group, r.resource, r.namespace) for r in RIGHTS)),
        asyncio.gather(ask("get", "", "nodes/stats"), ask("get", "", "nodes/proxy")),
    )
    lacking = [right for right, granted in zip(RIGHTS, answers, strict=True) if not granted]
    whole = len(RIGHTS) + 1
    granted = whole - len(lacking) - (not any(stats))
    checks = [
        Check("permissions", OK, f"all {whole} granted")
        if granted == whole
        else Check("permissions", WARN, f"{granted} of {whole} granted")
    ]
    checks += _missing(lacking)
    if not any(stats):
        checks.append(
            Check("permissions", WARN, "needs get on nodes/stats (or nodes/proxy): no disk and network numbers", "grant get on nodes/stats")
        )
    elif stats[1] and not stats[0]:
        checks.append(Check("permissions", OK, "kubelet summaries through nodes/proxy (a strong right: get on nodes/stats would do)"))
    return checks


def _missing(lacking: list[Right]) -> Iterator[Check]:
    verbs: dict[tuple[str, str, str, bool], list[str]] = {}
    for right in lacking:
        verbs.setdefault((right.resource, right.group, right.namespace, right.needed), []).append(right.verb)
    alike: dict[tuple[tuple[str, ...], str, str, bool], list[str]] = {}
    for (resource, group, namespace, needed), missing in verbs.items():
        alike.setdefault((tuple(missing), group, namespace, needed), []).append(resource)
    for (missing_verbs, group, namespace, needed), resources in sorted(alike.items(), key=lambda item: not item[0][-1]):
        of = (f" ({group})" if group else "") + (f" in namespace {namespace}" if namespace else "")
        yield Check(
            "permissions",
            FAIL if needed else WARN,
            f"needs {', '.join(missing_verbs)} on {', '.join(resources)}{of}",
            "grant it in the ClusterRole of this user (deploy/viewer-rbac.yaml has all)"
            if needed
            else "grant it, or live without that part",
            Exit.NOT_PERMITTED,
        )


def _said(error: ColdError) -> str:
    return f"{error.title}{': ' + error.detail if error.detail else ''}"


async def api(kube: Kube) -> tuple[list[Check], float | None]:
    """(checks, seconds of a round trip; None when the API cannot be asked anything)."""
    try:
        said, trip_s = await _timed(kube.alive(deadline_s=FIRST_S))
        if trip_s > SLOW_S / 2:  # the first one made the connection
            said, trip_s = await _timed(kube.alive(deadline_s=FIRST_S))
    except ColdError as error:
        hint = error.hint or ("" if isinstance(error, Unauthorized) else "is the server up? systemctl status k3s there")
        return [Check("Kubernetes API", FAIL, _said(error), hint, error.exit)], None
    took = f"{trip_s * 1000:.0f} ms" if trip_s < SLOW_S else f"{trip_s:.1f} s"
    ready = said.strip() in ("", "ok")
    checks = [
        Check("Kubernetes API", OK if ready else WARN, f"{kube.server} answers in {took}" + ("" if ready else f", {said.strip()[:120]}"))
    ]
    if trip_s >= SLOW_S:
        checks.append(
            Check("Kubernetes API", WARN, f"slow: {trip_s:.1f} s a request", "look at the server's load, and at the network between")
        )
    try:
        facts = await kube.facts(deadline_s=max(FIRST_S, 5 * trip_s))
    except Forbidden as error:
        return [*checks, Check("version", WARN, _said(error), error.hint)], trip_s
    except ColdError as error:
        checks.append(
            Check(
                "Kubernetes API",
                FAIL,
                f"answers, but not to questions: {_said(error)}",
                error.hint or "try again; look at k3s on the server",
                error.exit,
            )
        )
        return checks, None
    checks.append(Check("version", OK, facts.version or "not told"))
    if not facts.cluster_uid:
        checks.append(
            Check("cluster identity", WARN, "namespace kube-system may not be read: the saved World is not kept", "grant get on namespaces")
        )
    return checks, trip_s


async def _timed(answer: Awaitable[str]) -> tuple[str, float]:
    loop = asyncio.get_running_loop()
    began = loop.time()
    return await answer, loop.time() - began


def minor(version: str) -> int | None:
    """34 of v1.34.4+k3s1; None when it is no such version."""
    parts = version.lstrip("v").split(".")
    return int(parts[1]) if len(parts) > 1 and parts[0] == "1" and parts[1].isdigit() else None


def skew(world: World) -> Iterator[Check]:
    """Kubelets may be up to three minors older than the server, never newer."""
    server = minor(world.site.version)
    if server is None:
        return
    if server < 28:
        yield Check("version", WARN, f"{world.site.version} is older than what this program is tested with (1.28)", "upgrade K3s")
    for node in world.nodes.items.values():
        kubelet = minor(node.kubelet_version)
        if kubelet is not None and (kubelet > server or kubelet < server - 3):
            word = "newer" if kubelet > server else "too much older"
            yield Check(
                "version",
                WARN,
                f"kubelet of {node.name} is {node.kubelet_version}: {word} than the server",
                "upgrade the server first, agents at most three minors behind",
            )


def clock(world: World, now: datetime, skew_s: float | None = None) -> Iterator[Check]:
    """By the API's own clock where it tells it (`skew_s`: how far it is ahead); and by the nodes, whose kubelets renew a lease each 10 s by theirs."""
    look = "check timedatectl here and on the nodes"
    if skew_s is not None and abs(skew_s) > SKEW_S:
        side = "behind" if skew_s > 0 else "ahead of"
        yield Check("clock", WARN, f"this machine is {abs(skew_s):,.0f} s {side} the API server: ages are wrong by that much", look)
    elif skew_s is not None:
        yield Check("clock", OK, f"agrees with the API server to within {max(1, round(abs(skew_s)))} s")
    renewed = [lease.renewed for lease in world.leases.items.values() if lease.renewed is not None]
    if not renewed:
        if skew_s is None:
            yield Check("clock", OK, "skew not known: no node leases")
        return
    ahead = (max(renewed) - now).total_seconds() - (skew_s or 0.0)
    whose = "this clock" if skew_s is None else "the API server's"
    if ahead > SKEW_S:
        yield Check("clock", WARN, f"the newest node lease is {ahead:.0f} s in the future: a node's clock is ahead of {whose}", look)
    elif ahead < -40:
        yield Check("clock", WARN, f"the newest node lease is {-ahead:.0f} s old: {whose} is ahead, or no kubelet reports", look)
    elif skew_s is None:
        yield Check("clock", OK, f"agrees with the nodes to within {max(10, abs(ahead)):.0f} s")


COMPONENTS: tuple[tuple[str, str, str, str], ...] = (
    ("CloudNativePG", "pg_clusters", "PostgreSQL cluster", "PostgreSQL screens stay empty"),
    ("Longhorn", "lh_volumes", "volume", "storage screens stay empty"),
    ("MetalLB", "ip_pools", "address pool", "addresses are not shown"),
    ("metrics server", "node_usage", "node", "no CPU and memory numbers"),
)
"""(what it is, the kind that shows it, what one of them is, what its absence means)."""


def components(world: World) -> Iterator[Check]:
    for name, kind, one, means in COMPONENTS:
        state = world.sources[kind]
        if state.freshness is Freshness.LIVE:
            yield Check(name, OK, counted(len(world.shelf(kind)), one))
        elif state.freshness is Freshness.NOT_INSTALLED:
            yield Check(name, WARN, f"not installed: {means}", "install it, if this site should have it")
        else:
            words = state.trouble.words if state.trouble else "not read in time"
            code = Exit.NOT_PERMITTED if state.freshness is Freshness.FORBIDDEN else Exit.FAILED
            yield Check(name, WARN, words, state.trouble.hint if state.trouble else "try again", code)
    told = [r for r in world.node_stats.values() if isinstance(r, Known)]
    refused = [(node, r) for node, r in world.node_stats.items() if isinstance(r, Unknown)]
    if told and not refused:
        yield Check("kubelets", OK, f"all {len(told)} answer with their summary")
    by_reason: dict[str, list[str]] = {}
    for node, reading in refused:
        by_reason.setdefault(_alike(world, node, reading.reason), []).append(node)
    for reason, nodes in list(by_reason.items())[:5]:
        shown = ", ".join(sorted(nodes)[:3]) + (f" and {len(nodes) - 3} more" if len(nodes) > 3 else "")
        yield Check("kubelets", WARN, f"{shown}: {reason.replace('NODE', nodes[0])}", "no disk and network numbers of them")


def _alike(world: World, node: str, reason: str) -> str:
    """The reason without what is this node's own, so that the same trouble of many is one line."""
    found = world.nodes.items.get(node)
    address = found.internal_ip if found is not None else ""
    return (reason.replace(address, "its address") if address else reason).replace(node, "NODE")


# ---------------------------------------------------------------- all together


async def _site_checks(site: Site, facts: KubeconfigFacts) -> list[Check]:
    from . import doctor_postgres
    from .doctor_hosts import hosts

    checks, world = await _api_checks(site, facts)
    if world is None:
        checks += await doctor_postgres.without_api(site)
    return [*checks, *await hosts(site, world)]


async def _api_checks(site: Site, facts: KubeconfigFacts) -> tuple[list[Check], World | None]:
    from ..wiring import reach
    from . import doctor_postgres

    if facts.trouble is not None:
        return [Check("Kubernetes API", FAIL, "not tried: no usable kubeconfig", "mend the kubeconfig first", Exit.UNREACHABLE)], None
    try:
        kube = await reach(site)
    except ColdError as error:
        return [Check("Kubernetes API", FAIL, str(error), error.hint, error.exit)], None
    try:
        checks, trip_s = await api(kube)
        if trip_s is None:
            return checks, None
        # Six requests, one after the other, are what the longest of these takes; the rights are more than a hundred, side by side.
        read, rights = site.live.once((*_READ, *doctor_postgres.READ), 4.0 + 8 * trip_s), _permissions(kube, trip_s)
        world, granted = await asyncio.gather(read, rights)
        now = datetime.now(UTC)
        database = [
            *doctor_postgres.servers(world, site.config.postgres.user),
            *doctor_postgres.managers(world),
            *await doctor_postgres.rights(kube, world, 5.0 + 5 * trip_s),
        ]
        found = [*nodes(world), *components(world), *database]
        if any(check.exit is Exit.NOT_PERMITTED for check in granted):  # they name what is missing; the parts would say it again
            found = [check for check in found if check.exit is not Exit.NOT_PERMITTED]
        return [*checks, *granted, *skew(world), *clock(world, now, kube.clock_skew_s), *found], world
    finally:
        await kube.aclose()


_READ = ("nodes", "leases", "node_stats", *(kind for _, kind, *_ in COMPONENTS))


async def _permissions(kube: Kube, trip_s: float) -> list[Check]:
    end_s = 5.0 + 3 * trip_s * (len(RIGHTS) / AT_ONCE)
    try:
        return await asyncio.wait_for(permissions(kube, 5.0 + 5 * trip_s), end_s)
    except TimeoutError:
        return [Check("permissions", WARN, f"not known: not all answers came within {end_s:.0f} s", "try again")]
    except Forbidden as error:
        return [Check("permissions", WARN, f"own permissions may not be asked: {error.title}", error.hint)]
    except ColdError as error:
        return [Check("permissions", WARN, f"not known: {_said(error)}", error.hint)]


def nodes(world: World) -> Iterator[Check]:
    """What every screen begins with: when it cannot be read, the doctor ends as `coldtui nodes` would."""
    from .listings import verdict

    code = verdict(world, NODES.name)
    if code is not Exit.DONE:
        trouble = world.sources[NODES.name].trouble
        yield Check("nodes", FAIL, trouble.words if trouble else "not read in time", trouble.hint if trouble else "try again", code)
    lease = world.sources[LEASES.name]
    if lease.freshness is Freshness.FORBIDDEN and lease.trouble is not None:
        yield Check("node leases", WARN, lease.trouble.words, "a silent node is noticed late without them", Exit.NOT_PERMITTED)


async def _bounded(site: Site, facts: KubeconfigFacts) -> list[Check]:
    """Each step has its deadline; this one is for what no deadline reaches."""
    limit_s = 60.0
    try:
        return await asyncio.wait_for(_site_checks(site, facts), limit_s)
    except TimeoutError:
        words = f"checks did not end within {limit_s:.0f} s"
        return [Check("Kubernetes API", FAIL, words, "the API hangs: look at k3s on the server", Exit.UNREACHABLE)]


def run(call: Call) -> Exit:
    from ..wiring import kubeconfig_facts

    site = call.site()
    facts = kubeconfig_facts(call.config)
    checks = [
        *configuration(call),
        *state_and_log(site),
        *runs(),
        *terminal(call.environ),
        *compiled(),
        *credentials(facts, datetime.now(UTC)),
        *asyncio.run(_bounded(site, facts)),
    ]
    _print(checks, as_json=bool(call.parsed.flags.get("json")))
    failed = {c.exit for c in checks if c.state == FAIL}
    return next((code for code in (Exit.UNREACHABLE, Exit.NOT_PERMITTED) if code in failed), Exit.FAILED if failed else Exit.DONE)


def _print(checks: list[Check], *, as_json: bool) -> None:
    if as_json:
        out.dump({"checks": [{"name": c.name, "state": c.state.lower(), "words": c.words, "remedy": c.remedy or None} for c in checks]})
        return
    from ..present.rows import Cell, Tone

    tones = {OK: Tone.PLAIN, WARN: Tone.WARN, FAIL: Tone.BAD}
    rows = [
        (Cell(c.state, tones[c.state]), Cell(c.name), Cell(out.clean(f"{c.words} → {c.remedy}" if c.remedy else c.words))) for c in checks
    ]
    out.data(out.table(("STATE", "WHAT", "FOUND"), rows, headers=False))
    bad, odd = sum(c.state == FAIL for c in checks), sum(c.state == WARN for c in checks)
    out.say(f"{counted(len(checks), 'check')}: " + (f"{bad} failed, {counted(odd, 'warning')}" if bad or odd else "all well"))
