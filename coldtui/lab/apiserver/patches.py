"""JSON patch, JSON merge patch, and the strategic merge patch of the built-in kinds."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Sequence
from typing import Any

from coldtui.lab.apiserver.errors import ApiError, bad_request

Json = dict[str, Any]


# --- JSON merge patch (RFC 7386)


def merge(target: Any, patch: Any) -> Any:
    """The target after an RFC 7386 merge patch: maps merge, null deletes, lists and scalars replace."""
    if not isinstance(patch, dict):
        return patch
    result: Json = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge(result.get(key), value)
    return result


# --- JSON patch (RFC 6902)


def _pointer(path: str) -> list[str]:
    if path and not path.startswith("/"):
        raise bad_request(f"json pointer {path!r} must begin with a slash")
    return [p.replace("~1", "/").replace("~0", "~") for p in path.split("/")[1:]]


def _does_not_apply() -> ApiError:
    """The real server does not say why."""
    return ApiError(422, "Invalid", "the server rejected our request due to an error in our request")


def _step(node: Any, part: str, op: str, path: str) -> Any:
    try:
        return node[int(part)] if isinstance(node, list) else node[part]
    except (KeyError, IndexError, ValueError, TypeError):
        raise _does_not_apply() from None


def _get(doc: Any, path: str, op: str) -> Any:
    for part in _pointer(path):
        doc = _step(doc, part, op, path)
    return doc


def _add(node: Any, last: str, value: Any, path: str) -> None:
    if isinstance(node, list):
        at = len(node) if last == "-" else int(last) if last.isdigit() else -1
        if not 0 <= at <= len(node):
            raise _does_not_apply()
        node.insert(at, value)
    elif isinstance(node, dict):
        node[last] = value
    else:
        raise _does_not_apply()


def json_patch(target: Json, operations: Any) -> Json:
    """The target after RFC 6902 operations, all or none. A failed ``test`` or a missing path is 422, as on the real server."""
    if not isinstance(operations, list):
        raise bad_request("a JSON patch is a list of operations")
    doc: Any = copy.deepcopy(target)
    for entry in operations:
        if not isinstance(entry, dict) or "op" not in entry or "path" not in entry:
            raise bad_request("each operation of a JSON patch needs op and path")
        doc = _apply(doc, entry)
    if not isinstance(doc, dict):
        raise bad_request("the patched document is no object")
    return doc


def _apply(doc: Any, entry: Json) -> Any:
    op, path = entry["op"], entry["path"]
    if op == "test":
        if _get(doc, path, op) != entry.get("value"):
            raise _does_not_apply()
        return doc
    if op in ("move", "copy"):
        value = copy.deepcopy(_get(doc, entry["from"], op))
        if op == "move":
            doc = _apply(doc, {"op": "remove", "path": entry["from"]})
        return _apply(doc, {"op": "add", "path": path, "value": value})
    if op not in ("add", "remove", "replace"):
        raise bad_request(f"unexpected kind of JSON patch operation: {op}")
    parts = _pointer(path)
    if not parts:
        return None if op == "remove" else copy.deepcopy(entry.get("value"))
    node = doc
    for part in parts[:-1]:
        node = _step(node, part, op, path)
    last = parts[-1]
    if op == "add":
        _add(node, last, copy.deepcopy(entry.get("value")), path)
        return doc
    _step(node, last, op, path)
    if op == "remove":
        del node[int(last) if isinstance(node, list) else last]
    else:
        node[int(last) if isinstance(node, list) else last] = copy.deepcopy(entry.get("value"))
    return doc


# --- strategic merge patch

# How the lists of the built-in types merge: path pattern -> merge key. A path has no indexes; `*` stands for any prefix.
# What is not listed is atomic (tolerations, taints, args, command, rules, ...), except the sets of plain values below.
_KEYED: tuple[tuple[str, str], ...] = (
    (r"(.*\.)?(containers|initContainers|ephemeralContainers)", "name"),
    (r"(.*\.)?(containers|initContainers|ephemeralContainers)\.env", "name"),
    (r"(.*\.)?(containers|initContainers|ephemeralContainers)\.ports", "containerPort"),
    (r"(.*\.)?(containers|initContainers|ephemeralContainers)\.volumeMounts", "mountPath"),
    (r"(.*\.)?(containers|initContainers|ephemeralContainers)\.volumeDevices", "devicePath"),
    (r"(.*\.)?spec\.volumes", "name"),
    (r"(.*\.)?spec\.imagePullSecrets|imagePullSecrets", "name"),
    (r"(.*\.)?spec\.hostAliases", "ip"),
    (r"(.*\.)?spec\.topologySpreadConstraints", "topologyKey"),
    (r"(.*\.)?spec\.resourceClaims", "name"),
    (r"spec\.drivers", "name"),
    (r"spec\.ports", "port"),
    (r"secrets", "name"),
    (r"status\.conditions", "type"),
    (r"status\.addresses", "type"),
    (r"status\.podIPs|status\.hostIPs", "ip"),
    (r"(.*\.)?metadata\.ownerReferences", "uid"),
    (r"webhooks", "name"),
)
_PLAIN_SETS = re.compile(r"(.*\.)?metadata\.finalizers|spec\.podCIDRs")
_KEYED_RE = tuple((re.compile(pattern), key) for pattern, key in _KEYED)
_RETAIN = "$retainKeys"
_ORDER = "$setElementOrder/"
_PRIMITIVES = "$deleteFromPrimitiveList/"


def merge_key(kind: str, path: str) -> str | None:
    """The key by which the list at a path of a built-in kind merges; None: the list is replaced whole."""
    if path == "status.conditions" and kind == "Event":
        return None
    if path == "spec.ports" and kind != "Service":
        return None
    return next((key for pattern, key in _KEYED_RE if pattern.fullmatch(path)), None)


def strategic(kind: str, target: Json, patch: Json) -> Json:
    """The target after a strategic merge patch for a built-in kind."""
    if not isinstance(patch, dict):
        raise bad_request("a strategic merge patch is an object")
    return _strategic_map(kind, "", target, patch)


def _strategic_map(kind: str, path: str, target: Any, patch: Json) -> Json:
    directive = patch.get("$patch")
    if directive == "replace":
        return {k: v for k, v in patch.items() if k != "$patch"}
    if directive == "delete":
        return {}
    if directive not in (None, "merge"):
        raise bad_request(f"Unknown patch type found: {directive}")
    result: Json = dict(target) if isinstance(target, dict) else {}
    if _RETAIN in patch:
        result = {k: v for k, v in result.items() if k in patch[_RETAIN]}
    for key, value in patch.items():
        if key.startswith(_PRIMITIVES):
            field = key.removeprefix(_PRIMITIVES)
            result[field] = [x for x in result.get(field) or [] if x not in value]
    for key, value in patch.items():
        if key.startswith("$"):
            continue
        inner = f"{path}.{key}" if path else key
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict):
            result[key] = _strategic_map(kind, inner, result.get(key), value)
        elif isinstance(value, list):
            result[key] = _strategic_list(kind, inner, result.get(key) or [], value)
        else:
            result[key] = value
    for key, value in patch.items():
        if key.startswith(_ORDER):
            field = key.removeprefix(_ORDER)
            if field in result:
                before = target.get(field) or [] if isinstance(target, dict) else []
                name = _namer(merge_key(kind, f"{path}.{field}" if path else field))
                result[field] = _ordered(result[field], value, before, name)
    return result


def _strategic_list(kind: str, path: str, target: list[Any], patch: list[Any]) -> list[Any]:
    key = merge_key(kind, path)
    if key is None:
        if _PLAIN_SETS.fullmatch(path):
            return _ordered([*target, *(x for x in patch if x not in target)], patch, target, _namer(None))
        return [x for x in patch if not (isinstance(x, dict) and set(x) == {"$patch"})]
    if any(isinstance(x, dict) and x.get("$patch") == "replace" for x in patch):
        return [{k: v for k, v in x.items() if k != "$patch"} for x in patch if set(x) != {"$patch"}]
    result = list(target)
    for entry in patch:
        if not isinstance(entry, dict) or key not in entry:
            raise bad_request(f"map: {entry} does not contain declared merge key: {key}")
        same = _same(path, key, entry)
        if entry.get("$patch") == "delete":
            result = [x for x in result if not same(x)]
            continue
        at = next((i for i, x in enumerate(result) if same(x)), None)
        merged = _strategic_map(kind, path, result[at] if at is not None else {}, entry)
        if at is None:
            result.append(merged)
        else:
            result[at] = merged
    named = [x for x in patch if x.get("$patch") != "delete"]
    return _ordered(result, named, target, _namer(key))


def _same(path: str, key: str, entry: Json) -> Callable[[Any], bool]:
    """Whether an element is the one a patch means. Container ports that name a protocol are told apart by it (TCP and UDP 53)."""
    protocol = entry.get("protocol") if path.endswith(".ports") else None

    def test(x: Any) -> bool:
        if not isinstance(x, dict) or x.get(key) != entry[key]:
            return False
        return protocol is None or x.get("protocol", "TCP") == protocol

    return test


def _namer(key: str | None) -> Callable[[Any], Any]:
    return lambda x: x.get(key) if key and isinstance(x, dict) else x


def _ordered(items: list[Any], order: Sequence[Any], before: Sequence[Any], name: Callable[[Any], Any]) -> list[Any]:
    """The order in which the real server leaves a merged list: what the patch names in its order, the rest where it stood;
    where the two say nothing of each other, the patch goes first."""
    ranks = {name(x): i for i, x in enumerate(order)}
    stood = {name(x): i for i, x in enumerate(before)}
    asked = sorted((x for x in items if name(x) in ranks), key=lambda x: ranks[name(x)])
    rest = sorted((x for x in items if name(x) not in ranks), key=lambda x: stood.get(name(x), len(stood)))
    merged: list[Any] = []
    while rest and asked:
        left, right = stood.get(name(rest[0])), stood.get(name(asked[0]))
        merged.append((rest if left is not None and right is not None and left < right else asked).pop(0))
    return merged + rest + asked
