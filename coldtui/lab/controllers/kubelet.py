"""The kubelets: pods that were given a node start, fail as their images and annotations say, and stop in their own time.

What fails is scripted from outside: an image with ``nope`` in its name cannot be pulled, and the annotation ``lab.coldtui/fail``
(on a pod or its template) is one of CrashLoopBackOff, OOMKilled, NotReady, CreateContainerConfigError. NotReady works on a running pod too.
"""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import dataclass
from datetime import timedelta

from coldtui.lab.client import CLAIMS, LH_VOLUMES, NODES, PODS, Json, Key
from coldtui.lab.controllers.base import Controller, Lab, Process, deleting, finished, is_true, moment, owner, set_condition, stamp

FAIL = "lab.coldtui/fail"
STOP_SECONDS = "lab.coldtui/stop-seconds"
"""Annotation: how long the containers of a pod take to end; never longer than its grace period."""
RUN_SECONDS = "lab.coldtui/run-seconds"
"""Annotation: how long the pod of a Job runs."""
BACKOFF_CAP = 30
LONG_LIFE = 3
"""A program that ran for so many first pauses had recovered from its failures."""
KUBELET = "kubelet"


@dataclass(frozen=True, slots=True)
class Exit:
    """How a container's life ended."""

    reason: str
    code: int


CRASHES = {"CrashLoopBackOff": Exit("Error", 1), "OOMKilled": Exit("OOMKilled", 137)}


class Kubelet(Controller):
    """Plays the kubelet of every node whose machine is on."""

    name = "kubelet"

    def __init__(self, lab: Lab) -> None:
        super().__init__(lab)
        self.pods = self.follow(PODS, self._interesting)
        self.nodes = lab.informers.of(NODES)
        self._stops: dict[str, float] = {}
        """When the containers of a deleted pod (by uid) have ended."""
        self._starts: dict[str, float] = {}
        """When the containers of a new pod (by uid) run."""
        self._taken: dict[str, str] = {}
        """Pod addresses in use -> uid."""
        self._told: set[str] = set()
        """Pods (by uid) of which was said that their volume is attached elsewhere."""
        self._failed: dict[str, int] = {}
        """Failures in a row of the real programs of pods (by uid)."""
        self._waking: dict[str, float] = {}
        """Machines that boot, and when they are done."""
        lab.machines.listen(self._switched)
        lab.machines.listen_kubelet(self._started)
        if lab.processes is not None:
            lab.processes.listen(self.enqueue)

    def _interesting(self, pod: Json) -> list[Key]:
        """Everything but the calm mass of running pods."""
        if address := (pod.get("status") or {}).get("podIP"):
            self._taken.setdefault(address, pod["metadata"]["uid"])
        if not pod["spec"].get("nodeName") or (_calm(pod) and pod["spec"]["nodeName"] not in self._waking):
            return []
        return [(pod["metadata"]["namespace"], pod["metadata"]["name"])]

    def _switched(self, name: str) -> None:
        if name in self.lab.machines.down:
            return
        self._waking[name] = asyncio.get_running_loop().time() + self.pace.boot
        for key, pod in self.pods.items.items():
            if pod["spec"].get("nodeName") == name:
                self.enqueue(key, self.pace.boot + self.lab.dice.uniform(0, self.pace.pod_start))

    def _started(self, name: str) -> None:
        """What came to pass while this kubelet was not running is seen to now."""
        for key, pod in self.pods.items.items():
            if pod["spec"].get("nodeName") == name:
                self.enqueue(key)

    async def reconcile(self, key: Key) -> None:
        pod = self.pods.items.get(key)
        if pod is None or not (node := pod["spec"].get("nodeName")) or self.lab.machines.silent(node):
            return
        clock = asyncio.get_running_loop().time()
        if (awake := self._waking.get(node)) is not None and clock < awake:
            self.enqueue(key, awake - clock)
            return
        if deleting(pod):
            await self._stop(key, pod)
        elif finished(pod):
            return
        elif (pod.get("status") or {}).get("phase") != "Running":
            await self._start(key, pod)
        elif self._lost_to_boot(pod):
            await self._restart_after_boot(pod)
        else:
            await self._live(key, pod)

    # --- ending

    async def _stop(self, key: Key, pod: Json) -> None:
        """Containers end after a moment; then the pod is removed for good, as kubelets do with grace 0."""
        uid = pod["metadata"]["uid"]
        clock = asyncio.get_running_loop().time()
        grace = float(pod["metadata"].get("deletionGracePeriodSeconds") or 0)
        takes = float((pod["metadata"].get("annotations") or {}).get(STOP_SECONDS) or self.pace.pod_stop)
        until = min(self._stops.get(uid, clock + takes), clock + grace)
        if clock < until:
            if uid not in self._stops:
                await self.lab.event(pod, "Killing", f"Stopping container {pod['spec']['containers'][0]['name']}", component=KUBELET)
            self._stops[uid] = until
            self.enqueue(key, until - clock)
            return
        self._stops.pop(uid, None)
        await self.client.delete(PODS, key[1], key[0], grace_s=0, uid=uid)
        self._taken = {address: holder for address, holder in self._taken.items() if holder != uid}

    # --- beginning

    async def _start(self, key: Key, pod: Json) -> None:
        status = pod.get("status") or {}
        if not status.get("startTime"):
            await self._say_creating(pod)
            self.enqueue(key)
            return
        if (broken := next((c for c in pod["spec"]["containers"] if "nope" in c["image"]), None)) is not None:
            await self._refuse_image(key, pod, broken)
            return
        if _script(pod) == "CreateContainerConfigError":
            await self._wait(pod, "CreateContainerConfigError", 'configmap "lab-missing" not found')
            await self.lab.event(pod, "Failed", 'Error: configmap "lab-missing" not found', warning=True, component=KUBELET)
            self.enqueue(key, self.pace.crash_backoff)
            return
        if missing := self._unattached(pod):
            await self._say_unattached(pod, missing)
            self.enqueue(key, self.pace.attach / 2)
            return
        clock = asyncio.get_running_loop().time()
        due = self._starts.setdefault(pod["metadata"]["uid"], clock + self.pace.pod_start * self.lab.dice.uniform(0.7, 1.2))
        if clock < due:  # our own write brought it here again
            self.enqueue(key, due - clock)
            return
        await self._run(pod)
        self._starts.pop(pod["metadata"]["uid"], None)

    def _unattached(self, pod: Json) -> Json | None:
        """The first Longhorn volume of a pod that is not attached to its node."""
        volumes, claims = self.lab.informers.known(LH_VOLUMES), self.lab.informers.known(CLAIMS)
        if volumes is None or claims is None:
            return None
        for part in pod["spec"].get("volumes") or ():
            name = (part.get("persistentVolumeClaim") or {}).get("claimName")
            claim = claims.get(name, pod["metadata"]["namespace"]) if name else None
            volume = volumes.get((claim or {}).get("spec", {}).get("volumeName", ""), "longhorn-system")
            status = (volume or {}).get("status") or {}
            if volume is not None and (status.get("state"), status.get("currentNodeID")) != ("attached", pod["spec"]["nodeName"]):
                return volume
        return None

    async def _say_unattached(self, pod: Json, volume: Json) -> None:
        """A volume that another node still holds is worth an event, once a pod."""
        uid = pod["metadata"]["uid"]
        if not volume["status"].get("currentNodeID") or uid in self._told:
            return
        self._told.add(uid)
        said = f'Multi-Attach error for volume "{volume["metadata"]["name"]}" Volume is already used by pod(s) on another node'
        await self.lab.event(pod, "FailedAttachVolume", said, warning=True, component="attachdetach-controller")

    async def _say_creating(self, pod: Json) -> None:
        now = self.lab.stamp()
        conditions = list((pod.get("status") or {}).get("conditions") or ())
        for type_, value, reason in (
            ("PodScheduled", "True", ""), ("Initialized", "True", ""),
            ("Ready", "False", "ContainersNotReady"), ("ContainersReady", "False", "ContainersNotReady"),
        ):  # fmt: skip
            new: Json = {"type": type_, "status": value, "lastProbeTime": None}
            if reason:
                new |= {
                    "reason": reason,
                    "message": f"containers with unready status: [{' '.join(c['name'] for c in pod['spec']['containers'])}]",
                }
            conditions = set_condition(conditions, new, now)
        statuses = [_container(c, {"waiting": {"reason": "ContainerCreating"}}, ready=False) for c in pod["spec"]["containers"]]
        status = {"phase": "Pending", "startTime": now, "conditions": conditions, "containerStatuses": statuses, "hostIP": self._host(pod)}
        await self._write(pod, status)

    async def _refuse_image(self, key: Key, pod: Json, container: Json) -> None:
        image = container["image"]
        first = "ErrImagePull" not in str(pod["status"]) and "ImagePullBackOff" not in str(pod["status"])
        error = f'failed to pull and unpack image "{image}": failed to resolve reference "{image}": {image}: not found'
        if first:
            await self.lab.event(pod, "Pulling", f'Pulling image "{image}"', component=KUBELET)
            await self.lab.event(pod, "Failed", f'Failed to pull image "{image}": {error}', warning=True, component=KUBELET)
            await self._wait(pod, "ErrImagePull", error, only=container["name"])
        else:
            await self._wait(pod, "ImagePullBackOff", f'Back-off pulling image "{image}": ErrImagePull: {error}', only=container["name"])
            await self.lab.event(pod, "BackOff", f'Back-off pulling image "{image}"', warning=True, component=KUBELET)
        self.enqueue(key, self.pace.crash if first else self.pace.crash_backoff * BACKOFF_CAP)

    async def _run(self, pod: Json) -> None:
        now = self.lab.stamp()
        real = self._process(pod)
        if real is not None and self.lab.processes is not None:
            self.lab.processes.begin(pod)
        ready = _script(pod) not in ("NotReady", *CRASHES) and real is None
        old = {c["name"]: c for c in pod["status"].get("containerStatuses") or ()}
        statuses = []
        for container in pod["spec"]["containers"]:
            was = old.get(container["name"], {})
            made = _container(container, {"running": {"startedAt": now}}, ready=ready, was=was)
            statuses.append({**made, "containerID": self._container_id(pod)})
            await self.lab.event(pod, "Started", f"Started container {container['name']}", component=KUBELET)
        address = pod["status"].get("podIP") or self._address(pod)
        status = {
            "phase": "Running", "conditions": _conditions(pod, ready, now), "containerStatuses": statuses, "hostIP": self._host(pod),
            "podIP": address, "podIPs": [{"ip": address}],
        }  # fmt: skip
        await self._write(pod, status)

    # --- living

    async def _live(self, key: Key, pod: Json) -> None:
        """Crash loops and the end of Jobs; anything else just runs."""
        script, job = _script(pod), owner(pod)
        if (real := self._process(pod)) is not None:
            await self._follow_process(key, pod, real)
        elif script in CRASHES:
            await self._crash(key, pod, CRASHES[script])
        elif job is not None and job["kind"] == "Job":
            await self._maybe_finish(key, pod)
        elif not is_true(pod, "Ready") and script != "NotReady":
            # Ready was taken away by the node life cycle controller; the node is back.
            await self._say_ready(pod, True)
        elif is_true(pod, "Ready") and script == "NotReady":
            await self._say_ready(pod, False)
            probe = "Readiness probe failed: HTTP probe failed with statuscode: 503"
            await self.lab.event(pod, "Unhealthy", probe, warning=True, component=KUBELET)

    def _process(self, pod: Json) -> Process | None:
        return self.lab.processes.state(pod) if self.lab.processes is not None else None

    async def _follow_process(self, key: Key, pod: Json, real: Process) -> None:
        """The first container is a real program: its end, its restart and its readiness."""
        status = pod["status"]["containerStatuses"][0]
        if "running" not in status["state"]:
            await self._restart_process(key, pod, status)
        elif real.code is not None:
            await self._end_process(key, pod, status, real.code)
        elif real.ready is not None and real.ready != is_true(pod, "Ready"):
            await self._replace_first(pod, {"ready": real.ready}, ready=real.ready)
            if not real.ready:
                probe = "Readiness probe failed: HTTP probe failed with statuscode: 500"
                await self.lab.event(pod, "Unhealthy", probe, warning=True, component=KUBELET)

    async def _end_process(self, key: Key, pod: Json, status: Json, code: int) -> None:
        now = self.lab.stamp()
        began = moment(status["state"]["running"].get("startedAt")) or self.lab.now()
        self._count_failure(pod, code, (self.lab.now() - began).total_seconds())
        pause = self._process_pause(pod, code)
        ended = {
            "exitCode": code,
            "reason": "Completed" if code == 0 else "Error",
            "startedAt": status["state"]["running"]["startedAt"],
            "finishedAt": now,
        }
        message = (
            f"back-off {max(1, round(pause))}s restarting failed container={status['name']} pod={key[1]}_{key[0]}({pod['metadata']['uid']})"
        )
        waiting = {"waiting": {"reason": "CrashLoopBackOff", "message": message}}
        new = {"state": waiting if code else {"terminated": ended}, "lastState": {"terminated": ended}, "ready": False, "started": False}
        await self._replace_first(pod, new, ready=False)
        if code:
            await self.lab.event(pod, "BackOff", f"Back-off restarting failed container {status['name']}", warning=True, component=KUBELET)
        self.enqueue(key, pause)

    def _count_failure(self, pod: Json, code: int, lived_s: float) -> None:
        uid = pod["metadata"]["uid"]
        in_a_row = 0 if lived_s > LONG_LIFE * self.pace.crash_backoff else self._failed.get(uid, 0)
        self._failed[uid] = in_a_row + 1 if code else 0

    def _process_pause(self, pod: Json, code: int) -> float:
        """At once after a clean end, ever later after failures in a row."""
        failures = self._failed.get(pod["metadata"]["uid"], 1)
        return self.pace.rejoin if code == 0 else self.pace.crash_backoff * min(2 ** min(failures - 1, 5), BACKOFF_CAP)

    async def _restart_process(self, key: Key, pod: Json, status: Json) -> None:
        ended = (status.get("lastState") or {}).get("terminated") or {}
        at, now = moment(ended.get("finishedAt")), self.lab.now()
        pause = self._process_pause(pod, int(ended.get("exitCode") or 0))
        left = 0.0 if at is None else (at + timedelta(seconds=pause) - now).total_seconds()
        if left > 0:
            self.enqueue(key, left)
            return
        if self.lab.processes is not None:
            self.lab.processes.begin(pod)
        new = {
            "state": {"running": {"startedAt": stamp(now)}}, "restartCount": int(status["restartCount"]) + 1, "ready": False, "started": True,
            "containerID": self._container_id(pod),
        }  # fmt: skip
        await self._replace_first(pod, new, ready=False)

    async def _say_ready(self, pod: Json, ready: bool) -> None:
        statuses = [{**c, "ready": ready} for c in pod["status"].get("containerStatuses") or ()]
        await self._write(pod, {"conditions": _conditions(pod, ready, self.lab.stamp()), "containerStatuses": statuses})

    async def _crash(self, key: Key, pod: Json, how: Exit) -> None:
        status = pod["status"]["containerStatuses"][0]
        state, restarts = status["state"], int(status["restartCount"])
        pause = self.pace.crash_backoff * min(2**restarts, BACKOFF_CAP)
        now = self.lab.now()
        if (running := state.get("running")) is not None:
            began = moment(running.get("startedAt")) or now
            left = (began + timedelta(seconds=self.pace.crash) - now).total_seconds()
            if left > 0:
                self.enqueue(key, left)
                return
            ended = {"exitCode": how.code, "reason": how.reason, "startedAt": stamp(began), "finishedAt": stamp(now)}
            message = (
                f"back-off {round(pause)}s restarting failed container={status['name']} pod={key[1]}_{key[0]}({pod['metadata']['uid']})"
            )
            new = {"state": {"waiting": {"reason": "CrashLoopBackOff", "message": message}}, "lastState": {"terminated": ended}}
            await self._replace_first(pod, {**new, "ready": False, "started": False}, ready=False)
            await self.lab.event(pod, "BackOff", f"Back-off restarting failed container {status['name']}", warning=True, component=KUBELET)
            self.enqueue(key, pause)
            return
        last = moment(((status.get("lastState") or {}).get("terminated") or {}).get("finishedAt"))
        left = 0.0 if last is None else (last + timedelta(seconds=pause) - now).total_seconds()
        if left > 0:
            self.enqueue(key, left)
            return
        new = {"state": {"running": {"startedAt": stamp(now)}}, "restartCount": restarts + 1, "ready": False, "started": True}
        await self._replace_first(pod, new, ready=False)
        self.enqueue(key, self.pace.crash)

    async def _maybe_finish(self, key: Key, pod: Json) -> None:
        now = self.lab.now()
        began = moment(pod["status"]["containerStatuses"][0]["state"].get("running", {}).get("startedAt")) or now
        seconds = float((pod["metadata"].get("annotations") or {}).get(RUN_SECONDS, self.pace.job))
        left = (began + timedelta(seconds=seconds) - now).total_seconds()
        if left > 0:
            self.enqueue(key, left)
            return
        ended = {"exitCode": 0, "reason": "Completed", "startedAt": stamp(began), "finishedAt": stamp(now)}
        statuses = [{**c, "ready": False, "started": False, "state": {"terminated": ended}} for c in pod["status"]["containerStatuses"]]
        conditions = [c for c in _conditions(pod, False, stamp(now)) if c["type"] != "Initialized"]
        done = {"type": "Initialized", "status": "True", "reason": "PodCompleted", "lastProbeTime": None}
        await self._write(
            pod, {"phase": "Succeeded", "conditions": set_condition(conditions, done, stamp(now)), "containerStatuses": statuses}
        )

    # --- after a boot of the machine

    def _lost_to_boot(self, pod: Json) -> bool:
        """Its containers ended with a boot that they do not know of yet."""
        boot = self.lab.machines.boots.get(pod["spec"]["nodeName"])
        if boot is None:
            return False
        return not any(c.get("containerID", "").startswith(_boot_mark(boot)) for c in pod["status"].get("containerStatuses") or ())

    def _container_id(self, pod: Json) -> str:
        """A new ID that carries the boot, where there was one, so that a later look knows in which it was started."""
        boot = self.lab.machines.boots.get(pod["spec"]["nodeName"])
        mark = _boot_mark(boot) if boot is not None else "containerd://"
        return (mark + uuid.uuid4().hex * 2)[: len("containerd://") + 64]

    async def _restart_after_boot(self, pod: Json) -> None:
        now = self.lab.stamp()
        if pod["spec"].get("restartPolicy") == "Never":
            await self._fail_after_boot(pod, now)
            return
        statuses = []
        for container in pod["status"].get("containerStatuses") or ():
            began = (container["state"].get("running") or {}).get("startedAt", now)
            ended = {
                "exitCode": 255,
                "reason": "Unknown",
                "startedAt": began,
                "finishedAt": now,
                "containerID": container.get("containerID", ""),
            }
            statuses.append(
                {
                    **container, "ready": True, "started": True, "restartCount": int(container["restartCount"]) + 1,
                    "state": {"running": {"startedAt": now}}, "lastState": {"terminated": ended},
                    "containerID": self._container_id(pod),
                }
            )  # fmt: skip
        real = self._process(pod)
        if real is not None and self.lab.processes is not None:
            self.lab.processes.begin(pod)
            statuses[0] |= {"ready": False}
        await self._write(pod, {"conditions": _conditions(pod, real is None, now), "containerStatuses": statuses})
        await self.lab.event(pod, "SandboxChanged", "Pod sandbox changed, it will be killed and re-created.", component=KUBELET)

    async def _fail_after_boot(self, pod: Json, now: str) -> None:
        """A pod that is never restarted has failed when its machine boots."""
        statuses = []
        for container in pod["status"].get("containerStatuses") or ():
            began = (container["state"].get("running") or {}).get("startedAt", now)
            ended = {
                "exitCode": 255,
                "reason": "Unknown",
                "startedAt": began,
                "finishedAt": now,
                "containerID": container.get("containerID", ""),
            }
            statuses.append({**container, "ready": False, "started": False, "state": {"terminated": ended}})
        await self._write(pod, {"phase": "Failed", "conditions": _conditions(pod, False, now), "containerStatuses": statuses})

    # --- writing

    async def _wait(self, pod: Json, reason: str, message: str, only: str = "") -> None:
        statuses = []
        for container in pod["status"]["containerStatuses"]:
            chosen = not only or container["name"] == only
            statuses.append({**container, "state": {"waiting": {"reason": reason, "message": message}}} if chosen else container)
        await self._write(pod, {"containerStatuses": statuses})

    async def _replace_first(self, pod: Json, new: Json, *, ready: bool) -> None:
        first, *others = pod["status"]["containerStatuses"]
        await self._write(pod, {"containerStatuses": [{**first, **new}, *others], "conditions": _conditions(pod, ready, self.lab.stamp())})

    async def _write(self, pod: Json, status: Json) -> None:
        namespace, name = pod["metadata"]["namespace"], pod["metadata"]["name"]
        # A successor of the same name (StatefulSets, instances) must not get this one's status: the version says which it is for.
        patch = {"metadata": {"uid": pod["metadata"]["uid"]}, "status": status}
        self.pods.offer(await self.client.patch(PODS, name, patch, namespace, sub="status"))

    def _host(self, pod: Json) -> str:
        node = self.nodes.get(pod["spec"]["nodeName"])
        addresses = (node.get("status") or {}).get("addresses") or () if node else ()
        return next((a["address"] for a in addresses if a["type"] == "InternalIP"), "192.168.15.1")

    def _address(self, pod: Json) -> str:
        """A free address of the node's pod range; the node's own one for pods on the host network."""
        if pod["spec"].get("hostNetwork"):
            return self._host(pod)
        node = self.nodes.get(pod["spec"]["nodeName"])
        prefix = ((node or {}).get("spec", {}).get("podCIDR") or "10.42.250.0/24").rpartition(".")[0]
        used = {address for address in self._taken if address.startswith(prefix + ".")}
        address = next((a for a in (f"{prefix}.{n}" for n in range(2, 255)) if a not in used), f"{prefix}.254")
        self._taken[address] = pod["metadata"]["uid"]
        return address


def _calm(pod: Json) -> bool:
    """Running, ready, and nothing scripted: there is nothing to do."""
    return is_true(pod, "Ready") and not deleting(pod) and _script(pod) == "" and (owner(pod) or {}).get("kind") != "Job"


def _script(pod: Json) -> str:
    return str((pod["metadata"].get("annotations") or {}).get(FAIL, ""))


def _boot_mark(boot: str) -> str:
    return "containerd://" + boot.replace("-", "")[:12]


def _container(container: Json, state: Json, *, ready: bool, was: Json | None = None) -> Json:
    running = "running" in state
    image = container["image"]
    digest = uuid.uuid5(uuid.NAMESPACE_URL, image).hex * 2
    return {
        "name": container["name"], "image": image, "ready": ready, "started": running, "restartCount": (was or {}).get("restartCount", 0),
        "state": state, "lastState": (was or {}).get("lastState", {}),
        "imageID": f"{image.partition('@')[0].rpartition(':')[0] or image}@sha256:{digest}" if running else "",
        "containerID": f"containerd://{uuid.uuid4().hex}{uuid.uuid4().hex}" if running else "",
    }  # fmt: skip


def _conditions(pod: Json, ready: bool, now: str) -> list[Json]:
    conditions = list((pod.get("status") or {}).get("conditions") or ())
    for type_ in ("PodReadyToStartContainers", "Initialized", "ContainersReady", "Ready", "PodScheduled"):
        well = ready or type_ not in ("ContainersReady", "Ready")
        new: Json = {"type": type_, "status": "True" if well else "False", "lastProbeTime": None}
        if not well:
            new |= {"reason": "ContainersNotReady", "message": f"containers with unready status: [{pod['spec']['containers'][0]['name']}]"}
        conditions = set_condition(conditions, new, now)
    return conditions
