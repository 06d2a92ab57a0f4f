"""One request from end to end: faults, identity, rights, dispatch, and errors as Status objects."""

from __future__ import annotations

import asyncio
import logging
import random
import uuid
from typing import Any

from aiohttp import web

from coldtui.lab.apiserver import discovery, reviews, tokens
from coldtui.lab.apiserver.admin import Admin
from coldtui.lab.apiserver.auth import Authenticator, User, impersonated
from coldtui.lab.apiserver.clock import Clock
from coldtui.lab.apiserver.errors import ApiError, method_not_allowed, no_such_resource, qualified, unauthorized
from coldtui.lab.apiserver.faults import Faults
from coldtui.lab.apiserver.objects import Objects
from coldtui.lab.apiserver.pod_api import PodApi
from coldtui.lab.apiserver.rbac import Attributes, Rbac, refusal
from coldtui.lab.apiserver.resource_api import ResourceApi, json_response, read_body
from coldtui.lab.apiserver.resources import Registry, Resource
from coldtui.lab.apiserver.target import Target, parse, wants_aggregated

Json = dict[str, Any]
_log = logging.getLogger(__name__)
HEALTH = ("/readyz", "/livez", "/healthz")
_CHECKS = ("ping", "log", "etcd", "poststarthook/start-apiextensions-controllers", "poststarthook/rbac/bootstrap-roles", "shutdown")


class Handler:
    """The server's only route."""

    def __init__(
        self,
        *,
        objects: Objects,
        registry: Registry,
        rbac: Rbac,
        authenticator: Authenticator,
        faults: Faults,
        clock: Clock,
        resources: ResourceApi,
        pods: PodApi,
        admin: Admin,
        version: str,
        ca: bytes,
    ) -> None:
        self._objects, self._registry, self._rbac, self._authenticator = objects, registry, rbac, authenticator
        self._faults, self._clock, self._resources, self._pods, self._admin = faults, clock, resources, pods, admin
        self._version, self._ca = version, ca

    async def handle(self, request: web.Request) -> web.StreamResponse:
        try:
            if request.path == "/ping":
                return web.Response(text="pong")
            if request.path == "/cacerts":
                return web.Response(body=self._ca, content_type="text/plain")
            if request.path.startswith("/lab/"):
                return await self._admin.answer(request, self._authenticator.user(request))
            await self._suffer(request)
            user = self._user(request)
            target = parse(request)
            if target is None:
                return self._plain(request, user)
            return await self._resource(request, target, user)
        except ApiError as error:
            return json_response(error.status(), error.code, error.headers)
        except (ConnectionError, asyncio.CancelledError):
            raise
        except Exception as error:  # noqa: BLE001
            # The boundary: what nobody expected becomes a 500 that the client can show, and a trace in the server's log.
            _log.exception("%s %s", request.method, request.path_qs)
            body = ApiError(500, "InternalError", f"Internal error occurred: {type(error).__name__}: {error}").status()
            return json_response(body, 500)

    async def _suffer(self, request: web.Request) -> None:
        """Faults that concern every request."""
        slow = self._faults.matches("slow", request.path_qs)
        if slow is not None:
            await asyncio.sleep((float(slow.get("ms", 500)) + random.random() * float(slow.get("jitter_ms", 0))) / 1000)
        if self._faults.get("unauthorized") is not None:
            raise unauthorized()
        busy = self._faults.matches("too-many", request.path)
        if busy is not None:
            headers = {"X-Kubernetes-PF-FlowSchema-UID": str(uuid.UUID(int=1)), "X-Kubernetes-PF-PriorityLevel-UID": str(uuid.UUID(int=2))}
            details: Json = {}
            if busy.get("retry_after") is not None:
                headers["Retry-After"] = str(busy["retry_after"])
                details["retryAfterSeconds"] = int(busy["retry_after"])
            raise ApiError(429, "TooManyRequests", "too many requests, please try again later", details=details, headers=headers)

    def _user(self, request: web.Request) -> User:
        user = self._authenticator.user(request)
        other = impersonated(request)
        if other is None:
            return user
        self._rbac.check(user, Attributes("impersonate", "", "users", "", other.name))
        return other

    # --- plain paths

    def _plain(self, request: web.Request, user: User) -> web.Response:
        path = request.path.rstrip("/") or "/"
        self._rbac.check(user, Attributes("get" if request.method in ("GET", "HEAD") else request.method.lower(), path=path))
        if request.method not in ("GET", "HEAD"):
            raise method_not_allowed()
        if path == "/version":
            return json_response(self._version_info())
        if path.startswith(HEALTH):
            return self._health(request, path)
        body = self._discovery(request, path)
        if body is None:
            raise no_such_resource()
        response = json_response(body)
        if body["kind"] == "APIGroupDiscoveryList" if "kind" in body else False:
            response.headers["Content-Type"] = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
            response.headers["Vary"] = "Accept"
        return response

    def _version_info(self) -> Json:
        numbers = self._version.lstrip("v").split(".")
        return {
            "major": numbers[0],
            "minor": numbers[1],
            "gitVersion": self._version,
            "gitCommit": "c0ld",
            "gitTreeState": "clean",
            "buildDate": "2026-01-01T00:00:00Z",
            "goVersion": "go1.24.5",
            "compiler": "gc",
            "platform": "linux/amd64",
        }

    def _health(self, request: web.Request, path: str) -> web.Response:
        if "verbose" in request.query:
            lines = [f"[+]{check} ok" for check in _CHECKS]
            return web.Response(text="\n".join([*lines, f"{path.strip('/').partition('/')[0]} check passed", ""]))
        return web.Response(text="ok")

    def _discovery(self, request: web.Request, path: str) -> Json | None:
        stale = frozenset({"metrics.k8s.io"}) if self._faults.get("metrics-down") is not None else frozenset()
        parts = path.strip("/").split("/")
        match parts:
            case ["api" | "apis"] if wants_aggregated(request):
                return discovery.aggregated(self._registry, core=parts[0] == "api", stale=stale)
            case ["api"]:
                return discovery.api_versions(request.host)
            case ["apis"]:
                return discovery.group_list(self._registry)
            case ["api", version]:
                return discovery.resource_list(self._registry, "", version)
            case ["apis", name]:
                return discovery.group(self._registry, name)
            case ["apis", name, version]:
                return discovery.resource_list(self._registry, name, version)
            case ["openapi", "v3"]:
                return discovery.openapi_index(self._registry)
            case ["openapi", "v3", "api", version]:
                return discovery.openapi_document(self._registry, "", version)
            case ["openapi", "v3", "apis", name, version]:
                return discovery.openapi_document(self._registry, name, version)
            case [""]:
                return {"paths": ["/api", "/apis", "/healthz", "/livez", "/readyz", "/version"]}
        return None

    # --- resources

    async def _resource(self, request: web.Request, target: Target, user: User) -> web.StreamResponse:
        asked = target.attributes
        self._rbac.check(user, asked)
        self._refuse(target, user, asked)
        resource = self._registry.find(target.group, target.version, target.plural)
        if resource is None:
            if target.version not in self._registry.versions(target.group):
                # A group that is not installed has no handler at all, so the answer is no Status.
                return web.Response(status=404, text="404 page not found\n")
            raise no_such_resource()
        if resource.virtual:
            return await self._virtual(request, target, resource, user)
        match resource.plural, target.sub, target.verb:
            case "pods", "log", "get":
                return await self._pods.log(request, target, resource)
            case "pods", "eviction", "create":
                return await self._pods.evict(request, target, resource)
            case "pods", "binding", "create":
                return await self._pods.bind(request, target, resource)
            case "pods", "proxy", "get":
                return await self._pods.reach(request, target, resource)
            case "serviceaccounts", "token", "create":
                self._objects.get(resource, target.namespace, target.name)  # 404 for an account that is not there
                body = await read_body(request)
                return json_response(tokens.create(body, target.namespace, target.name, self._authenticator, self._clock), 201)
            case "nodes", "proxy", "get" if not resource.group:
                return await self._pods.proxy(target, resource)
        return await self._resources.answer(request, target, resource)

    async def _virtual(self, request: web.Request, target: Target, resource: Resource, user: User) -> web.StreamResponse:
        if resource.group == "metrics.k8s.io":
            if target.verb not in resource.verbs:
                raise method_not_allowed()
            return await self._pods.metrics(request, target, resource)
        if target.verb != "create":
            raise method_not_allowed()
        return json_response(reviews.answer(resource.kind, await read_body(request), user, self._rbac), 201)

    def _refuse(self, target: Target, user: User, asked: Attributes) -> None:
        """The fault that takes rights away."""
        fault = self._faults.get("forbidden")
        if fault is None:
            return
        names = {target.plural, qualified(target.plural, target.group), f"{target.group}/{target.plural}", "*"}
        verbs = fault.get("verbs") or ("*",)
        if not names.isdisjoint(fault.get("resources") or ("*",)) and (target.verb in verbs or "*" in verbs):
            raise refusal(user, asked)
