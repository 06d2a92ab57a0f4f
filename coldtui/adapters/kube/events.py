"""Events. Both spellings occur: the old counters (count, firstTimestamp) and the new ones (eventTime, series)."""

from __future__ import annotations

from datetime import datetime

import msgspec

from ...domain.events import Event
from ...domain.text import plain
from .decoding import Decoder, Meta, Time, Wire, word


class _Object(Wire):
    kind: str = ""
    name: str = ""
    namespace: str = ""


class _Source(Wire):
    component: str = ""
    host: str = ""


class _Series(Wire):
    count: int = 0
    last_observed_time: Time | None = None


class _Event(Wire):
    metadata: Meta
    involved_object: _Object = msgspec.field(default_factory=_Object)
    type: str = ""
    reason: str = ""
    message: str = ""
    count: int = 0
    first_timestamp: Time | None = None
    last_timestamp: Time | None = None
    event_time: Time | None = None
    series: _Series | None = None
    source: _Source = msgspec.field(default_factory=_Source)
    reporting_component: str = ""
    reporting_instance: str = ""


def _event(item: _Event, now: datetime) -> Event:
    """Times and counts as kubectl picks them (printers/internalversion printEvent)."""
    first = item.first_timestamp or item.event_time or item.metadata.created
    last, count = item.last_timestamp or first, item.count or 1
    if item.series is not None:
        last, count = item.series.last_observed_time or last, item.series.count
    component = item.source.component or item.reporting_component
    host = item.source.host or (item.reporting_instance if not item.source.component else "")
    about = item.involved_object
    return Event(
        namespace=word(item.metadata.namespace),
        name=plain(item.metadata.name),
        type=word(item.type),
        reason=word(item.reason),
        message=plain(item.message.strip()),
        object_kind=word(about.kind),
        object_name=word(about.name),
        object_namespace=word(about.namespace),
        count=count,
        first=first,
        last=last,
        source=word(f"{component}, {host}" if host else component),
    )


EVENTS = Decoder(_Event, _event)
