"""The instance manager: one a pod. It starts, stops, promotes and rewinds the server of its pod, by what the Cluster object says."""

from __future__ import annotations

import asyncio
import json
import logging
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import LiteralString

from coldtui.domain.errors import ColdError, Unreachable
from coldtui.lab.client import PG_CLUSTERS, ApiError, Informer, Json
from coldtui.lab.controllers.base import Lab, Process, deleting, micro, set_condition
from coldtui.lab.controllers.cnpg import HEALTHY
from coldtui.lab.postgres.lease import PrimaryLease
from coldtui.lab.postgres.orders import Orders
from coldtui.lab.postgres.quorum import Quorum, Synchronous
from coldtui.lab.postgres.server import Server
from coldtui.lab.postgres.servers import Servers, slot
from coldtui.lab.postgres.status import Gauge, bare, whole

log = logging.getLogger(__name__)

TICK_S = 0.25
RESTARTING = "Primary instance is being restarted in-place"
MADE_ANEW = "Primary instance is being restarted without a switchover"
FENCED = "cnpg.io/fencedInstances"
KILLED, FAILED = 137, 1
RENEW_DEADLINE = 2 / 3
"""Of the duration of a lease: a primary that could not renew its lease for so long, since another one has it, stops."""
NOWHERE = 1
"""A port at which nobody listens."""
RECEIVERS: LiteralString = "SELECT pid FROM pg_stat_wal_receiver"


def fenced(cluster: Json) -> frozenset[str]:
    """Names in the annotation; ``*`` is everybody. What is no list fences nobody."""
    try:
        names = json.loads((cluster["metadata"].get("annotations") or {}).get(FENCED) or "[]")
    except ValueError:
        return frozenset()
    return frozenset(map(str, names)) if isinstance(names, list) else frozenset()


@dataclass(slots=True)
class Manager:
    """Of one instance. `run` lives as long as the lab; the pod and its containers come and go."""

    lab: Lab
    server: Server
    servers: Servers
    pods: Informer
    clusters: Informer
    cluster_key: tuple[str, str]
    orders: Orders
    changed: Callable[[], None]
    """Call when `state` has changed."""
    gauge: Gauge = field(init=False)
    lease: PrimaryLease = field(init=False)
    uid: str = ""
    """Of the pod whose container we run in; empty: none."""
    session: str = ""
    state: Process = field(default_factory=Process)
    rewinding: bool = False
    fenced: bool = False
    restarting: bool = False
    """In place, by order: that the server does not answer is no error."""
    lost_data: bool = False
    receiver_cut: bool = False
    """By an order of a fault it follows nobody, and its receiver has ended."""
    _started: bool = False
    """The server was started in this life of the container: if it does not run, it has died."""
    _archived: bool = False
    """The first segment was sent to the archive, so that it can be told that this works."""
    _waits_for: str | None = None
    """The standbys that commits wait for, as we have set it; None: not looked yet."""
    _told_quorum: bool = False
    _beaten: float = 0.0
    _next_beat: float = 0.0
    _probe_fails_since: float | None = None
    _wake: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.gauge = Gauge(self.server)
        self.lease = PrimaryLease(self.lab, self.cluster_key)

    @property
    def name(self) -> str:
        return self.server.name

    # --- from outside

    def wake(self) -> None:
        self._wake.set()

    def begin(self, uid: str) -> None:
        """The container of this pod has been started."""
        self.uid, self.session, self._started, self._waits_for = uid, str(uuid.uuid4()), False, None
        self._beaten = self._next_beat = 0.0
        self.lease.forget()
        self._say(Process(ready=False))
        self.wake()

    def adopt(self, uid: str) -> None:
        """A pod that was there, running and ready, before we were: it stays so until more is known."""
        self.begin(uid)
        self._say(Process())

    def forget_data(self) -> None:
        """The volume of this instance is gone: its next life begins with a clone."""
        self.lost_data = True
        self.wake()

    async def status(self) -> Json | None:
        """What ``/pg/status`` would answer; None: nobody there to answer. Raises Unreachable: the server does not answer (500)."""
        pod = self.pod
        if not self.uid or pod is None or self.state.code is not None or self._powerless(pod):
            return None
        if self.name in self.orders.mute:
            raise Unreachable(f"the status of {self.name} cannot be read")
        if self.rewinding:
            return bare(self.name, rewinding=True)
        if self.fenced or self.restarting:
            return bare(self.name, masked="sql: database is closed", primary=not self.server.is_standby)
        return whole(await self._facts(), name=self.name, session=self.session)

    async def _facts(self) -> Json:
        found = await self.gauge.status()
        return {**found, "isWalReceiverActive": True} if self.name in self.orders.receiving and self.server.is_standby else found

    # --- the loop

    async def run(self) -> None:
        while True:
            try:
                await self.step()
            except ApiError as error:
                log.debug("%s: %s", self.name, error)
            except Unreachable as error:
                log.debug("%s: %s", self.name, error)
            except ColdError as error:
                log.warning("%s: %s", self.name, error)
                await self._exit(FAILED)
            self._wake.clear()
            try:
                async with asyncio.timeout(TICK_S):
                    await self._wake.wait()
            except TimeoutError:
                pass  # another look

    @property
    def pod(self) -> Json | None:
        return self.pods.get(self.name, self.cluster_key[0])

    def _powerless(self, pod: Json) -> bool:
        return pod["spec"].get("nodeName", "") in self.lab.machines.down

    async def step(self) -> None:
        """One look, and what follows from it."""
        pod = self.pod
        if self.uid and (pod is None or pod["metadata"]["uid"] != self.uid or self._powerless(pod)):
            await self._lose()
        if pod is None or pod["metadata"]["uid"] != self.uid or self.state.code is not None:
            return
        if self.name in self.orders.wedged and self.server.running:
            await self._wait_for_wedged()
        elif deleting(pod):
            await self._leave()
        elif self._started and not self.server.running:
            await self._exit(KILLED)
        elif (cluster := self.clusters.items.get(self.cluster_key)) is not None:
            await self._obey(cluster)

    async def _wait_for_wedged(self) -> None:
        """A server that does not answer cannot be stopped either: whatever is wanted waits for it, and a primary keeps its lease."""
        self._probe_fails()
        cluster = self.clusters.items.get(self.cluster_key)
        if cluster is not None and (cluster.get("status") or {}).get("currentPrimary") == self.name:
            await self._beat()

    async def _lose(self) -> None:
        """The pod was removed without grace, or its machine has no power: the server goes with it."""
        if self.server.running:
            await self._do(self.server.kill)
        self.orders.wedged.discard(self.name)
        self.gauge.frozen = False
        self.uid, self._started = "", False
        self._say(Process(ready=False))

    async def _leave(self) -> None:
        """The pod is asked to end."""
        if self.server.running:
            await self._stop()
        await self.lease.release(self.name)
        self.uid = ""
        self._say(Process(ready=False))

    async def _exit(self, code: int) -> None:
        """The container ends; the kubelet starts it again."""
        if self.server.running:
            await self._stop()
        self._started = False
        self._say(Process(ready=False, code=code))

    def _say(self, state: Process) -> None:
        if not state.ready:
            self._probe_fails_since = None
        if state != self.state:
            self.state = state
            self.changed()

    async def _do(self, work: Callable[[], object]) -> None:
        await asyncio.to_thread(work)

    async def _stop(self) -> None:
        """Fast shutdown, after a checkpoint that makes it short."""
        await self.gauge.close()
        if not self.server.is_standby:
            await asyncio.to_thread(self.server.checkpoint)
        self._started = False
        await self._do(self.server.stop)

    # --- what the cluster wants

    async def _obey(self, cluster: Json) -> None:
        if self.name in self.orders.lost:
            await self._exit(FAILED)
            return
        if self.name in self.orders.rogue:
            await self._tell_ready()
            return
        status = cluster.get("status") or {}
        current, target = status.get("currentPrimary", ""), status.get("targetPrimary") or status.get("currentPrimary", "")
        if self.orders.ignore_target:
            target = current
        names = fenced(cluster)
        if self.name in names or "*" in names:
            await self._fence(current == self.name)
            return
        self.fenced = False
        if current == self.name and target == self.name:
            await self._lead(cluster)
        elif current == self.name:
            await self._step_down()
        elif target == self.name:
            await self._succeed(status)
        else:
            await self._follow(current)

    async def _fence(self, primary: bool) -> None:
        """The server is stopped, we go on; a primary keeps its lease."""
        self.fenced = True
        if self.server.running:
            await self._stop()
        if primary:
            await self._beat()
        self._probe_fails()

    async def _beat(self) -> bool:
        """Renew the lease, or try to take it, when it is time; whether it is ours."""
        clock = asyncio.get_running_loop().time()
        if clock < self._next_beat:
            return self._beaten > 0
        self._next_beat = clock + self.lab.pace.renew
        if await self.lease.take(self.name):
            self._beaten = clock
            return True
        if 0 < self._beaten < clock - self.lab.pace.lease * RENEW_DEADLINE:
            raise ColdError(f"primary lease of {self.name} is held by another")  # preempted: the container ends
        return self._beaten > 0

    async def _lead(self, cluster: Json) -> None:
        if self.lost_data and not self.server.running:
            self._say(Process(ready=False))  # nothing to start: another one must lead
            return
        if not await self._beat():
            return  # somebody else holds it: two primaries must not be
        if not await self._runs():
            return
        if self.server.is_standby:  # named primary without a promotion, as after a restore of the API's datastore
            await self._do(self.server.promote)
        if cluster["status"].get("phase") == RESTARTING:
            await self._restart(cluster)
        await self._tell_ready()
        await self._keep_slots()
        await self._keep_synchronous(cluster)
        if not self._archived:
            await asyncio.to_thread(self.server.sql, "SELECT pg_switch_wal() FROM pg_stat_archiver WHERE last_archived_time IS NULL")
            self._archived = True

    async def _restart(self, cluster: Json) -> None:
        """In the same container, which stays ready; the phase ends with it."""
        self.restarting = True
        try:
            await self._stop()
            await self._start()
        finally:
            self.restarting = False
        namespace, name = self.cluster_key
        ready = {"type": "Ready", "status": "True", "reason": "ClusterIsReady", "message": "Cluster is Ready"}
        conditions = set_condition(cluster["status"].get("conditions") or (), ready, self.lab.stamp())
        done = {"phase": HEALTHY, "phaseReason": "Primary instance restarted in-place", "conditions": conditions}
        self.clusters.offer(await self.lab.client.patch_status(PG_CLUSTERS, name, done, namespace))

    async def _runs(self) -> bool:
        """Start the server if this life of the container has not yet done so; one that has died ends the container."""
        if not self.server.running:
            if self._started:
                await self._exit(KILLED)
                return False
            await self._start()
        return True

    async def _start(self) -> None:
        self._started = True
        await self._do(self.server.start)

    async def _step_down(self) -> None:
        """Another one shall lead: shut down, give the lease back, and come again as a new container."""
        if not (self.server.running or self._started):
            self._say(Process(ready=False))
            return
        await self._stop()
        await self.lease.release(self.name)
        await self._exit(0)

    async def _succeed(self, status: Json) -> None:
        """Take the lease, wait until our own receiver has stopped, promote, and say so."""
        if not self.server.is_standby and not self._started:
            held = await self.lease.read()
            if held is None or held.holder != self.name:
                return  # it was primary once, not now: it must be rewound first, and there is nobody to follow
        if not await self._runs():
            return
        await self._tell_ready()
        if not await self._beat():
            return
        if self.server.is_standby:
            if (await self._facts()).get("isWalReceiverActive"):
                await asyncio.sleep(TICK_S)
                return
            await self._do(self.server.promote)
            await self._do(self.server.checkpoint)  # until then everybody is told the old timeline
        await self._keep_slots()
        namespace, name = self.cluster_key
        done = {"currentPrimary": self.name, "currentPrimaryTimestamp": micro(self.lab.now())}
        self.clusters.offer(await self.lab.client.patch_status(PG_CLUSTERS, name, done, namespace))
        self.changed()

    async def _follow(self, current: str) -> None:
        leader = self.servers.by_name.get(self._upstream(current))
        if leader is None or leader is self.server:
            await self._tell_ready()
            return
        if self.lost_data or not self.server.data.exists():
            await self._clone(leader)
        elif self.name in self.orders.diverged:
            await self._exit(FAILED)
            return
        elif not self.server.is_standby:
            if self.server.running:  # it goes the way of every former primary
                await self._step_down()
                return
            await self._rejoin(leader)
        cut = self.name in self.orders.cut or self.orders.held.get(self.name) == leader.name
        news = self.server.follow(NOWHERE if cut else leader.port, self.servers.passwords.streaming_replica, slot(self.name))
        fresh = not self._started
        if not await self._runs():
            return
        if fresh:
            await asyncio.to_thread(self._drop_slots)
        elif news:
            self.server.reload()
        await self._tell_ready()
        self.receiver_cut = cut and not news and not (await self.gauge.rows(RECEIVERS))

    def _upstream(self, current: str) -> str:
        """Whoever answers at ``-rw``: the pod that the operator labelled; until it does, the one that was followed before."""
        for name in self.servers:
            pod = self.pods.get(name, self.cluster_key[0])
            if pod is not None and (pod["metadata"].get("labels") or {}).get("cnpg.io/instanceRole") == "primary":
                return name
        return current if not self.server.running else ""

    async def _clone(self, leader: Server) -> None:
        """There is no data any more: take that of the primary."""
        await self.gauge.close()
        self._started = False
        if self.server.data.exists():
            await self._do(self.server.erase)
        self.lost_data = False
        self.orders.diverged.discard(self.name)
        await self._do(lambda: self.server.clone(leader, self.servers.inner_passfile))

    async def _rejoin(self, leader: Server) -> None:
        """We were primary once: take back what the new one does not have."""
        if not leader.running or leader.is_standby:
            raise Unreachable(f"{leader.name} cannot be followed yet")
        self.rewinding = True
        try:
            await asyncio.to_thread(leader.checkpoint)
            await self._do(lambda: self.server.rewind(leader, self.servers.inner_passfile))
            self.servers.fail_archiving(False, self.name)
        finally:
            self.rewinding = False

    async def _tell_ready(self) -> None:
        try:
            await self.gauge.rows("SELECT 1 AS one")
        except Unreachable:
            if self.server.running:
                self._probe_fails()
            return
        if self.name in self.orders.unready:
            self._probe_fails()
        else:
            self._probe_fails_since = None
            self._say(Process(ready=True))

    def _probe_fails(self) -> None:
        """The readiness probe; it takes several of its periods until the kubelet believes it."""
        clock = asyncio.get_running_loop().time()
        if self.state.ready is not False and self._probe_fails_since is None:
            self._probe_fails_since = clock
        since = self._probe_fails_since
        if since is None or clock - since >= self.lab.pace.probe:
            self._say(Process(ready=False))

    # --- slots

    async def _keep_slots(self) -> None:
        """Every other instance has a slot on the primary."""
        have = {
            row["slot_name"] for row in await self.gauge.rows("SELECT slot_name FROM pg_replication_slots WHERE slot_type = 'physical'")
        }
        want = {slot(name) for name in self.servers if name != self.name}
        for missing in sorted(want - have):
            await asyncio.to_thread(self.server.sql, f"SELECT pg_create_physical_replication_slot('{missing}', true)")
        if (own := slot(self.name)) in have:
            await asyncio.to_thread(self.server.sql, f"SELECT pg_drop_replication_slot('{own}')")

    async def _keep_synchronous(self, cluster: Json) -> None:
        """Commits wait for the standbys that the Cluster says; the FailoverQuorum tells for which."""
        found = Synchronous.of(cluster, self.name)
        setting = found.setting if found is not None else ""
        if setting != self._waits_for:
            await asyncio.to_thread(self.server.wait_for, setting)
            self._waits_for, self._told_quorum = setting, False
        if found is not None and found.guarded and not self._told_quorum:
            self._told_quorum = await Quorum(self.lab.client, self.cluster_key).fill(found.status(self.name))

    def _drop_slots(self) -> None:
        """A standby's own slots would hold its WAL for nobody."""
        self.server.sql(
            "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name LIKE '\\_cnpg\\_%' AND NOT active"
        )

    async def aclose(self) -> None:
        await self.gauge.close()
