"""k3s and the crictl inside it: images and containers of the host."""

from __future__ import annotations

import json
import uuid
from datetime import datetime

from coldtui.lab.client import Json
from coldtui.lab.hosts.images import Image
from coldtui.lab.hosts.machine import CONTAINERD
from coldtui.lab.hosts.programs.options import split
from coldtui.lab.hosts.shell import Call, Program

SNAPSHOTTER = f"{CONTAINERD}/io.containerd.snapshotter.v1.overlayfs"
SOCKET = "unix:///run/k3s/containerd/containerd.sock"


async def k3s(call: Call) -> int:
    word = call.arguments[:1]
    if word == ("crictl",):
        return await crictl(call.like(call.arguments))
    if word in (("--version",), ("-v",)):
        call.out(f"k3s version {call.machine.identity.version} (4f8b2c71)\ngo version go1.24.9")
        return 0
    call.err(f'time="{datetime.now():%Y-%m-%dT%H:%M:%SZ}" level=fatal msg="this host\'s k3s does not do: {" ".join(call.arguments)}"')
    return 1


async def crictl(call: Call) -> int:
    options, words = split(call.arguments, ("-o", "--output", "-r", "--runtime-endpoint", "-s", "--state", "--name"))
    if not call.root:
        call.err(
            f'time="{datetime.now():%Y-%m-%dT%H:%M:%SZ}" level=fatal msg="validate service connection: dial {SOCKET}: permission denied"'
        )
        return 1
    if call.machine.k3s.active != "active":
        call.err(
            f'time="{datetime.now():%Y-%m-%dT%H:%M:%SZ}" level=fatal msg="validate service connection: dial {SOCKET}: connect: no such file or directory"'
        )
        return 1
    verb = words[0] if words else ""
    run = {
        "images": _images,
        "image": _images,
        "img": _images,
        "rmi": _rmi,
        "ps": _ps,
        "imagefsinfo": _imagefsinfo,
        "version": _version,
    }.get(verb)
    if run is None:
        call.err(f"No help topic for '{verb}'")
        return 3
    return run(call, options, words[1:])


def _json(options: dict[str, str]) -> bool:
    return "json" in (options.get("-o"), options.get("--output"))


def _images(call: Call, options: dict[str, str], names: list[str]) -> int:
    call.machine.pulls()
    images = sorted((i for i in call.machine.images if not names or any(name in i.reference for name in names)), key=lambda i: i.reference)
    if _json(options):
        call.out(json.dumps({"images": [_as_json(image) for image in images]}, indent=2))
    elif "-q" in options or "--quiet" in options:
        for image in images:
            call.out(f"sha256:{image.id}")
    else:
        table = [["IMAGE", "TAG", "IMAGE ID", "SIZE"]]
        table += [[i.repository, i.tag, i.id if "--no-trunc" in options else i.id[:13], _human(i.size)] for i in images]
        for line in _set(table):
            call.out(line)
    return 0


def _as_json(image: Image) -> Json:
    return {
        "id": f"sha256:{image.id}", "repoTags": [image.reference.partition("@")[0]], "repoDigests": [f"{image.repository}@{image.digest}"],
        "size": str(image.size), "uid": None, "username": "", "spec": None, "pinned": False,
    }  # fmt: skip


def _human(count: int) -> str:
    """Decimal units, as crictl writes sizes."""
    return f"{count / 1e9:.2f}GB" if count >= 1e9 else f"{count / 1e6:.1f}MB"


def _set(table: list[list[str]]) -> list[str]:
    widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
    return ["   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table]


def _rmi(call: Call, options: dict[str, str], names: list[str]) -> int:
    machine = call.machine
    if "--prune" in options or "-q" in options:
        for image in machine.prune():
            call.out(f"Deleted: {image.reference}")
        return 0
    if not names:
        call.err("ID cannot be empty")
        return 1
    status = 0
    for name in names:
        found = next((i for i in machine.images if name in (i.reference, i.id, i.id[:13], f"sha256:{i.id}")), None)
        if found is None:
            call.err(f"no such image {name}")
            status = 1
            continue
        machine.images.remove(found)
        machine.hooks.cleaned()
        call.out(f"Deleted: {found.reference}")
    return status


def _containers(call: Call) -> list[Json]:
    found = []
    for pod in call.machine.hooks.pods():
        for status in (pod.get("status") or {}).get("containerStatuses") or ():
            running = "running" in (status.get("state") or {})
            found.append(
                {
                    "id": str(status.get("containerID", "")).removeprefix("containerd://") or uuid.uuid5(uuid.NAMESPACE_OID, status["name"]).hex,
                    "podSandboxId": uuid.uuid5(uuid.NAMESPACE_OID, pod["metadata"]["uid"]).hex, "metadata": {"name": status["name"], "attempt": status.get("restartCount", 0)},
                    "image": {"image": status["image"]}, "state": "CONTAINER_RUNNING" if running else "CONTAINER_EXITED",
                    "labels": {"io.kubernetes.container.name": status["name"], "io.kubernetes.pod.name": pod["metadata"]["name"],
                               "io.kubernetes.pod.namespace": pod["metadata"]["namespace"], "io.kubernetes.pod.uid": pod["metadata"]["uid"]},
                }
            )  # fmt: skip
    return found


def _ps(call: Call, options: dict[str, str], names: list[str]) -> int:
    every = "-a" in options or "--all" in options
    found = [c for c in _containers(call) if every or c["state"] == "CONTAINER_RUNNING"]
    if _json(options):
        call.out(json.dumps({"containers": found}, indent=2))
    elif "-q" in options:
        for container in found:
            call.out(container["id"])
    else:
        table = [["CONTAINER", "IMAGE", "STATE", "NAME", "ATTEMPT", "POD ID", "POD", "NAMESPACE"]]
        for c in found:
            labels = c["labels"]
            table.append([
                c["id"][:13], c["image"]["image"].rpartition("/")[2], c["state"].removeprefix("CONTAINER_").capitalize(), c["metadata"]["name"],
                str(c["metadata"]["attempt"]), c["podSandboxId"][:13], labels["io.kubernetes.pod.name"], labels["io.kubernetes.pod.namespace"],
            ])  # fmt: skip
        for line in _set(table):
            call.out(line)
    return 0


def _imagefsinfo(call: Call, options: dict[str, str], names: list[str]) -> int:
    call.machine.pulls()
    used = sum(image.size for image in call.machine.images)
    system = {
        "timestamp": str(int(call.machine.now().timestamp() * 1e9)),
        "fsId": {"mountpoint": SNAPSHOTTER},
        "usedBytes": {"value": str(used)},
        "inodesUsed": {"value": str(used // 40_000)},
    }
    call.out(json.dumps({"status": {"imageFilesystems": [system], "containerFilesystems": [system]}}, indent=2))
    return 0


def _version(call: Call, options: dict[str, str], names: list[str]) -> int:
    call.out("Version:  0.1.0\nRuntimeName:  containerd\nRuntimeVersion:  v2.1.5-k3s1\nRuntimeApiVersion:  v1")
    return 0


async def pgrep(call: Call) -> int:
    """``pgrep -x -c NAME``: the processes of a container have its name. They outlive k3s."""
    names = [word for word in call.arguments if not word.startswith("-")]
    count = sum(1 for c in _containers(call) if c["state"] == "CONTAINER_RUNNING" and c["metadata"]["name"] in names)
    call.out(str(count))
    return 0 if count else 1


PROGRAMS: dict[str, Program] = {"k3s": k3s, "crictl": crictl, "pgrep": pgrep}
