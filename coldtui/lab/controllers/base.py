"""What all controllers share: the work queue, the machines under the nodes, the pace of things, events."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import random
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import ClassVar, Protocol, Self

from coldtui.domain.errors import Unreachable
from coldtui.lab.client import EVENTS, ApiError, Informer, Informers, Json, Key, Kind, KubeClient, key_of

log = logging.getLogger(__name__)

RETRY_FIRST_S, RETRY_CAP_S = 0.2, 10.0


@dataclass(frozen=True, slots=True)
class Pace:
    """How long things take, in seconds. The defaults are those of a K3s cluster, except where nobody would want to wait."""

    heartbeat: float = 10.0
    """Between two renewals of a node's lease."""
    status: float = 300.0
    """Between two writes of an unchanged node status."""
    monitor: float = 5.0
    """Between two looks of the node life cycle controller."""
    grace: float = 50.0
    """Without a renewal for so long a node is Unknown."""
    toleration: float = 1.0
    """Factor on the tolerationSeconds of pods."""
    pod_start: float = 1.5
    pod_stop: float = 1.0
    """Until the containers of a deleted pod have ended; never longer than its grace period."""
    boot: float = 4.0
    """From power-on until a node's pods run again."""
    reboot: float = 20.0
    """From an ordered reboot until the machine answers again; its kubelet needs `boot` besides. Below `grace` the node never looks unready."""
    restart: float = 2.0
    """How long K3s takes to start when its service is restarted."""
    crash: float = 2.0
    """How long a crashing container lives."""
    crash_backoff: float = 10.0
    """First pause of a crash loop; doubles to thirty times this."""
    job: float = 2.0
    """How long the pod of a Job runs."""
    unready: float = 5.0
    """Until CloudNativePG gives up on a primary that is not ready."""
    notice: float = 1.0
    """Until CloudNativePG acts on a cordoned node under a primary: an eviction that comes at once is refused."""
    promotion: float = 2.0
    """How long a promotion takes where no server is real."""
    lease: float = 15.0
    """Who has seen the lease of a primary unchanged for so long may take it."""
    renew: float = 2.0
    """Between two renewals of that lease, and between two tries to take it."""
    probe: float = 10.0
    """Until a readiness probe that fails, while the container runs, makes its pod unready. Three periods of 10 s in truth."""
    rejoin: float = 3.0
    """Until a recreated standby streams."""
    backup: float = 20.0
    """How long a base backup or a volume backup takes."""
    snapshot: float = 1.0
    attach: float = 1.0
    """Between the end of a volume's last user on one node and its attachment on another."""
    rebuild: float = 45.0
    """How long a Longhorn replica takes to be filled again."""
    drift: float = 20.0
    """Between two movements of sizes."""
    murmur: float = 60.0
    """About the time between two events of no importance."""

    def faster(self, factor: float) -> Pace:
        """All durations divided by ``factor`` (tests)."""
        return Pace(**{f.name: getattr(self, f.name) / factor for f in dataclasses.fields(self)})


@dataclass(slots=True)
class Machines:
    """The hosts under the nodes: which are switched off, and which boot each one is in."""

    down: set[str] = field(default_factory=set)
    boots: dict[str, str] = field(default_factory=dict)
    """Boot IDs of machines that were started again; others keep the one of their node's status."""
    stopped: set[str] = field(default_factory=set)
    """Machines that are on while their kubelet is not running; containers run on."""
    _listeners: list[Callable[[str], None]] = field(default_factory=list)
    _kubelet_listeners: list[Callable[[str], None]] = field(default_factory=list)

    def listen(self, listener: Callable[[str], None]) -> None:
        """Be told the name of a machine that went down or came up."""
        self._listeners.append(listener)

    def power_off(self, name: str) -> None:
        """As if the cable was pulled: nothing is said to anybody."""
        if name not in self.down:
            self.down.add(name)
            self._tell(name)

    def power_on(self, name: str) -> None:
        """A new boot; the kubelet registers and its pods start again."""
        if name in self.down:
            self.down.discard(name)
            self.boots[name] = str(uuid.uuid4())
            self._tell(name)

    def silent(self, name: str) -> bool:
        """Whether no kubelet speaks for this machine now."""
        return name in self.down or name in self.stopped

    def listen_kubelet(self, listener: Callable[[str], None]) -> None:
        """Be told the name of a machine whose kubelet has started."""
        self._kubelet_listeners.append(listener)

    def stop_kubelet(self, name: str) -> None:
        self.stopped.add(name)

    def start_kubelet(self, name: str) -> None:
        """It speaks again, at once, unless the machine is off."""
        if name in self.stopped:
            self.stopped.discard(name)
            for listener in self._kubelet_listeners:
                listener(name)

    def _tell(self, name: str) -> None:
        for listener in self._listeners:
            listener(name)


@dataclass(frozen=True, slots=True)
class Process:
    """What really runs behind the containers of a pod."""

    ready: bool | None = None
    """Whether its readiness probe would succeed; None: not known yet, so the pod stays as it is."""
    code: int | None = None
    """Its exit code, once it has ended."""


class Processes(Protocol):
    """The real programs behind some pods. The kubelet asks here and tells when it starts containers."""

    def listen(self, listener: Callable[[Key], None]) -> None:
        """Be told the key of a pod whose process has changed."""
        ...

    def state(self, pod: Json) -> Process | None:
        """None: nothing real is behind this pod."""
        ...

    def begin(self, pod: Json) -> None:
        """Its containers have been started (again)."""
        ...


@dataclass(slots=True)
class Lab:
    """What every controller is given."""

    client: KubeClient
    informers: Informers
    pace: Pace = field(default_factory=Pace)
    machines: Machines = field(default_factory=Machines)
    still: bool = False
    """Nothing moves by itself: heartbeats go on, sizes and event counts do not change."""
    dice: random.Random = field(default_factory=random.Random)
    processes: Processes | None = None

    def now(self) -> datetime:
        return datetime.now(UTC)

    def stamp(self, offset_s: float = 0.0) -> str:
        return stamp(self.now() + timedelta(seconds=offset_s))

    async def event(self, about: Json, reason: str, message: str, *, warning: bool = False, component: str = "") -> None:
        """Record an Event about an object; a repetition raises the count of the first. Failing to do so harms nobody and is only logged."""
        try:
            await self._record(about, reason, message, "Warning" if warning else "Normal", component)
        except (ApiError, Unreachable) as error:
            log.warning("event %s: %s", reason, error)

    async def _record(self, about: Json, reason: str, message: str, type_: str, component: str) -> None:
        namespace, name = key_of(about)
        uid = about["metadata"].get("uid", "")
        digest = uuid.uuid5(uuid.NAMESPACE_OID, f"{uid}{reason}{message}{component}").hex[:16]
        where = namespace or "default"
        event = f"{name}.{digest}"
        now = self.stamp()
        known = await self.client.find(EVENTS, event, where)
        if known is not None:
            await self.client.patch(EVENTS, event, {"lastTimestamp": now, "count": int(known.get("count") or 1) + 1}, where)
            return
        reference = {"apiVersion": about["apiVersion"], "kind": about["kind"], "name": name, "uid": uid}
        if namespace:
            reference["namespace"] = namespace
        await self.client.create(
            EVENTS,
            {
                "metadata": {"name": event, "namespace": where}, "involvedObject": reference, "reason": reason, "message": message,
                "type": type_, "source": {"component": component}, "reportingComponent": component, "reportingInstance": "",
                "firstTimestamp": now, "lastTimestamp": now, "count": 1, "eventTime": None,
            },
        )  # fmt: skip


class Controller(ABC):
    """A queue of keys and one worker. Keys that are asked for twice are worked on once; a key that failed is tried again, ever later."""

    name: ClassVar[str]

    def __init__(self, lab: Lab) -> None:
        """Subclasses ask for their informers here and say what makes them look at which key."""
        self.lab = lab
        self.client, self.pace = lab.client, lab.pace
        self._queue: asyncio.Queue[Key] = asyncio.Queue()
        self._waiting: set[Key] = set()
        self._timers: dict[Key, asyncio.TimerHandle] = {}
        self._failures: dict[Key, int] = {}

    def follow(self, kind: Kind, keys: Callable[[Json], Iterable[Key]] | None = None) -> Informer:
        """The informer of a kind; each change puts its keys (by default the object's own) into the queue."""
        informer = self.lab.informers.of(kind)

        def changed(before: Json | None, after: Json | None) -> None:
            for obj in (before, after):
                if obj is not None:
                    for key in [key_of(obj)] if keys is None else keys(obj):
                        self.enqueue(key)

        informer.listen(changed)
        return informer

    def enqueue(self, key: Key, after_s: float = 0.0) -> None:
        """Look at ``key`` now, or in ``after_s`` seconds unless an earlier look is planned already."""
        if key in self._waiting:
            return
        loop = asyncio.get_running_loop()
        planned = self._timers.get(key)
        if after_s > 0:
            if planned is None or planned.when() > loop.time() + after_s:
                if planned is not None:
                    planned.cancel()
                self._timers[key] = loop.call_later(after_s, self._due, key)
            return
        self._waiting.add(key)
        self._queue.put_nowait(key)

    def _due(self, key: Key) -> None:
        self._timers.pop(key, None)
        self.enqueue(key)

    @abstractmethod
    async def reconcile(self, key: Key) -> None:
        """Bring one object to where it should be; called again whenever something it rests on changes."""

    async def run(self) -> None:
        """Work until cancelled."""
        try:
            while True:
                key = await self._queue.get()
                self._waiting.discard(key)
                if (planned := self._timers.pop(key, None)) is not None:
                    planned.cancel()
                await self._attempt(key)
        finally:
            for timer in self._timers.values():
                timer.cancel()
            self._timers.clear()

    async def _attempt(self, key: Key) -> None:
        try:
            await self.reconcile(key)
        except ApiError as error:
            # Somebody was faster: look again at what it is now. All else is worth a line, once.
            quiet = error.conflict or error.missing or key in self._failures
            level = logging.DEBUG if quiet else logging.WARNING
            log.log(level, "%s %s: %s", self.name, "/".join(filter(None, key)), error)
        except Unreachable as error:
            log.debug("%s %s: %s", self.name, "/".join(filter(None, key)), error)
        except Exception:  # the boundary of a controller: one odd object must not stop the site
            log.exception("%s %s", self.name, "/".join(filter(None, key)))
        else:
            self._failures.pop(key, None)
            return
        failed = self._failures[key] = self._failures.get(key, 0) + 1
        pause = min(RETRY_CAP_S, RETRY_FIRST_S * 2 ** min(failed, 10))
        self.enqueue(key, pause * self.lab.dice.uniform(0.5, 1.0))


@dataclass(slots=True)
class Crew:
    """Controllers at work together in one event loop."""

    lab: Lab
    controllers: list[Controller]
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)

    @classmethod
    async def start(cls, lab: Lab, classes: Collection[Callable[[Lab], Controller]]) -> Self:
        """Build them, wait for their caches, let them work. Raises Unreachable."""
        crew = cls(lab, [made(lab) for made in classes])
        try:
            await lab.informers.start()
        except BaseException:
            await lab.informers.stop()
            raise
        crew._tasks = [asyncio.create_task(c.run(), name=c.name) for c in crew.controllers]
        return crew

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.lab.informers.stop()


# --- reading objects


def stamp(moment: datetime) -> str:
    """As the API writes times."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def micro(moment: datetime) -> str:
    """As leases and CloudNativePG write times."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def moment(text: object) -> datetime | None:
    """An RFC 3339 time; None when absent or none."""
    try:
        return datetime.fromisoformat(text) if isinstance(text, str) and text else None
    except ValueError:
        return None


def condition(obj: Json, type_: str) -> Json | None:
    found: Json | None = next((c for c in (obj.get("status") or {}).get("conditions") or () if c["type"] == type_), None)
    return found


def is_true(obj: Json, type_: str) -> bool:
    found = condition(obj, type_)
    return found is not None and found["status"] == "True"


def deleting(obj: Json) -> bool:
    return bool(obj["metadata"].get("deletionTimestamp"))


def owner(obj: Json) -> Json | None:
    """The reference to the controlling owner."""
    found: Json | None = next((o for o in obj["metadata"].get("ownerReferences") or () if o.get("controller")), None)
    return found


def owned_by(obj: Json, uid: str) -> bool:
    found = owner(obj)
    return found is not None and found["uid"] == uid


def reference(obj: Json) -> Json:
    """An owner reference to ``obj`` as its controller."""
    return {
        "apiVersion": obj["apiVersion"], "kind": obj["kind"], "name": obj["metadata"]["name"], "uid": obj["metadata"]["uid"],
        "controller": True, "blockOwnerDeletion": True,
    }  # fmt: skip


def matches(selector: Json | None, labels: Json | None) -> bool:
    """Whether a LabelSelector object selects these labels; None selects nothing, an empty one everything."""
    if selector is None:
        return False
    have = labels or {}
    if any(have.get(k) != v for k, v in (selector.get("matchLabels") or {}).items()):
        return False
    return all(requirement(rule, have) for rule in selector.get("matchExpressions") or ())


def requirement(rule: Json, have: Json) -> bool:
    """One ``{key, operator, values}`` of a selector or a node affinity."""
    value: str | None = have.get(rule["key"])
    values: list[str] = rule.get("values") or []
    match rule["operator"]:
        case "In":
            return value in values
        case "NotIn":
            return value not in values
        case "Exists":
            return rule["key"] in have
        case "DoesNotExist":
            return rule["key"] not in have
        case "Gt":
            return value is not None and int(value) > int(values[0])
        case "Lt":
            return value is not None and int(value) < int(values[0])
        case other:
            raise ValueError(f"unknown operator {other}")


def tolerates(tolerations: Iterable[Json], taint: Json) -> Json | None:
    """The toleration that a pod has for a taint, or None."""
    for held in tolerations:
        if held.get("effect") not in (None, "", taint["effect"]):
            continue
        if held.get("key") in (None, ""):
            if held.get("operator") == "Exists":
                return held
        elif held["key"] == taint["key"] and (held.get("operator") == "Exists" or held.get("value", "") == taint.get("value", "")):
            return held
    return None


_BINARY = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}
_DECIMAL = {"n": 1e-9, "u": 1e-6, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}


def quantity(text: object) -> float:
    """``250m`` -> 0.25, ``2Gi`` -> 2147483648; 0 when absent. ValueError for no quantity."""
    words = str(text or "0")
    for unit, factor in (*_BINARY.items(), *_DECIMAL.items()):
        if words.endswith(unit):
            return float(words[: -len(unit)]) * factor
    return float(words)


def node_ready(node: Json | None) -> bool:
    return node is not None and is_true(node, "Ready")


def pod_ready(pod: Json) -> bool:
    return is_true(pod, "Ready") and not deleting(pod)


def finished(pod: Json) -> bool:
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def set_condition(conditions: Iterable[Json], new: Json, now: str) -> list[Json]:
    """The conditions with ``new`` in place of the one of its type; the transition time stays unless the status changed."""
    result = [dict(c) for c in conditions]
    old = next((c for c in result if c["type"] == new["type"]), None)
    made = {"lastTransitionTime": now, **new}
    if old is None:
        return [*result, made]
    if old["status"] == new["status"] and "lastTransitionTime" in old:
        made["lastTransitionTime"] = old["lastTransitionTime"]
    result[result.index(old)] = made
    return result


def owner_keys(kind: str) -> Callable[[Json], Iterable[Key]]:
    """Keys of the controlling owners of one kind; for `Controller.follow`."""

    def keys(obj: Json) -> Iterable[Key]:
        found = owner(obj)
        return [(obj["metadata"].get("namespace", ""), found["name"])] if found is not None and found["kind"] == kind else []

    return keys
