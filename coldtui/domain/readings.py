"""One model of the unknown: every value has a source and an age, or a reason why it is missing."""

from __future__ import annotations

from dataclasses import field
from datetime import datetime
from enum import Enum
from typing import Generic, TypeVar

from .values import dataclass

T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Known(Generic[T_co]):
    """A value as `source` told it at `as_of` (aware, UTC)."""

    value: T_co
    source: str
    as_of: datetime


@dataclass(frozen=True, slots=True)
class Unknown:
    """No value: `reason` says in words why ("no sample yet", "needs get on nodes/proxy")."""

    source: str
    reason: str
    kind: str = field(default="", compare=False)
    """Of the trouble behind it, as in `Trouble.kind`; empty: none, or not told."""


Reading = Known[T_co] | Unknown


class Freshness(Enum):
    """How a watched collection stands. Every screen shows these six differently, in words."""

    LOADING = "loading"
    """Never read yet, and nothing has failed so far."""
    LIVE = "live"
    STALE = "stale"
    """Was read once; what is shown is old."""
    FORBIDDEN = "forbidden"
    """403: we were never allowed to read it, or no longer are."""
    NOT_INSTALLED = "not installed"
    """404 on the kind."""
    FAILED = "failed"
    """Never read, and the last try failed."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why a source is not live, in words an operator knows."""

    kind: str
    """One of: dns, refused, tls, unauthorized, forbidden, not-installed, timeout, throttled, server, garbage, lost, restored, config, bug (a fault of ours)."""
    words: str
    """One line, such as `connection refused by 127.0.0.1:6443`."""
    hint: str = ""
    """The remedy, if we know one."""


@dataclass(frozen=True, slots=True)
class SourceState:
    """Where a watched collection stands."""

    name: str
    as_of: datetime | None = None
    """When the newest data was known to be true: the last list, event, bookmark or healthy heartbeat. None: never read."""
    trouble: Trouble | None = None
    since: datetime | None = None
    """Since when the trouble lasts."""
    retry_at: datetime | None = None
    """When the next try is due, while backing off."""
    partial: bool = False
    """The first list is still arriving: rows are shown, totals are lower bounds."""
    saved: bool = False
    """The rows come from the saved World of an earlier session."""
    restarts: int = 0
    """How often this source was listed again after the first time."""

    @property
    def freshness(self) -> Freshness:
        if self.trouble is not None:
            if self.trouble.kind == "forbidden":
                return Freshness.FORBIDDEN
            if self.trouble.kind == "not-installed":
                return Freshness.NOT_INSTALLED
            return Freshness.STALE if self.as_of is not None else Freshness.FAILED
        if self.saved:
            return Freshness.STALE
        return Freshness.LIVE if self.as_of is not None else Freshness.LOADING

    @property
    def whole(self) -> bool:
        """Whether a total over this source is exact now."""
        return self.freshness is Freshness.LIVE and not self.partial


def is_known(reading: Reading[T_co]) -> bool:
    return isinstance(reading, Known)
