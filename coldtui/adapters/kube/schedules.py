"""How often a cron expression comes due."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from itertools import pairwise

from cronsim import CronSim, CronSimError

from ...domain.schedules import every_s, six_fields

_START = datetime(2024, 1, 1, tzinfo=UTC)
_SAMPLES = 400
"""Enough for each weekday and month of a daily schedule; a minutely one shows its pause in the first 400 runs."""


@lru_cache(256)
def longest_pause_s(expression: str, seconds_first: bool) -> int | None:
    """The longest pause between two runs, in seconds; None when the expression cannot be read. `seconds_first`: see `six_fields`."""
    if expression.strip().startswith("@every"):
        return every_s(expression)
    try:
        runs = [at for at, _ in zip(CronSim(six_fields(expression, seconds_first), _START), range(_SAMPLES), strict=False)]
    except CronSimError:
        return None
    return max((int((b - a).total_seconds()) for a, b in pairwise(runs)), default=None)
