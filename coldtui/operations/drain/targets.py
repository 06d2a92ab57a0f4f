"""One pod while it is drained: what was asked, what the server said, how it is told."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum

from ...domain.drains import DrainPod

SLOW_AFTER = ((timedelta(minutes=5), 60.0), (timedelta(minutes=1), 15.0))
"""(from this age of a state on, seconds between two words about it): a pod that is held for an hour needs no line each five seconds."""


class State(Enum):
    QUEUED = "queued"
    REFUSED = "refused"
    """Asked, and told to ask again."""
    UNSURE = "unsure"
    """Asked, and no answer came: the next look at the pod tells."""
    ENDING = "ending"
    """Accepted, or deleted by somebody else."""
    GONE = "gone"
    SKIPPED = "skipped"
    """Being deleted, and not waited for."""
    FAILED = "failed"

    @property
    def final(self) -> bool:
        return self in (State.GONE, State.SKIPPED, State.FAILED)


@dataclass
class Target:
    """A pod that shall go, by its UID: a namesake is another pod."""

    key: str
    """`namespace/name`."""
    uid: str
    never: bool = False
    """The plan said that it can never go; it is asked for all the same, but nobody waits for it alone."""
    state: State = State.QUEUED
    since: datetime | None = None
    """Since when in this state."""
    ask_at: datetime | None = None
    """Not before this."""
    asking: bool = False
    """A request for it is under way."""
    reason: str = ""
    """Why it was refused, or failed."""
    begun: datetime | None = None
    """When it was first asked for."""
    pod: DrainPod | None = None
    """As last seen."""
    grace_s: int = 0
    """How long it may take to stop."""
    successor: str = ""
    """`replaced by NAME on NODE` or `back on NODE`, once it is known."""
    heir: str = ""
    """Name of the pod in its place."""
    told: str = ""
    told_at: datetime | None = None
    told_state: State | None = None
    budgets: tuple[str, ...] = field(default=())
    """Names of the budgets that hold it."""
    numbers: str = ""
    """Of the first of them: `1 healthy, 1 needed`."""

    @property
    def namespace(self) -> str:
        return self.key.partition("/")[0]

    @property
    def name(self) -> str:
        return self.key.partition("/")[2]

    @property
    def address(self) -> str:
        return f"pods/{self.key}"

    def become(self, state: State, now: datetime, reason: str = "") -> None:
        """An answer that comes after its end changes nothing."""
        if self.state.final:
            return
        if state is not self.state:
            self.state, self.since = state, now
        self.reason = reason

    def text(self, now: datetime) -> str:
        """How it stands, in a few words."""
        age = int((now - self.since).total_seconds()) if self.since is not None else 0
        match self.state:
            case State.QUEUED:
                return "evicting" if self.begun is not None else "queued"
            case State.REFUSED:
                return f"{self._held()}, {age} s"
            case State.UNSURE:
                return f"asked for, no answer: {self.reason}"
            case State.ENDING:
                return self._ending(age)
            case State.GONE:
                return self._gone()
            case State.SKIPPED:
                return "being deleted for long: not waited for"
            case State.FAILED:
                return f"failed: {self.reason}"

    def _held(self) -> str:
        return f"budget {' and '.join(self.budgets)} refuses ({self.numbers})" if self.budgets else f"refused: {self.reason}"

    def _ending(self, age: int) -> str:
        if age > self.grace_s + 1:
            if self.pod is not None and self.pod.finalizers:  # its containers have ended: the kubelet sets its grace to 0 then
                return f"terminating {age} s, held by finalizer {' and '.join(self.pod.finalizers[:2])}"
            return f"terminating {age} s, past its {self.grace_s} s"
        return f"terminating {age} of {self.grace_s} s"

    def _gone(self) -> str:
        took = int((self.since - self.begun).total_seconds()) if self.since is not None and self.begun is not None else None
        gone = "gone" if took is None else f"gone after {took} s"
        return f"{gone}, {self.successor}" if self.successor else gone

    def worth_telling(self, now: datetime, every_s: float) -> bool:
        """A new state at once; the same one now and then."""
        if self.told_state is not self.state or self.told_at is None:
            return True
        age = now - self.since if self.since is not None else timedelta(0)
        pause = max(every_s, next((slow for least, slow in SLOW_AFTER if age > least), every_s) * every_s / 5.0)
        return self.state.final or (now - self.told_at).total_seconds() >= pause
