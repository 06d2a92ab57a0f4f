"""Events of the whole cluster, newest first."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

from ...domain.events import Event
from ...domain.text import times
from ...domain.world import World
from ...present import events as event_words
from ...present import words
from ...present.lines import Line, pair
from ...present.rows import Cell, Tone
from .listings import ListingsScreen, Part, plain_part


def _detail(world: World, event: Event, now: datetime) -> tuple[Line, ...]:
    return (
        (Cell(event.reason, Tone.WARN if event.type == "Warning" else Tone.STRONG),),
        (),
        pair("About", event_words.about(event)),
        pair("Namespace", event.object_namespace or event.namespace),
        pair("Type", event.type),
        pair("Seen", f"{times(event.count)}, last {words.age(now - event.last)} ago, first {words.age(now - event.first)} ago"),
        pair("From", event.source),
        (),
        *((Cell(part),) for part in _folded(event.message)),
    )


def _folded(text: str, room: int = 46) -> tuple[str, ...]:
    """Words of a message in lines of at most `room` characters."""
    import textwrap

    return tuple(textwrap.wrap(text, room)) or ("",)


class EventsScreen(ListingsScreen):
    PARTS: ClassVar[tuple[Part, ...]] = (plain_part("events", event_words.EVENTS, "events", _detail),)
