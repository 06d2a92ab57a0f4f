"""Cron expressions in words, and when they come due next."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from functools import lru_cache

from ..domain.schedules import every_s, six_fields

_DAYS = {
    "0": "Sundays", "1": "Mondays", "2": "Tuesdays", "3": "Wednesdays", "4": "Thursdays", "5": "Fridays", "6": "Saturdays", "7": "Sundays",
    "SUN": "Sundays", "MON": "Mondays", "TUE": "Tuesdays", "WED": "Wednesdays", "THU": "Thursdays", "FRI": "Fridays", "SAT": "Saturdays",
}  # fmt: skip
_DAILY = re.compile(r"0 (\d{1,2}) (\d{1,2}) \* \* (\*|[0-7]|[A-Z]{3})", re.ASCII)
_HOURS = re.compile(r"0 0 \*/(\d{1,2}) \* \* \*", re.ASCII)


@lru_cache(256)
def in_words(expression: str, seconds_first: bool) -> str:
    """`daily at 02:00`, `every 6 h`, `Sundays at 01:00`, else cronsim's sentence; what cannot be read says so."""
    if (seconds := every_s(expression)) is not None:
        return (
            f"every {seconds // 3600} h"
            if seconds % 3600 == 0
            else f"every {seconds // 60} min"
            if seconds % 60 == 0
            else f"every {seconds} s"
        )
    text = six_fields(expression, seconds_first).upper()
    if (found := _DAILY.fullmatch(text)) and (found[3] == "*" or found[3] in _DAYS) and int(found[1]) < 60 and int(found[2]) < 24:
        day = "daily" if found[3] == "*" else _DAYS[found[3]]
        return f"{day} at {int(found[2]):02}:{int(found[1]):02}"
    if found := _HOURS.fullmatch(text):
        return f"every {int(found[1])} h"
    from cronsim import CronSim, CronSimError  # 10 ms, and only schedules need it

    try:
        said: str = CronSim(text, datetime(2024, 1, 1)).explain()
    except CronSimError:
        return "cannot be read"
    return said[:1].lower() + said[1:]


def next_runs(expression: str, seconds_first: bool, after: datetime, count: int = 3) -> tuple[datetime, ...]:
    """The next runs after a moment, in that moment's time zone; empty when the expression cannot be read or never comes due."""
    if (seconds := every_s(expression)) is not None:
        return tuple(after + timedelta(seconds=seconds * (i + 1)) for i in range(count))
    from cronsim import CronSim, CronSimError  # 10 ms, and only schedules need it

    try:
        return tuple(at for at, _ in zip(CronSim(six_fields(expression, seconds_first), after), range(count), strict=False))
    except CronSimError:
        return ()
