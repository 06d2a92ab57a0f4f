"""``Table`` answers: columns and rows as kubectl prints them, for built-in kinds and for those with printer columns of their own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

from coldtui.lab.apiserver import columns, jsonpath
from coldtui.lab.apiserver.crds import CustomKind
from coldtui.lab.apiserver.listing import partial
from coldtui.lab.apiserver.printing import Printer, age, since
from coldtui.lab.apiserver.resources import Resource
from coldtui.lab.apiserver.store import encode

Json = dict[str, Any]


def definitions(resource: Resource, kind: CustomKind | None) -> list[Json]:
    """The column definitions of a kind."""
    if kind is not None:
        found = [_column("Name")]
        for c in kind.columns:
            found.append(
                {
                    "name": c["name"],
                    "type": c["type"],
                    "format": c.get("format", ""),
                    "description": c.get("description", ""),
                    "priority": c.get("priority", 0),
                }
            )
        return found if kind.columns else [*found, _column("Age", kind="date")]
    return [_column(name) for name in _printer(resource).names]


def _column(name: str, kind: str = "string") -> Json:
    kind = {"#": "integer", "?": "boolean", "@": "date"}.get(name[0], kind)
    plain = name.lstrip("#!?@")
    return {
        "name": plain,
        "type": kind,
        "format": "name" if plain == "Name" and name == "Name" else "",
        "description": "",
        "priority": int("!" in name),
    }


def _printer(resource: Resource) -> Printer:
    return columns.PRINTERS.get(resource.kind, columns.PLAIN) if not resource.custom else columns.PLAIN


def cells(resource: Resource, kind: CustomKind | None, obj: Json, now: datetime) -> list[Any]:
    """The row of one object."""
    if kind is None:
        return _printer(resource).row(obj, now)
    name = obj["metadata"].get("name", "")
    if not kind.columns:
        return [name, age(obj, now)]
    return [name, *(_cell(obj, c, now) for c in kind.columns)]


def _cell(obj: Json, column: Json, now: datetime) -> Any:
    found = jsonpath.find(obj, column["jsonPath"])
    if not found or found[0] is None:
        return None
    value = found[0]
    match column["type"]:
        case "date":
            return since(value, now)
        case "string":
            return ",".join(map(_text, found)) if len(found) > 1 else _text(value)
        case _:
            return value


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return encode(value).decode()


ROWS_A_PIECE = 200


def chunks(
    resource: Resource, kind: CustomKind | None, objects: Iterable[Json], meta: Json, now: datetime, *, include: str, header: bool = True
) -> Iterator[bytes]:
    """A whole Table in pieces. ``include`` is Metadata, None or Object; a watch sends the header once."""
    shown = definitions(resource, kind) if header else []
    head = encode({"kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": meta, "columnDefinitions": shown})
    parts = [head[:-1], b',"rows":[']
    for i, obj in enumerate(objects):
        row: Json = {"cells": cells(resource, kind, obj, now)}
        if include == "Object":
            row["object"] = obj
        elif include != "None":
            row["object"] = partial(obj)
        if i:
            parts.append(b",")
        parts.append(encode(row))
        if i % ROWS_A_PIECE == ROWS_A_PIECE - 1:
            yield b"".join(parts)
            parts = []
    parts.append(b"]}\n")
    yield b"".join(parts)


def one(resource: Resource, kind: CustomKind | None, obj: Json, now: datetime, *, include: str, header: bool = True) -> bytes:
    """A Table of one row."""
    meta = {"resourceVersion": obj["metadata"].get("resourceVersion", "")}
    return b"".join(chunks(resource, kind, [obj], meta, now, include=include, header=header)).rstrip()
