"""Container images of a host: those that its pods use, and those that releases left behind."""

from __future__ import annotations

import uuid
import zlib
from collections.abc import Iterable
from dataclasses import dataclass

MIB = 1 << 20
LEFT_BEHIND = (
    *(f"registry.cold.example/cold-backend:v1.5.{n}" for n in (166, 167, 168, 169, 170)),
    *(f"registry.cold.example/customer-portal:v2.0.{n}" for n in (6, 7, 8)),
    "ghcr.io/cloudnative-pg/postgresql:18.0-system-bookworm", "longhornio/longhorn-engine:v1.11.1", "longhornio/longhorn-instance-manager:v1.11.1",
    "longhornio/longhorn-manager:v1.11.1", "docker.io/grafana/grafana:12.0.2", "rancher/mirrored-library-traefik:3.3.6",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Image:
    """One image in containerd's store."""

    reference: str
    """`repository:tag`."""
    size: int
    """Bytes on disk."""

    @property
    def id(self) -> str:
        return uuid.uuid5(uuid.NAMESPACE_URL, self.reference).hex * 2

    @property
    def digest(self) -> str:
        return f"sha256:{uuid.uuid5(uuid.NAMESPACE_OID, self.reference).hex * 2}"

    @property
    def repository(self) -> str:
        return self.reference.partition("@")[0].rpartition(":")[0] or self.reference

    @property
    def tag(self) -> str:
        name, colon, tag = self.reference.partition("@")[0].rpartition(":")
        return tag if colon and name else "latest"


def pulled(reference: str) -> Image:
    """An image of the size that its name calls for: the same on every host."""
    return Image(reference, (20 + zlib.crc32(reference.encode()) % 330) * MIB)


def store(in_use: Iterable[str], total: int) -> list[Image]:
    """What lies in the store of a host: images in use, and old ones that fill it up to ``total`` bytes (at least 40 MiB each)."""
    used = [pulled(reference) for reference in sorted(set(in_use))]
    rest = max(0, total - sum(image.size for image in used))
    old = [reference for reference in LEFT_BEHIND if reference not in {image.reference for image in used}]
    weights = [1 + zlib.crc32(reference.encode()) % 5 for reference in old]
    return used + [Image(reference, max(40 * MIB, rest * weight // sum(weights))) for reference, weight in zip(old, weights, strict=True)]
