"""Acts on the API: each is sent once, through the write gate of its channel.

Nothing here repeats a request whose outcome is not known: an eviction that came through spends a budget, and only the caller can look at
the object and tell. (A request that was answered by 401 was not carried out, and is sent again with a renewed credential.)
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import msgspec

from ...domain.kinds import PODS, Kind
from ...domain.text import plain
from ...domain.troubles import LineTrouble
from ...ports import PatchForm
from . import objects
from .failures import Question, unsure
from .refusals import write_refusal
from .transport import Channel, Response

MANAGER = "coldtui"
_REFUSAL_LIMIT = 1 << 16
_DRY = ["All"]
Query = list[tuple[str, str]]


class Writes:
    """Blocking; see `ports.Kube`."""

    def __init__(self, channel: Channel, warnings: deque[str]) -> None:
        """`warnings`: takes the server's `Warning:` headers, plain."""
        self._channel, self._warnings = channel, warnings

    def patch(
        self, kind: Kind, name: str, body: Any, namespace: str, form: PatchForm, subresource: str, dry_run: bool, deadline_s: float
    ) -> Mapping[str, Any]:
        path = _path(kind, namespace, name, subresource)
        question = _question("patch", kind, namespace, name, subresource)
        raw = self._send("PATCH", path, question, _query(dry_run), body, deadline_s, content=form.value)
        return objects.shown(raw, self._channel.where)

    def create(self, kind: Kind, body: Mapping[str, Any], namespace: str, dry_run: bool, deadline_s: float) -> Mapping[str, Any]:
        named = str((body.get("metadata") or {}).get("name", ""))
        question = Question.of("create", kind, namespace, named)
        raw = self._send("POST", _path(kind, namespace), question, _query(dry_run), body, deadline_s)
        return objects.shown(raw, self._channel.where)

    def delete(self, kind: Kind, name: str, namespace: str, uid: str, grace_s: int | None, dry_run: bool, deadline_s: float) -> None:
        options = {"apiVersion": "v1", "kind": "DeleteOptions", **_options(uid, grace_s, dry_run)}
        query: Query = [("dryRun", "All")] if dry_run else []
        self._send("DELETE", _path(kind, namespace, name), Question.of("delete", kind, namespace, name), query, options, deadline_s)

    def evict(self, namespace: str, pod: str, uid: str, grace_s: int | None, dry_run: bool, deadline_s: float) -> None:
        body = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": pod, "namespace": namespace},
            "deleteOptions": _options(uid, grace_s, dry_run),
        }
        question = _question("create", PODS, namespace, pod, "eviction")
        self._send("POST", _path(PODS, namespace, pod, "eviction"), question, _query(dry_run), body, deadline_s)

    def _send(
        self, method: str, path: str, question: Question, query: Query, body: Any, deadline_s: float, *, content: str = "application/json"
    ) -> bytes:
        """The body of a 2xx answer. Raises what `ports.Kube` says."""
        end = time.monotonic() + deadline_s
        data = msgspec.json.encode(body)
        response = self._channel.ask(method, path, query=query, body=data, content=content, deadline_s=deadline_s)
        self._keep_warnings(response)
        left = max(0.1, end - time.monotonic())
        if 200 <= response.status < 300:
            return self._answer(response, left)
        raw = self._channel.read(response, left, limit=_REFUSAL_LIMIT)
        headers = {name.lower(): value for name, value in response.headers.items()}
        raise write_refusal(response.status, headers, raw, question, self._channel.where)

    def _answer(self, response: Response, deadline_s: float) -> bytes:
        try:
            return self._channel.read(response, deadline_s)
        except LineTrouble as error:
            raise unsure(error) from error

    def _keep_warnings(self, response: Response) -> None:
        for header in response.headers.getlist("Warning"):
            text = warning_text(header)
            if text and text not in self._warnings:
                self._warnings.append(text)


def warning_text(header: str) -> str:
    """`299 - "text"` -> text, plain and at most 500 characters."""
    quoted = header.partition('"')[2].rpartition('"')[0]
    return plain(quoted.replace('\\"', '"').replace("\\\\", "\\"))[:500]


def _path(kind: Kind, namespace: str, name: str = "", subresource: str = "") -> str:
    path = kind.path(quote(namespace, safe=""), quote(name, safe=""))
    return f"{path}/{quote(subresource, safe='')}" if subresource else path


def _question(verb: str, kind: Kind, namespace: str, name: str, subresource: str) -> Question:
    resource = f"{kind.plural}/{subresource}" if subresource else kind.plural
    return Question(verb, resource, kind.group, namespace or kind.namespace, name, kind)


def _query(dry_run: bool) -> Query:
    return [("fieldManager", MANAGER), *([("dryRun", "All")] if dry_run else [])]


def _options(uid: str, grace_s: int | None, dry_run: bool) -> dict[str, Any]:
    """DeleteOptions. A dry run stands here too: where there is a body the server takes its options from it and not from the query."""
    options: dict[str, Any] = {}
    if grace_s is not None:
        options["gracePeriodSeconds"] = grace_s
    if uid:
        options["preconditions"] = {"uid": uid}
    if dry_run:
        options["dryRun"] = _DRY
    return options
