"""The endpoints of stored resources: list, watch, read and write over HTTP."""

from __future__ import annotations

import asyncio
import random
import zlib
from collections.abc import Iterable
from typing import Any

import msgspec
import yaml
from aiohttp import web

from coldtui.lab.apiserver import listing, protobuf, scale, table, watch
from coldtui.lab.apiserver.clock import Clock
from coldtui.lab.apiserver.errors import (
    ApiError,
    Cause,
    bad_request,
    expired,
    invalid,
    method_not_allowed,
    no_such_resource,
    too_large_version,
    unsupported_media,
)
from coldtui.lab.apiserver.faults import Faults
from coldtui.lab.apiserver.objects import JSON_PATCH, MERGE, STRATEGIC, Objects, Write
from coldtui.lab.apiserver.resources import Resource
from coldtui.lab.apiserver.store import decode, encode
from coldtui.lab.apiserver.target import Form, Target, form_of

Json = dict[str, Any]
GZIP_FROM_BYTES = 128 * 1024
"""Answers from this size on are compressed when the client allows it, as on the real server."""
_OPTIONS = {"POST": "CreateOptions", "PUT": "UpdateOptions", "PATCH": "PatchOptions", "DELETE": "DeleteOptions"}
_JSON_TYPES = ("application/json", "", "application/octet-stream")


def json_response(body: Any, code: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    data = body if isinstance(body, bytes) else encode(body)
    return web.Response(body=data, status=code, content_type="application/json", headers=headers)


async def read_body(request: web.Request) -> Any:
    """The decoded body; {} when there is none. 400 when it is no JSON (or YAML), 415 for other types."""
    data = await request.read()
    if not data:
        return {}
    media = request.headers.get("Content-Type", "").partition(";")[0].strip()
    try:
        if media in ("application/yaml", "application/apply-patch+yaml"):
            return yaml.load(data, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        if media == protobuf.MEDIA:
            return protobuf.decode(data)
        if media in _JSON_TYPES or media.endswith("+json"):
            return decode(data)
    except (msgspec.DecodeError, yaml.YAMLError) as error:
        raise bad_request(f"the object provided is unrecognized: {error}") from None
    raise unsupported_media(
        f"the body of the request was in an unknown format ({media}) - accepted media types include: application/json, application/yaml"
    )


def write_of(request: web.Request) -> Write:
    """How a write is meant, from its query and headers."""
    query = request.query
    agent = request.headers.get("User-Agent", "unknown").partition("/")[0]
    dry = query.getall("dryRun", [])
    if dry and set(dry) != {"All"}:
        said = f'Unsupported value: {encode(dry).decode()}: supported values: "All"'
        raise invalid(_OPTIONS[request.method], "meta.k8s.io", "", [Cause("FieldValueNotSupported", "dryRun", said)])
    return Write(query.get("fieldManager") or agent, bool(dry), query.get("fieldValidation") or "Warn")


class ResourceApi:
    """Answers requests for everything that is in the store."""

    def __init__(
        self, objects: Objects, faults: Faults, clock: Clock, streams: watch.Streams, *, watch_list: bool, bookmark_s: float
    ) -> None:
        self._objects, self._faults, self._clock, self._streams = objects, faults, clock, streams
        self._watch_list, self._bookmark_s = watch_list, bookmark_s

    async def answer(self, request: web.Request, target: Target, resource: Resource) -> web.StreamResponse:
        if target.sub and resource.sub(target.sub) is None:
            raise no_such_resource()
        if resource.namespaced and not target.namespace and target.verb in ("create", "get", "update", "patch", "delete"):
            raise method_not_allowed()
        namespace = target.namespace if resource.namespaced else ""
        match target.verb:
            case "list":
                return await self._list(request, resource, namespace)
            case "watch":
                return await self._watch(request, resource, namespace, target.name)
            case "get":
                return self._get(request, target, resource, namespace)
            case "create" if not target.name:
                return await self._create(request, resource, namespace)
            case "update" if target.name:
                write = write_of(request)
                raw = self._objects.update(resource, namespace, target.name, target.sub, await read_body(request), write)
                return self._written(request, resource, raw, write, target.sub)
            case "patch" if target.name:
                return await self._patch(request, target, resource, namespace)
            case "delete" if not target.sub:
                return await self._delete(request, resource, namespace, target.name)
            case "deletecollection":
                return await self._delete_collection(request, resource, namespace)
        raise method_not_allowed()

    # --- reading

    async def _list(self, request: web.Request, resource: Resource, namespace: str) -> web.StreamResponse:
        collection = self._objects.store.collection(resource)
        found = listing.page(collection, resource, namespace, request.query, tokens_expired=self._faults.get("expired") is not None)
        form = form_of(request)
        if form.kind == "table":
            kind = self._objects.kinds.find(resource)
            rows = (i.decoded() for i in found.items)
            return await self._send(request, table.chunks(resource, kind, rows, found.metadata(), self._clock.now(), include=form.include))
        if form.kind == "metadata":
            return await self._send(request, [listing.metadata_list(resource, found)])
        stored, asked = self._heads(resource)
        return await self._send(request, listing.list_chunks(resource, found, asked, stored))

    @staticmethod
    def _heads(resource: Resource) -> tuple[bytes, bytes]:
        version = resource.storage_version or resource.version
        if version == resource.version:
            return b"", b""
        return (f'{{"apiVersion":"{resource.group}/{v}"'.encode() for v in (version, resource.version))  # type: ignore[return-value]

    async def _send(self, request: web.Request, chunks: Iterable[bytes]) -> web.StreamResponse:
        """Small answers in one piece, large ones streamed; compressed from 128 KiB on; broken off half-way by the fault ``cut``."""
        pieces = iter(chunks)
        first = next(pieces)
        second = next(pieces, None)
        cut = self._faults.matches("cut", request.path) is not None
        gzip = "gzip" in request.headers.get("Accept-Encoding", "") and (second is not None or len(first) >= GZIP_FROM_BYTES)
        if second is None and not cut and not gzip:
            return json_response(first)
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        if gzip:
            response.headers["Content-Encoding"] = "gzip"
            response.headers["Vary"] = "Accept-Encoding"
        await response.prepare(request)
        packer = zlib.compressobj(1, zlib.DEFLATED, 31) if gzip else None
        if cut:
            half = first[: len(first) // 2]
            await response.write(packer.compress(half) + packer.flush(zlib.Z_SYNC_FLUSH) if packer else half)
            if request.transport is not None:
                request.transport.close()
            return response
        piece: bytes | None = first
        while piece is not None:
            if packer is not None:
                # zlib works without the interpreter lock, so other requests go on meanwhile.
                piece = await asyncio.to_thread(packer.compress, piece)
            if piece:
                await response.write(piece)
            piece, second = second, next(pieces, None) if second is not None else None
        if packer is not None:
            await response.write(packer.flush())
        await response.write_eof()
        return response

    async def _watch(self, request: web.Request, resource: Resource, namespace: str, name: str) -> web.StreamResponse:
        collection = self._objects.store.collection(resource)
        query = dict(request.query)
        if name:
            query["fieldSelector"] = f"metadata.name={name}"
        default = random.uniform(1800, 3600)
        plan = watch.check(query, resource, self._objects.store.version, default, watch_list=self._watch_list)
        if plan.since is not None and (plan.since < collection.floor or self._faults.get("expired") is not None):
            body = {"type": "ERROR", "object": expired(f"too old resource version: {plan.since} ({collection.floor})").status()}
            return web.Response(body=encode(body) + b"\n", content_type="application/json")
        shape = self._shape(resource, form_of(request))
        return await watch.serve(request, collection, namespace, plan, shape, self._faults, self._streams, self._bookmark_s)

    def _shape(self, resource: Resource, form: Form) -> watch.Shape:
        head = {"kind": resource.kind, "apiVersion": resource.group_version}

        def bookmark(version: int, notes: Json) -> bytes:
            meta: Json = {"resourceVersion": str(version), "creationTimestamp": None}
            if notes:
                meta["annotations"] = notes
            if form.kind == "table":
                return encode({"kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": meta, "columnDefinitions": [], "rows": []})
            if form.kind == "metadata":
                return encode({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": meta})
            return encode({**head, "metadata": meta})

        def convert(raw: bytes, first: bool) -> bytes:
            if form.kind == "object":
                return self._objects.served(resource, raw)
            obj: Json = decode(raw)
            if form.kind == "metadata":
                return encode(listing.partial(obj))
            kind = self._objects.kinds.find(resource)
            return table.one(resource, kind, obj, self._clock.now(), include=form.include, header=first)

        return watch.Shape(convert, bookmark)

    def _get(self, request: web.Request, target: Target, resource: Resource, namespace: str) -> web.Response:
        item = self._objects.get(resource, namespace, target.name)
        version = request.query.get("resourceVersion", "")
        if version not in ("", "0") and listing.parse_version(version) > self._objects.store.version:
            raise too_large_version(int(version), self._objects.store.version)
        if target.sub == "scale":
            return json_response(scale.scale_of(resource, item.decoded()))
        return self._formed(request, resource, self._objects.served(resource, item.raw))

    def _formed(
        self, request: web.Request, resource: Resource, raw: bytes, code: int = 200, headers: dict[str, str] | None = None
    ) -> web.Response:
        form = form_of(request)
        if form.kind == "object":
            return json_response(raw, code, headers)
        obj: Json = decode(raw)
        if form.kind == "metadata":
            return json_response(listing.partial(obj), code, headers)
        kind = self._objects.kinds.find(resource)
        return json_response(table.one(resource, kind, obj, self._clock.now(), include=form.include), code, headers)

    # --- writing

    def _written(self, request: web.Request, resource: Resource, raw: bytes, write: Write, sub: str = "", code: int = 200) -> web.Response:
        response = json_response(raw, code) if sub == "scale" else self._formed(request, resource, raw, code)
        for text in write.warnings:
            shown = text.replace("\\", "\\\\").replace('"', '\\"')
            response.headers.add("Warning", f'299 - "{shown}"')
        return response

    async def _create(self, request: web.Request, resource: Resource, namespace: str) -> web.Response:
        write = write_of(request)
        body = await read_body(request)
        if not isinstance(body, dict) or not body:
            raise bad_request("the body of a create request is an object")
        raw = self._objects.create(resource, namespace, body, write)
        return self._written(request, resource, raw, write, code=201)

    async def _patch(self, request: web.Request, target: Target, resource: Resource, namespace: str) -> web.Response:
        write = write_of(request)
        media = request.headers.get("Content-Type", "").partition(";")[0].strip()
        body = await read_body(request) if media in (JSON_PATCH, MERGE, STRATEGIC) else {}
        raw = self._objects.patch(resource, namespace, target.name, target.sub, media, body, write)
        return self._written(request, resource, raw, write, target.sub)

    async def _options(self, request: web.Request) -> tuple[Json, Write]:
        """DeleteOptions from the body or, where there is none, from the query: a query beside a body says nothing."""
        body = await read_body(request)
        write = write_of(request)
        if isinstance(body, dict) and body:
            write.dry_run = "All" in (body.get("dryRun") or ())
            return dict(body), write
        options: Json = {name: request.query[name] for name in ("propagationPolicy",) if name in request.query}
        if "gracePeriodSeconds" in request.query:
            options["gracePeriodSeconds"] = int(request.query["gracePeriodSeconds"])
        return options, write

    async def _delete(self, request: web.Request, resource: Resource, namespace: str, name: str) -> web.Response:
        options, write = await self._options(request)
        code, body = self._objects.delete(resource, namespace, name, options, write)
        return json_response(body, code)

    async def _delete_collection(self, request: web.Request, resource: Resource, namespace: str) -> web.Response:
        options, write = await self._options(request)
        options.pop("preconditions", None)
        query = {k: v for k, v in request.query.items() if k in ("labelSelector", "fieldSelector", "limit")}
        collection = self._objects.store.collection(resource)
        for item in listing.page(collection, resource, namespace, query).items:
            try:
                self._objects.delete(resource, *item.key, options, write)
            except ApiError as error:
                if error.code != 404:
                    raise
        return json_response(
            {
                "kind": "Status",
                "apiVersion": "v1",
                "metadata": {},
                "status": "Success",
                "details": {"kind": resource.plural, "group": resource.group},
            }
        )
