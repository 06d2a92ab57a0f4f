"""Cron expressions in the two dialects of a site, as text. What they mean in time is computed where a library may be used."""

from __future__ import annotations

import re

NAMES = {
    "@yearly": "0 0 0 1 1 *",
    "@annually": "0 0 0 1 1 *",
    "@monthly": "0 0 0 1 * *",
    "@weekly": "0 0 0 * * 0",
    "@daily": "0 0 0 * * *",
    "@midnight": "0 0 0 * * *",
    "@hourly": "0 0 * * * *",
}
_EVERY = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)(h|m|s)", re.ASCII)


def every_s(expression: str) -> int | None:
    """The seconds of `@every 6h30m`; None for any other expression."""
    word, _, span = expression.strip().partition(" ")
    parts = _EVERY.findall(span)
    if word != "@every" or not parts or "".join(n + unit for n, unit in parts) != span.strip():
        return None
    return int(sum(float(n) * {"h": 3600, "m": 60, "s": 1}[unit] for n, unit in parts)) or None


def six_fields(expression: str, seconds_first: bool) -> str:
    """The expression with six fields, seconds first.

    `seconds_first`: CloudNativePG's dialect (robfig/cron 1.2), where the day of the week is the field that may be missing; else the five
    fields of a CronJob, which come due at second 0.
    """
    text = expression.strip()
    fields = NAMES.get(text.lower(), text).replace("?", "*").split()
    if len(fields) == 5:
        fields = [*fields, "*"] if seconds_first else ["0", *fields]
    return " ".join(fields)
