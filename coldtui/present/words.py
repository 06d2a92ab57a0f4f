"""Numbers, ages and states in words, written the same everywhere."""

from __future__ import annotations

from datetime import datetime, timedelta

from ..domain.readings import Freshness, SourceState
from ..domain.text import size as size

GLYPHS = {"good": "●", "part": "◐", "bad": "▲", "off": "○", "done": "✓", "failed": "✗", "none": "·", "arrow": "→"}
ASCII_GLYPHS = {"good": "*", "part": "o", "bad": "!", "off": "-", "done": "+", "failed": "x", "none": ".", "arrow": "->"}
_STEPS = (0, 5, 15, 30)


def age(span: timedelta) -> str:
    """An age in steps (0, 5, 15, 30 s, then as `duration`), so that a screen changes its text seldom: `15s`, `4m`, `3h12m`, `41d`."""
    seconds = max(0, int(span.total_seconds()))
    if seconds < 60:
        return f"{max(step for step in _STEPS if step <= seconds)}s"
    return duration(span)


def duration(span: timedelta) -> str:
    """kubectl's HumanDuration (apimachinery/util/duration): two units at most, exact where small."""
    seconds = int(span.total_seconds())
    if seconds < 0:
        return "0s" if seconds >= -1 else "<invalid>"
    if seconds < 120:
        return f"{seconds}s"
    minutes = seconds // 60
    if minutes < 10:
        return f"{minutes}m{seconds % 60}s" if seconds % 60 else f"{minutes}m"
    if minutes < 180:
        return f"{minutes}m"
    hours = minutes // 60
    if hours < 8:
        return f"{hours}h{minutes % 60}m" if minutes % 60 else f"{hours}h"
    if hours < 48:
        return f"{hours}h"
    days = hours // 24
    if days < 8:
        return f"{days}d{hours % 24}h" if hours % 24 else f"{days}d"
    if days < 365 * 2:
        return f"{days}d"
    years = days // 365
    if years < 8:
        return f"{years}y{days % 365}d" if days % 365 else f"{years}y"
    return f"{years}y"


def quantity_gi(octets: float) -> str:
    """Bytes in the site document's form: `500Gi`."""
    value = octets / 2**30
    return f"{value:.0f}Gi" if abs(value - round(value)) < 0.05 or value >= 100 else f"{value:.1f}Gi"


def percent(fraction: float | None) -> str:
    """`45%`, or `–` for what is not known."""
    return "–" if fraction is None else f"{fraction * 100:.0f}%"


def cpu(millicores: int) -> str:
    return f"{millicores}m" if millicores < 10_000 else f"{millicores / 1000:.1f}"


def clock(moment: datetime) -> str:
    """`14:02Z`."""
    return moment.strftime("%H:%MZ")


def stamp(moment: datetime) -> str:
    """`2026-01-17 02:00Z`."""
    return moment.strftime("%Y-%m-%d %H:%MZ")


def iso(moment: datetime) -> str:
    """RFC 3339 with Z, whole seconds."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def bar(fraction: float, width: int) -> tuple[str, str]:
    """(filled, empty) blocks."""
    filled = max(0, min(width, round(fraction * width)))
    return "█" * filled, "░" * (width - filled)


def spark(values: tuple[float, ...], width: int, top: float | None = None) -> str:
    """The last `width` samples as blocks, scaled to `top` (or the greatest); NaN is a space."""
    shown = values[-width:]
    high = top if top is not None else max((v for v in shown if v == v), default=0.0)
    if high <= 0:
        return "".join(" " if v != v else "▁" for v in shown).rjust(width)
    return "".join(" " if v != v else "▁▂▃▄▅▆▇█"[max(0, min(7, int(v / high * 7.999)))] for v in shown).rjust(width)


def freshness(state: SourceState, now: datetime) -> str:
    """How a source stands, in a few words; never empty."""
    fresh = state.freshness
    if fresh is Freshness.LOADING:
        return "loading"
    if fresh is Freshness.LIVE:
        return "loading, partial" if state.partial else "live"
    if fresh is Freshness.NOT_INSTALLED:
        return "not installed"
    if fresh is Freshness.STALE and state.as_of is not None:
        return f"{'saved' if state.saved and state.trouble is None else 'stale'} {age(now - state.as_of)}"
    if fresh is Freshness.FORBIDDEN:
        return f"not permitted: {state.trouble.words}" if state.trouble else "not permitted"
    return f"failed: {state.trouble.words}" if state.trouble else "failed"
