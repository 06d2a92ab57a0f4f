"""Whole objects as the API gives them, made fit to be shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from ...domain.text import plain, plain_lines
from .decoding import UNDECODABLE
from .failures import no_api

_HIDDEN = "•••"
_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


def decoded(raw: bytes, where: str) -> dict[str, Any]:
    """A JSON object. Raises LineTrouble, kind garbage."""
    try:
        found = msgspec.json.decode(raw)
    except UNDECODABLE:
        found = None
    if not isinstance(found, dict):
        raise no_api(200, {}, where)
    return found


def shown(raw: bytes, where: str) -> Mapping[str, Any]:
    """Without managedFields, every string plain; line breaks inside a string stay, since YAML shows them; values of a Secret are bullets."""
    found = decoded(raw, where)
    meta = found.get("metadata")
    if isinstance(meta, dict):
        meta.pop("managedFields", None)
    if found.get("kind") == "Secret":
        _hide(found)
    plained: Mapping[str, Any] = _plain(found)
    return plained


def _hide(secret: dict[str, Any]) -> None:
    """The values of a Secret, and the copy of them that `kubectl apply` leaves in an annotation."""
    for key in ("data", "stringData"):
        if isinstance(secret.get(key), dict):
            secret[key] = dict.fromkeys(secret[key], _HIDDEN)
    meta = secret.get("metadata")
    notes = meta.get("annotations") if isinstance(meta, dict) else None
    if isinstance(notes, dict) and _APPLIED in notes:
        notes[_APPLIED] = _HIDDEN


def _plain(value: Any) -> Any:
    match value:
        case str():
            return plain(value) if "\n" not in value else "\n".join(plain_lines(value))
        case dict():
            return {plain(key): _plain(inner) for key, inner in value.items()}
        case list():
            return [_plain(inner) for inner in value]
        case _:
            return value
