"""What all columns share: names, ages, labels, durations as kubectl writes them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from coldtui.lab.apiserver.clock import parse_time

Json = dict[str, Any]
Cells = list[Any]
NONE, UNKNOWN, UNSET = "<none>", "<unknown>", "<unset>"


@dataclass(frozen=True, slots=True)
class Printer:
    """Column names (``!`` in front: wide only; ``#``: a number, ``?``: true or false, ``@``: a time) and the function that fills a row."""

    names: tuple[str, ...]
    row: Callable[[Json, datetime], Cells]


def human(seconds: float) -> str:
    """A duration as kubectl writes it: 59s, 5m3s, 3h12m, 2d5h, 40d, 3y20d."""
    s = int(seconds)
    if s < -1:
        return "<invalid>"
    s = max(s, 0)
    if s < 120:
        return f"{s}s"
    minutes, hours, days = s // 60, s // 3600, s // 86400
    if minutes < 10:
        return f"{minutes}m{s % 60}s" if s % 60 else f"{minutes}m"
    if minutes < 180:
        return f"{minutes}m"
    if hours < 8:
        return f"{hours}h{minutes % 60}m" if minutes % 60 else f"{hours}h"
    if hours < 48:
        return f"{hours}h"
    if hours < 192:
        return f"{days}d{hours % 24}h" if hours % 24 else f"{days}d"
    if days < 730:
        return f"{days}d"
    years = days // 365
    if years < 8 and days % 365:
        return f"{years}y{days % 365}d"
    return f"{years}y"


def since(text: Any, now: datetime) -> str:
    """The time since a time stamp."""
    moment = parse_time(text)
    return UNKNOWN if moment is None else human((now - moment).total_seconds())


def age(obj: Json, now: datetime) -> str:
    return since(obj["metadata"].get("creationTimestamp"), now)


def name_of(obj: Json) -> str:
    return str(obj["metadata"].get("name", ""))


def spec_of(obj: Json) -> Json:
    return obj.get("spec") or {}


def status_of(obj: Json) -> Json:
    return obj.get("status") or {}


def labels_of(labels: Json | None) -> str:
    return ",".join(f"{k}={v}" for k, v in sorted((labels or {}).items())) or NONE


def containers_of(spec: Json) -> tuple[str, str]:
    held = (spec.get("template") or {}).get("spec", {}).get("containers") or []
    return ",".join(c.get("name", "") for c in held), ",".join(c.get("image", "") for c in held)
