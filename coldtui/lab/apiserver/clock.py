"""The server's clock, which the ``clock-skew`` fault can shift."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime


class Clock:
    """Wall time of the simulated server: the machine's time plus ``skew_seconds``."""

    def __init__(self) -> None:
        self.skew_seconds = 0.0

    def now(self) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=self.skew_seconds)

    def stamp(self) -> str:
        """Now, as the API writes times (whole seconds)."""
        return stamp(self.now())

    def micro(self) -> str:
        """Now with microseconds, as leases and events.k8s.io write it."""
        return self.now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")

    def http_date(self) -> str:
        return format_datetime(self.now(), usegmt=True)


def stamp(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_time(text: object) -> datetime | None:
    """An RFC 3339 time, or None when it is absent or no time."""
    if not isinstance(text, str) or not text:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
