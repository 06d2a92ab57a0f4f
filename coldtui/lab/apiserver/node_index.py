"""Which pods are on which node: built at the first question, then kept by the store's events."""

from __future__ import annotations

from coldtui.lab.apiserver.selectors import FieldReader
from coldtui.lab.apiserver.store import DELETED, Collection, Event, Item, Key, Store

_PATHS = ("spec.nodeName",)


class NodeIndex:
    """Pods by node, so that the summary of one node among a thousand does not look at every pod."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._read = FieldReader(_PATHS).values
        self._pods: dict[str, dict[Key, None]] | None = None
        store.listeners.append(self._on_event)
        store.on_rewind.append(self._forget)

    def _forget(self) -> None:
        self._pods = None

    def _on_event(self, collection: Collection, event: Event) -> None:
        if self._pods is None or collection.resource.plural != "pods" or collection.resource.group:
            return
        item, prev = event.item, event.prev
        if prev is not None:
            old = self._read(prev.raw)[0]
            if event.type != DELETED and self._read(item.raw)[0] == old:
                return
            self._pods.get(old, {}).pop(item.key, None)
        if event.type != DELETED:
            self._pods.setdefault(self._read(item.raw)[0], {})[item.key] = None

    def on(self, node: str) -> list[Item]:
        """The pods of a node (of none, for the empty name)."""
        collection = self._store.collections.get(("", "pods"))
        if collection is None:
            return []
        if self._pods is None:
            self._pods = {}
            for item in collection.items.values():
                self._pods.setdefault(self._read(item.raw)[0], {})[item.key] = None
        return [collection.items[k] for k in self._pods.get(node, ())]
