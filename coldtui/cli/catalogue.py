"""Every command and flag, in the order in which `--help` lists them. Nothing heavy is imported here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

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


def _listing(name: str, about: str, verbs: Mapping[str, Command] | None = None) -> Command:
    return Command(name, about, "listings:run", LISTING, more=_EXITS, verbs={} if verbs is None else verbs)


_JSON = Flag(("--json",), "print JSON")
_RUNS = tuple(flag for flag in LISTING if flag.names[0] != "--all-namespaces")
_RUNS_EXITS = "Exit codes: 0 read, 1 the journal cannot be read, 2 usage. The cluster is not asked."
_FOLLOWED = "Exit codes are those of the run: 0 done, 1 failed, or its runner is lost, 3 refused, 6 cancelled; 1 no such run, 2 usage."
_RUN_VERBS: dict[str, Command] = {
    c.name.partition(" ")[2]: c
    for c in (
        Command("run list", "runs under way and the newest that ended; the same as coldtui runs", "runs:run_list", _RUNS, more=_RUNS_EXITS),
        Command(
            "run show", "one run: who, from where, why, its steps with times, the plan as confirmed", "runs:run_show", (_JSON,), ("ID",),
            more="ID may be the beginning of one, four characters at least.\nExit codes: 0 shown, 1 no such run, or the journal cannot be read, 2 usage.",
        ),
        Command(
            "run follow", "the log of a run, from its beginning, as it comes", "runs:run_follow",
            (Flag(("--tail",), "only this many lines from before", "N", number=True), Flag(("--json",), "a line of JSON for each event, the result as the last")),
            ("ID",),
            more="The log goes to stdout, steps and the end to stderr. ctrl-c stops following (exit 0); the run goes on.\n" + _FOLLOWED,
        ),
        Command(
            "run cancel", "stop a run before its next act", "runs:run_cancel", (), ("ID",),
            more="What was accepted before cannot be recalled. A run whose runner is lost is ended. It stands in the audit.\n"
            "Exit codes: 0 asked, 1 no such run, 2 usage, 3 it has ended.",
        ),
        Command(
            "run resume", "go on with a run whose runner is lost, or that waits for it after a boot", "runs:run_resume",
            (
                Flag(("--detach",), "do not follow: print the id of the run and return"), Flag(("--json",), "a line of JSON for each event, the result as the last"),
                Flag(("--secrets-fd",), "read passwords from this file descriptor: one JSON object, name to text", "N", number=True),
                Flag(("--after-boot",), "every run that waits for the boot of this machine; none is followed"),
            ),
            ("[ID]",),
            more="It goes on from what the world says is done; nothing is done twice. ctrl-c as with the command that began it.\n" + _FOLLOWED,
        ),
    )
}  # fmt: skip
_AUDIT_VERBS: dict[str, Command] = {
    c.name.partition(" ")[2]: c
    for c in (
        Command(
            "audit list", "who did what, when, from where, and how it ended; newest first", "audit:run_list",
            (
                _JSON, Flag(("--filter",), "only entries that match; !text inverts", "TEXT"),
                Flag(("--limit",), "at most this many (default 200); 0: all", "N", number=True), Flag(("--no-headers",), "leave the heading out"),
            ),
            more="Exit codes: 0 read, 1 the journal cannot be read, 2 usage.",
        ),
        Command(
            "audit verify", "walk the whole chain: is an entry edited, missing or moved, is the end cut off?", "audit:run_verify", (_JSON,),
            more="It says what it cannot prove.\nExit codes: 0 the chain holds, 1 it is broken, or the journal cannot be read, 2 usage.",
        ),
    )
}  # fmt: skip


_SQL_FLAGS = tuple(flag for flag in LISTING if flag.names[0] != "--all-namespaces")
_SQL_EXITS = (
    "It asks the primary by SQL; who that is the servers say themselves, so that it works without the Kubernetes API too, where\n"
    "postgres.instances names them.\n"
    "Exit codes: 0 read, 4 the primary does not answer within 3 s, 5 it does not let us in, 1 there is no PostgreSQL cluster, 2 usage."
)
_POSTGRES_VERBS: dict[str, Command] = {
    c.name.partition(" ")[2]: c
    for c in (
        Command(
            "postgres status", "instances, loss if the primary died now, VIP, what is wrong and where the sources disagree", "listings:run", LISTING,
            more="Without the Kubernetes API it still prints what the servers say by SQL (exit 4).\n" + _EXITS,
        ),
        Command("postgres sessions", "sessions of the primary, who holds others up first", "listings:run", _SQL_FLAGS, more=_SQL_EXITS),
        Command("postgres locks", "who blocks whom: the one that holds up the others first", "listings:run", _SQL_FLAGS, more=_SQL_EXITS),
        Command("postgres databases", "databases: size, connections, age to wraparound", "listings:run", _SQL_FLAGS, more=_SQL_EXITS),
    )
}  # fmt: skip


class _Acts(Mapping[str, Command]):
    """The operations of a noun, behind commands of its own; loaded when a verb is looked at, since help on everything must not pay for them."""

    def __init__(self, noun: str, own: Mapping[str, Command] | None = None) -> None:
        self._noun, self._own = noun, own or {}

    def _verbs(self) -> Mapping[str, Command]:
        from .acts import Verbs

        return Verbs(self._noun)

    def __getitem__(self, verb: str) -> Command:
        return self._own[verb] if verb in self._own else self._verbs()[verb]

    def __contains__(self, verb: object) -> bool:
        return verb in self._own or verb in self._verbs()

    def __iter__(self) -> Iterator[str]:
        return iter((*self._own, *self._verbs()))

    def __len__(self) -> int:
        return len(self._own) + len(self._verbs())


COMMANDS: dict[str, Command] = {
    c.name: c
    for c in (
        Command("status", "the site at a glance", "listings:run_status", _DOCUMENT, more=_EXITS),
        _listing("nodes", "nodes: readiness, usage, pods"),
        _listing("pods", "pods with kubectl's words"),
        _listing("deployments", "deployments and where their rollouts stand"),
        _listing("statefulsets", "stateful sets"),
        _listing("daemonsets", "daemon sets"),
        _listing("postgres", "CloudNativePG clusters and their instances; or act on them", _Acts("postgres", _POSTGRES_VERBS)),
        _listing("backups", "backups of PostgreSQL and Longhorn"),
        _listing("storage", "Longhorn volumes"),
        _listing("vips", "load balancer addresses and who announces them"),
        _listing("events", "events, newest first"),
        _listing("problems", "what is wrong, worst first"),
        Command("runs", "runs of operations: under way, and the newest that ended", "runs:run_list", _RUNS, more=_RUNS_EXITS),
        Command("run", "one run: list, show, follow, cancel, resume", "", verbs=_RUN_VERBS),
        Command("audit", "who did what, and whether the record is whole: list, verify", "", verbs=_AUDIT_VERBS),
        Command("node", "act on a node: cordon, uncordon, drain, reboot, restart-k3s, clean-disk", "", verbs=_Acts("node")),
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
                Flag(("--no-postgres",), "no real PostgreSQL servers behind the cluster"),
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
