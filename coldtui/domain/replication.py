"""What PostgreSQL instances say of themselves: by SQL, and through their instance manager's `/pg/status`. And positions in the WAL.

Three sources are compared, never merged silently: the Cluster object (what the operator last wrote), `/pg/status`, and SQL. Each value keeps
its source and its age.
"""

from __future__ import annotations

from datetime import datetime

from .values import dataclass

SEGMENT_B = 16 * 1024 * 1024
"""A WAL segment of the default size."""


def lsn(text: str) -> int | None:
    """`16/B374D848` as a number of bytes: hi << 32 | lo (pg_lsn, both parts hexadecimal). None: not one."""
    high, slash, low = text.strip().partition("/")
    try:
        return (int(high, 16) << 32) | int(low, 16) if slash else None
    except ValueError:
        return None


def lsn_text(value: int) -> str:
    """As PostgreSQL writes it."""
    return f"{value >> 32:X}/{value & 0xFFFFFFFF:X}"


def segment(name: str) -> str:
    """Of `.backup` the segment in which that backup began; `.history` is of a timeline, and holds no WAL."""
    first, _, kind = name.partition(".")
    return f"history of timeline {int(first, 16)}" if kind == "history" and set(first) <= set("0123456789ABCDEF") else first


@dataclass(frozen=True, slots=True)
class Standby:
    """A row of pg_stat_replication on the primary, or of `replicationInfo`."""

    name: str
    """application_name: the pod's name."""
    state: str
    """`streaming`, `catchup`, `startup`, ..."""
    sync_state: str = ""
    """`async`, `sync`, `quorum`, `potential`."""
    sent: int | None = None
    write: int | None = None
    flush: int | None = None
    replay: int | None = None
    replay_lag_s: float | None = None
    """Misleading on an idle primary: shown only beside bytes > 0."""
    address: str = ""


@dataclass(frozen=True, slots=True)
class Receiver:
    """pg_stat_wal_receiver of a standby; there is none while it does not stream."""

    status: str
    sender: str = ""
    """host:port it streams from."""
    flushed: int | None = None
    latest: datetime | None = None
    """latest_end_time."""


@dataclass(frozen=True, slots=True)
class Archiver:
    """pg_stat_archiver, with how much waits."""

    archived: int = 0
    last_wal: str = ""
    last_at: datetime | None = None
    failed: int = 0
    failed_wal: str = ""
    failed_at: datetime | None = None
    waiting: int | None = None
    """`.ready` files: WAL segments that wait to be archived; None: may not be read (needs pg_monitor)."""

    @property
    def failing(self) -> bool:
        """Only a failure that is newer than the last success counts."""
        return self.failed_at is not None and (self.last_at is None or self.failed_at > self.last_at)


@dataclass(frozen=True, slots=True)
class Slot:
    name: str
    active: bool
    kind: str
    """`physical` or `logical`."""
    wal_status: str = ""
    """`reserved`, `extended`, `unreserved`, `lost`."""
    retained_b: int | None = None
    safe_b: int | None = None


@dataclass(frozen=True, slots=True)
class SqlStatus:
    """One server as SQL tells it, in one round trip."""

    in_recovery: bool
    system_id: str
    timeline: int
    """Of the WAL that is written or replayed now: from pg_walfile_name, the receiver or the newest WAL file."""
    version: str
    """`18.6`."""
    started: datetime
    current: int | None = None
    """pg_current_wal_lsn of a primary."""
    received: int | None = None
    replayed: int | None = None
    replay_paused: bool = False
    last_replay_at: datetime | None = None
    receiver: Receiver | None = None
    standbys: tuple[Standby, ...] = ()
    archiver: Archiver | None = None
    slots: tuple[Slot, ...] = ()
    connections: int = 0
    """Client backends."""
    max_connections: int = 0
    """Without those reserved for superusers."""
    commits: int = 0
    """xact_commit over all databases: a counter; the difference of two is transactions."""
    rollbacks: int = 0
    blocks_hit: int = 0
    blocks_read: int = 0
    wal_b: int | None = None
    """A counter of WAL written, bytes (pg_stat_wal); None on servers before 14."""
    checkpoints: int | None = None
    synchronous: str = ""
    """synchronous_standby_names."""
    pending_restart: bool = False
    listens: str = ""
    """Which server answered: inet_server_addr:port."""
    missing: tuple[str, ...] = ()
    """Grants that are missing and what they would show: `pg_monitor: sessions of other users`."""
    xid_age: int | None = None
    """Of the oldest database: age(datfrozenxid)."""
    timeline_sure: bool = True
    """False: the timeline is that of the control file of a standby, old until its next restartpoint. It may be on a newer one."""


@dataclass(frozen=True, slots=True)
class ManagerStatus:
    """`/pg/status` of an instance manager (CloudNativePG pkg/postgres/status.go)."""

    name: str
    is_primary: bool
    system_id: str = ""
    timeline: int | None = None
    """From its control file: that of a standby is old until its next restartpoint, for up to checkpoint_timeout after a role change."""
    current: int | None = None
    received: int | None = None
    """`receivedLsn` of a standby."""
    replayed: int | None = None
    receiver_active: bool | None = None
    replay_paused: bool = False
    pending_restart: bool = False
    rewinding: bool = False
    might_be_unavailable: bool = False
    """Fenced, coming out of it, or being restarted in place."""
    standbys: tuple[Standby, ...] = ()
    archiving: bool | None = None
    last_archived_wal: str = ""
    last_failed_wal: str = ""
    last_archived_at: datetime | None = None
    last_failed_at: datetime | None = None
    ready_wal: int | None = None
    slots: tuple[Slot, ...] = ()
    """Of a primary that runs."""
    manager_version: str = ""


@dataclass(frozen=True, slots=True)
class Claim:
    """An instance says that it is the primary, by one source, as long as it said so without a gap. Kept after its end for the last position.

    Two instances were primary at once for certain only if each was seen so after the other had begun: answers are seconds apart, and a
    switchover takes less.
    """

    name: str
    source: str
    """`sql` or `manager`."""
    since: datetime
    """When the first answer that said so was there."""
    seen: datetime
    """When the newest such question was asked."""
    lsn: int | None = None
    """Where its WAL was then."""
    ended: bool = False
    """It says otherwise since, or does not answer."""
    unarchived: datetime | None = None
    """Since when it was seen to fail at archiving, with no success in between: no server tells that of itself."""


def unarchived(told: SqlStatus | ManagerStatus, before: datetime | None, now: datetime) -> datetime | None:
    """Since when archiving fails; `before`: as of the answer before, None: it did not."""
    if isinstance(told, SqlStatus):
        found = told.archiver or Archiver()
    else:
        found = Archiver(last_at=told.last_archived_at, failed_at=told.last_failed_at)
    if not found.failing:
        return None
    return now if before is None or (found.last_at is not None and found.last_at > before) else before


@dataclass(frozen=True, slots=True)
class PrimaryLease:
    """The Lease by which instance managers agree who may be primary (CloudNativePG 1.30 and later)."""

    holder: str
    """Pod name; empty: given back."""
    renewed: datetime | None
    """By the holder's clock."""
    duration_s: int
    """After so long without renewal another one may take it."""
    after: datetime | None = None
    """It was renewed after this moment for certain, by our clock: it was looked at then, and seen renewed later. None: no renewal was seen."""


@dataclass(frozen=True, slots=True)
class FailoverQuorum:
    """`FailoverQuorum.status`: the synchronous standbys at the time of the last commit that is known to be safe."""

    namespace: str
    name: str
    method: str
    """`any` or `first`."""
    primary: str
    standby_names: tuple[str, ...]
    standby_number: int
    """How many of them must have confirmed a commit."""

    @property
    def key(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class Watched:
    """What was seen to happen to the Cluster while somebody watched: the API tells of each moment only what is now."""

    phase: str = ""
    phase_since: datetime | None = None
    """When this phase was first seen (this machine's clock)."""
    phase_seen: bool = False
    """Whether its beginning was seen; else it is as old at least."""
    turned_back: tuple[datetime, ...] = ()
    """When targetPrimary was seen to go from `pending` back to the primary that was to be replaced; the newest last."""
