"""The write gate: what may leave this machine while no confirmed run has opened it.

It looks at the request as it is sent, not at what a caller meant: a dry run that says so in the wrong place would be carried out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import unquote

import msgspec

from ...domain.errors import Refused
from ...domain.text import plain
from .decoding import UNDECODABLE

_REVIEWS = frozenset({
    "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
    "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews",
    "/apis/authentication.k8s.io/v1/selfsubjectreviews",
})  # fmt: skip
"""POSTs that change nothing: questions about oneself."""
_ENTRANCES = frozenset({"exec", "attach", "portforward", "proxy"})
"""Subresources of pods and services that a GET enters, with the power to change anything."""
_KUBELET_READS = ("stats/summary", "healthz", "metrics")
"""What may be asked of a kubelet through `nodes/proxy`, where a GET can run a command in a container."""
_POD_READS = ("pg/status", "metrics")
"""What may be asked of a pod through `pods/proxy`: what a GET does there is up to the program in it, and of these it is known."""


def is_harmless(method: str, path: str, query: Sequence[tuple[str, str]], body: bytes | None) -> bool:
    """Whether a request cannot change anything."""
    return _reads(method, path) or (method == "POST" and path in _REVIEWS) or _is_dry(method, path, query, body)


def refusal(method: str, path: str) -> Refused:
    """What a closed gate says."""
    return Refused(
        "read-only: nothing was sent",
        detail=f"{method} {plain(path)}",
        hint="the console is armed with A; on the command line name the verb and confirm it with --yes",
    )


def _reads(method: str, path: str) -> bool:
    if method not in {"GET", "HEAD"}:
        return False
    parts = unquote(path).partition("?")[0].strip("/").split("/")  # the server looks at the decoded path, too
    if parts[:2] != ["api", "v1"]:
        return True
    if parts[2:3] == ["nodes"]:
        return parts[4:5] != ["proxy"] or "/".join(parts[5:]) in _KUBELET_READS
    if parts[4:5] not in (["pods"], ["services"]) or parts[6:7] == [] or parts[6] not in _ENTRANCES:
        return True
    return parts[4] == "pods" and parts[6] == "proxy" and "/".join(parts[7:]) in _POD_READS


def _is_dry(method: str, path: str, query: Sequence[tuple[str, str]], body: bytes | None) -> bool:
    """`dryRun=All` in the query, once; and in the body where the server takes its options from there instead (DELETE, evictions)."""
    if "?" in path or [value for name, value in query if name == "dryRun"] != ["All"]:
        return False
    if method == "DELETE":
        return body is None or _options(body).get("dryRun") == ["All"]
    if method == "POST" and path.endswith("/eviction"):
        options = _options(body or b"").get("deleteOptions")
        return isinstance(options, dict) and options.get("dryRun") == ["All"]
    return method in {"POST", "PUT", "PATCH"}


def _options(body: bytes) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(body)
    except UNDECODABLE:
        return {}
    return found if isinstance(found, dict) else {}
