"""The World of the last session, kept in a file so that a start shows something at once, with its age.

A cache: anything odd about it is logged and it is left alone. Never pickle: a file that anyone may have written must not run code.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import re
import tempfile
from dataclasses import fields, is_dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import msgspec

from coldtui.domain.values import dataclass

from .. import __version__
from ..domain.kinds import EVENTS, KINDS, NODE_STATS, PODS
from ..domain.nodes import NodeStats
from ..domain.readings import Known, Reading
from ..domain.world import Shelf, SiteFacts, World

log = logging.getLogger("coldtui.live")

FORMAT = 1
PODS_AT_MOST = 5_000
"""More pods are left out, so that saving stays quick; they are listed first anyway."""
MODE = 0o640
INDEX = "worlds.json"
_LEFT_OUT = frozenset({EVENTS.name, NODE_STATS.name})


class _File(msgspec.Struct):
    format: int
    program: str
    shape: str
    """Fingerprint of the fields of everything saved."""
    site: SiteFacts
    at: datetime
    as_of: dict[str, datetime]
    shelves: dict[str, msgspec.Raw]
    stats: dict[str, tuple[NodeStats, str, datetime]]


@dataclass(frozen=True, slots=True)
class Saved:
    """What was read back."""

    site: SiteFacts
    at: datetime
    as_of: dict[str, datetime]
    shelves: dict[str, dict[str, Any]]
    stats: dict[str, Reading[NodeStats]]


@lru_cache(maxsize=1)
def shelf_types() -> dict[str, type]:
    """The type of the objects of each kind."""
    hints = get_type_hints(World)
    return {name: get_args(hints[name])[0] for name in KINDS if get_origin(hints[name]) is Shelf}


@lru_cache(maxsize=1)
def shape() -> str:
    """A fingerprint of the fields, so that a file of another version is not misread."""
    seen: dict[str, list[str]] = {}

    def visit(type_: Any) -> None:
        for part in get_args(type_):
            visit(part)
        if is_dataclass(type_) and isinstance(type_, type) and type_.__qualname__ not in seen:
            hints = get_type_hints(type_)
            seen[type_.__qualname__] = [f"{f.name}:{hints[f.name]}" for f in fields(type_)]
            for f in fields(type_):
                visit(hints[f.name])

    for found in (*shelf_types().values(), NodeStats, SiteFacts):
        visit(found)
    return hashlib.sha256(json.dumps(seen, sort_keys=True).encode()).hexdigest()[:16]


class SavedWorlds:
    """The folder with the files. Blocking; raises nothing for a file that is missing or odd."""

    def __init__(self, folder: Path, server: str, context: str) -> None:
        """`server` and `context` find the cluster's UID before the cluster can be asked."""
        self._folder = folder
        self.server = server
        self._context = context

    def load(self) -> Saved | None:
        """The saved World of this site, or None. Logs why."""
        try:
            uid = self._index().get(self._index_key())
            if not uid:
                return None
            data = self._path(uid).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            log.warning("saved World not read: %s", error)
            return None
        try:
            return self._decode(data, uid)
        except (msgspec.DecodeError, msgspec.ValidationError, ValueError, TypeError) as error:
            log.warning("saved World ignored: not readable (%s)", error)
            return None

    def _decode(self, data: bytes, uid: str) -> Saved | None:
        file = msgspec.msgpack.decode(data, type=_File)
        if (file.format, file.program, file.shape) != (FORMAT, __version__, shape()):
            log.info("saved World ignored: written by another version")
            return None
        if file.site.cluster_uid != uid:
            log.warning("saved World ignored: it is of another cluster")
            return None
        types = shelf_types()
        shelves: dict[str, dict[str, Any]] = {}
        for name, raw in file.shelves.items():
            if name in types and name in file.as_of:
                items: list[Any] = msgspec.msgpack.decode(raw, type=list[types[name]])  # type: ignore[valid-type]
                shelves[name] = {item.key: item for item in items}
        stats: dict[str, Reading[NodeStats]] = {node: Known(value, source, at) for node, (value, source, at) in file.stats.items()}
        return Saved(file.site, file.at, file.as_of, shelves, stats)

    def save(self, world: World) -> bool:
        """Write the World; False (and a word in the log) when that is not possible."""
        if not world.site.cluster_uid:
            return False
        try:
            data = self._encode(world)
            self._folder.mkdir(parents=True, exist_ok=True)
            self._write(self._path(world.site.cluster_uid), data)
            index = self._index()
            if index.get(self._index_key()) != world.site.cluster_uid:
                index[self._index_key()] = world.site.cluster_uid
                self._write(self._folder / INDEX, json.dumps(index, indent=1).encode())
        except OSError as error:
            log.warning("World not saved: %s", error)
            return False
        return True

    def _encode(self, world: World) -> bytes:
        shelves: dict[str, msgspec.Raw] = {}
        as_of: dict[str, datetime] = {}
        for name in shelf_types():
            state = world.sources[name]
            if name in _LEFT_OUT or state.as_of is None or state.partial:
                continue
            items = world.shelf(name).items
            if name == PODS.name and len(items) > PODS_AT_MOST:
                log.info("saved World leaves out %d pods: more than %d", len(items), PODS_AT_MOST)
                continue
            try:
                shelves[name] = msgspec.Raw(msgspec.msgpack.encode(list(items.values())))
            except TypeError as error:
                log.error("saved World leaves out %s: %s", name, error)
                continue
            as_of[name] = state.as_of
        stats = {node: (r.value, r.source, r.as_of) for node, r in world.node_stats.items() if isinstance(r, Known)}
        known = world.sources[NODE_STATS.name].as_of
        if known is not None:
            as_of[NODE_STATS.name] = known
        return msgspec.msgpack.encode(_File(FORMAT, __version__, shape(), world.site, world.at, as_of, shelves, stats))

    def _write(self, path: Path, data: bytes) -> None:
        """All or nothing, by rename."""
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=self._folder)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                os.fchmod(file.fileno(), MODE)
            os.replace(temporary, path)
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise

    def _index(self) -> dict[str, str]:
        try:
            found = msgspec.json.decode((self._folder / INDEX).read_bytes(), type=dict[str, str])
        except FileNotFoundError:
            return {}
        except msgspec.DecodeError as error:
            log.warning("index of saved Worlds ignored: %s", error)
            return {}
        return found

    def _index_key(self) -> str:
        return f"{self.server} {self._context}"

    def _path(self, uid: str) -> Path:
        return self._folder / f"world-{re.sub('[^A-Za-z0-9-]', '_', uid)}.msgpack"
