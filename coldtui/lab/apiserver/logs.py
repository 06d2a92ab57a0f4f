"""Made-up log lines: the same for whoever asks, whenever, in the voice of what runs in the container."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from coldtui.lab.apiserver.clock import parse_time
from coldtui.lab.apiserver.kubelet import Line

Json = dict[str, Any]
MAX_LINES = 2000
LINE_EVERY_S = 1.0


def file_lines(path: Path) -> list[Line]:
    """Lines of a file; a leading RFC 3339 time is taken as the line's time, else the line before's, else the file's."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
        at = datetime.fromtimestamp(path.stat().st_mtime, UTC)
    except OSError as error:
        return [(datetime.now(UTC), f"failed to open log file {path}: {error.strerror}")]
    found: list[Line] = []
    for line in text.splitlines()[-MAX_LINES * 5 :]:
        at = parse_time(line.split(" ", 1)[0]) or at
        found.append((at, line))
    return found


def made(pod: Json, container: str, after: datetime, until: datetime) -> Iterator[Line]:
    """Lines on a grid of time: the same for whoever asks, whenever."""
    meta = pod["metadata"]
    seed = f"{meta.get('uid') or meta['name']}/{container}"
    say = _voice(pod, container)
    first, last = math.floor(after.timestamp() / LINE_EVERY_S) + 1, math.floor(until.timestamp() / LINE_EVERY_S)
    for step in range(max(first, last - MAX_LINES + 1), last + 1):
        dice = random.Random(f"{seed}/{step}")
        at = datetime.fromtimestamp(step * LINE_EVERY_S - dice.random() * 0.9, UTC)
        if after < at <= until:
            yield at, say(dice, at)


def _voice(pod: Json, container: str) -> Any:
    labels = pod["metadata"].get("labels") or {}
    if "cnpg.io/cluster" in labels or container == "postgres":
        return _postgres
    if pod["metadata"].get("namespace") in ("kube-system", "longhorn-system", "metallb-system", "cnpg-system"):
        return _component
    return _requests


def _requests(dice: random.Random, at: datetime) -> str:
    path = dice.choice(("/", "/healthz", "/api/orders", "/api/orders/{}", "/api/stock", "/login", "/static/app.js")).format(
        dice.randrange(9999)
    )
    code = dice.choices((200, 201, 304, 404, 500), (80, 6, 8, 5, 1))[0]
    verb = dice.choices(("GET", "POST", "PUT"), (8, 2, 1))[0]
    address = f"10.42.{dice.randrange(5)}.{dice.randrange(2, 250)}"
    return f'{address} - - [{at:%d/%b/%Y:%H:%M:%S +0000}] "{verb} {path} HTTP/1.1" {code} {dice.randrange(120, 48000)} {dice.expovariate(30):.3f}'


def _postgres(dice: random.Random, at: datetime) -> str:
    pid = dice.randrange(80, 4000)
    said = dice.choices(
        (
            "checkpoint starting: time",
            f"checkpoint complete: wrote {dice.randrange(10, 900)} buffers; write={dice.uniform(1, 30):.3f} s, sync=0.004 s",
            f"connection authorized: user=app database=app application_name=web SSL enabled (pid {pid})",
            f"duration: {dice.uniform(200, 2400):.3f} ms  statement: SELECT * FROM orders WHERE customer = $1",
            f'automatic vacuum of table "app.public.orders": index scans: {dice.randrange(2)}',
            "could not receive data from client: Connection reset by peer",
        ),
        (3, 3, 6, 3, 1, 1),
    )[0]
    return f'{{"level":"info","ts":"{at:%Y-%m-%dT%H:%M:%SZ}","logger":"postgres","msg":"record","record":{{"process_id":"{pid}","error_severity":"LOG","message":"{said.replace(chr(34), chr(39))}"}}}}'


def _component(dice: random.Random, at: datetime) -> str:
    level = dice.choices("IWE", (20, 2, 1))[0]
    said = dice.choice(
        (
            '"Reconciled" object="default/web"',
            '"Starting workers" worker count=1',
            '"Watch closed, reopening"',
            '"Leader election renewed"',
            '"Syncing iptables rules"',
        )
    )
    return f"{level}{at:%m%d %H:%M:%S.%f} {dice.randrange(1, 99):7d} controller.go:{dice.randrange(40, 900)}] {said}"


def last_words(pod: Json, container: str, ended: Json) -> str:
    """What a container says before it dies."""
    if ended.get("reason") == "OOMKilled":
        return "Killed"
    if ended.get("message"):
        return str(ended["message"]).strip().splitlines()[-1]
    if ended.get("exitCode", 1) == 0:
        return "shutting down"
    if container == "postgres" or "cnpg.io/cluster" in (pod["metadata"].get("labels") or {}):
        return '{"level":"error","msg":"PostgreSQL process exited with errors","error":"exit status 1"}'
    return f"panic: cannot reach the database: dial tcp: connection refused (exit code {ended.get('exitCode', 1)})"
