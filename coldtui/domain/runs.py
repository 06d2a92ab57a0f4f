"""Runs of operations as the journal keeps them: who asked for what, how far it is, how it ended; and the audit.

Everything here is plain data that goes into the journal and comes out of it unchanged. No secret is ever part of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from .values import dataclass

BEAT_S = 3.0
"""A runner says that it lives this often."""
LOST_AFTER = timedelta(seconds=12)
"""Without a beat for so long a runner is lost. (It is seen within 15 s.)"""


class RunState(StrEnum):
    """How a run stands in the journal. That its runner is lost is judged, not written: see `health`."""

    CONFIRMED = "confirmed"
    """In the journal, its runner is not up yet."""
    RUNNING = "running"
    WAITING = "waiting"
    """For something outside that it says: the API, a lock, a boot."""
    STOPPING = "stopping"
    """Cancel was asked for: it stops before its next act."""
    DONE = "done"
    FAILED = "failed"
    REFUSED = "refused"
    """The plan, made again before the first act, got worse; nothing was changed."""
    CANCELLED = "cancelled"
    """Stopped by the operator; nothing was left half done."""
    PARTIAL = "partial"
    """Ended without reaching its end (failed, cancelled, out of time) after something had been changed; `outcome` says what stands."""

    @property
    def ended(self) -> bool:
        return self in ENDED


ENDED = frozenset({RunState.DONE, RunState.FAILED, RunState.REFUSED, RunState.CANCELLED, RunState.PARTIAL})


@dataclass(frozen=True, slots=True)
class Who:
    """The person behind an act, as far as this machine can tell."""

    login: str
    """Login user of the session; before any sudo."""
    user: str
    """Effective user."""
    source: str = ""
    """Address that the SSH connection comes from; empty: none, or not told."""
    host: str = ""
    """Machine on which it was confirmed."""
    face: str = ""
    """`console`, `command line`, `api`."""

    def __str__(self) -> str:
        name = self.login if self.login == self.user else f"{self.login} (as {self.user})"
        return f"{name} from {self.source}" if self.source else name


@dataclass(frozen=True, slots=True)
class RunSite:
    """Which site a run acts on, so that its runner reaches the same one."""

    config: str = ""
    """Path of the configuration file; empty: none."""
    kubeconfig: str = ""
    context: str = ""
    namespace: str = ""
    name: str = ""
    server: str = ""
    cluster_uid: str = ""


@dataclass(frozen=True, slots=True)
class Run:
    """One confirmed run. What cannot change comes first; from `state` on it is as the journal has it now."""

    id: str
    """`20261124-140210-7f3a`: sorts by time."""
    operation: str
    title: str
    object: str
    params: Mapping[str, Any]
    plan: Mapping[str, Any]
    """The plan as it was confirmed (`plan_json`)."""
    digest: str
    rung: int
    reason: str
    who: Who
    site: RunSite
    created: datetime
    locks: tuple[str, ...] = ()

    state: RunState = RunState.CONFIRMED
    started: datetime | None = None
    ended: datetime | None = None
    outcome: str = ""
    """One sentence about how it ended, or what it waits for."""
    step: int = -1
    """Index of the step that is under way or was last; -1: none yet."""
    steps: tuple[str, ...] = ()
    """Titles of the planned steps; the runner's own plan replaces the confirmed one."""
    runner_pid: int = 0
    runner_host: str = ""
    beat: datetime | None = None
    """When the runner last said that it lives."""
    cancel_by: str = ""
    """Who asked to stop it; empty: nobody."""
    cancel_at: datetime | None = None
    after_boot: str = ""
    """Boot ID of the machine at the time when it marked itself for resume after a boot; empty: it did not."""
    attempts: int = 0
    """How often a runner took it up."""

    @property
    def active(self) -> bool:
        return not self.state.ended


def lost(run: Run, now: datetime) -> bool:
    """Whether a run is under way and its runner has not been heard of."""
    if run.state.ended:
        return False
    last = run.beat or run.created
    return now - last > LOST_AFTER


def cancelling(lock: str, run: str) -> str:
    """What a cancel of the run that holds a lock would do. A statement (`database:`) or a cleaning (`node:`) is stopped with its run; what was asked
    of a cluster (`site`) is not called back."""
    does = "stops its waiting, what it asked for goes on by itself" if lock == "site" else "stops it"
    return f"coldtui run cancel {run} {does}"


class What(StrEnum):
    """What an event of a run tells."""

    STARTED = "started"
    """A step begins; written before its first act, with its memo."""
    ALREADY = "already"
    """The world says that a step is done."""
    FINISHED = "finished"
    FAILED = "failed"
    MEMO = "memo"
    """Something to remember, written before the act that it announces."""
    ITEM = "item"
    """How one thing stands (`object`, `text`): a pod of a drain."""
    SAID = "said"
    WAITING = "waiting"
    """What it waits for; `text` empty: no longer."""
    RUNNER = "runner"
    """A runner took the run up, or let it go."""
    PLAN = "plan"
    """The plan as made again (`memo`)."""
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class RunEvent:
    seq: int
    """Rises over the whole journal."""
    run: str
    at: datetime
    what: What
    step: int = -1
    text: str = ""
    object: str = ""
    memo: Mapping[str, Any] = field(default_factory=dict)
    offset: int = 0
    """Size of the run's log when this was written."""


@dataclass(frozen=True, slots=True)
class RunLine:
    """One line of a run's log."""

    at: datetime | None
    step: int
    stream: str
    """`say`, `out`, `err`."""
    text: str


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One entry of the audit. `hash` covers all other fields and the hash before it."""

    seq: int
    at: datetime
    what: str
    """`confirmed`, `refused`, `started`, `ended`, `cancel`, `resumed`, `armed`, `disarmed`; `journal`: it took the place of another."""
    who: Who
    operation: str = ""
    object: str = ""
    params: Mapping[str, Any] = field(default_factory=dict)
    digest: str = ""
    """Of the plan."""
    reason: str = ""
    premises: tuple[tuple[str, str], ...] = ()
    """(what was read, its age in words or why it could not be read)."""
    outcome: str = ""
    """`done`, `failed`, `refused`, `cancelled`, `partial` and a sentence."""
    run: str = ""
    site: str = ""
    prev: str = ""
    hash: str = ""


@dataclass(frozen=True, slots=True)
class Verified:
    """What a look at the whole chain found."""

    entries: int
    head: str
    """Hash of the newest entry."""
    faults: tuple[str, ...]
    """Each names the entry and what is wrong with it; empty: the chain holds."""
    unproven: tuple[str, ...]
    """What this check cannot prove."""

    @property
    def whole(self) -> bool:
        return not self.faults
