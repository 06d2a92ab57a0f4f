"""Every command and flag, in the order in which `--help` lists them. Nothing heavy is imported here."""

from __future__ import annotations

from .args import Command, Flag

ABOUT = "coldtui: the console from which a small team operates one K3s site"

GLOBAL: tuple[Flag, ...] = (
    Flag(("--config",), "configuration file", "FILE"),
    Flag(("--kubeconfig",), "kubeconfig file", "FILE"),
    Flag(("--context",), "context in the kubeconfig", "NAME"),
    Flag(("--namespace", "-n"), "only this namespace", "NS"),
    Flag(("--read-only",), "nothing can be changed"),
    Flag(("--theme",), "theme of the console", "NAME"),
    Flag(("--journal",), "journal of runs and audit, where the usual one cannot be written", "FILE"),
    Flag(("--mouse",), "let the console take the mouse"),
    Flag(("--version",), "print the version"),
)

LISTING: tuple[Flag, ...] = (
    Flag(("--json",), "print JSON"),
    Flag(("--watch", "-w"), "print again whenever something changed, until ctrl-c"),
    Flag(("--all-namespaces", "-A"), "all namespaces (also the default)"),
    Flag(("--sort",), "order by this column", "COLUMN"),
    Flag(("--reverse",), "turn the order around"),
    Flag(("--filter",), "only rows that match; !text inverts, '-l key=value' labels", "TEXT"),
    Flag(("--trouble",), "only rows with trouble"),
    Flag(("--output", "-o"), "wide: more columns; json; name: only names", "FORM", choices=("wide", "json", "name")),
    Flag(("--no-headers",), "leave the heading out"),
)
_DOCUMENT: tuple[Flag, ...] = LISTING[:2]

_EXITS = (
    "Exit codes: 0 read, 4 the Kubernetes API could not be read within 5 s (with --json the last known state is still printed, with its age),\n"
    "5 not permitted, 1 not installed, 2 usage."
)


def _listing(name: str, about: str) -> Command:
    return Command(name, about, "listings:run", LISTING, more=_EXITS)


COMMANDS: dict[str, Command] = {
    c.name: c
    for c in (
        Command("status", "the site at a glance", "listings:run_status", _DOCUMENT, more=_EXITS),
        _listing("nodes", "nodes: readiness, usage, pods"),
        _listing("pods", "pods with kubectl's words"),
        _listing("deployments", "deployments and where their rollouts stand"),
        _listing("statefulsets", "stateful sets"),
        _listing("daemonsets", "daemon sets"),
        _listing("postgres", "CloudNativePG clusters and their instances"),
        _listing("backups", "backups of PostgreSQL and Longhorn"),
        _listing("storage", "Longhorn volumes"),
        _listing("vips", "load balancer addresses and who announces them"),
        _listing("events", "events, newest first"),
        _listing("problems", "what is wrong, worst first"),
        Command(
            "logs",
            "a pod's log",
            "logs:run",
            (
                Flag(("--container", "-c"), "container; needed when there are several", "NAME"),
                Flag(("--follow", "-f"), "go on as lines come, until ctrl-c"),
                Flag(("--previous", "-p"), "of the container's previous run"),
                Flag(("--since",), "only lines newer than this: 30s, 5m, 2h, 1d", "SPAN"),
                Flag(("--tail",), "at most this many lines from the end (default: all)", "N", number=True),
                Flag(("--timestamps",), "begin each line with its time"),
            ),
            ("POD",),
            more="POD is a name, or namespace/name. With -f a broken connection is taken up again by itself; stderr says so.\n"
            "Exit codes: 0 the log ended (or ctrl-c with -f), 1 no such pod or no log yet, 2 usage, 4 the API cannot be reached, 5 not permitted,\n"
            "6 ctrl-c.",
        ),
        Command(
            "doctor",
            "checks connections, permissions and this terminal",
            "doctor:run",
            (Flag(("--json",), "print JSON"),),
            more="Exit codes: 0 all well or warnings only, 4 the Kubernetes API cannot be reached, 5 not permitted (credentials refused, or a right\n"
            "is missing without which nothing can be shown), 1 something else failed, 2 usage.",
        ),
        Command("settings", "each setting, its value and where it came from", "settings:run", (Flag(("--json",), "print JSON"),)),
        Command(
            "demo",
            "a whole simulated site on this machine",
            "demo:run",
            (
                Flag(("--headless",), "only the site: print one JSON line when it is ready, then wait"),
                Flag(("--still",), "freeze the values"),
                Flag(("--scale",), "a big site: NODESxPODS, such as 1000x20000", "NxM"),
                Flag(("--churn",), "pod changes a second", "N"),
                Flag(("--scenario",), "begin with this fault", "NAME"),
                Flag(("--dir",), "where it lives, and which demo a fault is for (a temporary folder, the newest demo)", "DIR"),
                Flag(("--k3s-version",), "what version the site has, such as v1.33.1+k3s1", "V"),
                Flag(("--reboot",), "seconds that a machine is away when it reboots (20)", "S"),
                Flag(("--node",), "which node a fault is for; the same as node=NAME", "NAME"),
            ),
            ("[fault NAME on|off...]",),
            more="coldtui demo fault NAME on|off [key=value ...] switches a fault of the running demo; coldtui demo fault lists them.\n"
            "Of several demos the newest is meant, unless --dir or --config names another.\n"
            "Exit codes: 0 done, 1 it did not start, or no such demo runs, 2 usage, or packages are missing (pip install 'coldtui[demo]'),\n"
            "4 the running demo does not answer.",
        ),
    )
}
