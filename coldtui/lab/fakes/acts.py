"""What changes something in the fake, and fresh reads: the writing half of `FakeKube`."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from threading import Condition
from typing import Any

from ...domain.errors import Conflict, Forbidden, Invalid, NotFound, Refused, Unreachable
from ...domain.kinds import PODS, Kind
from ...ports import Clock, HeldLease, PatchForm
from .state import Log

_LEASES = Kind("locks", "coordination.k8s.io", "v1", "leases", True, "leases")


@dataclass
class Act:
    """A call that changes something and passed the gate."""

    verb: str
    """patch, create, delete, evict or lease."""
    kind: str
    key: str
    body: Any = None
    """Of a patch or a creation; the options of a deletion or an eviction."""
    dry_run: bool = False
    accepted: bool = False
    """It was not refused."""


def _schedulable(node: Any, body: Any) -> Any:
    """The one patch that the fake understands by itself: cordon and uncordon."""
    spec = body.get("spec") if isinstance(body, Mapping) else None
    if not isinstance(spec, Mapping) or "unschedulable" not in spec:
        return node
    return replace(node, unschedulable=bool(spec["unschedulable"]))


class Acts:
    """Mixed into FakeKube."""

    allowed: Callable[[str, str, str], bool]
    _cond: Condition
    _rv: int

    def _prepare_acts(self, clock: Clock) -> None:
        self.clock = clock
        self.writable = True
        """The write gate."""
        self.acts: list[Act] = []
        """In order."""
        self.warnings: deque[str] = deque(maxlen=100)
        self.patched: dict[str, Callable[[Any, Any], Any]] = {"nodes": _schedulable}
        """By kind: (value, body of the patch) -> the value after it. A kind that is not here stays as it is."""
        self.created: dict[tuple[str, str], Mapping[str, Any]] = {}
        """(kind, key) -> body."""
        self.leases: dict[str, HeldLease] = {}
        """By `namespace/name`."""
        self.pod_kinds = {"pods", "drain_pods"}
        """Kinds that are pods, in whatever detail: an eviction removes the pod from all of them."""
        self.lingering = False
        """Evicted and deleted pods stay, with a deletionTimestamp, until a test removes them."""
        self._refusals: dict[str, Callable[[], Exception]] = {}

    def _log(self, kind: str) -> Log:
        raise NotImplementedError

    def put(self, kind: str, *values: Any) -> None:
        raise NotImplementedError

    def remove(self, kind: str, *keys: str) -> None:
        raise NotImplementedError

    def objects(self, kind: str) -> dict[str, Any]:
        raise NotImplementedError

    async def _answer(self, call: str, kind: str, deadline_s: float) -> None:
        raise NotImplementedError

    # To order

    def refuse_eviction(self, pod: str, make: Callable[[], Exception] | None) -> None:
        """What an eviction of `namespace/name` raises from now on, dry runs too; None: it is accepted again."""
        with self._cond:
            self._refusals.pop(pod, None)
            if make is not None:
                self._refusals[pod] = make

    def did(self, verb: str, kind: str = "") -> list[str]:
        """Keys of what was done (accepted, no dry run), in order."""
        with self._cond:
            return [a.key for a in self.acts if a.verb == verb and kind in ("", a.kind) and a.accepted and not a.dry_run]

    # Fresh reads

    async def read(self, kind: Kind, name: str, namespace: str = "", *, deadline_s: float = 10.0) -> Any:
        await self._answer("read", kind.name, deadline_s)
        self._check_right("get", kind)
        return self._found(kind, _key(namespace, name))

    async def read_all(
        self, kind: Kind, *, namespace: str = "", fields: str = "", labels: str = "", deadline_s: float = 10.0
    ) -> tuple[Any, ...]:
        await self._answer("read_all", kind.name, deadline_s)
        self._check_right("list", kind)
        with self._cond:
            log = self._log(kind.name)
            if log.skipped:
                raise Unreachable(f"{log.skipped} of the {kind.title} cannot be read")
            found = list(log.objects.values())
        return tuple(v for v in found if namespace in ("", getattr(_plainly(v), "namespace", "")) and _selected(v, fields, labels))

    # Acts

    async def patch(
        self,
        kind: Kind,
        name: str,
        body: Any,
        namespace: str = "",
        *,
        form: PatchForm = PatchForm.MERGE,
        subresource: str = "",
        dry_run: bool = False,
        deadline_s: float = 10.0,
    ) -> Mapping[str, Any]:
        key = _key(namespace, name)
        act = await self._begin(Act("patch", kind.name, key, body, dry_run), deadline_s, "patch", kind, subresource)
        value = self._found(kind, key)
        if kind.custom and form is PatchForm.STRATEGIC:
            raise Invalid(f"the API does not take a strategic patch of {kind.title}")
        act.accepted = True
        if not dry_run:
            self.put(kind.name, self.patched.get(kind.name, lambda old, _: old)(value, body))
        return _whole(kind, name, namespace)

    async def create(
        self, kind: Kind, body: Mapping[str, Any], namespace: str = "", *, dry_run: bool = False, deadline_s: float = 10.0
    ) -> Mapping[str, Any]:
        name = str(body["metadata"]["name"])
        key = _key(namespace, name)
        act = await self._begin(Act("create", kind.name, key, body, dry_run), deadline_s, "create", kind)
        if key in self.objects(kind.name) or (kind.name, key) in self.created:
            raise Conflict(f"{kind.plural} {key} exists already")
        act.accepted = True
        if not dry_run:
            self.created[kind.name, key] = body
        return {**body, **_whole(kind, name, namespace)}

    async def delete(
        self,
        kind: Kind,
        name: str,
        namespace: str = "",
        *,
        uid: str = "",
        grace_s: int | None = None,
        dry_run: bool = False,
        deadline_s: float = 10.0,
    ) -> None:
        key = _key(namespace, name)
        act = await self._begin(Act("delete", kind.name, key, _options(uid, grace_s), dry_run), deadline_s, "delete", kind)
        if not dry_run and self.created.pop((kind.name, key), None) is not None:
            act.accepted = True
            return
        self._check_uid(kind.plural, key, self._found(kind, key), uid)
        act.accepted = True
        if not dry_run:
            self._leave(kind.name, key, grace_s)

    async def evict(
        self, namespace: str, pod: str, *, uid: str = "", grace_s: int | None = None, dry_run: bool = False, deadline_s: float = 10.0
    ) -> None:
        key = _key(namespace, pod)
        act = await self._begin(Act("evict", "pods", key, _options(uid, grace_s), dry_run), deadline_s, "create", PODS, "eviction")
        kinds = [kind for kind in sorted(self.pod_kinds) if key in self.objects(kind)]
        if not kinds:
            raise NotFound(f"pods {key} does not exist")
        self._check_uid("pods", key, self.objects(kinds[0])[key], uid)
        if (make := self._refusals.get(key)) is not None:
            raise make()
        act.accepted = True
        if not dry_run:
            self._leave(kinds[0], key, grace_s)

    async def lease(self, namespace: str, name: str, *, deadline_s: float = 5.0) -> HeldLease | None:
        await self._answer("lease", _key(namespace, name), deadline_s)
        self._check_right("get", _LEASES)
        return self.leases.get(_key(namespace, name))

    async def put_lease(self, lease: HeldLease, *, acquired: bool, deadline_s: float = 5.0) -> HeldLease:
        key = _key(lease.namespace, lease.name)
        act = await self._begin(Act("lease", "leases", key, lease), deadline_s, "patch" if lease.version else "create", _LEASES)
        with self._cond:
            held = self.leases.get(key)
            if (held.version if held is not None else "") != lease.version:
                raise Conflict(f"leases {key} changed meanwhile")
            self._rv += 1
            now = self.clock.now()
            made = replace(
                lease,
                version=str(self._rv),
                renewed=now,
                transitions=lease.transitions + (acquired and held is not None),
                acquired=now if acquired or held is None else held.acquired,
            )
            self.leases[key] = made
            act.accepted = True
        return made

    # Inside

    async def _begin(self, act: Act, deadline_s: float, verb: str, kind: Kind, subresource: str = "") -> Act:
        if not self.writable and not act.dry_run:
            raise Refused("read-only: nothing was sent", detail=f"{act.verb} {act.kind} {act.key}")
        await self._answer(act.verb, act.key, deadline_s)
        self._check_right(verb, kind, subresource)
        with self._cond:
            self.acts.append(act)
        return act

    def _check_right(self, verb: str, kind: Kind, subresource: str = "") -> None:
        resource = f"{kind.plural}/{subresource}" if subresource else kind.plural
        if not self.allowed(verb, kind.group, resource):
            of = f" ({kind.group})" if kind.group else ""
            raise Forbidden(f"needs {verb} on {resource}{of}", verb=verb, resource=f"{resource}.{kind.group}" if kind.group else resource)

    def _found(self, kind: Kind, key: str) -> Any:
        found = self.objects(kind.name).get(key)
        if found is None:
            raise NotFound(f"{kind.plural} {key} does not exist")
        return found

    @staticmethod
    def _check_uid(plural: str, key: str, value: Any, uid: str) -> None:
        if uid and getattr(_plainly(value), "uid", uid) != uid:
            raise Conflict(f"{plural} {key} changed meanwhile", detail="the UID in the precondition is another")

    def _leave(self, kind: str, key: str, grace_s: int | None) -> None:
        """A pod goes from every kind that shows pods; with `lingering` it is only marked."""
        for name in sorted(self.pod_kinds) if kind in self.pod_kinds else [kind]:
            value = self.objects(name).get(key)
            if value is None:
                continue
            if self.lingering and hasattr(_plainly(value), "deleted"):
                self.put(name, self._marked(value, grace_s))
            else:
                self.remove(name, key)

    def _marked(self, value: Any, grace_s: int | None) -> Any:
        """The same with a deletionTimestamp."""
        own = int(getattr(value, "grace_s", 30))
        pod = _plainly(value)
        dying = replace(pod, deleted=self.clock.now() + timedelta(seconds=own if grace_s is None else grace_s))
        return dying if pod is value else replace(value, pod=dying)


def _plainly(value: Any) -> Any:
    """The pod in a pod of greater detail (`domain.drains`); anything else as it is."""
    return getattr(value, "pod", value)


def _key(namespace: str, name: str) -> str:
    return f"{namespace}/{name}" if namespace else name


def _options(uid: str, grace_s: int | None) -> dict[str, Any]:
    return {"uid": uid, "grace_s": grace_s}


def _whole(kind: Kind, name: str, namespace: str) -> dict[str, Any]:
    metadata = {"name": name, "namespace": namespace} if namespace else {"name": name}
    return {"apiVersion": kind.group_version, "kind": kind.plural, "metadata": metadata}


_FIELDS = {"spec.nodeName": "node", "metadata.name": "name", "metadata.namespace": "namespace", "status.phase": "phase"}


def _selected(value: Any, fields: str, labels: str) -> bool:
    """Selectors of equalities, as far as domain values tell. An unknown one is refused, as by the real port."""
    for name, wanted in _pairs(fields):
        if name not in _FIELDS:
            raise Invalid(f"field label not supported: {name}")
        if getattr(_plainly(value), _FIELDS[name], None) != wanted:
            return False
    return all((getattr(_plainly(value), "labels", None) or {}).get(name) == wanted for name, wanted in _pairs(labels))


def _pairs(selector: str) -> list[tuple[str, str]]:
    return [(name, wanted) for name, _, wanted in (part.partition("=") for part in selector.split(",") if part)]
