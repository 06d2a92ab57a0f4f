"""`coldtui doctor`: what works, what does not, and how to mend it. Every check ends within seconds, whatever hangs."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from ..domain.errors import ColdError, Exit, Forbidden, Unauthorized
from ..domain.kinds import KINDS
from ..domain.readings import Freshness, Known, Unknown
from ..domain.text import one_of
from . import out

if TYPE_CHECKING:
    from ..domain.world import World
    from ..ports import Kube
    from ..wiring import KubeconfigFacts, Site
    from .run import Call

OK, WARN, FAIL = "ok", "warn", "FAIL"
EXPIRES_SOON = timedelta(days=30)
SKEW_S = 5.0
"""Certificates and leases tolerate less than minutes; ages on the screen are wrong by as much."""
WHOLE_S = 10.0


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the doctor's."""

    name: str
    state: str
    """`ok`, `warn` or `FAIL`."""
    words: str
    remedy: str = ""
    unreachable: bool = False


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
            yield Check("keymap", OK, f"{len(config.keymap)} bindings changed, no key twice")
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

PERMISSIONS: tuple[tuple[str, str, str, str, bool], ...] = (
    *(
        (verb, group, resource, "", True)
        for group, resources in (
            ("", ("nodes", "pods", "services", "events", "persistentvolumeclaims", "persistentvolumes", "namespaces")),
            ("apps", ("deployments", "replicasets", "statefulsets", "daemonsets")),
            ("policy", ("poddisruptionbudgets",)),
            ("discovery.k8s.io", ("endpointslices",)),
        )
        for resource in resources
        for verb in ("get", "list", "watch")
    ),
    ("list", "coordination.k8s.io", "leases", "", True),
    ("watch", "coordination.k8s.io", "leases", "", True),
    ("get", "", "pods", "log", False),
    ("list", "metrics.k8s.io", "nodes", "", False),
    ("list", "metrics.k8s.io", "pods", "", False),
)
"""(verb, group, resource, subresource, needed): what the console reads."""


async def permissions(kube: Kube) -> Iterable[Check]:
    """One line for all that is permitted, one for each resource that lacks a verb. The kubelets' summary has two ways."""
    gate = asyncio.Semaphore(6)

    async def ask(verb: str, group: str, resource: str, sub: str, needed: bool) -> tuple[str, str, bool, bool]:
        async with gate:
            namespace = "kube-node-lease" if resource == "leases" else ""
            allowed = await kube.may(verb, group, resource, namespace=namespace, subresource=sub)
        name = f"{resource}{'/' + sub if sub else ''}{'.' + group if group else ''}"
        return verb, name, needed, allowed

    answers = await asyncio.gather(*(ask(*p) for p in PERMISSIONS))
    stats = await asyncio.gather(*(kube.may("get", "", "nodes", subresource=sub) for sub in ("stats", "proxy")))
    lacking: dict[str, list[str]] = {}
    needed = {name for _, name, need, _ in answers if need}
    for verb, name, _, allowed in answers:
        if not allowed:
            lacking.setdefault(name, []).append(verb)
    granted = sum(1 for *_, allowed in answers if allowed)
    checks = [Check("permissions", OK if granted == len(answers) else WARN, f"{granted} of {len(answers)} granted")]
    for name, verbs in lacking.items():
        words = f"not permitted: {', '.join(verbs)} {name}"
        checks.append(
            Check(
                "permissions",
                FAIL if name in needed else WARN,
                words,
                "grant it in the ClusterRole of this user; what needs it is shown as not permitted",
            )
        )
    if not any(stats):
        checks.append(
            Check(
                "permissions",
                WARN,
                "not permitted: get nodes/stats (nor nodes/proxy): no disk and network numbers",
                "grant get on nodes/stats",
            )
        )
    elif stats[1] and not stats[0]:
        checks.append(Check("permissions", OK, "kubelet summaries through nodes/proxy (a strong right: get on nodes/stats would do)"))
    return checks


async def api(kube: Kube) -> tuple[list[Check], bool]:
    """(checks, whether the API answers)."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    try:
        said = await kube.alive()
    except Unauthorized as error:
        return [Check("Kubernetes API", FAIL, f"{error.title}{': ' + error.detail if error.detail else ''}", error.hint)], False
    except ColdError as error:
        words = f"{error.title}{': ' + error.detail if error.detail else ''}"
        return [Check("Kubernetes API", FAIL, words, error.hint or "is the server up? systemctl status k3s there", unreachable=True)], False
    took = (loop.time() - began) * 1000
    state = OK if said.strip() in ("", "ok") else WARN
    checks = [
        Check(
            "Kubernetes API",
            state,
            f"{kube.server} answers in {took:.0f} ms" + ("" if state == OK else f", not ready: {said.strip()[:120]}"),
        )
    ]
    try:
        facts = await kube.facts()
    except ColdError as error:
        checks.append(Check("version", WARN, str(error)))
        return checks, True
    words = facts.version or "not told"
    checks.append(Check("version", OK, words))
    if not facts.cluster_uid:
        checks.append(
            Check("cluster identity", WARN, "namespace kube-system may not be read: the saved World is not kept", "grant get on namespaces")
        )
    return checks, True


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


def clock(world: World, now: datetime) -> Iterator[Check]:
    """Kubelets renew their leases every 10 s by their own clocks: the newest renewal tells how far ours is off."""
    renewed = [lease.renewed for lease in world.leases.items.values() if lease.renewed is not None]
    if not renewed:
        yield Check("clock", OK, "skew not known: no node leases")
        return
    ahead = (max(renewed) - now).total_seconds()
    if ahead > SKEW_S:
        yield Check(
            "clock",
            WARN,
            f"this machine is {ahead:.0f} s behind the nodes, or a node's clock is ahead",
            "check timedatectl here and on the nodes",
        )
    elif ahead < -40:
        yield Check(
            "clock",
            WARN,
            f"the newest node lease is {-ahead:.0f} s old: this clock is ahead, or no kubelet reports",
            "check timedatectl here and on the nodes",
        )
    else:
        yield Check("clock", OK, f"agrees with the nodes to within {max(10, abs(ahead)):.0f} s")


COMPONENTS: tuple[tuple[str, str, str], ...] = (
    ("CloudNativePG", "pg_clusters", "PostgreSQL screens stay empty"),
    ("Longhorn", "lh_volumes", "storage screens stay empty"),
    ("MetalLB", "ip_pools", "addresses are not shown"),
    ("metrics server", "node_usage", "no CPU and memory numbers"),
)


def components(world: World) -> Iterator[Check]:
    for name, kind, means in COMPONENTS:
        state = world.sources[kind]
        if state.freshness is Freshness.LIVE:
            yield Check(name, OK, f"{len(world.shelf(kind))} {KINDS[kind].title}")
        elif state.freshness is Freshness.NOT_INSTALLED:
            yield Check(name, WARN, f"not installed: {means}", "install it, if this site should have it")
        else:
            words = state.trouble.words if state.trouble else "not read in time"
            yield Check(name, WARN, words, state.trouble.hint if state.trouble else "try again")
    told = [r for r in world.node_stats.values() if isinstance(r, Known)]
    refused = [(node, r) for node, r in world.node_stats.items() if isinstance(r, Unknown)]
    if told and not refused:
        yield Check("kubelets", OK, f"all {len(told)} answer with their summary")
    by_reason: dict[str, list[str]] = {}
    for node, reading in refused:
        by_reason.setdefault(reading.reason.replace(node, "NODE"), []).append(node)
    for reason, nodes in list(by_reason.items())[:5]:
        shown = ", ".join(sorted(nodes)[:3]) + (f" and {len(nodes) - 3} more" if len(nodes) > 3 else "")
        yield Check("kubelets", WARN, f"{shown}: {reason.replace('NODE', nodes[0])}", "no disk and network numbers of them")


# ---------------------------------------------------------------- all together


async def _site_checks(site: Site, facts: KubeconfigFacts) -> list[Check]:
    from ..wiring import reach

    if facts.trouble is not None:
        return [Check("Kubernetes API", FAIL, "not tried: no usable kubeconfig", "mend the kubeconfig first", unreachable=True)]
    try:
        kube = await reach(site)
    except ColdError as error:
        return [Check("Kubernetes API", FAIL, str(error), error.hint, unreachable=True)]
    try:
        checks, alive = await api(kube)
        if alive:
            try:
                checks += await permissions(kube)
            except Forbidden as error:
                checks.append(Check("permissions", WARN, f"own permissions may not be asked: {error.title}"))
            except ColdError as error:
                checks.append(Check("permissions", WARN, f"not known: {error}"))
    finally:
        await kube.aclose()
    if alive:
        kinds = ["nodes", "leases", "node_stats", *(kind for _, kind, _ in COMPONENTS)]
        world = await site.live.once(kinds, 4.0)
        checks += [*skew(world), *clock(world, datetime.now(UTC)), *components(world)]
    return checks


async def _bounded(site: Site, facts: KubeconfigFacts) -> list[Check]:
    try:
        return await asyncio.wait_for(_site_checks(site, facts), WHOLE_S)
    except TimeoutError:
        return [
            Check(
                "Kubernetes API",
                FAIL,
                f"checks did not end within {WHOLE_S:.0f} s",
                "the API hangs: look at k3s on the server",
                unreachable=True,
            )
        ]


def run(call: Call) -> Exit:
    from ..wiring import kubeconfig_facts

    site = call.site()
    facts = kubeconfig_facts(call.config)
    checks = [
        *configuration(call),
        *state_and_log(site),
        *terminal(call.environ),
        *compiled(),
        *credentials(facts, datetime.now(UTC)),
        *asyncio.run(_bounded(site, facts)),
    ]
    _print(checks, as_json=bool(call.parsed.flags.get("json")))
    if any(c.unreachable for c in checks):
        return Exit.UNREACHABLE
    return Exit.FAILED if any(c.state == FAIL for c in checks) else Exit.DONE


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
    out.say(f"{len(checks)} checks: {bad} failed, {odd} warnings" if bad or odd else f"{len(checks)} checks: all well")
