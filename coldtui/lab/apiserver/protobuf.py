"""The few bodies that kubectl's typed clients send as protobuf although they read JSON: reviews, evictions, delete options, scales,
namespaces, ConfigMaps, Secrets, ServiceAccounts and their tokens. Any other kind is 415; ``kubectl create -f`` and ``apply`` send JSON.

Message types are described by field numbers as in the ``generated.proto`` files of k8s.io/api; fields that nothing here reads are skipped.
"""

from __future__ import annotations

import base64
from typing import Any

from coldtui.lab.apiserver.errors import bad_request, unsupported_media

Json = dict[str, Any]
MEDIA = "application/vnd.kubernetes.protobuf"
_MAGIC = b"k8s\x00"
Message = dict[int, tuple[str, Any]]
"""Field number -> name and type: "text", "int", "bool", "texts" (repeated), "map" (of texts), "data" (a map of bytes) or another message."""

_META: Message = {
    1: ("name", "text"),
    2: ("generateName", "text"),
    3: ("namespace", "text"),
    5: ("uid", "text"),
    6: ("resourceVersion", "text"),
    11: ("labels", "map"),
    12: ("annotations", "map"),
    14: ("finalizers", "texts"),
}
_PRECONDITIONS: Message = {1: ("uid", "text"), 2: ("resourceVersion", "text")}
_DELETE: Message = {
    1: ("gracePeriodSeconds", "int"),
    2: ("preconditions", _PRECONDITIONS),
    3: ("orphanDependents", "bool"),
    4: ("propagationPolicy", "text"),
    5: ("dryRun", "texts"),
}
_RESOURCE: Message = {
    1: ("namespace", "text"),
    2: ("verb", "text"),
    3: ("group", "text"),
    4: ("version", "text"),
    5: ("resource", "text"),
    6: ("subresource", "text"),
    7: ("name", "text"),
}
_PATH: Message = {1: ("path", "text"), 2: ("verb", "text")}
_ACCESS: Message = {1: ("resourceAttributes", _RESOURCE), 2: ("nonResourceAttributes", _PATH), 3: ("user", "text"), 4: ("groups", "texts")}
_KINDS: dict[str, Message] = {
    "DeleteOptions": _DELETE,
    "Eviction": {1: ("metadata", _META), 2: ("deleteOptions", _DELETE)},
    "SelfSubjectAccessReview": {1: ("metadata", _META), 2: ("spec", _ACCESS)},
    "SubjectAccessReview": {1: ("metadata", _META), 2: ("spec", _ACCESS)},
    "SelfSubjectRulesReview": {1: ("metadata", _META), 2: ("spec", {1: ("namespace", "text")})},
    "SelfSubjectReview": {1: ("metadata", _META)},
    "Namespace": {1: ("metadata", _META), 2: ("spec", {1: ("finalizers", "texts")})},
    "ConfigMap": {1: ("metadata", _META), 2: ("data", "map"), 3: ("binaryData", "data"), 4: ("immutable", "bool")},
    "Secret": {1: ("metadata", _META), 2: ("data", "data"), 3: ("type", "text"), 4: ("stringData", "map"), 5: ("immutable", "bool")},
    "ServiceAccount": {1: ("metadata", _META)},
    "TokenRequest": {1: ("metadata", _META), 2: ("spec", {1: ("audiences", "texts"), 4: ("expirationSeconds", "int")})},
    "Scale": {1: ("metadata", _META), 2: ("spec", {1: ("replicas", "int")})},
    "Binding": {1: ("metadata", _META), 2: ("target", {1: ("kind", "text"), 3: ("name", "text")})},
}
_ENVELOPE: Message = {1: ("type", {1: ("apiVersion", "text"), 2: ("kind", "text")}), 2: ("raw", "bytes")}


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value, shift = 0, 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if not byte & 0x80:
            return value, at
        shift += 7


def _read(data: bytes, message: Message) -> Json:
    found: Json = {}
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        number, wire = tag >> 3, tag & 7
        if wire == 0:
            value, at = _varint(data, at)
            chunk = b""
        elif wire == 2:
            value, at = _varint(data, at)
            chunk, at = data[at : at + value], at + value
        elif wire in (1, 5):
            at += 8 if wire == 1 else 4
            continue
        else:
            raise ValueError(f"unknown wire type {wire}")
        if number in message:
            _put(found, *message[number], value, chunk)
    return found


def _put(found: Json, name: str, kind: Any, value: int, chunk: bytes) -> None:
    match kind:
        case "text":
            found[name] = chunk.decode()
        case "bytes":
            found[name] = chunk
        case "texts":
            found.setdefault(name, []).append(chunk.decode())
        case "map" | "data":
            entry = _read(chunk, {1: ("key", "text"), 2: ("value", "text" if kind == "map" else "bytes")})
            held = entry.get("value", "" if kind == "map" else b"")
            found.setdefault(name, {})[entry.get("key", "")] = held if kind == "map" else base64.b64encode(held).decode()
        case "int":
            found[name] = value - (1 << 64) if value >= 1 << 63 else value
        case "bool":
            found[name] = bool(value)
        case _:
            found[name] = _read(chunk, kind)


def decode(data: bytes) -> Json:
    """The object in a protobuf body. 415 for kinds that are not read here, 400 for a broken body."""
    if not data.startswith(_MAGIC):
        raise bad_request("provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]")
    try:
        envelope = _read(data[len(_MAGIC) :], _ENVELOPE)
        kind = envelope["type"]["kind"]
        if kind not in _KINDS:
            raise unsupported_media(
                f"protobuf bodies of kind {kind} are not supported - accepted media types include: application/json, application/yaml"
            )
        return {"apiVersion": envelope["type"]["apiVersion"], "kind": kind, **_read(envelope.get("raw", b""), _KINDS[kind])}
    except (IndexError, KeyError, ValueError) as error:
        raise bad_request(f"the protobuf body cannot be read: {error!r}") from None
