"""A kubelet that makes plausible numbers and log lines from names and time: the same name at the same time gives the same value.

Annotations steer it: on a node ``lab.coldtui/cpu``, ``lab.coldtui/memory`` and ``lab.coldtui/disk`` fix the share that is used (0 to 1);
on a pod ``lab.coldtui/cpu`` (cores), ``lab.coldtui/memory`` (bytes), ``lab.coldtui/volume`` (share of each volume), and
``lab.coldtui/log-file`` (a file whose lines are the log, for instance that of a real PostgreSQL).
"""

from __future__ import annotations

import asyncio
import math
import zlib
from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from coldtui.lab.apiserver.clock import Clock, parse_time, stamp
from coldtui.lab.apiserver.kubelet import Line, Usage
from coldtui.lab.apiserver.logs import file_lines, last_words, made
from coldtui.lab.apiserver.quantity import parse_quantity

Json = dict[str, Any]
PREFIX = "lab.coldtui/"
GRID_S = 30.0
"""Values are drawn at this distance and joined smoothly, so that charts look like load and not like noise."""
_GIB = 1 << 30


def _hash(*parts: object) -> float:
    """A number in [0, 1) that depends on the parts alone."""
    return zlib.crc32("/".join(map(str, parts)).encode()) / 2**32


def wander(name: str, at: float) -> float:
    """A value in [0, 1) that moves smoothly with time: three octaves of interpolated noise."""
    total, weight = 0.0, 0.0
    for octave, step in enumerate((GRID_S * 16, GRID_S * 4, GRID_S)):
        low = math.floor(at / step)
        share = at / step - low
        smooth = share * share * (3 - 2 * share)
        a, b = _hash(name, octave, low), _hash(name, octave, low + 1)
        factor = 0.5**octave
        total += factor * (a + (b - a) * smooth)
        weight += factor
    return total / weight


def disk_share(name: str, notes: Mapping[str, str], at: float) -> float:
    """The share of a node's disk that is in use at a time, but for what was cleaned since the lab began."""
    return float(notes.get(PREFIX + "disk") or _disk_level(name) + 0.03 * wander(name + "/disk", at))


def image_bytes(name: str, notes: Mapping[str, str], capacity: int) -> int:
    """What container images held on a node's disk when the lab began."""
    return int(0.4 * capacity * float(notes.get(PREFIX + "disk") or _disk_level(name)))


def _disk_level(name: str) -> float:
    return 0.25 + 0.3 * _hash(name, "disk")


class SimulatedKubelet:
    """All kubelets of the lab. ``still`` freezes the numbers at the time of the start."""

    def __init__(self, clock: Clock, *, still: bool = False) -> None:
        self._clock = clock
        self._frozen = clock.now() if still else None
        self.started = clock.now()

    def _now(self) -> datetime:
        return self._frozen or self._clock.now()

    # --- numbers

    def _noise(self, name: str) -> float:
        return wander(name, self._now().timestamp())

    async def pod_usage(self, pod: Json) -> dict[str, Usage]:
        return self._pod_usage(pod) if _runs(pod) else {}

    def _pod_usage(self, pod: Json) -> dict[str, Usage]:
        meta = pod["metadata"]
        notes = meta.get("annotations") or {}
        found: dict[str, Usage] = {}
        for container in pod["spec"].get("containers") or ():
            name = f"{meta.get('namespace')}/{meta['name']}/{container['name']}"
            resources = container.get("resources") or {}
            asked = {**(resources.get("limits") or {}), **(resources.get("requests") or {})}
            cpu = parse_quantity(asked.get("cpu", "50m")) or 0.05
            memory = parse_quantity(asked.get("memory", "96Mi")) or 96 * 2**20
            cores = float(notes.get(PREFIX + "cpu") or cpu * (0.05 + 0.7 * self._noise(name + "/cpu")))
            held = float(notes.get(PREFIX + "memory") or memory * (0.45 + 0.35 * self._noise(name + "/memory")))
            found[container["name"]] = Usage(int(cores * 1e9), int(held))
        return found

    async def node_usage(self, node: Json, pods: list[Json]) -> Usage | None:
        return self._node_usage(node, pods) if _is_ready(node) else None

    def _node_usage(self, node: Json, pods: list[Json]) -> Usage:
        name, notes = node["metadata"]["name"], node["metadata"].get("annotations") or {}
        size = (node.get("status") or {}).get("capacity") or {}
        cores, memory = parse_quantity(size.get("cpu", "4")), parse_quantity(size.get("memory", "8Gi"))
        held = [u for p in pods if _runs(p) for u in self._pod_usage(p).values()]
        base_cpu, base_memory = 0.12 + 0.15 * self._noise(name + "/cpu"), 0.7e9 + 0.2e9 * self._noise(name + "/memory")
        used_cpu = min(cores * 0.98, base_cpu + sum(u.cpu_nanocores for u in held) / 1e9)
        used_memory = min(memory * 0.97, base_memory + sum(u.memory_bytes for u in held))
        if PREFIX + "cpu" in notes:
            used_cpu = cores * float(notes[PREFIX + "cpu"])
        if PREFIX + "memory" in notes:
            used_memory = memory * float(notes[PREFIX + "memory"])
        return Usage(int(used_cpu * 1e9), int(used_memory))

    def _disk(self, name: str, capacity: int, share: float, freed: int = 0) -> Json:
        used = max(0, int(capacity * share) - freed)
        share = used / capacity
        inodes = capacity // 16384
        inodes_used = int(inodes * share * 0.4)
        return {
            "time": stamp(self._now()),
            "capacityBytes": capacity,
            "usedBytes": used,
            "availableBytes": max(0, int(capacity * 0.95) - used),
            "inodes": inodes,
            "inodesUsed": inodes_used,
            "inodesFree": inodes - inodes_used,
        }

    def _network(self, name: str, since: datetime | None) -> Json:
        """Counters that grow with time at a rate of their own."""
        seconds = max(0.0, (self._now() - (since or self.started)).total_seconds())
        rx, tx = 20_000 + 900_000 * _hash(name, "rx"), 15_000 + 700_000 * _hash(name, "tx")
        sway = 60.0 * (1 - math.cos(seconds / 60.0))
        counters = {"rxBytes": int(rx * (seconds + 0.5 * sway)), "txBytes": int(tx * (seconds + 0.4 * sway)), "rxErrors": 0, "txErrors": 0}
        return {"time": stamp(self._now()), "name": "eth0", **counters, "interfaces": [{"name": "eth0", **counters}]}

    async def summary(self, node: Json, pods: list[Json]) -> Json:
        name, notes = node["metadata"]["name"], node["metadata"].get("annotations") or {}
        usage, when = self._node_usage(node, pods), stamp(self._now())
        size = (node.get("status") or {}).get("capacity") or {}
        memory = int(parse_quantity(size.get("memory", "8Gi")))
        capacity = int(parse_quantity(size.get("ephemeral-storage", "80Gi")) or 80 * _GIB)
        created = parse_time(node["metadata"].get("creationTimestamp"))
        freed, pruned = (int(notes.get(PREFIX + what) or 0) for what in ("freed", "freed-images"))
        disk = self._disk(name, capacity, disk_share(name, notes, self._now().timestamp()), freed)
        uptime = (self._now() - (created or self.started)).total_seconds()
        return {
            "node": {
                "nodeName": name,
                "startTime": node["metadata"].get("creationTimestamp"),
                "cpu": {"time": when, "usageNanoCores": usage.cpu_nanocores, "usageCoreNanoSeconds": int(uptime * usage.cpu_nanocores)},
                "memory": {
                    "time": when,
                    "availableBytes": memory - usage.memory_bytes,
                    "usageBytes": int(usage.memory_bytes * 1.15),
                    "workingSetBytes": usage.memory_bytes,
                    "rssBytes": int(usage.memory_bytes * 0.8),
                    "pageFaults": 0,
                    "majorPageFaults": 0,
                },
                "network": self._network(name, created),
                "fs": disk,
                "runtime": {
                    "imageFs": {**disk, "usedBytes": max(0, image_bytes(name, notes, capacity) - pruned)},
                    "containerFs": {**disk, "usedBytes": int(disk["usedBytes"] * 0.05)},
                },
                "rlimit": {"time": when, "maxpid": 4194304, "curproc": 200 + len(pods) * 12},
                "swap": {"time": when, "swapAvailableBytes": 0, "swapUsageBytes": 0},
            },
            "pods": [self._pod_summary(p, when) for p in pods if _runs(p)],
        }

    def _pod_summary(self, pod: Json, when: str) -> Json:
        meta = pod["metadata"]
        usage = self._pod_usage(pod)
        started = (pod.get("status") or {}).get("startTime")
        name = f"{meta.get('namespace')}/{meta['name']}"

        def figures(u: Usage) -> Json:
            return {
                "cpu": {"time": when, "usageNanoCores": u.cpu_nanocores, "usageCoreNanoSeconds": u.cpu_nanocores * 3600},
                "memory": {
                    "time": when,
                    "usageBytes": int(u.memory_bytes * 1.1),
                    "workingSetBytes": u.memory_bytes,
                    "rssBytes": int(u.memory_bytes * 0.8),
                },
            }

        whole = Usage(sum(u.cpu_nanocores for u in usage.values()), sum(u.memory_bytes for u in usage.values()))
        body: Json = {
            "podRef": {"name": meta["name"], "namespace": meta.get("namespace", ""), "uid": meta.get("uid", "")},
            "startTime": started,
        }
        body["containers"] = [{"name": c, "startTime": started, **figures(u)} for c, u in usage.items()]
        body.update(figures(whole))
        if not pod["spec"].get("hostNetwork"):
            body["network"] = self._network(name, parse_time(started))
        body["volume"] = list(self._volumes(pod, name))
        body["ephemeral-storage"] = self._disk(name, 80 * _GIB, 0.001 + 0.004 * _hash(name, "ephemeral"))
        return body

    def _volumes(self, pod: Json, name: str) -> Iterator[Json]:
        share = (pod["metadata"].get("annotations") or {}).get(PREFIX + "volume")
        for volume in pod["spec"].get("volumes") or ():
            claim = (volume.get("persistentVolumeClaim") or {}).get("claimName")
            if not claim and "emptyDir" not in volume:
                continue
            level = float(share or 0.2 + 0.4 * _hash(name, volume["name"]) + 0.02 * self._noise(f"{name}/{volume['name']}"))
            figures = self._disk(name, 20 * _GIB if claim else 80 * _GIB, level if claim else 0.001)
            reference = {"pvcRef": {"name": claim, "namespace": pod["metadata"].get("namespace", "")}} if claim else {}
            yield {"name": volume["name"], **reference, **figures}

    # --- logs

    async def log_lines(self, pod: Json, container: str, previous: bool) -> list[Line]:
        file = (pod["metadata"].get("annotations") or {}).get(PREFIX + "log-file")
        if file and not previous:
            return await asyncio.to_thread(file_lines, Path(file))
        status: Json = next((c for c in (pod.get("status") or {}).get("containerStatuses") or () if c.get("name") == container), {})
        ended = (status.get("lastState") or {}).get("terminated") or {}
        running = (status.get("state") or {}).get("running")
        now = self._clock.now()
        if previous or (not running and ended):
            finished = parse_time(ended.get("finishedAt")) or now
            started = parse_time(ended.get("startedAt")) or finished - timedelta(seconds=20)
            lines = list(made(pod, container, started, finished))
            return [*lines, (finished, last_words(pod, container, ended))]
        done = (status.get("state") or {}).get("terminated") or {}
        started = parse_time((running or done or {}).get("startedAt")) or parse_time((pod.get("status") or {}).get("startTime")) or now
        return list(made(pod, container, started, parse_time(done.get("finishedAt")) or now))

    async def follow(self, pod: Json, container: str, after: datetime) -> AsyncIterator[Line]:
        file = (pod["metadata"].get("annotations") or {}).get(PREFIX + "log-file")
        last = after
        there = await asyncio.to_thread(file_lines, Path(file)) if file else []
        # What came between the answer's first part and now is new, where the lines tell their own times.
        seen = sum(line[0] <= after for line in there) if there and there[0][0] <= after else len(there)
        while True:
            await asyncio.sleep(0.25)
            if file:
                lines = await asyncio.to_thread(file_lines, Path(file))
                fresh, seen = lines[seen:], len(lines)
            else:
                fresh = list(made(pod, container, last, self._clock.now()))
            for line in fresh:
                last = max(last, line[0])
                yield line


def _runs(pod: Json) -> bool:
    return (pod.get("status") or {}).get("phase") == "Running"


def _is_ready(node: Json) -> bool:
    return any(c.get("type") == "Ready" and c.get("status") == "True" for c in (node.get("status") or {}).get("conditions") or ())
