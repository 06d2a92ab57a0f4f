"""How often a cron expression comes due."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import islice, pairwise, takewhile

from cronsim import CronSim, CronSimError

from ...domain.schedules import every_s, six_fields

_START = datetime(2024, 1, 1, tzinfo=UTC)
_SAMPLES = 400
"""Enough for each weekday and month of a daily schedule; a minutely one shows its pause in the first 400 runs."""


def _enough(six: str) -> datetime:
    """Until when a look shows every pause: what comes due each day alike needs no year (which costs 10 ms)."""
    day, month, weekday = six.split()[3:]
    if month != "*":
        return datetime.max.replace(tzinfo=UTC)
    return _START + timedelta(days=5 * 366 if day != "*" else 3 if weekday == "*" else 22)


@lru_cache(256)
def longest_pause_s(expression: str, seconds_first: bool) -> int | None:
    """The longest pause between two runs, in seconds; None when the expression cannot be read. `seconds_first`: see `six_fields`."""
    if expression.strip().startswith("@every"):
        return every_s(expression)
    try:
        six = six_fields(expression, seconds_first)
        runs, until = CronSim(six, _START), _enough(six)
        seen = list(islice(takewhile(lambda at: at <= until, runs), _SAMPLES))
    except CronSimError:
        return None
    return max((int((b - a).total_seconds()) for a, b in pairwise(seen)), default=None)
