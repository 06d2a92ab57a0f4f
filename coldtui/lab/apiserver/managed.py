"""``metadata.managedFields``, reduced to who wrote, how and when; the fields themselves are not tracked."""

from __future__ import annotations

from typing import Any

from coldtui.lab.apiserver.clock import Clock

Json = dict[str, Any]


def note_manager(obj: Json, manager: str, subresource: str, clock: Clock, api_version: str) -> None:
    """Write down that ``manager`` changed the object now."""
    held: list[Json] = list(obj["metadata"].get("managedFields") or [])
    entry: Json = {"manager": manager, "operation": "Update", "apiVersion": api_version, "time": clock.stamp()}
    entry.update(fieldsType="FieldsV1", fieldsV1={})
    if subresource:
        entry["subresource"] = subresource
    kept = [e for e in held if (e.get("manager"), e.get("subresource", "")) != (manager, subresource)]
    obj["metadata"]["managedFields"] = [*kept, entry]
