"""Acts on the API: each is sent once, through the write gate of its channel.

Nothing here repeats a request whose outcome is not known: an eviction that came through spends a budget, and only the caller can look at
the object and tell. (A request that was answered by 401 was not carried out, and is sent again with a renewed credential.)
"""

from __future__ import annotations

import re
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
_LONGEST, _REFUSAL_LIMIT = 1 << 30, 1 << 16
_DRY = ["All"]
_WARNING = re.compile(r'\d{3} \S+ "((?:[^"\\]|\\.)*)"')
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
        if kind.group == "batch":
            options["propagationPolicy"] = "Background"  # batch/v1 alone would leave the pods of a job behind
        query: Query = [("dryRun", "All")] if dry_run else []
        self._send(
            "DELETE", _path(kind, namespace, name), Question.of("delete", kind, namespace, name), query, options, deadline_s, told=False
        )

    def evict(self, namespace: str, pod: str, uid: str, grace_s: int | None, dry_run: bool, deadline_s: float) -> None:
        body = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": pod, "namespace": namespace},
            "deleteOptions": _options(uid, grace_s, dry_run),
        }
        question = _question("create", PODS, namespace, pod, "eviction")
        self._send("POST", _path(PODS, namespace, pod, "eviction"), question, _query(dry_run), body, deadline_s, told=False)

    def _send(
        self,
        method: str,
        path: str,
        question: Question,
        query: Query,
        body: Any,
        deadline_s: float,
        *,
        content: str = "application/json",
        told: bool = True,
    ) -> bytes:
        """The body of a 2xx answer; without `told` it is not needed, and an answer that breaks off is as good. Raises what `ports.Kube` says."""
        end = time.monotonic() + deadline_s
        data = msgspec.json.encode(body)
        response = self._channel.ask(method, path, query=query, body=data, content=content, deadline_s=deadline_s)
        self._keep_warnings(response)
        good = 200 <= response.status < 300
        try:
            raw = self._channel.read(response, max(0.1, end - time.monotonic()), limit=_LONGEST if good else _REFUSAL_LIMIT)
            if good:
                return raw
            headers = {name.lower(): value for name, value in response.headers.items()}
            raise write_refusal(response.status, headers, raw, question, self._channel.where)
        except LineTrouble as error:  # a line that broke in the answer, or a server that failed in the middle
            if good and not told:
                return b""
            raise (error if ("dryRun", "All") in query else unsure(error)) from error.__cause__

    def _keep_warnings(self, response: Response) -> None:
        for header in response.headers.getlist("Warning"):
            for text in warning_texts(header):
                if text not in self._warnings:
                    self._warnings.append(text)


def warning_texts(header: str) -> list[str]:
    """`299 - "text", 299 - "another"` -> the texts, plain and at most 500 characters each."""
    return [plain(re.sub(r"\\(.)", r"\1", quoted))[:500] for quoted in _WARNING.findall(header)]


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
