"""How often a cron expression comes due."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import lru_cache
from itertools import pairwise

from cronsim import CronSim, CronSimError

_NAMES = {
    "@yearly": "0 0 0 1 1 *",
    "@annually": "0 0 0 1 1 *",
    "@monthly": "0 0 0 1 * *",
    "@weekly": "0 0 0 * * 0",
    "@daily": "0 0 0 * * *",
    "@midnight": "0 0 0 * * *",
    "@hourly": "0 0 * * * *",
}
_EVERY = re.compile(r"(\d+(?:\.\d+)?)(h|m|s)", re.ASCII)
_START = datetime(2024, 1, 1, tzinfo=UTC)
_SAMPLES = 400
"""Enough for each weekday and month of a daily schedule; a minutely one shows its pause in the first 400 runs."""


def _every(text: str) -> int | None:
    parts = _EVERY.findall(text)
    if not parts or "".join(n + unit for n, unit in parts) != text:
        return None
    return int(sum(float(n) * {"h": 3600, "m": 60, "s": 1}[unit] for n, unit in parts)) or None


@lru_cache(256)
def longest_pause_s(expression: str, seconds_first: bool) -> int | None:
    """The longest pause between two runs, in seconds; None when the expression cannot be read.

    `seconds_first`: CloudNativePG's dialect (robfig/cron 1.2: six fields, the day of the week may be missing); else the five of a CronJob.
    """
    text = expression.strip()
    if text.startswith("@every "):
        return _every(text.removeprefix("@every ").strip())
    text = _NAMES.get(text.lower(), text)
    fields = text.replace("?", "*").split()
    if seconds_first and len(fields) == 5:
        fields.append("*")
    try:
        runs = [at for at, _ in zip(CronSim(" ".join(fields), _START), range(_SAMPLES), strict=False)]
    except CronSimError:
        return None
    return max((int((b - a).total_seconds()) for a, b in pairwise(runs)), default=None)
