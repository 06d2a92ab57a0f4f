"""``/lab/...``: what tests and scenarios do to the server itself. Only the admin's client certificate opens it.

``POST /lab/faults {"name": ..., "on": true, ...options}`` (GET: which are on), ``POST /lab/bulk`` (NDJSON of objects),
``POST /lab/churn {"rate": N}``, ``POST /lab/compact``, ``GET /lab/stats``.
"""

from __future__ import annotations

import resource as rusage
import time
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web

from coldtui.lab.apiserver.auth import User
from coldtui.lab.apiserver.churn import Churn
from coldtui.lab.apiserver.clock import Clock
from coldtui.lab.apiserver.errors import ApiError, bad_request, method_not_allowed, no_such_resource
from coldtui.lab.apiserver.faults import Faults, UnknownFault
from coldtui.lab.apiserver.objects import Objects
from coldtui.lab.apiserver.resource_api import json_response, read_body
from coldtui.lab.apiserver.store import Collection, decode, encode, load_lines
from coldtui.lab.apiserver.watch import Streams

Json = dict[str, Any]


class Admin:
    """The admin endpoints, and the same commands for the control socket."""

    def __init__(self, objects: Objects, faults: Faults, clock: Clock, streams: Streams) -> None:
        self._objects, self._faults, self._clock, self._streams = objects, faults, clock, streams
        self.churn = Churn(objects.store)
        self._began = time.monotonic()

    async def answer(self, request: web.Request, user: User) -> web.Response:
        if not (user.is_admin and user.by_certificate):
            message = f'forbidden: User "{user.name}" cannot reach {request.path}: only the admin certificate can'
            raise ApiError(403, "Forbidden", message)
        match request.method, request.path:
            case "GET", "/lab/faults":
                return json_response(self._faults.report())
            case "POST", "/lab/faults":
                return json_response(await self._switch(await read_body(request)))
            case "POST", "/lab/churn":
                return json_response(self._churn(await read_body(request)))
            case "POST", "/lab/bulk":
                return json_response({"loaded": await self._bulk(request)})
            case "POST", "/lab/compact":
                self._objects.store.compact()
                return json_response(self.stats())
            case "GET", "/lab/stats":
                return json_response(self.stats())
            case _, "/lab/faults" | "/lab/churn" | "/lab/bulk" | "/lab/stats" | "/lab/compact":
                raise method_not_allowed()
        raise no_such_resource()

    async def _switch(self, body: Json) -> Json:
        options = {k: v for k, v in body.items() if k not in ("name", "fault", "on")}
        try:
            return await self._faults.switch(str(body.get("name") or body.get("fault") or ""), bool(body.get("on", True)), options)
        except UnknownFault as error:
            raise bad_request(str(error)) from None

    def _churn(self, body: Json) -> Json:
        self.churn.start(float(body.get("rate", 0)))
        return {"rate": self.churn.rate, "made": self.churn.made}

    async def command(self, line: bytes) -> Json:
        """One line of the control socket: ``{"fault": name, "on": bool, ...}``, ``{"churn": rate}``, ``{"compact": true}`` or ``{"stats": true}``."""
        try:
            body = decode(line)
        except msgspec.DecodeError as error:
            return {"ok": False, "error": f"no JSON: {error}"}
        if not isinstance(body, dict):
            return {"ok": False, "error": "a command is an object"}
        try:
            if "fault" in body or "name" in body:
                return {"ok": True, **await self._switch(body)}
            if "churn" in body:
                return {"ok": True, **self._churn({"rate": body["churn"]})}
            if body.get("compact"):
                self._objects.store.compact()
            if body.get("compact") or body.get("stats"):
                return {"ok": True, **self.stats()}
        except ApiError as error:
            return {"ok": False, "error": error.message}
        return {"ok": False, "error": "unknown command; known: fault, churn, compact, stats"}

    def stats(self) -> Json:
        store = self._objects.store
        used = rusage.getrusage(rusage.RUSAGE_SELF)
        counts = {f"{c.resource.plural}.{c.resource.group}".rstrip("."): len(c.items) for c in store.collections.values() if c.items}
        return {
            "resourceVersion": store.version,
            "objects": counts,
            "streams": len(self._streams.held),
            "churned": self.churn.made,
            "faults": self._faults.report()["on"],
            "uptimeSeconds": round(time.monotonic() - self._began, 3),
            "cpuSeconds": round(used.ru_utime + used.ru_stime, 3),
            "rssBytes": _resident_bytes(),
            "maxRssBytes": used.ru_maxrss * 1024,
        }

    # --- bulk

    async def _bulk(self, request: web.Request) -> int:
        """Take objects as they arrive, so that a large body is never in memory as a whole."""
        count = 0
        rest = b""
        async for chunk in request.content.iter_chunked(1 << 20):
            *lines, rest = (rest + chunk).split(b"\n")
            count += self.load_lines(lines)
        return count + self.load_lines([rest])

    def load(self, objects: Iterable[Json]) -> int:
        """Store many objects as they are (with their status), quickly; returns how many."""
        return self.load_lines(encode(o) for o in objects)

    def load_lines(self, lines: Iterable[bytes]) -> int:
        """Like ``load`` for encoded objects. Missing namespaces are made; nothing is validated."""
        count = 0
        namespaces: set[str] = set()
        for item in load_lines(self._collection, lines, self._clock.stamp(), lambda: str(uuid.uuid4())):
            count += 1
            namespaces.add(item.key[0])
        self._make_namespaces(namespaces - {""})
        return count

    def _make_namespaces(self, names: set[str]) -> None:
        found = self._collection("v1", "Namespace")
        for name in sorted(names):
            if ("", name) not in found.items:
                meta = {
                    "name": name,
                    "uid": str(uuid.uuid4()),
                    "creationTimestamp": self._clock.stamp(),
                    "labels": {"kubernetes.io/metadata.name": name},
                }
                found.put({"metadata": meta, "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"}})

    def _collection(self, api_version: str, kind: str) -> Collection:
        resource = self._objects.registry.kind(api_version, kind)
        if resource is None:
            raise bad_request(f"no such kind: {api_version} {kind}")
        return self._objects.store.collection(resource)


def _resident_bytes() -> int | None:
    """Memory in use now; None where the system does not tell."""
    statm = Path("/proc/self/statm")
    return int(statm.read_text().split()[1]) * rusage.getpagesize() if statm.exists() else None
