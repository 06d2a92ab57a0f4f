"""Folds what the threads bring into shelves, and builds Worlds from them.

Folding happens in the thread that brought the news, under one lock; a World is built on the face's loop, at most some ten times a second.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from threading import Lock
from typing import Any

from immutables import Map, MapMutation

from ..domain.kinds import KINDS, LEASES, NODES, PODS
from ..domain.nodes import LEASE_STALE, Lease, NodeLoad, NodeStats
from ..domain.pods import RECENT_RESTART, Pod, PodCounts
from ..domain.readings import Reading, SourceState, Trouble
from ..domain.runboard import JOURNAL, RunBoard
from ..domain.sources import KUBE
from ..domain.world import Shelf, SiteFacts, Trend, World
from ..ports import Clock

_FRESHEN = timedelta(seconds=5)
"""The age of a live source is brought up to date in the World in such steps only, so that a quiet one can share its state between revisions."""
_OWN = frozenset({"forbidden", "not-installed"})
"""Troubles that are as true while the API is lost."""


def is_quiet(pod: Pod, now: datetime) -> bool:
    """Whether no screen of troubles needs this pod: calm, or calm but for a restart long ago."""
    if pod.calm:
        return True
    last = pod.last_restart
    return last is not None and now - last >= RECENT_RESTART and replace(pod, last_restart=None).calm


class Builder:
    """Owns the state between two Worlds. Every method may be called from any thread; those of one kind by one thread at a time."""

    def __init__(self, clock: Clock, site: SiteFacts, changed: Callable[[bool], None]) -> None:
        """`changed(urgent)` is called, outside the lock, when there is something to publish."""
        self._clock = clock
        self._changed = changed
        self._lock = Lock()
        self.world = World(0, clock.now(), site)
        self._fields: dict[str, Any] = {}
        self._shelves: dict[str, Shelf[Any]] = {name: getattr(self.world, name) for name in KINDS if name != "node_stats"}
        self._sources: dict[str, SourceState] = dict(self.world.sources)
        self._active: set[str] = {KUBE}
        self._open: set[str] = set()
        self._opening: dict[str, int] = {}
        self._attempt = 0
        self._holds: dict[str, Trouble] = {}
        self._line_ok: datetime | None = None
        self._lost: Trouble | None = None
        self._lost_since: datetime | None = None
        self._loads: dict[str, list[int]] = {}
        self._by_node: Map[str, Map[str, Pod]] = Map()
        self._restless: Map[str, Pod] = Map()
        self._counts = [0, 0, 0, 0]
        self._dirty_nodes: set[str] = set()
        self._sources_dirty = False
        self._pods_dirty = False

    # Publishing

    def publish(self) -> World | None:
        """The next World, or None when nothing changed."""
        now = self._clock.now()
        with self._lock:
            if not (self._fields or self._sources_dirty or self._pods_dirty):
                return None
            fields, self._fields = self._fields, {}
            if self._pods_dirty:
                fields.update(self._pod_fields())
            for name in self._open:
                self._freshen(name)
            if self._sources_dirty:
                fields["sources"] = Map(self._sources)
                self._sources_dirty = False
            self.world = replace(self.world, revision=self.world.revision + 1, at=now, **fields)
            return self.world

    def _pod_fields(self) -> dict[str, Any]:
        loads = self._fields_loads().finish()
        total, running, pending, finished = self._counts
        self._pods_dirty = False
        return {
            "node_loads": loads,
            "pods_of_node": self._by_node,
            "restless_pods": self._restless,
            "pod_counts": PodCounts(total, running, pending, finished, len(self._restless)),
        }

    def _fields_loads(self) -> MapMutation[str, NodeLoad]:
        loads = self.world.node_loads.mutate()
        for node in self._dirty_nodes:
            numbers = self._loads.get(node)
            if numbers is not None:
                loads[node] = NodeLoad(*numbers)
            elif node in loads:
                del loads[node]
        self._dirty_nodes.clear()
        return loads

    # Objects

    def empty(self, kind: str) -> bool:
        return not self._shelves[kind].items

    def count(self, kind: str) -> int:
        return len(self._shelves[kind].items)

    def arriving(self, kind: str) -> bool:
        """Whether the first list of a kind that is read is still on its way."""
        state = self._sources[kind]
        return kind in self._active and state.trouble is None and (state.as_of is None or state.partial)

    def items(self, kind: str) -> Map[str, Any]:
        """What is known of a kind now, a little ahead of the World."""
        return self._shelves[kind].items

    def fold(self, kind: str, changed: Mapping[str, Any], gone: Iterable[str], *, live: bool = False, partial: bool = False) -> None:
        """Changes of a watch, or the first rows of a list. In the same revision the source becomes `live`, or live and `partial`."""
        with self._lock:
            urgent = self._apply(kind, changed, gone)
            if (live or partial) and self._live(kind, partial=partial):
                urgent = True
        if urgent is not None:
            self._changed(urgent)

    def swap(self, kind: str, items: Mapping[str, Any], *, live: bool = False) -> None:
        """A whole list, at once: what is not in it is gone. In the same revision the source becomes `live`."""
        while True:
            shelf = self._shelves[kind]
            known = shelf.items
            changed = {}
            for key, new in items.items():
                old = known.get(key)
                if old is not new and (old is None or old != new):
                    changed[key] = new
            gone = [key for key in known if key not in items]
            with self._lock:
                if self._shelves[kind] is not shelf:
                    continue  # cleared meanwhile
                urgent = self._apply(kind, changed, gone)
                if live and self._live(kind, listed=True):
                    urgent = True
            break
        if urgent is not None:
            self._changed(urgent)

    def clear(self) -> None:
        """Forget all objects: they are of another cluster."""
        with self._lock:
            for name, shelf in self._shelves.items():
                self._apply(name, {}, list(shelf.items))
            for state in list(self._sources.values()):
                if state.name not in (KUBE, JOURNAL):
                    self._set(replace(state, as_of=None, partial=False, saved=False))
            self._fields["node_stats"] = Map()
            self._fields["trends"] = Map()
        self._changed(True)

    def _apply(self, kind: str, changed: Mapping[str, Any], gone: Iterable[str]) -> bool | None:
        """Returns whether it is urgent to show; None when nothing changed."""
        shelf = self._shelves[kind]
        items = shelf.items.mutate()
        now = self._clock.now()
        touched = moved = urgent = False
        pods = _PodFold(self, now) if kind == PODS.name else None
        leases = kind == LEASES.name
        for key, value in changed.items():
            old = items.get(key)
            new = value
            if leases:
                new, late = _observe(old, value, now)
                urgent = urgent or late
            if old is new or (old is not None and old == new):
                continue
            touched = True
            moved = moved or old is None
            items[key] = new
            if pods is not None:
                pods.turn(key, old, new)
        for key in gone:
            old = items.pop(key, None)
            if old is None:
                continue
            touched = moved = True
            if pods is not None:
                pods.turn(key, old, None)
        if not touched:
            return None
        if pods is not None:
            pods.finish()
        fresh: Shelf[Any] = Shelf(items.finish(), shelf.roster + moved)
        self._shelves[kind] = fresh
        self._fields[kind] = fresh
        if kind == NODES.name and moved:
            self._forget_stats(fresh.items)
        return urgent or moved or not leases

    def _forget_stats(self, nodes: Map[str, Any]) -> None:
        stats = self._fields.get("node_stats", self.world.node_stats)
        left = {name: reading for name, reading in stats.items() if name in nodes}
        if len(left) != len(stats):
            self._fields["node_stats"] = Map(left)

    def sweep(self) -> None:
        """Pods whose last restart is long ago leave the restless ones."""
        now = self._clock.now()
        with self._lock:
            quiet = [key for key, pod in self._restless.items() if is_quiet(pod, now)]
            for key in quiet:
                self._restless = self._restless.delete(key)
            self._pods_dirty = self._pods_dirty or bool(quiet)
        if quiet:
            self._changed(True)

    def stats(self, readings: Mapping[str, Reading[NodeStats]]) -> None:
        """Summaries of kubelets; nodes that are not named keep their reading."""
        with self._lock:
            old: Map[str, Reading[NodeStats]] = self._fields.get("node_stats", self.world.node_stats)
            nodes = self._shelves[NODES.name].items
            new = old.update({name: reading for name, reading in readings.items() if name in nodes})
            if new == old:
                return
            self._fields["node_stats"] = new
        self._changed(True)

    def trends(self, trends: Map[str, Trend]) -> None:
        with self._lock:
            self._fields["trends"] = trends
        self._changed(True)

    def database(self, urgent: bool, **fields: Any) -> None:
        """What the servers of the site's database say: whole fields of the World (`pg_sql`, `pg_managers`, ...)."""
        with self._lock:
            self._fields.update(fields)
        self._changed(urgent)

    def runs(self, board: RunBoard) -> None:
        """What the journal has now."""
        with self._lock:
            self._fields["runs"] = board
            self._set(SourceState(JOURNAL, board.as_of, board.trouble, board.since))
        self._changed(True)

    def site(self, site: SiteFacts) -> None:
        with self._lock:
            self._fields["site"] = site
        self._changed(True)

    # Sources

    def activate(self, names: Iterable[str]) -> None:
        """These sources are being read; the others stay as they are."""
        with self._lock:
            self._active.update(names)
            if self._lost is not None:
                self._spread()

    def state(self, name: str) -> SourceState:
        """Where a source stands now, a little ahead of the World."""
        return self._sources[name]

    def live(self, name: str, *, partial: bool = False, listed: bool = False) -> None:
        """`name` was just read. `listed`: as a whole, so that nothing of a saved World is left."""
        with self._lock:
            changed = self._live(name, partial=partial, listed=listed)
        if changed:
            self._changed(True)

    def _live(self, name: str, *, partial: bool = False, listed: bool = False) -> bool:
        """Under the lock. Returns whether that is news."""
        now = self._clock.now()
        self._opening.pop(name, None)
        state = self._sources[name]
        if self._lost is not None and name in self._active:
            return False  # a last word from a line that is already given up; the reopened one will say it again
        if not KINDS[name].polled:
            self._open.add(name)
        hold = self._holds.get(name)
        saved = state.saved and not (listed or partial)
        still = partial or (state.partial and not listed)
        if state.as_of is not None and (state.trouble, state.partial, state.saved) == (hold, still, saved):
            if now - state.as_of >= _FRESHEN:  # shown with the next revision, makes none
                self._sources[name] = replace(state, as_of=now)
                self._sources_dirty = self._sources_dirty or bool(self._fields)
            return False
        since = (state.since or now) if hold else None
        self._set(SourceState(name, now, hold, since, None, still, saved, state.restarts))
        return True

    def opening(self, name: str) -> int:
        """A watch is being opened; returns the attempt for `settle`."""
        with self._lock:
            self._attempt += 1
            self._opening[name] = self._attempt
            return self._attempt

    def settle(self, name: str, attempt: int) -> None:
        """The watch that was opened as `attempt` has neither failed nor spoken for a while: it is live."""
        with self._lock:
            mine = self._opening.get(name) == attempt
        if mine:
            self.live(name)

    def closed(self, name: str) -> None:
        """The watch of `name` is not open any more; whether that is a trouble shows the next try."""
        with self._lock:
            self._freshen(name)
            self._open.discard(name)
            self._opening.pop(name, None)

    def troubled(self, name: str, trouble: Trouble, retry_in_s: float | None = None) -> None:
        now = self._clock.now()
        with self._lock:
            self._freshen(name)
            self._open.discard(name)
            self._opening.pop(name, None)
            state = self._sources[name]
            if self._lost is not None and trouble.kind not in _OWN and name != KUBE:
                return  # one word for the line is enough
            retry_at = None if retry_in_s is None else now + timedelta(seconds=retry_in_s)
            said = replace(state, trouble=trouble, since=state.since or now, retry_at=retry_at)
            if said == state:
                return
            self._set(said)
        self._changed(True)

    def fault(self, name: str, trouble: Trouble | None) -> None:
        """What reads no kind of its own is a source only while it fails; None: it works."""
        with self._lock:
            old = self._sources.get(name)
            if trouble is None and old is None:
                return
            if trouble is None:
                del self._sources[name]
                self._sources_dirty = True
            else:
                since = old.since if old is not None else None
                self._set(SourceState(name, None, trouble, since or self._clock.now()))
        self._changed(True)

    @property
    def line_ok(self) -> datetime | None:
        """When the last heartbeat came back; None: none did."""
        return self._line_ok

    def hold(self, name: str, trouble: Trouble | None) -> None:
        """Keep `trouble` on a source though it is read again; None lets it go with the next word."""
        with self._lock:
            if trouble is None:
                self._holds.pop(name, None)
            else:
                self._holds[name] = trouble

    def release(self, name: str, trouble: Trouble) -> None:
        """End a hold that has been shown long enough."""
        with self._lock:
            if self._holds.get(name) is not trouble:
                return
            del self._holds[name]
            state = self._sources[name]
            if state.trouble is not trouble or name not in self._open:
                return
            self._set(replace(state, trouble=None, since=None, retry_at=None))
        self._changed(True)

    def restarted(self, name: str) -> None:
        with self._lock:
            state = self._sources[name]
            self._set(replace(state, restarts=state.restarts + 1))
        self._changed(True)

    def line_good(self) -> None:
        """A heartbeat came back. A quiet watch on a healthy line is current; that alone makes no revision."""
        now = self._clock.now()
        with self._lock:
            self._line_ok = now
            state = self._sources[KUBE]
            back = self._lost is not None
            self._lost = None
            if back:
                self._renew_leases(now)
            if state.trouble is None and state.as_of is not None and not back:
                if now - state.as_of >= _FRESHEN:
                    self._sources[KUBE] = replace(state, as_of=now)
                    self._sources_dirty = self._sources_dirty or bool(self._fields)
                return
            self._set(replace(state, as_of=now, trouble=None, since=None, retry_at=None))
        self._changed(True)

    def line_lost(self, trouble: Trouble, since: datetime) -> None:
        """Nothing that comes over the line is current since `since`."""
        with self._lock:
            if self._lost == trouble:
                return
            self._lost, self._lost_since = trouble, since
            for name in self._open:
                self._freshen(name)
            self._open.clear()
            self._opening.clear()
            self._set(replace(self._sources[KUBE], trouble=trouble, since=since, retry_at=None))
            self._spread()
        self._changed(True)

    def _spread(self) -> None:
        assert self._lost is not None
        refused = self._lost.kind == "unauthorized"
        words = self._lost.words if refused else f"the Kubernetes API does not answer: {self._lost.words}"
        lost = Trouble("unauthorized" if refused else "lost", words, self._lost.hint)
        for name in self._active:
            state = self._sources[name]
            if name != KUBE and (state.trouble is None or state.trouble.kind not in _OWN):
                self._set(replace(state, trouble=lost, since=state.since or self._lost_since, retry_at=None))

    def _renew_leases(self, now: datetime) -> None:
        """An outage of the API says nothing about the nodes: their leases count from its end."""
        leases = self._shelves[LEASES.name]
        if leases.items:
            fresh = Shelf(Map({key: replace(lease, observed=now) for key, lease in leases.items.items()}), leases.roster)
            self._shelves[LEASES.name] = self._fields[LEASES.name] = fresh

    def _freshen(self, name: str) -> None:
        """Bring the age of an open watch up to the last good heartbeat."""
        state = self._sources[name]
        if name in self._open and self._line_ok is not None and state.as_of is not None and self._line_ok > state.as_of:
            self._set(replace(state, as_of=self._line_ok))

    def _set(self, state: SourceState) -> None:
        self._sources[state.name] = state
        self._sources_dirty = True

    # Saved Worlds

    def restore(
        self, shelves: Mapping[str, Mapping[str, Any]], as_of: Mapping[str, datetime], stats: Mapping[str, Reading[NodeStats]]
    ) -> None:
        """Paint an earlier session's objects; each kind is replaced by its first whole list."""
        with self._lock:
            for name, items in shelves.items():
                leases = name == LEASES.name
                self._apply(name, {} if leases else items, ())
                if leases and items:  # when they were observed is part of what was saved
                    self._shelves[name] = self._fields[name] = Shelf(Map(items), 1)
                self._set(replace(self._sources[name], as_of=as_of[name], saved=True))
            if stats:
                self._fields["node_stats"] = Map(stats)
        self._changed(True)

    def drop_saved(self) -> None:
        """The saved World was of another cluster."""
        with self._lock:
            for name, state in list(self._sources.items()):
                if state.saved:
                    if name in self._shelves:
                        self._apply(name, {}, list(self._shelves[name].items))
                    else:
                        self._fields["node_stats"] = Map()
                    self._set(replace(state, as_of=None, saved=False))
        self._changed(True)


def _observe(old: Lease | None, new: Lease, now: datetime) -> tuple[Lease, bool]:
    """The lease with the moment at which we saw its renewal, and whether it was overdue."""
    if old is not None and old.renewed == new.renewed:
        return replace(new, observed=old.observed), False
    return replace(new, observed=now), old is not None and now - old.observed > LEASE_STALE


class _PodFold:
    """The indices over the pods during one batch: O(changes)."""

    def __init__(self, builder: Builder, now: datetime) -> None:
        self._b = builder
        self._now = now
        self._restless = builder._restless.mutate()
        self._nodes: dict[str, MapMutation[str, Pod]] = {}

    def turn(self, key: str, old: Pod | None, new: Pod | None) -> None:
        if old is not None:
            self._count(old, -1)
            if new is None or new.node != old.node:
                del self._node(old.node)[key]
        if new is not None:
            self._count(new, 1)
            self._node(new.node)[key] = new
        if new is not None and not is_quiet(new, self._now):
            self._restless[key] = new
        elif key in self._restless:
            del self._restless[key]

    def _node(self, node: str) -> MapMutation[str, Pod]:
        found = self._nodes.get(node)
        if found is None:
            pods: Map[str, Pod] = self._b._by_node.get(node) or Map()
            found = self._nodes[node] = pods.mutate()
        return found

    def _count(self, pod: Pod, sign: int) -> None:
        counts = self._b._counts
        finished = pod.finished
        counts[0] += sign
        if pod.phase == "Running" and pod.deleted is None:
            counts[1] += sign
        elif pod.phase == "Pending":
            counts[2] += sign
        if finished:
            counts[3] += sign
        if not pod.node:
            return
        load = self._b._loads.get(pod.node)
        if load is None:
            load = self._b._loads[pod.node] = [0, 0, 0, 0, 0, 0]
        load[1] += sign
        if not finished:
            load[0] += sign
            load[2] += sign * pod.cpu_request_m
            load[3] += sign * pod.memory_request_b
            load[4] += sign * pod.cpu_limit_m
            load[5] += sign * pod.memory_limit_b
        if load[1] == 0:
            del self._b._loads[pod.node]
        self._b._dirty_nodes.add(pod.node)

    def finish(self) -> None:
        by_node = self._b._by_node.mutate()
        for node, pods in self._nodes.items():
            left = pods.finish()
            if left:
                by_node[node] = left
            elif node in by_node:
                del by_node[node]
        self._b._by_node = by_node.finish()
        self._b._restless = self._restless.finish()
        self._b._pods_dirty = True
