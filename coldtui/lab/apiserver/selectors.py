"""Label and field selectors, with the server's rules of what may be asked."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from coldtui.lab.apiserver.errors import bad_request
from coldtui.lab.apiserver.resources import Resource
from coldtui.lab.apiserver.store import Item

Labels = Mapping[str, str]
LabelTest = Callable[[Labels], bool]
ItemTest = Callable[[Item], bool]

_NOTHING: Labels = {}
_SET = re.compile(r"(\S+)\s+(in|notin)\s*\(([^)]*)\)")
_EQUAL = re.compile(r"([^=!<>\s]+)\s*(==|!=|=)\s*([^=!<>\s]*)")
_EXISTS = re.compile(r"(!?)\s*([A-Za-z0-9][A-Za-z0-9_./-]*)")
_COMPARE = re.compile(r"(\S+?)\s*(<|>)\s*(-?\d+)")
_SPLIT = re.compile(r",(?![^(]*\))")


def _one(text: str) -> LabelTest:
    if found := _SET.fullmatch(text):
        key, wanted, values = found[1], found[2] == "in", frozenset(v.strip() for v in found[3].split(","))
        return lambda labels: (labels.get(key) in values) == wanted
    if found := _EQUAL.fullmatch(text):
        key, equal, value = found[1], found[2] != "!=", found[3]
        return lambda labels: (labels.get(key) == value) == equal
    if found := _COMPARE.fullmatch(text):
        key, greater, bound = found[1], found[2] == ">", int(found[3])

        def compare(labels: Labels) -> bool:
            try:
                value = int(labels[key])
            except (KeyError, ValueError):
                return False
            return value > bound if greater else value < bound

        return compare
    if found := _EXISTS.fullmatch(text):
        key, present = found[2], not found[1]
        return lambda labels: (key in labels) == present
    raise bad_request(f"unable to parse requirement: found '{text}', expected: in, notin, =, ==, !=, gt, lt")


def label_selector(text: str) -> LabelTest | None:
    """A test for ``a=b,c!=d,e in (f,g),!h``; None when it selects everything. 400 when it cannot be read."""
    tests = [_one(part.strip()) for part in _SPLIT.split(text) if part.strip()]
    if not tests:
        return None
    if len(tests) == 1:
        return tests[0]
    return lambda labels: all(t(labels) for t in tests)


def match_labels(selector: Mapping[str, Any] | None) -> LabelTest | None:
    """A test for a ``LabelSelector`` object (matchLabels, matchExpressions). None (no selector) selects nothing; an empty one everything."""
    if selector is None:
        return None
    wanted: dict[str, str] = dict(selector.get("matchLabels") or {})
    rules = list(selector.get("matchExpressions") or [])

    def test(labels: Labels) -> bool:
        return all(labels.get(k) == v for k, v in wanted.items()) and all(_expression(r, labels) for r in rules)

    return test


def _expression(rule: Mapping[str, Any], labels: Labels) -> bool:
    key, values = rule["key"], rule.get("values") or ()
    match rule["operator"]:
        case "In":
            return labels.get(key) in values
        case "NotIn":
            return labels.get(key) not in values
        case "Exists":
            return key in labels
        case _:
            return key not in labels


def _projection(paths: tuple[str, ...]) -> type[msgspec.Struct]:
    """A struct type that decodes nothing but the given dotted paths."""
    tree: dict[str, list[str]] = {}
    for path in paths:
        head, _, rest = path.partition(".")
        tree.setdefault(head, []).append(rest)
    fields: list[tuple[str, Any, Any]] = []
    for head, rests in tree.items():
        kind: Any = Any if "" in rests else _projection(tuple(rests)) | None
        fields.append((head, kind, None))
    return msgspec.defstruct("Fields", fields)


class FieldReader:
    """Reads the selectable fields of one resource from encoded objects, skipping all else."""

    def __init__(self, paths: tuple[str, ...]) -> None:
        self.paths = paths
        self._decode = msgspec.json.Decoder(_projection(paths)).decode

    def read(self, item: Item) -> tuple[str, ...]:
        if item.fields is None:
            item.fields = self.values(item.raw)
        return item.fields

    def values(self, raw: bytes) -> tuple[str, ...]:
        root = self._decode(raw)
        found: list[str] = []
        for path in self.paths:
            value: Any = root
            for part in path.split("."):
                value = getattr(value, part, None)
            found.append("" if value is None else str(value).lower() if isinstance(value, bool) else str(value))
        return tuple(found)


_READERS: dict[tuple[str, ...], FieldReader] = {}


def _reader(paths: tuple[str, ...]) -> FieldReader:
    if paths not in _READERS:
        _READERS[paths] = FieldReader(paths)
    return _READERS[paths]


_FALSE_BY_DEFAULT = frozenset({"spec.unschedulable", "spec.hostNetwork"})


def field_selector(text: str, resource: Resource) -> tuple[ItemTest | None, str]:
    """A test and the one name it asks for (``metadata.name=X``), if any. 400 for a field that cannot be selected by."""
    tests: list[ItemTest] = []
    exact = ""
    for part in text.split(","):
        if not part.strip():
            continue
        found = re.fullmatch(r"\s*([^=!]+?)\s*(==|!=|=)\s*(.*?)\s*", part)
        if not found:
            raise bad_request(f"invalid selector: '{text}'; can't understand '{part}'")
        path, equal, value = found[1], found[2] != "!=", found[3]
        if path in ("metadata.name", "metadata.namespace"):
            at = 1 if path == "metadata.name" else 0
            if at and equal:
                exact = value
            tests.append(lambda item, at=at, value=value, equal=equal: (item.key[at] == value) == equal)  # type: ignore[misc]
            continue
        tests.append(_field_test(resource, path, value, equal))
    if not tests:
        return None, ""
    if len(tests) == 1:
        return tests[0], exact
    return (lambda item: all(t(item) for t in tests)), exact


def _field_test(resource: Resource, path: str, value: str, equal: bool) -> ItemTest:
    if path not in resource.fields:
        raise bad_request(f"field label not supported: {path}")
    reader, at = _reader(resource.fields), resource.fields.index(path)
    if path in _FALSE_BY_DEFAULT:
        return lambda item: ((reader.read(item)[at] or "false") == value) == equal
    return lambda item: (reader.read(item)[at] == value) == equal


def item_selector(labels: str, fields: str, resource: Resource) -> tuple[ItemTest | None, str]:
    """Both selectors as one test over stored items, and the single name when the field selector asks for one."""
    by_label = label_selector(labels)
    by_field, name = field_selector(fields, resource)
    if by_label is None:
        return by_field, name
    test = by_label
    if by_field is None:
        return (lambda item: test(item.labels or _NOTHING)), name
    other = by_field
    return (lambda item: test(item.labels or _NOTHING) and other(item)), name
