"""Plain values to and from the columns of the journal. What comes out is made harmless again: another user may have written it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from ...domain.text import plain

UNREADABLE = (ValueError, TypeError, KeyError, RecursionError, msgspec.MsgspecError)
"""What decoding a row raises that holds no sense."""


def clean(value: Any) -> Any:
    """A JSON value with every text in it made plain. Anything that is no JSON value is left for the encoder to refuse."""
    if isinstance(value, str):
        return plain(value)
    if isinstance(value, Mapping):
        return {plain(str(key)): clean(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [clean(part) for part in value]
    return value


def dumped(value: Any) -> str:
    """JSON text. Raises TypeError for what is no JSON value, such as a Secret."""
    return json.dumps(clean(value), separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def canonical(value: Any) -> str:
    """The one JSON text of a value: keys in order, no spaces."""
    return json.dumps(clean(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def harmless(raw: str) -> str:
    """JSON text whose strings are all plain. Raises what is in UNREADABLE."""
    if "\\" not in raw and plain(raw) == raw:  # nothing escaped and nothing odd: no string in it can be
        return raw
    return json.dumps(clean(json.loads(raw)), separators=(",", ":"), ensure_ascii=False)


def loaded(raw: Any, kind: Any) -> Any:
    """A column of JSON as a value of type `kind`. Raises what is in UNREADABLE."""
    if not isinstance(raw, str):
        raise TypeError("not text")
    return _decoder(kind)(harmless(raw))


_making = threading.Lock()
_made: dict[Any, Callable[[str], Any]] = {}


def _decoder(kind: Any) -> Callable[[str], Any]:
    """msgspec 0.22 crashes the process when two threads look at a type for the first time at once: one at a time."""
    found = _made.get(kind)
    if found is None:
        with _making:
            found = _made.setdefault(kind, msgspec.json.Decoder(kind).decode)
    return found


def text(raw: Any) -> str:
    if not isinstance(raw, str):
        raise TypeError("not text")
    return plain(raw)


def number(raw: Any) -> int:
    if not isinstance(raw, int):
        raise TypeError("not a whole number")
    return raw


def stamp(at: datetime) -> str:
    """`2026-11-24T14:02:10.000000+00:00`: sorts by time."""
    if at.tzinfo is None:
        raise ValueError("a time without a zone")
    return at.astimezone(UTC).isoformat(timespec="microseconds")


def stamp_or_none(at: datetime | None) -> str | None:
    return None if at is None else stamp(at)


def when(raw: Any) -> datetime:
    at = datetime.fromisoformat(raw)
    if at.tzinfo is None:
        raise ValueError("a time without a zone")
    return at.astimezone(UTC)


def when_or_none(raw: Any) -> datetime | None:
    return None if raw is None else when(raw)
