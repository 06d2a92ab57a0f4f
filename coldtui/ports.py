"""What the world can do, as Protocols. `adapters/<port>` implements them, the lab ships fakes, `live` uses them.

Every call has a deadline. The streams of the Kubernetes API are the one blocking port: each runs in a thread that `live` owns,
since a blocked read is the cheapest way to wait for thirty sockets, and is woken from another thread by `shut`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import field
from datetime import datetime
from enum import Enum
from typing import Any, Protocol, cast

from coldtui.domain.values import dataclass

from .domain.kinds import Kind
from .domain.replication import ManagerStatus, SqlStatus
from .domain.runs import AuditEntry, Run, RunEvent, RunLine, RunState, Verified, What, Who
from .domain.secret import Secret
from .domain.sessions import DatabaseFacts, Progress, Session, TableFacts


class Clock(Protocol):
    """Time, injectable."""

    def now(self) -> datetime:
        """Aware, UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds."""
        ...


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list, decoded."""

    items: tuple[Any, ...]
    """Domain values, each with `.key`."""
    version: str
    """resourceVersion of the list."""
    more: bool
    """Another page follows."""
    remaining: int | None = None
    """remainingItemCount, where the server tells."""
    skipped: int = 0
    """Items that could not be decoded (garbage); counted, never silently dropped."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What a watch brought since the last look, folded: the newest state of each key."""

    changed: Mapping[str, Any]
    """key -> domain value."""
    gone: frozenset[str]
    version: str
    """The newest resourceVersion seen, bookmarks included; empty when nothing new came."""
    skipped: int = 0
    """Lines that were not JSON or not decodable."""
    events: int = 0


class KubeStreams(Protocol):
    """Blocking reads for the reflectors. Called from threads; raises `domain.errors` only."""

    def pages(self, kind: Kind, *, version: str | None, limit: int | None = 500, deadline_s: float = 30.0) -> Iterator[Page]:
        """List a kind page by page. `version` None: newest; "0": any cached; "N": at least as new.

        Raises Expired (410, also on a later page), TooNew (504 ResourceVersionTooLarge), Forbidden, NotInstalled, Unauthorized,
        Throttled, Unreachable.
        """
        ...

    def watch(self, kind: Kind, version: str, *, timeout_s: int) -> Iterator[Batch]:
        """Follow a kind from `version` until the server ends the stream (StopIteration: reconnect from the last version).

        The first batch is empty and says that the server accepted the watch. Then yields at once when something came, folding what already
        lies in the buffer. Raises Expired for 410 whether it comes as HTTP status or
        as ERROR event, Throttled for 429, Unreachable when the line breaks or stays silent for 150 s, Closed after `shut`.
        """
        ...

    def poll(self, kind: Kind, *, deadline_s: float) -> Page:
        """Read a polled collection once (metrics.k8s.io)."""
        ...

    def shut(self) -> None:
        """Wake every blocked reader: their streams end with Closed. New calls work again at once."""
        ...

    def close(self) -> None:
        """Shut for good: new calls raise Closed."""
        ...


@dataclass(frozen=True, slots=True)
class LogRequest:
    """What part of a container's log is wanted."""

    namespace: str
    pod: str
    container: str
    follow: bool = False
    previous: bool = False
    tail: int | None = 200
    since_s: int | None = None
    since: datetime | None = None
    """Excludes `since_s`."""
    timestamps: bool = True


@dataclass(frozen=True, slots=True)
class LogLine:
    at: datetime | None
    text: str
    """Plain: control characters replaced, ANSI colour sequences removed, at most 4,096 characters."""


@dataclass(frozen=True, slots=True)
class ServerFacts:
    version: str
    """gitVersion."""
    cluster_uid: str
    """UID of namespace kube-system; empty when it may not be read."""


class PatchForm(Enum):
    """The three patches of the API; a value is the content type."""

    STRATEGIC = "application/strategic-merge-patch+json"
    """Built-in kinds only."""
    MERGE = "application/merge-patch+json"
    JSON = "application/json-patch+json"


@dataclass(frozen=True, slots=True)
class HeldLease:
    """A `coordination.k8s.io/v1` Lease as it stands."""

    namespace: str
    name: str
    holder: str
    """holderIdentity; empty: free."""
    version: str
    """resourceVersion, for the guarded write."""
    renewed: datetime | None
    """renewTime, by the holder's clock: compared for change only."""
    duration_s: int
    transitions: int = 0
    acquired: datetime | None = None
    """acquireTime, by the holder's clock: for words only."""


class Kube(Protocol):
    """Single questions to the Kubernetes API and, behind the write gate, acts. Raises `domain.errors` only.

    The gate is a constructor argument of the adapter. While it is closed every writing method raises Refused unless `dry_run` is set,
    and nothing is sent. A write is sent once: of unknown outcome (Unreachable) the caller reads the object back before deciding.
    """

    @property
    def server(self) -> str:
        """URL without credentials."""
        ...

    @property
    def streams(self) -> KubeStreams: ...

    @property
    def clock_skew_s(self) -> float | None:
        """The server's clock minus this machine's, in seconds, by the newest answer to `alive`; exact to about a second. None: not told yet."""
        ...

    async def alive(self, *, deadline_s: float = 3.0) -> str:
        """`GET /readyz` on a connection of its own. Any HTTP answer means that the line lives; returns its text (`ok` or what is not ready).

        Raises Unreachable, Unauthorized.
        """
        ...

    async def facts(self, *, deadline_s: float = 5.0) -> ServerFacts: ...

    async def fetch(self, kind: Kind, name: str, namespace: str = "", *, deadline_s: float = 10.0) -> Mapping[str, Any]:
        """One whole object as the API gives it, managedFields dropped, every string made plain. For describe and YAML."""
        ...

    async def events_of(self, api_kind: str, name: str, namespace: str = "", *, deadline_s: float = 10.0) -> tuple[Any, ...]:
        """`domain.events.Event`s about one object, oldest first (field selector involvedObject.*)."""
        ...

    async def node_stats(self, node: str, address: str, *, deadline_s: float = 5.0) -> Any:
        """`domain.nodes.NodeStats`, with the lesser permission first: the kubelet itself (`nodes/stats`), then `nodes/proxy`."""
        ...

    def logs(
        self, request: LogRequest, *, deadline_s: float = 10.0, told: Callable[[str], None] | None = None
    ) -> AsyncIterator[tuple[LogLine, ...]]:
        """Lines in batches as they come; ends when the container ends, or at once without `follow`. `deadline_s` is for the first byte.

        A follow whose line breaks is taken up again, without losing or repeating lines; the error is raised when that fails for half a minute.
        With `told` it is tried for ever, and `told(sentence)` says when it broke and when it is back; it is called from any thread.
        """
        ...

    async def may(
        self, verb: str, group: str, resource: str, *, namespace: str = "", subresource: str = "", deadline_s: float = 5.0
    ) -> bool:
        """SelfSubjectAccessReview."""
        ...

    # --- fresh reads, for plans and for checks: never from a cache

    async def read(self, kind: Kind, name: str, namespace: str = "", *, deadline_s: float = 10.0) -> Any:
        """One object as its domain value (see `read_all`), with the version of now. Raises NotFound, NotInstalled, Forbidden, ..."""
        ...

    async def read_all(
        self, kind: Kind, *, namespace: str = "", fields: str = "", labels: str = "", deadline_s: float = 10.0
    ) -> tuple[Any, ...]:
        """Every object of a kind as domain values: a consistent list (no resourceVersion), all pages; 410 on a later page lists anew in one go.

        `fields`, `labels`: selectors. Besides `domain.kinds.KINDS` it knows the kinds of `domain.drains`, which are read in more detail.
        An item that cannot be decoded is an error here (Unreachable, kind garbage): a plan must not overlook it.
        """
        ...

    async def pod_get(self, namespace: str, pod: str, port: int, path: str, *, scheme: str = "http", deadline_s: float = 2.0) -> bytes:
        """GET a path of a pod through the API's proxy (`pods/SCHEME:POD:PORT/proxy/PATH`), at most 1 MiB. The adapter's gate has the list of
        paths that are known to change nothing; any other is Refused.

        Raises Unreachable with kind `server` where nobody answers behind the proxy (502, 503, or an error of the pod's own), Forbidden (needs
        get on pods/proxy), NotFound.
        """
        ...

    async def pg_status(self, namespace: str, pod: str, *, deadline_s: float = 2.0) -> ManagerStatus:
        """`/pg/status` of a PostgreSQL instance's manager, over TLS or plain HTTP, whichever it speaks. Raises as `pod_get`, and Unreachable of kind
        `garbage` for an answer that is no status."""
        ...

    # --- acts

    @property
    def warnings(self) -> deque[str]:
        """What the server said beside its answers to acts (`Warning:` headers: deprecations, notes of admission): plain, each once, the last hundred.
        Who shows them takes them out."""
        ...

    async def patch(
        self,
        kind: Kind,
        name: str,
        body: Any,
        namespace: str = "",
        *,
        form: PatchForm = PatchForm.MERGE,
        subresource: str = "",
        dry_run: bool = False,
        deadline_s: float = 10.0,
    ) -> Mapping[str, Any]:
        """The object after the patch, as `fetch` gives it. Raises Conflict (409, where the body holds a resourceVersion), Invalid, NotFound."""
        ...

    async def create(
        self, kind: Kind, body: Mapping[str, Any], namespace: str = "", *, dry_run: bool = False, deadline_s: float = 10.0
    ) -> Mapping[str, Any]:
        """Raises Conflict when one of that name exists."""
        ...

    async def delete(
        self,
        kind: Kind,
        name: str,
        namespace: str = "",
        *,
        uid: str = "",
        grace_s: int | None = None,
        dry_run: bool = False,
        deadline_s: float = 10.0,
    ) -> None:
        """With `uid` only that one, not a namesake (precondition; Conflict). `grace_s` None: the object's own. Raises NotFound."""
        ...

    async def evict(
        self, namespace: str, pod: str, *, uid: str = "", grace_s: int | None = None, dry_run: bool = False, deadline_s: float = 10.0
    ) -> None:
        """`POST pods/eviction` (policy/v1), once. Accepted when it returns.

        Raises NotFound (gone already), BudgetRefused (429, DisruptionBudget), Throttled (429 of flow control), EvictionImpossible (500, two
        budgets), NamespaceEnds (403 with that cause), Forbidden, Conflict (another pod has this name now), Unreachable, ColdError.
        """
        ...

    async def lease(self, namespace: str, name: str, *, deadline_s: float = 5.0) -> HeldLease | None:
        """None: there is none of that name."""
        ...

    async def put_lease(self, lease: HeldLease, *, acquired: bool, deadline_s: float = 5.0) -> HeldLease:
        """Create it (`version` empty) or replace exactly the version that was read; renewTime is now, acquireTime too when `acquired`.

        Raises Conflict when somebody else was quicker.
        """
        ...

    async def aclose(self) -> None: ...


# ------------------------------------------------------------ hosts


@dataclass(frozen=True, slots=True)
class Command:
    """A program and its arguments; never a line for a shell. `mutates` False is taken by a closed gate only if the fixed table has it."""

    argv: tuple[str, ...]
    mutates: bool
    root: bool = False
    """Needs root: goes through sudo unless the login is root."""
    stdin: bytes = b""


@dataclass(frozen=True, slots=True)
class Output:
    """A line that a command wrote."""

    stream: str
    """`out` or `err`."""
    text: str
    """Plain, at most 4,096 characters."""


@dataclass(frozen=True, slots=True)
class Finished:
    """How a command ended."""

    exit: int
    """Exit status; 128 + n when signal n ended it."""
    out: tuple[str, ...]
    """Last lines of stdout, at most 2,000."""
    err: tuple[str, ...]

    @property
    def ok(self) -> bool:
        return self.exit == 0


@dataclass(frozen=True, slots=True)
class ShellAddress:
    """Where a node is reached."""

    node: str
    host: str
    port: int
    user: str

    def __str__(self) -> str:
        return f"{self.user}@{self.host}:{self.port}"


class Shell(Protocol):
    """Commands on nodes over SSH. Raises `domain.errors` only: Unreachable (also: dropped in mid-command), Unauthorized, HostKeyUnknown,
    HostKeyChanged, Refused (closed gate), NotFound (no such node in the configuration and no address known)."""

    def address(self, node: str, ip: str = "") -> ShellAddress:
        """By configuration, else `ip`. Raises NotFound."""
        ...

    async def run(
        self,
        node: str,
        command: Command,
        *,
        ip: str = "",
        on_line: Callable[[Output], None] | None = None,
        deadline_s: float = 30.0,
        connect_s: float = 10.0,
    ) -> Finished:
        """Run to its end; lines are told as they come. A deadline that passes ends the command (and the connection) and raises Unreachable.

        A command of unknown outcome (the connection was dropped) raises Unreachable with kind `lost`. Connections are kept and used again.
        Raises SecretWanted (a StepFailed) when sudo wants a password that we do not have or that is wrong, or a key its passphrase; StepFailed
        when sudo refuses.
        """
        ...

    def agent_only(self, node: str) -> str:
        """Why the login to a node that we have a connection to may be gone when the operator logs out: its key is only in an agent that their own
        SSH session forwards. Empty: it is not so, or there is no connection."""
        ...

    async def hang_up(self, node: str) -> None:
        """Forget the connection to a node, as before it reboots."""
        ...

    async def aclose(self) -> None: ...


# ------------------------------------------------------------ databases


@dataclass(frozen=True, slots=True)
class Chosen:
    """A session that is meant, and none that has its pid later."""

    pid: int
    started: datetime


@dataclass(frozen=True, slots=True)
class Told:
    """A line that a server said of a statement under way (NOTICE, INFO of VACUUM VERBOSE)."""

    severity: str
    text: str


class Database(Protocol):
    """SQL on the servers of the site's PostgreSQL cluster. A target is the name of an instance (`postgres-1`) or `vip`.

    One kept connection a target, used by one caller at a time, for all that does not take long; connect timeout 2 s, statement timeout as given;
    a target that hangs delays no other. Raises `domain.errors` only: Unreachable (refused, timeout, no address known), Unauthorized (password, pg_hba), Forbidden (missing
    grant, named), Refused (closed gate: sessions begin with default_transaction_read_only=on and only the fixed reads are sent).
    """

    @property
    def targets(self) -> tuple[str, ...]:
        """Those with an address in the configuration; others can be told by `at`."""
        ...

    def at(self, target: str, host: str, port: int) -> None:
        """Where a target is now, unless the configuration says otherwise: a pod's address, the VIP's."""
        ...

    async def status(self, target: str, *, deadline_s: float = 2.0, anew: bool = False) -> SqlStatus:
        """`anew`: on a connection made for it, as each new client has to, and only who answers: role, system, version, start, address. A kept one
        goes on to the server it was made to, wherever an address leads by now."""
        ...

    async def sessions(self, target: str, *, deadline_s: float = 2.0) -> tuple[Session, ...]:
        """With who blocks whom; our own left out."""
        ...

    async def progress(self, target: str, *, deadline_s: float = 2.0) -> tuple[Progress, ...]: ...

    async def databases(self, target: str, *, deadline_s: float = 5.0) -> tuple[DatabaseFacts, ...]: ...

    async def tables(self, target: str, database: str, *, most: int = 200, deadline_s: float = 5.0) -> tuple[TableFacts, ...]:
        """Most dead tuples first. On a connection of its own."""
        ...

    # acts, behind the gate

    async def cancel(self, target: str, session: Chosen, *, deadline_s: float = 5.0) -> bool:
        """pg_cancel_backend where pid and backend_start are those. False: there is no such session any more."""
        ...

    async def terminate(self, target: str, session: Chosen, *, deadline_s: float = 5.0) -> bool:
        """pg_terminate_backend, likewise."""
        ...

    async def maintain(
        self, target: str, database: str, statement: Sequence[str], *, told: Callable[[Told], None] | None = None, deadline_s: float = 0.0
    ) -> None:
        """One maintenance statement, autocommit, on a connection of its own: words and names of `statement` are joined; a name is quoted by the
        adapter. `statement[0]` is one of `vacuum`, `vacuum full`, `analyze`, `reindex`; the rest are table names (`schema.table`), none: the whole
        database. Cancelling the task cancels the statement on the server. `deadline_s` 0: none. Raises Refused on a standby."""
        ...

    async def probe_write(self, target: str, *, deadline_s: float = 1.0) -> str:
        """Whether a write is accepted there now, on a new connection: a record in the WAL that leaves no row, committed as the server commits by
        its own settings, synchronous standbys waited for. Returns which server answered (`host:port`). Raises Unreachable, also for a commit that
        does not end (it is cancelled on the server; while several lie there, no more are begun), or Refused when a read-only server answered or
        a wait for a standby was cancelled."""
        ...

    async def aclose(self) -> None: ...


# ------------------------------------------------------------ journal and runs


@dataclass(frozen=True, slots=True)
class LogPart:
    """A part of a run's log."""

    lines: tuple[RunLine, ...]
    next: int
    """Byte offset at which to go on."""
    size: int
    """Of the whole log, in bytes."""


class Journal(Protocol):
    """What was asked, what is under way, what happened. One file, several processes at once. Blocking: some ms a call; never on a UI loop.

    Raises JournalTrouble (and Locked where it says so). What returned is on disk.
    """

    @property
    def path(self) -> str: ...

    @property
    def id(self) -> str:
        """journal_id, made with the journal."""
        ...

    @property
    def notice(self) -> str:
        """What an operator must know: runs on its reserve, the old file was corrupt and lies aside; empty: nothing."""
        ...

    def changed(self) -> int:
        """Differs from an earlier answer when another connection or this one has written since. Costs microseconds."""
        ...

    # runs

    def begin(self, run: Run, entry: AuditEntry) -> None:
        """Write a confirmed run, take its locks and append its audit entry (`confirmed`), all or nothing.

        Raises Locked (with who, what, since when) when another run that has not ended holds one of `run.locks`.
        """
        ...

    def run(self, id: str) -> Run:
        """Raises NotFound, with the nearest id as a hint. A prefix of at least four characters that is unique will do."""
        ...

    def runs(self, *, active: bool | None = None, limit: int = 200) -> tuple[Run, ...]:
        """Newest first."""
        ...

    def holder(self, lock: str) -> Run | None:
        """The run that holds a lock."""
        ...

    def take_up(self, id: str, *, pid: int, host: str, steps: Sequence[str] = (), gone: int = 0) -> Run:
        """A runner takes a run: attempts + 1, state running, started (the first time). Raises Refused when it ended, or when another runner's
        beat is younger than `domain.runs.LOST_AFTER`; but not for the beat of process `gone` of the same host, which is known to be no more."""
        ...

    def set_state(
        self, id: str, state: RunState, *, outcome: str = "", steps: Sequence[str] | None = None, after_boot: str | None = None
    ) -> None:
        """An ended state also sets `ended` and frees the locks."""
        ...

    def beat(self, id: str) -> None: ...

    def ask_cancel(self, id: str, by: str) -> None:
        """Raises Refused when it has ended."""
        ...

    def record(
        self,
        run: str,
        what: What,
        *,
        step: int = -1,
        text: str = "",
        object: str = "",
        memo: Mapping[str, Any] | None = None,
    ) -> RunEvent:
        """Append an event; returns once it is on disk, so that the act it announces may begin."""
        ...

    def events(self, run: str, *, after: int = 0, limit: int = 10_000) -> tuple[RunEvent, ...]:
        """Oldest first."""
        ...

    # output

    def write_log(self, run: str, lines: Sequence[RunLine]) -> None:
        """Append lines to `runs/<id>.log`. Past the cap (16 MiB) lines are counted instead, and the count is the last line.

        Never raises for a full disk: the lines are then lost, and counted.
        """
        ...

    def read_log(self, run: str, *, offset: int = 0, limit_b: int = 1 << 20) -> LogPart:
        """Whole lines from a byte offset, at least one where there is one. A negative offset counts from the end (and begins with a whole line)."""
        ...

    def log_path(self, run: str) -> str: ...

    # audit

    def audit(self, entry: AuditEntry) -> AuditEntry:
        """Append an entry: seq, prev and hash are filled in."""
        ...

    def audit_entries(self, *, after: int = 0, limit: int = 1_000_000, newest_first: bool = False) -> tuple[AuditEntry, ...]: ...

    def verify(self) -> Verified:
        """Walk the whole chain and compare it with the second head file."""
        ...

    def close(self) -> None: ...


class Launcher(Protocol):
    """Starts the process of a confirmed run."""

    def launch(
        self, run: Run, *, secrets: Mapping[str, Secret], deadline_s: float = 15.0, confirm: Callable[[], object] | None = None
    ) -> int:
        """Start it detached, hand it the secrets through an inherited pipe, and wait for its first beat. Returns its pid. Blocking.

        `confirm` puts the run into the journal. It is called when the process is there and waits: whoever is killed at any moment has confirmed
        nothing, or has a runner. What it raises is raised, and the process ends by itself.
        Raises StepFailed with the last words of the runner when it does not come up.
        """
        ...

    def lives(self, run: Run) -> bool | None:
        """Whether the process that took the run up is there. None: it cannot be told (another machine, or the run has no process of its own)."""
        ...


@dataclass(frozen=True, slots=True)
class Self:
    """The machine and the person we are."""

    who: Who
    hostname: str
    boot_id: str
    """Empty where the kernel does not tell."""
    addresses: tuple[str, ...] = ()
    """Of this machine, without loopback."""


@dataclass(frozen=True, slots=True)
class Means:
    """All that a step or a plan may use, as one value."""

    kube: Kube
    shell: Shell
    clock: Clock
    me: Self
    pg_cluster: str = ""
    """`namespace/name` of the site's database; empty: the only one, or the first."""
    lease_namespace: str = "kube-system"
    production: bool = False
    secrets: Mapping[str, Secret] = field(default_factory=dict)
    """In memory only: `sudo/NODE`, `sudo`, `key/PATH`."""
    under_way: Callable[[], tuple[Run, ...]] = tuple
    """Runs of this machine's journal that have not ended, for findings; blocking. Raises JournalTrouble."""
    database: Database = cast(Database, None)
    """Opened when it is first asked; missing where no operation needs it (`operations.engine.offline`, toys)."""
