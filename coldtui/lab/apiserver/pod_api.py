"""What lies behind the API server: pod logs, evictions and bindings, the kubelet's summary, the metrics API."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

import aiohttp
from aiohttp import web

from coldtui.lab.apiserver.clock import Clock, parse_time, stamp
from coldtui.lab.apiserver.errors import ApiError, bad_request, conflict, no_such_resource, not_found
from coldtui.lab.apiserver.eviction import evict
from coldtui.lab.apiserver.faults import Faults
from coldtui.lab.apiserver.kubelet import Kubelet, Line, Usage
from coldtui.lab.apiserver.node_index import NodeIndex
from coldtui.lab.apiserver.objects import Objects
from coldtui.lab.apiserver.resource_api import json_response, read_body, write_of
from coldtui.lab.apiserver.resources import Resource
from coldtui.lab.apiserver.selectors import label_selector
from coldtui.lab.apiserver.target import Target
from coldtui.lab.apiserver.watch import Stream, Streams, is_true

Json = dict[str, Any]
PROXIED = "lab.coldtui/proxy-"
"""Annotation of a pod, with a port behind it: where that port is served in truth."""
PROXY_S = 30.0
WINDOW_S = 15
"""How often the metrics server looks."""


class PodApi:
    """Subresources of pods and nodes, and metrics.k8s.io."""

    def __init__(self, objects: Objects, kubelet: Kubelet, faults: Faults, clock: Clock, streams: Streams) -> None:
        self._objects, self._kubelet, self._faults, self._clock, self._streams = objects, kubelet, faults, clock, streams
        self._index = NodeIndex(objects.store)

    # --- pods

    async def evict(self, request: web.Request, target: Target, resource: Resource) -> web.Response:
        body = await read_body(request)
        return json_response(evict(self._objects, resource, target.namespace, target.name, body, write_of(request)), 201)

    async def bind(self, request: web.Request, target: Target, resource: Resource) -> web.Response:
        """Assign a pod to a node. 409 when it has one."""
        body = await read_body(request)
        pod = self._objects.get(resource, target.namespace, target.name).decoded()
        if pod["metadata"].get("deletionTimestamp"):
            raise conflict("pods/binding", "", target.name, f"pod {target.name} is being deleted, cannot be assigned to a host")
        if pod["spec"].get("nodeName"):
            raise conflict("pods/binding", "", target.name, f"pod {target.name} is already assigned to node {pod['spec']['nodeName']!r}")
        pod["spec"]["nodeName"] = (body.get("target") or {}).get("name", "")
        scheduled = {"type": "PodScheduled", "status": "True", "lastProbeTime": None, "lastTransitionTime": self._clock.stamp()}
        status: Json = pod.setdefault("status", {})
        status["conditions"] = [*(c for c in status.get("conditions") or () if c.get("type") != "PodScheduled"), scheduled]
        self._objects.store.collection(resource).put(pod)
        return json_response({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}, 201)

    async def log(self, request: web.Request, target: Target, resource: Resource) -> web.StreamResponse:
        """The log of a container, whole or followed. 400 for a container that has none (yet)."""
        query = request.query
        pod = self._objects.get(resource, target.namespace, target.name).decoded()
        if not pod["spec"].get("nodeName"):
            return web.Response(text="")
        previous = is_true(query, "previous")
        container = _container(pod, query.get("container", ""))
        _check_state(pod, container, previous)
        if "sinceTime" in query and "sinceSeconds" in query:
            raise bad_request("at most one of `sinceTime` or `sinceSeconds` may be specified")
        lines = await self._kubelet.log_lines(pod, container, previous)
        last = lines[-1][0] if lines else self._clock.now() - timedelta(seconds=1)
        lines = self._wanted(lines, query)
        stamps = is_true(query, "timestamps")
        limit = int(query["limitBytes"]) if "limitBytes" in query else None
        text = "".join(_written(line, stamps) for line in lines).encode()
        if not is_true(query, "follow"):
            return web.Response(body=text[:limit], content_type="text/plain")
        return await self._follow(request, pod, container, text, last, stamps)

    def _wanted(self, lines: list[Line], query: Any) -> list[Line]:
        if "sinceTime" in query:
            since = parse_time(query["sinceTime"])
            if since is None:
                raise bad_request(f"invalid sinceTime: {query['sinceTime']}")
            lines = [x for x in lines if x[0] >= since]
        elif "sinceSeconds" in query:
            begin = self._clock.now() - timedelta(seconds=int(query["sinceSeconds"]))
            lines = [x for x in lines if x[0] >= begin]
        if "tailLines" in query:
            count = int(query["tailLines"])
            lines = lines[-count:] if count > 0 else []
        return lines

    async def _follow(
        self, request: web.Request, pod: Json, container: str, text: bytes, last: datetime, stamps: bool
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        stream = Stream(lambda: None, muted=self._faults.get("half-open") is not None)
        self._streams.held.add(stream)
        name, uid = (pod["metadata"]["namespace"], pod["metadata"]["name"]), pod["metadata"].get("uid")
        pods = self._objects.store.collections["", "pods"]
        try:
            await response.prepare(request)
            if text and not stream.muted:
                await response.write(text)
            async for line in self._kubelet.follow(pod, container, last):
                item = pods.items.get(name)
                if item is None or item.uid != uid or not _is_running(item.decoded(), container):
                    break
                if stream.cutting:
                    await response.write(_written(line, stamps).encode()[:10])
                    if request.transport is not None:
                        request.transport.close()
                    break
                if not stream.muted:
                    await response.write(_written(line, stamps).encode())
        finally:
            self._streams.held.discard(stream)
        return response

    async def reach(self, request: web.Request, target: Target, resource: Resource) -> web.Response:
        """``pods/[SCHEME:]POD[:PORT]/proxy/PATH``: GET of what the pod serves. 503 when nobody answers there.

        Pods have no network here: where a port is really served stands in the annotation ``lab.coldtui/proxy-PORT`` of the pod.
        """
        scheme, name, port = _proxied(target.name)
        pod = self._objects.get(resource, target.namespace, name).decoded()
        status = pod.get("status") or {}
        there = (pod["metadata"].get("annotations") or {}).get(f"{PROXIED}{port}")
        if not status.get("podIP"):
            raise ApiError(503, "ServiceUnavailable", f"address not allowed: pod {name} has no address")
        asked = f"{scheme}://{there or status['podIP'] + ':' + port}/{target.rest}"
        if there is None:
            raise ApiError(
                503, "ServiceUnavailable", f"error trying to reach service: dial tcp {status['podIP']}:{port}: connect: connection refused"
            )
        try:
            timeout = aiohttp.ClientTimeout(total=PROXY_S)
            async with aiohttp.ClientSession(timeout=timeout) as session, session.get(asked, params=request.query, ssl=False) as answer:
                return web.Response(
                    status=answer.status, body=await answer.read(), headers={"Content-Type": answer.headers.get("Content-Type", "")}
                )
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            why = "i/o timeout" if isinstance(error, TimeoutError) else "connect: connection refused"
            raise ApiError(503, "ServiceUnavailable", f"error trying to reach service: dial tcp {status['podIP']}:{port}: {why}") from error

    # --- nodes

    def _pods_on(self, node: str) -> list[Json]:
        return [i.decoded() for i in self._index.on(node)]

    async def proxy(self, target: Target, resource: Resource) -> web.Response:
        """The kubelet's own endpoints, reached through the API server. 503 when the node is not ready."""
        node = self._objects.get(resource, "", target.name).decoded()
        ready = any(c.get("type") == "Ready" and c.get("status") == "True" for c in (node.get("status") or {}).get("conditions") or ())
        if not ready:
            message = f"error trying to reach service: dial tcp: lookup {target.name}: connect: no route to host"
            raise ApiError(503, "ServiceUnavailable", message)
        if target.rest == "healthz":
            return web.Response(text="ok")
        if target.rest != "stats/summary":
            raise no_such_resource()
        return json_response(await self._kubelet.summary(node, self._pods_on(target.name)))

    # --- metrics.k8s.io

    async def metrics(self, request: web.Request, target: Target, resource: Resource) -> web.Response:
        """The aggregated metrics API. 503 in plain text when its backend is down, as the aggregator says it."""
        if self._faults.get("metrics-down") is not None:
            return web.Response(status=503, text="error trying to reach service: dial tcp 10.43.0.99:443: connect: connection refused")
        if resource.kind == "NodeMetrics":
            return await self._node_metrics(request, target)
        return await self._pod_metrics(request, target)

    async def _node_metrics(self, request: web.Request, target: Target) -> web.Response:
        found: list[Json] = []
        for node in self._matching("nodes", "", request, target.name):
            usage = await self._kubelet.node_usage(node, self._pods_on(node["metadata"]["name"]))
            if usage is not None:
                found.append(self._metrics("NodeMetrics", node, {"usage": _usage(usage)}))
            await asyncio.sleep(0)  # other requests go on while a big site is summed up
        return _one_or_list(target, "nodes", "NodeMetricsList", found)

    async def _pod_metrics(self, request: web.Request, target: Target) -> web.Response:
        found: list[Json] = []
        for pod in self._matching("pods", target.namespace, request, target.name):
            usage = await self._kubelet.pod_usage(pod)
            if usage:
                containers = [{"name": c, "usage": _usage(u)} for c, u in usage.items()]
                found.append(self._metrics("PodMetrics", pod, {"containers": containers}))
            if len(found) % 100 == 99:
                await asyncio.sleep(0)  # other requests go on while a big site is summed up
        return _one_or_list(target, "pods", "PodMetricsList", found)

    def _matching(self, plural: str, namespace: str, request: web.Request, name: str) -> Iterable[Json]:
        test = label_selector(request.query.get("labelSelector", ""))
        for item in self._objects.store.items("", plural, namespace):
            if (not name or item.key[1] == name) and (test is None or test(item.labels or {})):
                yield item.decoded()

    def _metrics(self, kind: str, obj: Json, body: Json) -> Json:
        meta = {k: obj["metadata"][k] for k in ("name", "namespace", "labels") if k in obj["metadata"]}
        meta["creationTimestamp"] = self._clock.stamp()
        now = self._clock.now()
        taken = now - timedelta(seconds=now.timestamp() % WINDOW_S)
        return {
            "kind": kind,
            "apiVersion": "metrics.k8s.io/v1beta1",
            "metadata": meta,
            "timestamp": stamp(taken),
            "window": f"{WINDOW_S}s",
            **body,
        }


def _proxied(name: str) -> tuple[str, str, str]:
    """Scheme, pod and port of ``https:postgres-1:8000``. 400 for something else."""
    parts = name.split(":")
    match parts:
        case [pod]:
            return "http", pod, "80"
        case [pod, port]:
            return "http", pod, port
        case [scheme, pod, port] if scheme in ("", "http", "https"):
            return scheme or "http", pod, port or ("443" if scheme == "https" else "80")
    raise bad_request(f"invalid pod request {name!r}")


def _usage(usage: Usage) -> Json:
    return {"cpu": f"{usage.cpu_nanocores}n", "memory": f"{usage.memory_bytes // 1024}Ki"}


def _one_or_list(target: Target, plural: str, kind: str, found: list[Json]) -> web.Response:
    if target.name:
        if not found:
            raise not_found(plural, "metrics.k8s.io", f"{target.namespace}/{target.name}" if target.namespace else target.name)
        return json_response(found[0])
    return json_response({"kind": kind, "apiVersion": "metrics.k8s.io/v1beta1", "metadata": {}, "items": found})


def _written(line: Line, stamps: bool) -> str:
    at, text = line
    return f"{at:%Y-%m-%dT%H:%M:%S.%f}000Z {text}\n" if stamps else f"{text}\n"


def _container(pod: Json, asked: str) -> str:
    """The container whose log is meant. 400 when it is not said and there are several, or when there is none of that name."""
    spec, name = pod["spec"], pod["metadata"]["name"]
    names = [c["name"] for c in spec.get("containers") or ()]
    inits = [c["name"] for c in spec.get("initContainers") or ()]
    if not asked:
        if len(names) == 1:
            return str(names[0])
        text = f"a container name must be specified for pod {name}, choose one of: [{' '.join(names)}]"
        raise bad_request(text + (f" or one of the init containers: [{' '.join(inits)}]" if inits else ""))
    if asked not in names and asked not in inits:
        raise bad_request(f"container {asked} is not valid for pod {name}")
    return asked


def _container_status(pod: Json, container: str) -> Json:
    status = pod.get("status") or {}
    held = [*(status.get("containerStatuses") or ()), *(status.get("initContainerStatuses") or ())]
    found: Json = next((c for c in held if c.get("name") == container), {})
    return found


def _check_state(pod: Json, container: str, previous: bool) -> None:
    status, name = _container_status(pod, container), pod["metadata"]["name"]
    if previous and not (status.get("lastState") or {}).get("terminated"):
        raise bad_request(f'previous terminated container "{container}" in pod "{name}" not found')
    waiting = (status.get("state") or {}).get("waiting")
    if waiting and not (status.get("lastState") or {}).get("terminated"):
        raise bad_request(f'container "{container}" in pod "{name}" is waiting to start: {waiting.get("reason") or "ContainerCreating"}')
    if not status:
        raise bad_request(f'container "{container}" in pod "{name}" is waiting to start: ContainerCreating')


def _is_running(pod: Json, container: str) -> bool:
    return bool((_container_status(pod, container).get("state") or {}).get("running"))
