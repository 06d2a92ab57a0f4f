"""Lists: which items, of which version, in which page; and their bytes."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from coldtui.lab.apiserver.errors import ApiError, Cause, bad_request, expired, invalid, too_large_version
from coldtui.lab.apiserver.resources import Resource
from coldtui.lab.apiserver.selectors import item_selector
from coldtui.lab.apiserver.store import Collection, Item, encode

Json = dict[str, Any]
CHUNK_BYTES = 1 << 20
"""Large lists leave in pieces of about this size, so that they are never in memory twice."""
_CONTINUE_EXPIRED = "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter."


class _Token(msgspec.Struct, frozen=True):
    rv: int
    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
class Page:
    """What a list request is answered with."""

    items: list[Item]
    version: int
    token: str
    """Where the next page begins; empty on the last."""
    remaining: int | None
    """Items after this page; None with selectors, as on the real server."""

    def metadata(self) -> Json:
        meta: Json = {"resourceVersion": str(self.version)}
        if self.token:
            meta["continue"] = self.token
            if self.remaining is not None:
                meta["remainingItemCount"] = self.remaining
        return meta


def parse_version(text: str) -> int:
    """A resourceVersion of a request; 400 when it is no number."""
    if not text.isdigit():
        message = f'Invalid value: "{text}": strconv.ParseUint: parsing "{text}": invalid syntax'
        raise ApiError(400, "BadRequest", f"invalid resource version: resourceVersion: {message}")
    return int(text)


def _parse_token(text: str) -> _Token:
    try:
        return msgspec.json.decode(base64.urlsafe_b64decode(text), type=_Token)
    except (binascii.Error, msgspec.DecodeError, ValueError):
        raise bad_request("invalid continue token: continue key is not valid") from None


def _forbid(message: str) -> ApiError:
    return invalid("ListOptions", "meta.k8s.io", "", [Cause("FieldValueForbidden", "resourceVersionMatch", f"Forbidden: {message}")])


def _check_options(version: str, match: str, token: str) -> None:
    if not match:
        if token and version not in ("", "0"):
            raise bad_request("specifying resource version is not allowed when using continue")
        return
    if token:
        raise _forbid("resourceVersionMatch is forbidden when continue is provided")
    if not version:
        raise _forbid("resourceVersionMatch is forbidden unless resourceVersion is provided")
    if match not in ("Exact", "NotOlderThan"):
        cause = Cause(
            "FieldValueNotSupported", "resourceVersionMatch", f'Unsupported value: "{match}": supported values: "Exact", "NotOlderThan", ""'
        )
        raise invalid("ListOptions", "meta.k8s.io", "", [cause])
    if match == "Exact" and version == "0":
        raise _forbid('resourceVersionMatch "exact" is forbidden for resourceVersion "0"')


def page(collection: Collection, resource: Resource, namespace: str, query: Mapping[str, str], *, tokens_expired: bool = False) -> Page:
    """Answer a list request. 410 when its snapshot has left the log, 504 for a version from the future, 400 or 422 for bad options."""
    version, match, token = query.get("resourceVersion", ""), query.get("resourceVersionMatch", ""), query.get("continue", "")
    _check_options(version, match, token)
    text = query.get("limit") or "0"
    if not text.isdigit():
        raise bad_request(f'strconv.ParseInt: parsing "{text}": invalid syntax')
    limit = 0 if version == "0" else int(text)
    test, name = item_selector(query.get("labelSelector", ""), query.get("fieldSelector", ""), resource)
    current = collection.store.version
    start: tuple[str, str] | None = None
    at = current
    if token:
        asked = _parse_token(token)
        at, start = asked.rv, (asked.namespace, asked.name)
        if tokens_expired or at < collection.floor or at > current:
            raise expired(_CONTINUE_EXPIRED)
    elif version not in ("", "0"):
        wanted = parse_version(version)
        if wanted > current:
            raise too_large_version(wanted, current)
        if match == "Exact":
            at = wanted
            if at < collection.floor:
                raise expired(f"The resourceVersion for the provided list is too old: {at} ({collection.floor})")
    if name and namespace and at == current:
        one = collection.items.get((namespace, name))
        items = [one] if one else []
    else:
        items = collection.at(at, namespace) if at != current else collection.select(namespace)
    if start is not None:
        items = [i for i in items if i.key > start]
    if test is not None:
        items = [i for i in items if test(i)]
    if not limit or len(items) <= limit:
        return Page(items, at, "", None)
    namespace_, name_ = items[limit - 1].key
    following = base64.urlsafe_b64encode(encode(_Token(at, namespace_, name_))).decode()
    return Page(items[:limit], at, following, None if test else len(items) - limit)


def list_chunks(resource: Resource, found: Page, convert: bytes = b"", stored: bytes = b"") -> Iterator[bytes]:
    """The list's bytes in pieces. ``convert`` and ``stored`` are heads of the asked and the stored version, when they differ."""
    head = {"kind": resource.items_kind, "apiVersion": resource.group_version, "metadata": found.metadata()}
    parts: list[bytes] = [encode(head)[:-1], b',"items":[']
    size = 0
    last = len(found.items) - 1
    for i, item in enumerate(found.items):
        raw = item.raw
        parts.append(convert + raw[len(stored) :] if convert else raw)
        if i != last:
            parts.append(b",")
        size += len(raw)
        if size > CHUNK_BYTES:
            yield b"".join(parts)
            parts, size = [], 0
    parts.append(b"]}\n")
    yield b"".join(parts)


def metadata_list(resource: Resource, found: Page) -> bytes:
    """A PartialObjectMetadataList."""
    items = [partial(i.decoded()) for i in found.items]
    return encode({"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": found.metadata(), "items": items})


def partial(obj: Json) -> Json:
    """An object reduced to its metadata."""
    return {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": obj["metadata"]}
