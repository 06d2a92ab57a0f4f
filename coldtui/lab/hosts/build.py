"""A host made from its Node: the same name, boot, disk and images that the API tells of."""

from __future__ import annotations

import random
import uuid
import zlib
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

from coldtui.lab.apiserver.simulated import disk_share, image_bytes
from coldtui.lab.client import Json
from coldtui.lab.controllers.base import moment, quantity
from coldtui.lab.hosts import lines
from coldtui.lab.hosts.files import Tree
from coldtui.lab.hosts.images import MIB, store
from coldtui.lab.hosts.journal import Journal
from coldtui.lab.hosts.machine import Hooks, Identity, Machine, Timing, used_images
from coldtui.lab.hosts.programs.df import LONGHORN
from coldtui.lab.hosts.programs.files import APT
from coldtui.lab.hosts.programs.journalctl import FOLDER
from coldtui.lab.hosts.units import Unit

GIB = 1 << 30
K3S = "/var/lib/rancher/k3s"
SERVICES = {
    "ssh.service": "OpenBSD Secure Shell server", "systemd-journald.service": "Journal Service", "systemd-logind.service": "User Login Management",
    "systemd-timesyncd.service": "Network Time Synchronization", "cron.service": "Regular background program processing daemon",
    "iscsid.service": "iSCSI initiator daemon (iscsid)", "dbus.service": "D-Bus System Message Bus",
}  # fmt: skip
UPGRADED_DAYS = 41
"""K3s was started anew then, at the latest."""
HISTORY_MINUTES = 600
CONTROL_PLANE = "node-role.kubernetes.io/control-plane"


def machine(node: Json, pods: Callable[[], list[Json]], hooks: Hooks, timing: Timing, *, frozen: datetime | None = None) -> Machine:
    """The host under a node. ``frozen``: numbers stand still at that moment."""
    name, info = node["metadata"]["name"], node["status"]["nodeInfo"]
    addresses = {a["type"]: a["address"] for a in node["status"].get("addresses") or ()}
    identity = Identity(
        name, addresses.get("InternalIP", ""), CONTROL_PLANE in (node["metadata"].get("labels") or {}), info["kubeletVersion"],
        info["kernelVersion"], info["osImage"], info["machineID"],
    )  # fmt: skip
    now = datetime.now(UTC)
    # It booted a little before its kubelet made the node.
    booted = (moment(node["metadata"].get("creationTimestamp")) or now) - timedelta(minutes=2 + zlib.crc32(name.encode()) % 9)
    capacity = int(quantity(node["status"]["capacity"].get("ephemeral-storage", "80Gi")))
    notes: Mapping[str, str] = node["metadata"].get("annotations") or {}

    def base() -> int:
        return int(capacity * disk_share(name, notes, (frozen or datetime.now(UTC)).timestamp()))

    hooks.pods = pods
    images = store(used_images(pods()), image_bytes(name, notes, capacity))
    made = Machine(
        identity, info["bootID"], booted, Journal(), files(identity, booted), images, capacity, base, hooks=hooks, timing=timing,
        dice=random.Random(zlib.crc32(name.encode())),
    )  # fmt: skip
    _services(made, now)
    _history(made, now)
    return made


def _services(made: Machine, now: datetime) -> None:
    k3s = made.identity.unit
    about = {**SERVICES, k3s: "Lightweight Kubernetes"}
    for number, (name, words) in enumerate(about.items()):
        unit = Unit(name, words, notify=name == k3s)
        began = max(made.booted + timedelta(seconds=6 + number), now - timedelta(days=UPGRADED_DAYS) if name == k3s else made.booted)
        unit.begin(began, made.next_pid())
        unit.turn("active", began + timedelta(seconds=9 if name == k3s else 0))
        made.units[name] = unit


def _history(made: Machine, now: datetime) -> None:
    """What was written down in the last hours."""
    start = max(made.booted, now - timedelta(minutes=HISTORY_MINUTES))
    step = (now - start) / 120
    for index in range(120):
        ident, words = lines.murmur(made.identity.server, made.dice)
        at = start + step * (index + made.dice.random() * 0.9)
        unit = made.k3s if ident == "k3s" else None
        made.journal.write(
            at, made.boot_id, ident, unit.pid if unit else 1, lines.klog(at, words) if unit else words, unit=unit.name if unit else "",
            invocation=unit.invocation if unit else "",
        )  # fmt: skip


def files(identity: Identity, booted: datetime) -> Tree:
    """What lies on the disk beside the images: about 1 to 4 GiB that could go, and what must stay."""
    tree, dice = Tree(), random.Random(zlib.crc32(f"files {identity.name}".encode()))
    journal = f"{FOLDER}/{identity.machine_id}"
    for number in range(dice.randrange(6, 14)):
        tree.file(
            f"{journal}/system@{uuid.UUID(int=dice.getrandbits(128)).hex[:16]}-{number:016x}.journal", 96 * MIB + dice.randrange(32) * MIB
        )
    tree.file(f"{journal}/system.journal", 40 * MIB)
    tree.file(f"{journal}/user-1000.journal", 8 * MIB)
    tree.file(f"{APT}/lock", 0)
    tree.folder(f"{APT}/partial")
    for package in ("linux-image-6.1.0-40-amd64", "linux-image-6.1.0-41-amd64", "libssl3", "openssh-server", "systemd", "open-iscsi"):
        tree.file(f"{APT}/{package}_{dice.randrange(1, 9)}.{dice.randrange(20)}_amd64.deb", dice.randrange(1, 90) * MIB)
    _k3s_files(tree, identity, dice)
    tree.folder(f"{LONGHORN}/replicas")
    tree.file(f"{LONGHORN}/longhorn-disk.cfg", text='{"diskName":"default-disk","diskUUID":"lab"}\n')
    tree.file("/var/lib/kubelet/config.yaml", 912)
    tree.folder("/tmp")
    tree.folder("/run/log")
    return tree


def _k3s_files(tree: Tree, identity: Identity, dice: random.Random) -> None:
    """Unpacked versions of K3s: the present one, the one before, and stale ones; data that must never be touched."""
    hashes = [uuid.UUID(int=dice.getrandbits(128)).hex * 2 for _ in range(2 + dice.randrange(1, 4))]
    for digest in hashes:
        tree.file(f"{K3S}/data/{digest}/bin/k3s", 70 * MIB)
        tree.file(f"{K3S}/data/{digest}/bin/containerd-shim-runc-v2", (90 + dice.randrange(60)) * MIB)
    tree.folder(f"{K3S}/data/cni")
    tree.link(f"{K3S}/data/current", f"{K3S}/data/{hashes[0]}")
    tree.link(f"{K3S}/data/previous", f"{K3S}/data/{hashes[1]}")
    tree.file(f"{K3S}/data/.lock", 0)
    tree.file(f"{K3S}/agent/images/k3s-airgap-images-amd64.tar.zst", (150 + dice.randrange(80)) * MIB)
    tree.file(f"{K3S}/agent/containerd/containerd.log", 3 * MIB)
    tree.file(f"{K3S}/storage/pvc-0f1c_production_cache/data.bin", 48 * MIB)
    tree.file("/etc/rancher/node/password", text="lab\n")
    if identity.server:
        tree.file(f"{K3S}/server/db/etcd/member/snap/db", 92 * MIB)
        for number in range(5):
            tree.file(f"{K3S}/server/db/snapshots/etcd-snapshot-{identity.name}-{number}", 13 * MIB)
        tree.file(f"{K3S}/server/token", text="K10lab::server:lab\n")
