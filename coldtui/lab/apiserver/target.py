"""What a request is about: its address taken apart, and the form that it wants the answer in."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import unquote

from aiohttp import web

from coldtui.lab.apiserver.rbac import Attributes
from coldtui.lab.apiserver.watch import is_true

_VERBS = {"GET": "get", "HEAD": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_NAMESPACE_SUBS = ("status", "finalize")


@dataclass(frozen=True, slots=True)
class Target:
    """A resource request: ``/apis/apps/v1/namespaces/shop/deployments/web/scale``."""

    verb: str
    group: str
    version: str
    plural: str
    namespace: str = ""
    name: str = ""
    sub: str = ""
    rest: str = ""
    """What follows a subresource (nodes/N/proxy/...)."""

    @property
    def attributes(self) -> Attributes:
        resource = f"{self.plural}/{self.sub}" if self.sub else self.plural
        return Attributes(self.verb, self.group, resource, self.namespace, self.name)


def parse(request: web.Request) -> Target | None:
    """The resource that a request names; None for discovery, health and other plain paths."""
    parts = [unquote(p) for p in request.raw_path.partition("?")[0].strip("/").split("/")]
    if parts[0] == "api" and len(parts) > 2:
        group, version, rest = "", parts[1], parts[2:]
    elif parts[0] == "apis" and len(parts) > 3:
        group, version, rest = parts[1], parts[2], parts[3:]
    else:
        return None
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 2 and not (not group and rest[2] in _NAMESPACE_SUBS and len(rest) == 3):
        namespace, rest = rest[1], rest[2:]
    elif rest[0] == "namespaces" and len(rest) > 1 and not group:
        namespace = rest[1]
    plural, name, sub = rest[0], rest[1] if len(rest) > 1 else "", rest[2] if len(rest) > 2 else ""
    verb = _VERBS.get(request.method, "")
    if not name:
        verb = {"get": "watch" if is_true(request.query, "watch") else "list", "delete": "deletecollection"}.get(verb, verb)
    elif verb == "get" and is_true(request.query, "watch") and not sub:
        verb = "watch"
    return Target(verb, group, version, plural, namespace, name, sub, "/".join(rest[3:]))


@dataclass(frozen=True, slots=True)
class Form:
    """The form of an answer."""

    kind: str
    """``object``, ``table`` or ``metadata``."""
    include: str = "Metadata"
    """What a Table row carries beside its cells: Metadata, None or Object."""


def form_of(request: web.Request) -> Form:
    """Read the Accept header; the first form that can be given wins."""
    for offer in request.headers.get("Accept", "").split(","):
        fields = {k.strip(): v.strip() for k, _, v in (p.partition("=") for p in offer.split(";")[1:])}
        match fields.get("as", ""):
            case "Table":
                return Form("table", request.query.get("includeObject") or "Metadata")
            case "PartialObjectMetadata" | "PartialObjectMetadataList":
                return Form("metadata")
            case _ if offer.split(";")[0].strip() in ("application/json", "*/*", "application/*"):
                return Form("object")
    return Form("object")


def wants_aggregated(request: web.Request) -> bool:
    """Whether the aggregated form of discovery is preferred."""
    accept = request.headers.get("Accept", "")
    return "g=apidiscovery.k8s.io" in accept and "as=APIGroupDiscoveryList" in accept and "v=v2" in accept
