"""Objects as encoded JSON, one global version counter, one event log a resource.

An object is encoded once, when it is written; its bytes begin with apiVersion, kind and ``metadata.resourceVersion``, so that a cheap change can
be stamped with a new version without decoding. Watchers subscribe and are handed the new events; nobody rescans the log.
"""

from __future__ import annotations

import asyncio
import bisect
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec

from coldtui.lab.apiserver.resources import Resource

Json = dict[str, Any]
Key = tuple[str, str]
"""Namespace (empty for cluster scope) and name."""

ADDED, MODIFIED, DELETED = b"ADDED", b"MODIFIED", b"DELETED"
SLOW_WATCHER_EVENTS = 20_000
"""A watcher that falls further behind is cut off, as the real server does, so that it cannot hold the past in memory."""

encode = msgspec.json.Encoder().encode
decode: Callable[[bytes], Any] = msgspec.json.Decoder().decode


class _Owner(msgspec.Struct, frozen=True):
    uid: str = ""


class _Meta(msgspec.Struct, frozen=True):
    uid: str = ""
    labels: dict[str, str] | None = None
    ownerReferences: tuple[_Owner, ...] | None = None


class _Probe(msgspec.Struct, frozen=True):
    metadata: _Meta


_probe = msgspec.json.Decoder(_Probe).decode


class Item:
    """One stored object: its bytes, and the few facts that selectors and garbage collection need."""

    __slots__ = ("fields", "key", "labels", "owners", "raw", "rv", "uid")

    def __init__(self, key: Key, rv: int, raw: bytes, uid: str, labels: dict[str, str] | None, owners: tuple[str, ...]) -> None:
        self.key, self.rv, self.raw, self.uid, self.labels, self.owners = key, rv, raw, uid, labels, owners
        self.fields: tuple[str, ...] | None = None
        """Values of the resource's selectable fields, read at the first field selector."""

    def decoded(self) -> Json:
        obj: Json = decode(self.raw)
        return obj


class Event:
    """A change: what the object became and what it was before."""

    __slots__ = ("item", "prev", "rv", "type")

    def __init__(self, rv: int, kind: bytes, item: Item, prev: Item | None) -> None:
        self.rv, self.type, self.item, self.prev = rv, kind, item, prev


class Subscription:
    """The events of one watcher that it has not taken yet."""

    __slots__ = ("_wake", "lost", "name", "namespace", "queue")

    def __init__(self, namespace: str, name: str) -> None:
        self.namespace, self.name = namespace, name
        self.queue: list[Event] = []
        self.lost = False
        """The watcher was too slow, or the log was cut: its stream must end."""
        self._wake: asyncio.Future[None] | None = None

    def offer(self, event: Event) -> None:
        namespace, name = event.item.key
        if (self.namespace and namespace != self.namespace) or (self.name and name != self.name):
            return
        if len(self.queue) >= SLOW_WATCHER_EVENTS:
            self.lost = True
            self.queue.clear()
        self.queue.append(event)
        self.poke()

    def poke(self) -> None:
        """Let a waiting ``wait`` return now."""
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    def take(self) -> list[Event]:
        taken, self.queue = self.queue, []
        return taken

    async def wait(self, seconds: float) -> None:
        """Return when there is something to take, when poked, or after ``seconds``."""
        if self.queue or self.lost:
            return
        loop = asyncio.get_running_loop()
        self._wake = loop.create_future()
        timer = loop.call_later(seconds, self.poke)
        try:
            await self._wake
        finally:
            timer.cancel()
            self._wake = None


class Collection:
    """All objects of one kind, their order, and the log of their changes."""

    def __init__(self, store: Store, resource: Resource) -> None:
        self.store = store
        self.resource = resource
        self.items: dict[Key, Item] = {}
        self._order: list[Key] | None = []
        self.log: deque[Event] = deque()
        self.floor = 0
        """Versions below this have left the log: a watch from one gets 410."""
        self.subscribers: set[Subscription] = set()
        version = resource.storage_version or resource.version
        self.api_version = f"{resource.group}/{version}" if resource.group else version
        self.prefix = b'{"apiVersion":%b,"kind":%b,"metadata":{"resourceVersion":"' % (encode(self.api_version), encode(resource.kind))

    def ordered(self) -> list[Key]:
        """All keys, sorted by namespace and name. Not to be changed by the caller."""
        if self._order is None:
            self._order = sorted(self.items)
        return self._order

    def select(self, namespace: str) -> list[Item]:
        """The items of a namespace (all of them for the empty one), sorted."""
        keys = self.ordered()
        if not namespace:
            return [self.items[k] for k in keys]
        low, high = bisect.bisect_left(keys, (namespace, "")), bisect.bisect_left(keys, (namespace + "\0", ""))
        return [self.items[k] for k in keys[low:high]]

    def since(self, version: int) -> list[Event]:
        """Events after a version, oldest first; the caller has checked ``floor``."""
        found: list[Event] = []
        for event in reversed(self.log):
            if event.rv <= version:
                break
            found.append(event)
        found.reverse()
        return found

    def at(self, version: int, namespace: str) -> list[Item]:
        """The items as they were at a version that is still in the log."""
        events = self.since(version)
        if not events:
            return self.select(namespace)
        past: dict[Key, Item | None] = {}
        for event in reversed(events):
            past[event.item.key] = event.prev
        found = {i.key: i for i in self.select(namespace)}
        for key, item in past.items():
            if namespace and key[0] != namespace:
                continue
            if item is None:
                found.pop(key, None)
            else:
                found[key] = item
        return [found[k] for k in sorted(found)]

    # --- writing

    def encode(self, obj: Json, rv: int) -> bytes:
        """The stored form: apiVersion, kind and the version first."""
        meta = {"resourceVersion": str(rv), **{k: v for k, v in obj["metadata"].items() if k != "resourceVersion"}}
        obj["metadata"] = meta
        rest = {k: v for k, v in obj.items() if k not in ("apiVersion", "kind", "metadata")}
        return encode({"apiVersion": self.api_version, "kind": self.resource.kind, "metadata": meta, **rest})

    def put(self, obj: Json) -> Item:
        """Create or replace; the object is given the next version (in place)."""
        meta = obj["metadata"]
        rv = self.store.next_version()
        raw = self.encode(obj, rv)
        owners = tuple(o.get("uid", "") for o in meta.get("ownerReferences") or ())
        item = Item((meta.get("namespace", ""), meta["name"]), rv, raw, meta.get("uid", ""), meta.get("labels") or None, owners)
        self._accept(item)
        return item

    def put_raw(self, prev: Item, raw: bytes) -> Item:
        """Replace an object's bytes where metadata did not change; ``raw`` begins as ``prev.raw`` does, with the old version."""
        rv = self.store.next_version()
        head = len(self.prefix)
        item = Item(prev.key, rv, b"%b%d%b" % (raw[:head], rv, raw[head + len(str(prev.rv)) :]), prev.uid, prev.labels, prev.owners)
        self._accept(item)
        return item

    def load(self, key: Key, body: bytes) -> Item:
        """Bulk path: take bytes that begin with ``prefix`` and version 0; the facts are read without decoding the rest."""
        rv = self.store.next_version()
        raw = b"%b%d%b" % (self.prefix, rv, body[len(self.prefix) + 1 :])
        meta = _probe(raw).metadata
        item = Item(key, rv, raw, meta.uid, meta.labels, tuple(o.uid for o in meta.ownerReferences or ()))
        self._accept(item, ordered=False)
        return item

    def _accept(self, item: Item, *, ordered: bool = True) -> None:
        prev = self.items.get(item.key)
        self.items[item.key] = item
        if prev is None:
            if not ordered:
                self._order = None
            elif self._order is not None:
                bisect.insort(self._order, item.key)
        self.store.index(self, item, prev)
        self._publish(Event(item.rv, ADDED if prev is None else MODIFIED, item, prev))

    def delete(self, key: Key) -> Item:
        """Remove an object; watchers see its last state under the version of the deletion."""
        prev = self.items.pop(key)
        if self._order is not None:
            at = bisect.bisect_left(self._order, key)
            del self._order[at]
        rv = self.store.next_version()
        head = len(self.prefix)
        raw = b"%b%d%b" % (prev.raw[:head], rv, prev.raw[head + len(str(prev.rv)) :])
        item = Item(key, rv, raw, prev.uid, prev.labels, prev.owners)
        self.store.index(self, None, prev)
        self._publish(Event(rv, DELETED, item, prev))
        return item

    def _publish(self, event: Event) -> None:
        self.log.append(event)
        if len(self.log) > self.store.history:
            self.floor = self.log.popleft().rv
        for subscriber in self.subscribers:
            subscriber.offer(event)
        self.store.announce(self, event)

    def compact(self) -> None:
        """Forget the past: watches and pages from before now get 410."""
        self.log.clear()
        self.floor = self.store.version
        for subscriber in self.subscribers:
            subscriber.lost = True
            subscriber.poke()

    def rewind(self, version: int) -> None:
        """Go back to the state at an older version, as after a restored datastore (as far as the log still knows it)."""
        state = self.at(version, "") if version >= self.floor else self.select("")
        for old in list(self.items.values()):
            self.store.index(self, None, old)
        self.items = {}
        head = len(self.prefix)
        for old in state:
            rv = min(old.rv, version)
            raw = b"%b%d%b" % (old.raw[:head], rv, old.raw[head + len(str(old.rv)) :])
            item = self.items[old.key] = Item(old.key, rv, raw, old.uid, old.labels, old.owners)
            self.store.index(self, item, None)
        self._order = None
        self.log.clear()
        self.floor = version


class Store:
    """All collections, the version counter and the indexes over owners."""

    def __init__(self, history: int = 8192) -> None:
        self.version = 1
        self.history = history
        self._base = 0
        """Events a resource remembers."""
        self.collections: dict[tuple[str, str], Collection] = {}
        self.uids: dict[str, tuple[Collection, Key]] = {}
        self.dependents: dict[str, dict[tuple[Collection, Key], None]] = {}
        self.listeners: list[Callable[[Collection, Event], None]] = []
        self.on_rewind: list[Callable[[], None]] = []
        """Told when objects changed without events."""

    def next_version(self) -> int:
        self.version += 1
        return self.version

    def collection(self, resource: Resource) -> Collection:
        """The collection of a kind; made when it is asked for the first time."""
        at = (resource.group, resource.plural)
        found = self.collections.get(at)
        if found is None:
            found = self.collections[at] = Collection(self, resource)
            found.floor = self._base
        return found

    def drop(self, group: str, plural: str) -> None:
        """Forget a custom kind; its watchers end."""
        gone = self.collections.pop((group, plural), None)
        if gone is not None:
            gone.compact()

    def announce(self, collection: Collection, event: Event) -> None:
        for listener in self.listeners:
            listener(collection, event)

    def index(self, collection: Collection, item: Item | None, prev: Item | None) -> None:
        """Keep uid -> object and owner -> dependents."""
        if item is not None and prev is not None and item.uid == prev.uid and item.owners == prev.owners:
            return
        if prev is not None:
            self.uids.pop(prev.uid, None)
            for owner in prev.owners:
                held = self.dependents.get(owner)
                if held is not None:
                    held.pop((collection, prev.key), None)
                    if not held:
                        del self.dependents[owner]
        if item is not None:
            self.uids[item.uid] = (collection, item.key)
            for owner in item.owners:
                self.dependents.setdefault(owner, {})[collection, item.key] = None

    def find(self, group: str, plural: str, namespace: str, name: str) -> Item | None:
        found = self.collections.get((group, plural))
        return found.items.get((namespace, name)) if found else None

    def items(self, group: str, plural: str, namespace: str = "") -> list[Item]:
        found = self.collections.get((group, plural))
        return found.select(namespace) if found else []

    def compact(self) -> None:
        """Forget the past of everything."""
        self._base = self.version
        for collection in self.collections.values():
            collection.compact()

    def rewind(self, back: int) -> int:
        """Take versions back by ``back``; returns the version that is now the newest."""
        target = max(1, self.version - back)
        for collection in self.collections.values():
            collection.rewind(target)
        self.version = target
        for told in self.on_rewind:
            told()
        return target


def load_lines(find: Callable[[str, str], Collection], objects: Iterable[bytes], stamp: str, new_uid: Callable[[], str]) -> Iterator[Item]:
    """Store many encoded objects; only their metadata is decoded. ``find`` maps apiVersion and kind to a collection."""
    split = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
    cache: dict[tuple[bytes, bytes], Collection] = {}
    for given in objects:
        line = given
        if not line.strip():
            continue
        if b'": ' in line or b', "' in line:
            # Written with blanks: the stored form has none, as changes of bytes rely on it. (A false alarm from within a text costs time only.)
            line = msgspec.json.format(line, indent=-1)
        parts = split(line)
        named = (bytes(parts.pop("apiVersion")), bytes(parts.pop("kind")))
        collection = cache.get(named)
        if collection is None:
            collection = cache[named] = find(decode(named[0]), decode(named[1]))
        meta: Json = decode(bytes(parts.pop("metadata")))
        meta.pop("resourceVersion", None)
        meta.setdefault("uid", new_uid())
        meta.setdefault("creationTimestamp", stamp)
        if collection.resource.generation:
            meta.setdefault("generation", 1)
        meta = {"resourceVersion": "0", **meta}
        body = encode({"apiVersion": collection.api_version, "kind": collection.resource.kind, "metadata": meta, **parts})
        yield collection.load((meta.get("namespace", ""), meta["name"]), body)
