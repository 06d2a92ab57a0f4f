"""What can be cleaned, each with what it frees; worked out from what commands said. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ...domain.values import dataclass

K3S = "/var/lib/rancher/k3s"
DATA, AIRGAP = f"{K3S}/data", f"{K3S}/agent/images"
JOURNALS = ("/var/log/journal", "/run/log/journal")
APT = "/var/cache/apt/archives"
WORTH_B = 1 << 20
"""Less is not worth an act."""
RELEASE = re.compile(r"[0-9a-f]{64}")
ARCHIVE = re.compile(r"[A-Za-z0-9_+-][A-Za-z0-9_.+-]*\.(?:tar|tar\.gz|tgz|tar\.zst|tzst|tar\.bz2|tar\.lz4)")


@dataclass(frozen=True, slots=True)
class DiskItem:
    """One thing that can be cleaned."""

    name: str
    """`images`, `journal`, `apt`, `data` or `airgap`."""
    title: str
    what: str = ""
    """How many of what: `14 of 31 images`."""
    frees_b: int | None = None
    """About so much; None: not evaluated, and `reason` says why."""
    reason: str = ""
    paths: tuple[str, ...] = ()
    """What is removed by name."""

    @property
    def worth(self) -> bool:
        return self.frees_b is not None and self.frees_b >= WORTH_B


@dataclass(frozen=True, slots=True)
class FileSystem:
    target: str
    """Where it is mounted."""
    size_b: int
    used_b: int
    available_b: int

    @property
    def fraction(self) -> float:
        """As df says it: reserved blocks left out."""
        return self.used_b / max(1, self.used_b + self.available_b)


def file_systems(lines: Iterable[str]) -> dict[str, FileSystem]:
    """From `df -B1 --output=size,used,avail,target`, each once."""
    found: dict[str, FileSystem] = {}
    for line in lines:
        parts = line.split(None, 3)
        if len(parts) == 4 and all(part.isdecimal() for part in parts[:3]):
            found[parts[3]] = FileSystem(parts[3], *map(int, parts[:3]))
    return found


def sizes(lines: Iterable[str]) -> dict[str, int]:
    """From `du -s -B1`: path -> bytes."""
    found = {}
    for line in lines:
        number, path = (*line.split(None, 1), "", "")[:2]
        if number.isdecimal() and path:
            found[path] = int(number)
    return found


def unused_images(images: str, containers: str) -> tuple[int, int, int]:
    """(how many no container uses, of how many, their bytes) from two answers of `crictl -o json`.

    An image counts once, whatever its names. Layers that it shares with others stay, so that less may come free. Raises ValueError.
    """
    every, used = _list(images, "images"), _used(_list(containers, "containers"))
    loose = [i for i in every if not i.get("pinned") and not (_names(i) & used)]
    return len(loose), len(every), sum(_int(image.get("size")) for image in loose)


def _list(text: str, key: str) -> list[Mapping[str, Any]]:
    made = json.loads(text)
    found = made.get(key) if isinstance(made, Mapping) else None
    if not isinstance(found, list) or not all(isinstance(item, Mapping) for item in found):
        raise ValueError(f"no list of {key}")
    return found


def _used(containers: Iterable[Mapping[str, Any]]) -> set[str]:
    found = set[str]()
    for container in containers:
        spec = container.get("image")
        for name in (container.get("imageRef"), container.get("imageId"), spec.get("image") if isinstance(spec, Mapping) else None):
            if isinstance(name, str) and name:
                found |= {name, name.removeprefix("sha256:")}
    return found


def _names(image: Mapping[str, Any]) -> set[str]:
    identity = str(image.get("id", ""))
    names = {identity, identity.removeprefix("sha256:")}
    for key in ("repoTags", "repoDigests"):
        names |= {str(name) for name in image.get(key) or ()}
    return names - {""}


def _int(value: Any) -> int:
    text = str(value or 0)
    return int(text) if text.isdecimal() else 0


def stale_releases(names: Sequence[str], current: str, previous: str) -> tuple[str, ...]:
    """Unpacked releases in `data` that neither link names. `current`, `previous`: where the links lead. Raises ValueError when that is not clear."""
    kept = {current.rstrip("/").rpartition("/")[2], previous.rstrip("/").rpartition("/")[2]}
    if current.rpartition("/")[2] not in names or RELEASE.fullmatch(current.rpartition("/")[2]) is None:
        raise ValueError(f"where {DATA}/current leads is not clear")
    return tuple(f"{DATA}/{name}" for name in names if RELEASE.fullmatch(name) and name not in kept)


def archives(names: Sequence[str]) -> tuple[str, ...]:
    return tuple(f"{AIRGAP}/{name}" for name in names if ARCHIVE.fullmatch(name))
