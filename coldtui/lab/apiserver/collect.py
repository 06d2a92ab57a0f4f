"""Garbage collection by owner, foreground and orphan finalizers, and the emptying of terminating namespaces, in the background."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import Any

from coldtui.lab.apiserver.errors import ApiError
from coldtui.lab.apiserver.objects import FOREGROUND, ORPHAN, Objects, Write
from coldtui.lab.apiserver.store import ADDED, DELETED, Collection, Event, Key

Json = dict[str, Any]
_log = logging.getLogger(__name__)
REMEMBERED_OWNERS = 10_000
"""Owners that were deleted lately: what is created for one of them afterwards is collected too."""


class Collector:
    """Follows deletions and does what they entail; one task works off what has piled up."""

    def __init__(self, objects: Objects) -> None:
        self._objects, self._store = objects, objects.store
        self._gone: dict[str, None] = {}
        self._orphans: deque[tuple[Collection, Key]] = deque()
        self._waiting: dict[tuple[Collection, Key], None] = {}
        self._namespaces: dict[str, None] = {}
        self._wake = asyncio.Event()
        self._store.listeners.append(self._on_event)
        objects.on_terminating.append(self._on_terminating)

    def _on_event(self, collection: Collection, event: Event) -> None:
        item = event.item
        if event.type == DELETED:
            if item.uid in self._store.dependents:
                self._gone[item.uid] = None
                if len(self._gone) > REMEMBERED_OWNERS:
                    del self._gone[next(iter(self._gone))]
                self._orphans.extend(self._store.dependents[item.uid])
                self._wake.set()
            for owner in item.owners:
                held = self._store.uids.get(owner)
                if held is not None and held in self._waiting:
                    self._wake.set()
            if item.key[0] in self._namespaces:
                self._wake.set()
        elif event.type == ADDED and any(o in self._gone for o in item.owners):
            self._orphans.append((collection, item.key))
            self._wake.set()

    def _on_terminating(self, collection: Collection, key: Key) -> None:
        if collection.resource.kind == "Namespace" and not collection.resource.group:
            self._namespaces[key[1]] = None
        self._waiting[collection, key] = None
        self._wake.set()

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            await asyncio.sleep(0)
            self.work()

    def work(self) -> None:
        """One round over everything that waits."""
        while self._orphans:
            self._collect(*self._orphans.popleft())
        for at in list(self._waiting):
            if not self._settle(*at):
                self._waiting.pop(at, None)
        for name in list(self._namespaces):
            self._empty(name)

    def _delete(self, collection: Collection, key: Key, options: Json) -> None:
        try:
            self._objects.delete(collection.resource, *key, options, Write("kube-controller-manager"))
        except ApiError as error:
            _log.warning("collecting %s %s: %s", collection.resource.plural, key, error.message)

    def _collect(self, collection: Collection, key: Key) -> None:
        """Delete an object whose owners are all gone."""
        item = collection.items.get(key)
        if item is None or any(o in self._store.uids for o in item.owners):
            return
        self._delete(collection, key, {"propagationPolicy": "Background"})

    def _settle(self, collection: Collection, key: Key) -> bool:
        """Take the collector's finalizers off when their work is done; returns whether there is still something to wait for."""
        item = collection.items.get(key)
        if item is None:
            return False
        obj = item.decoded()
        held = obj["metadata"].get("finalizers") or []
        dependents = list(self._store.dependents.get(item.uid, ()))
        if ORPHAN in held:
            for other, at in dependents:
                self._release(other, at, item.uid)
            self._finish(collection, obj, ORPHAN)
        elif FOREGROUND in held:
            for other, at in dependents:
                dependent = other.items[at]
                if b'"deletionTimestamp"' not in dependent.raw:
                    self._delete(other, at, {"propagationPolicy": "Foreground"})
            if self._store.dependents.get(item.uid):
                return True
            self._finish(collection, obj, FOREGROUND)
        return False

    def _release(self, collection: Collection, key: Key, owner: str) -> None:
        obj = collection.items[key].decoded()
        kept = [o for o in obj["metadata"].get("ownerReferences") or () if o.get("uid") != owner]
        obj["metadata"]["ownerReferences"] = kept
        if not kept:
            del obj["metadata"]["ownerReferences"]
        collection.put(obj)

    def _finish(self, collection: Collection, obj: Json, finalizer: str) -> None:
        meta = obj["metadata"]
        meta["finalizers"] = [f for f in meta["finalizers"] if f != finalizer]
        key = (meta.get("namespace", ""), meta["name"])
        if meta["finalizers"] or meta.get("deletionGracePeriodSeconds"):
            if not meta["finalizers"]:
                del meta["finalizers"]
            collection.put(obj)
        else:
            collection.delete(key)

    def _empty(self, name: str) -> None:
        """Delete what a terminating namespace holds; when nothing is left, the namespace itself."""
        left = False
        for collection in list(self._store.collections.values()):
            if not collection.resource.namespaced:
                continue
            for item in collection.select(name):
                left = True
                if b'"deletionTimestamp"' not in item.raw:
                    self._delete(collection, item.key, {"propagationPolicy": "Background"})
        if left and any(c.select(name) for c in self._store.collections.values() if c.resource.namespaced):
            return
        self._namespaces.pop(name, None)
        namespaces = self._store.collections[("", "namespaces")]
        found = namespaces.items.get(("", name))
        if found is None:
            return
        obj = found.decoded()
        obj["spec"] = {"finalizers": []}
        if obj["metadata"].get("finalizers"):
            namespaces.put(obj)
        else:
            namespaces.delete(("", name))
