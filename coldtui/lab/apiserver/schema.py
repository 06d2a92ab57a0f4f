"""Structural schemas of custom resources: defaults, pruning of unknown fields, validation.

CEL rules (``x-kubernetes-validations``) are not evaluated; a pattern that Python cannot compile is not checked.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from coldtui.lab.apiserver.clock import parse_time
from coldtui.lab.apiserver.errors import Cause
from coldtui.lab.apiserver.store import encode

Json = dict[str, Any]
_KEEP = "x-kubernetes-preserve-unknown-fields"
_EMBEDDED = "x-kubernetes-embedded-resource"
_INT_OR_STRING = "x-kubernetes-int-or-string"
_ALWAYS = ("apiVersion", "kind", "metadata")


def _child(schema: Json, key: str) -> Json | None:
    """The schema of a field; an empty one when any value goes; None when the field is unknown."""
    found: Any = (schema.get("properties") or {}).get(key)
    if found is not None:
        return found  # type: ignore[no-any-return]
    extra = schema.get("additionalProperties")
    if isinstance(extra, dict):
        return extra
    return {_KEEP: True} if extra is True or schema.get(_KEEP) else None


def prune(value: Any, schema: Json, path: str = "", *, root: bool = True) -> list[str]:
    """Drop the fields that the schema does not know, in place; returns their paths."""
    unknown: list[str] = []
    if isinstance(value, dict):
        special = root or schema.get(_EMBEDDED)
        for key in list(value):
            if special and key in _ALWAYS:
                continue
            child = _child(schema, key)
            inner = f"{path}.{key}" if path else key
            if child is None:
                if "properties" in schema or schema.get("type") == "object":
                    unknown.append(inner)
                    del value[key]
            else:
                unknown += prune(value[key], child, inner, root=False)
    elif isinstance(value, list):
        items = schema.get("items") or {_KEEP: True}
        for i, entry in enumerate(value):
            unknown += prune(entry, items, f"{path}[{i}]", root=False)
    return unknown


def apply_defaults(value: Any, schema: Json) -> None:
    """Fill in defaults, in place; a null in a field that has a default and is not nullable counts as absent."""
    if isinstance(value, dict):
        for key, child in (schema.get("properties") or {}).items():
            if "default" in child and (key not in value or (value[key] is None and not child.get("nullable"))):
                value[key] = _copy(child["default"])
        for key, entry in value.items():
            if isinstance(entry, dict | list) and (inner := _child(schema, key)):
                apply_defaults(entry, inner)
    elif isinstance(value, list) and (items := schema.get("items")):
        for entry in value:
            apply_defaults(entry, items)


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _copy(v) for k, v in value.items()}
    return [_copy(v) for v in value] if isinstance(value, list) else value


def validate(value: Any, schema: Json, path: str = "", *, root: bool = True) -> list[Cause]:
    """Why the value does not fit the schema; empty when it does."""
    return list(_check(value, schema, path, root))


def _shown(value: Any) -> str:
    if isinstance(value, dict | list):
        text = encode(value).decode()
        return text if len(text) <= 200 else text[:200] + "..."
    return encode(value).decode()


def _invalid(path: str, value: Any, why: str) -> Cause:
    return Cause("FieldValueInvalid", path or "<nil>", f"Invalid value: {_shown(value)}: {path} in body {why}")


def _check(value: Any, schema: Json, path: str, root: bool) -> Iterator[Cause]:
    if value is None and schema.get("nullable"):
        return
    wrong = _wrong_type(value, schema)
    if wrong:
        kind = "null" if value is None else _json_type(value)
        yield Cause("FieldValueTypeInvalid", path or "<nil>", f'Invalid value: "{kind}": {path} in body must be of type {wrong}: "{kind}"')
        return
    if "enum" in schema and value not in schema["enum"]:
        allowed = ", ".join(_shown(e) for e in schema["enum"])
        yield Cause("FieldValueNotSupported", path, f"Unsupported value: {_shown(value)}: supported values: {allowed}")
    if isinstance(value, str):
        yield from _check_text(value, schema, path)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield from _check_number(value, schema, path)
    elif isinstance(value, dict):
        yield from _check_map(value, schema, path, root)
    elif isinstance(value, list):
        yield from _check_list(value, schema, path)
    yield from _check_logic(value, schema, path)


def _json_type(value: Any) -> str:
    match value:
        case bool():
            return "boolean"
        case int():
            return "integer"
        case float():
            return "number"
        case str():
            return "string"
        case list():
            return "array"
        case _:
            return "object"


def _wrong_type(value: Any, schema: Json) -> str:
    """The type that the schema wants, when the value has another; else empty."""
    if schema.get(_INT_OR_STRING):
        return "" if _json_type(value) in ("integer", "string") and value is not None else "integer,string"
    wanted = str(schema.get("type") or "")
    if not wanted:
        return ""
    if value is None:
        return wanted
    actual = _json_type(value)
    if actual == wanted or (wanted == "number" and actual == "integer"):
        return ""
    if wanted == "integer" and isinstance(value, float) and value.is_integer():
        return ""
    return wanted


@lru_cache(maxsize=1024)
def _pattern(text: str) -> re.Pattern[str] | None:
    try:
        return re.compile(text)
    except re.error:
        return None


def _check_text(value: str, schema: Json, path: str) -> Iterator[Cause]:
    if "maxLength" in schema and len(value) > schema["maxLength"]:
        yield Cause("FieldValueTooLong", path, f"Too long: may not be more than {schema['maxLength']} bytes")
    if "minLength" in schema and len(value) < schema["minLength"]:
        yield _invalid(path, value, f"should be at least {schema['minLength']} chars long")
    if "pattern" in schema and (found := _pattern(schema["pattern"])) and not found.search(value):
        yield _invalid(path, value, f"should match '{schema['pattern']}'")
    if schema.get("format") == "date-time" and parse_time(value) is None:
        yield _invalid(path, value, f'must be of type date-time: "{value}"')


def _check_number(value: float, schema: Json, path: str) -> Iterator[Cause]:
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None and (value < low or (schema.get("exclusiveMinimum") and value == low)):
        yield _invalid(path, value, f"should be greater than {'' if schema.get('exclusiveMinimum') else 'or equal to '}{low}")
    if high is not None and (value > high or (schema.get("exclusiveMaximum") and value == high)):
        yield _invalid(path, value, f"should be less than {'' if schema.get('exclusiveMaximum') else 'or equal to '}{high}")
    if (step := schema.get("multipleOf")) and value % step:
        yield _invalid(path, value, f"should be a multiple of {step}")


def _check_map(value: Json, schema: Json, path: str, root: bool) -> Iterator[Cause]:
    for key in schema.get("required") or ():
        if key not in value:
            yield Cause("FieldValueRequired", f"{path}.{key}" if path else key, "Required value")
    if "maxProperties" in schema and len(value) > schema["maxProperties"]:
        yield Cause("FieldValueTooMany", path, f"Too many: {len(value)}: must have at most {schema['maxProperties']} items")
    if "minProperties" in schema and len(value) < schema["minProperties"]:
        yield _invalid(path, value, f"should have at least {schema['minProperties']} properties")
    special = root or schema.get(_EMBEDDED)
    for key, entry in value.items():
        if special and key in _ALWAYS:
            continue
        child = _child(schema, key)
        if child:
            yield from _check(entry, child, f"{path}.{key}" if path else key, False)


def _check_list(value: list[Any], schema: Json, path: str) -> Iterator[Cause]:
    if "maxItems" in schema and len(value) > schema["maxItems"]:
        yield Cause("FieldValueTooMany", path, f"Too many: {len(value)}: must have at most {schema['maxItems']} items")
    if "minItems" in schema and len(value) < schema["minItems"]:
        yield _invalid(path, value, f"should have at least {schema['minItems']} items")
    items = schema.get("items")
    if items:
        for i, entry in enumerate(value):
            yield from _check(entry, items, f"{path}[{i}]", False)
    kind = schema.get("x-kubernetes-list-type")
    if kind in ("set", "map"):
        keys = schema.get("x-kubernetes-list-map-keys") or ()
        seen: set[bytes] = set()
        for i, entry in enumerate(value):
            name: Any = {k: entry.get(k) for k in keys} if kind == "map" and isinstance(entry, dict) else entry
            mark = encode(name)
            if mark in seen:
                yield Cause("FieldValueDuplicate", f"{path}[{i}]", f"Duplicate value: {_shown(name)}")
            seen.add(mark)


def _check_logic(value: Any, schema: Json, path: str) -> Iterator[Cause]:
    for part in schema.get("allOf") or ():
        yield from _check(value, part, path, False)
    if (options := schema.get("anyOf")) and not any(not validate(value, o, path, root=False) for o in options):
        yield _invalid(path, value, "must validate at least one schema (anyOf)")
    if (options := schema.get("oneOf")) and sum(not validate(value, o, path, root=False) for o in options) != 1:
        yield _invalid(path, value, "must validate one and only one schema (oneOf)")
    if (other := schema.get("not")) and not validate(value, other, path, root=False):
        yield _invalid(path, value, "must not validate the schema (not)")
