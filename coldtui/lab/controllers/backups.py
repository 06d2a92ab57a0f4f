"""Backups on schedule and on demand: CloudNativePG's and Longhorn's, their snapshots, their targets."""

from __future__ import annotations

from datetime import datetime, timedelta

from coldtui.lab.client import (
    LH_BACKUP_VOLUMES,
    LH_BACKUPS,
    LH_ENGINES,
    LH_JOBS,
    LH_SNAPSHOTS,
    LH_TARGETS,
    LH_VOLUMES,
    OBJECT_STORES,
    PG_BACKUPS,
    PG_CLUSTERS,
    PG_SCHEDULES,
    ApiError,
    Json,
    Key,
)
from coldtui.lab.controllers.base import Controller, Lab, deleting, is_true, moment, reference, set_condition, stamp
from coldtui.lab.controllers.longhorn import create_whole
from coldtui.lab.seeds import longhorn as make
from coldtui.lab.seeds.postgres import PLUGIN, backup_status, following, previous

NAMESPACE = make.NAMESPACE
DONE = ("completed", "failed")
LOOK_S = 60.0


class PgSchedules(Controller):
    """ScheduledBackup: makes a Backup when a slot of its six-field schedule comes."""

    name = "cnpg-schedules"

    def __init__(self, lab: Lab) -> None:
        super().__init__(lab)
        self.schedules = self.follow(PG_SCHEDULES)
        self.backups = self.follow(PG_BACKUPS, self._of_backup)

    def _of_backup(self, backup: Json) -> list[Key]:
        parent = (backup["metadata"].get("labels") or {}).get("cnpg.io/scheduled-backup")
        return [(backup["metadata"]["namespace"], parent)] if parent else []

    async def reconcile(self, key: Key) -> None:
        obj = self.schedules.items.get(key)
        if obj is None or deleting(obj) or obj["spec"].get("suspend") or self.lab.still:
            return
        now, cron = self.lab.now(), obj["spec"]["schedule"]
        status = obj.get("status") or {}
        due = moment(status.get("nextScheduleTime"))
        if due is None:
            await self._write(key, {"lastCheckTime": stamp(now), "nextScheduleTime": stamp(following(cron, now))})
            if obj["spec"].get("immediate"):
                await self._make(obj, now, immediate=True)
            return
        if now < due:
            expected = following(cron, now)
            if expected != due and expected < due:  # the schedule was changed
                await self._write(key, {"nextScheduleTime": stamp(expected)})
            self.enqueue(key, max(0.01, min(3600.0, (min(due, expected) - now).total_seconds() + 0.01)))
            return
        mine = [b for b in self.backups.values() if key in self._of_backup(b)]
        if any((b.get("status") or {}).get("phase") not in DONE for b in mine):
            self.enqueue(key, LOOK_S)
            return
        await self._make(obj, previous(cron, now + timedelta(seconds=1)), immediate=False)
        times = {"lastCheckTime": stamp(now), "lastScheduleTime": stamp(now), "nextScheduleTime": stamp(following(cron, now))}
        await self._write(key, times)

    async def _make(self, obj: Json, slot: datetime, *, immediate: bool) -> None:
        spec = obj["spec"]
        labels = {
            "cnpg.io/cluster": spec["cluster"]["name"],
            "cnpg.io/scheduled-backup": obj["metadata"]["name"],
            "cnpg.io/immediateBackup": str(immediate).lower(),
        }
        body: Json = {
            "metadata": {"name": f"{obj['metadata']['name']}-{slot:%Y%m%d%H%M%S}", "namespace": obj["metadata"]["namespace"], "labels": labels},
            "spec": {k: spec[k] for k in ("cluster", "method", "target", "pluginConfiguration", "online", "onlineConfiguration") if k in spec},
        }  # fmt: skip
        if spec.get("backupOwnerReference") == "self":
            body["metadata"]["ownerReferences"] = [reference(obj)]
        try:
            await self.client.create(PG_BACKUPS, body)
        except ApiError as error:
            if not error.conflict:
                raise
        await self.lab.event(
            obj, "BackupSchedule", f"Scheduled backup {body['metadata']['name']}", component="cloudnative-pg-scheduledbackup"
        )

    async def _write(self, key: Key, status: Json) -> None:
        self.schedules.offer(await self.client.patch_status(PG_SCHEDULES, key[1], status, key[0]))


class PgBackups(Controller):
    """Backup: one at a time a cluster, in the order of their creation. `finish` is where real data would be copied."""

    name = "cnpg-backups"

    def __init__(self, lab: Lab) -> None:
        super().__init__(lab)
        self.backups = self.follow(PG_BACKUPS, lambda b: [(b["metadata"]["namespace"], b["spec"]["cluster"]["name"])])
        self.clusters = self.follow(PG_CLUSTERS)
        self.stores = lab.informers.of(OBJECT_STORES)

    async def reconcile(self, key: Key) -> None:
        cluster = self.clusters.items.get(key)
        waiting = [
            b for k, b in self.backups.items.items()
            if k[0] == key[0] and b["spec"]["cluster"]["name"] == key[1] and (b.get("status") or {}).get("phase") not in DONE and not deleting(b)
        ]  # fmt: skip
        if cluster is None or not waiting:
            return
        waiting.sort(key=lambda b: (b["metadata"]["creationTimestamp"], b["metadata"]["name"]))
        first, *others = waiting
        for other in others:
            if not (other.get("status") or {}).get("phase"):
                await self._write(other, {"phase": "pending", "method": other["spec"].get("method", "barmanObjectStore")})
        now = self.lab.now()
        status = first.get("status") or {}
        began = moment(status.get("startedAt")) if status.get("phase") == "started" else None
        if began is None:
            await self._begin(cluster, first, now)
            return
        left = (began + timedelta(seconds=self.pace.backup) - now).total_seconds()
        if left > 0:
            self.enqueue(key, left)
            return
        await self.finish(cluster, first, began, now)

    async def _begin(self, cluster: Json, backup: Json, now: datetime) -> None:
        method = backup["spec"].get("method", "barmanObjectStore")
        configured = any(p["name"] == PLUGIN for p in cluster["spec"].get("plugins") or ())
        if method != "plugin" or not configured:
            why = (
                "cannot proceed with the backup as the cluster has no backup section"
                if method != "plugin"
                else "cannot proceed with the backup because of missing plugin"
            )
            await self._write(backup, {"phase": "failed", "method": method, "error": why, "startedAt": stamp(now), "stoppedAt": stamp(now)})
            await self._condition(cluster, False, "LastBackupFailed", why)
            return
        pod = self._pod(cluster, backup)
        if not pod:
            await self._write(backup, {"phase": "pending", "method": method})
            self.enqueue((cluster["metadata"]["namespace"], cluster["metadata"]["name"]), 5.0)
            return
        await self._write(
            backup,
            {
                "phase": "started",
                "method": method,
                "startedAt": stamp(now),
                "reconciliationStartedAt": stamp(now),
                "instanceID": {"podName": pod},
            },
        )
        await self._condition(cluster, False, "BackupStarted", "New Backup starting up")
        await self.lab.event(backup, "Starting", "Starting backup", component="cloudnative-pg-backup")

    def _pod(self, cluster: Json, backup: Json) -> str:
        """A ready standby, else the primary, unless the primary is asked for."""
        status = cluster.get("status") or {}
        ready, primary = (status.get("instancesStatus") or {}).get("healthy") or [], status.get("currentPrimary", "")
        standbys = [n for n in ready if n != primary]
        if backup["spec"].get("target") != "primary" and standbys:
            return str(standbys[0])
        return str(primary) if primary in ready else ""

    async def finish(self, cluster: Json, backup: Json, began: datetime, ended: datetime) -> None:
        """Complete a backup: its status, the recovery window of the store, the condition of the cluster."""
        segment = int(ended.timestamp() // 300) & 0xFFFF
        status = backup_status(began, ended, backup["status"]["instanceID"]["podName"], segment)
        await self._write(backup, status)
        await self._condition(cluster, True, "LastBackupSucceeded", "Backup was successful")
        await self.lab.event(backup, "Completed", "Backup completed", component="cloudnative-pg-backup")
        plugin = next(p for p in cluster["spec"]["plugins"] if p["name"] == PLUGIN)
        name, namespace = plugin["parameters"]["barmanObjectName"], cluster["metadata"]["namespace"]
        store = self.stores.get(name, namespace)
        if store is not None:
            window = ((store.get("status") or {}).get("serverRecoveryWindow") or {}).get(cluster["metadata"]["name"]) or {}
            oldest = window.get("firstRecoverabilityPoint") or stamp(began)
            new = {cluster["metadata"]["name"]: {"firstRecoverabilityPoint": oldest, "lastSuccessfulBackupTime": stamp(ended)}}
            self.stores.offer(await self.client.patch_status(OBJECT_STORES, name, {"serverRecoveryWindow": new}, namespace))

    async def _condition(self, cluster: Json, ok: bool, reason: str, message: str) -> None:
        namespace, name = cluster["metadata"]["namespace"], cluster["metadata"]["name"]
        cluster = self.clusters.get(name, namespace) or cluster
        new = {"type": "LastBackupSucceeded", "status": "True" if ok else "False", "reason": reason, "message": message}
        conditions = set_condition(cluster["status"].get("conditions") or (), new, self.lab.stamp())
        patch = {"metadata": {"resourceVersion": cluster["metadata"]["resourceVersion"]}, "status": {"conditions": conditions}}
        self.clusters.offer(await self.client.patch(PG_CLUSTERS, name, patch, namespace, sub="status"))

    async def _write(self, backup: Json, status: Json) -> None:
        self.backups.offer(await self.client.patch_status(PG_BACKUPS, backup["metadata"]["name"], status, backup["metadata"]["namespace"]))


class RecurringJobs(Controller):
    """Longhorn's policy: snapshots and backups of all volumes of a group, the oldest beyond the limit removed."""

    name = "longhorn-recurring"

    def __init__(self, lab: Lab) -> None:
        super().__init__(lab)
        self.jobs = self.follow(LH_JOBS)
        self.volumes = lab.informers.of(LH_VOLUMES)
        self.snapshots = lab.informers.of(LH_SNAPSHOTS)
        self.backups = lab.informers.of(LH_BACKUPS)
        self._slots: dict[Key, tuple[str, datetime]] = {}

    async def reconcile(self, key: Key) -> None:
        job = self.jobs.items.get(key)
        if job is None or deleting(job) or self.lab.still:
            self._slots.pop(key, None)
            return
        now, cron = self.lab.now(), job["spec"]["cron"]
        known = self._slots.get(key)
        if known is None or known[0] != cron:
            known = self._slots[key] = (cron, following(cron, now))
        if now >= known[1]:
            self._slots[key] = (cron, following(cron, now))
            await self._perform(job, known[1])
        self.enqueue(key, max(0.01, min(3600.0, (self._slots[key][1] - now).total_seconds() + 0.01)))

    async def _perform(self, job: Json, slot: datetime) -> None:
        spec = job["spec"]
        for volume in self.volumes.values():
            if not _covered(volume, job) or (volume.get("status") or {}).get("state") != "attached":
                continue
            short = volume["metadata"]["uid"][:8]
            if spec["task"].startswith("snapshot"):
                await self._snapshot(volume, f"{spec['name'][:8]}-c-{slot:%Y%m%d%H%M}-{short}", job)
            elif spec["task"].startswith("backup"):
                name = f"backup-c-{slot:%Y%m%d%H%M}-{short}"
                await self._snapshot(volume, name, job)
                labels = {"backup-volume": volume["metadata"]["name"], "backup-target": "default"}
                body = {
                    "metadata": {"name": f"backup-{slot:%Y%m%d%H%M}{short}", "namespace": NAMESPACE, "labels": labels},
                    "spec": {"snapshotName": name, "backupMode": "incremental", "labels": {"RecurringJob": spec["name"], **(spec.get("labels") or {})}},
                }  # fmt: skip
                await self._create(LH_BACKUPS, body)
            await self._prune(volume, job)
        count = int((job.get("status") or {}).get("executionCount") or 0) + 1
        self.jobs.offer(await self.client.patch_status(LH_JOBS, job["metadata"]["name"], {"executionCount": count}, NAMESPACE))

    async def _snapshot(self, volume: Json, name: str, job: Json) -> None:
        labels = {"RecurringJob": job["spec"]["name"], **(job["spec"].get("labels") or {})}
        spec = {"volume": volume["metadata"]["name"], "createSnapshot": True, "labels": labels}
        meta = {
            "name": name,
            "namespace": NAMESPACE,
            "labels": {"longhornvolume": volume["metadata"]["name"]},
            "ownerReferences": [reference(volume)],
        }
        await self._create(LH_SNAPSHOTS, {"metadata": meta, "spec": spec})

    async def _create(self, kind: object, body: Json) -> None:
        chosen = LH_BACKUPS if kind is LH_BACKUPS else LH_SNAPSHOTS
        try:
            self.lab.informers.of(chosen).offer(await self.client.create(chosen, body))
        except ApiError as error:
            if not error.conflict:
                raise

    async def _prune(self, volume: Json, job: Json) -> None:
        """``retain`` counts per volume and job."""
        name = volume["metadata"]["name"]
        for kind, informer in ((LH_SNAPSHOTS, self.snapshots), (LH_BACKUPS, self.backups)):
            label = "longhornvolume" if kind is LH_SNAPSHOTS else "backup-volume"
            mine = [
                o for o in informer.values()
                if (o["metadata"].get("labels") or {}).get(label) == name and (o["spec"].get("labels") or {}).get("RecurringJob") == job["spec"]["name"]
            ]  # fmt: skip
            mine.sort(key=lambda o: str(o["metadata"]["creationTimestamp"]))
            for old in mine[: max(0, len(mine) - int(job["spec"]["retain"]))]:
                if old["metadata"].get("finalizers"):
                    await self.client.patch(kind, old["metadata"]["name"], {"metadata": {"finalizers": None}}, NAMESPACE)
                await self.client.delete(kind, old["metadata"]["name"], NAMESPACE)


def _covered(volume: Json, job: Json) -> bool:
    """A volume without any recurring-job label is in group ``default``; one with labels is in what they say only."""
    labels = volume["metadata"].get("labels") or {}
    jobs = {k.rpartition("/")[2] for k, v in labels.items() if k.startswith("recurring-job.longhorn.io/") and v == "enabled"}
    groups = {k.rpartition("/")[2] for k, v in labels.items() if k.startswith("recurring-job-group.longhorn.io/") and v == "enabled"}
    if not jobs and not groups:
        groups = {"default"}
    return job["spec"]["name"] in jobs or not groups.isdisjoint(job["spec"].get("groups") or ())


class Snapshots(Controller):
    """Takes the snapshots that are asked for, and forgets the deleted ones."""

    name = "longhorn-snapshots"

    def __init__(self, lab: Lab) -> None:
        super().__init__(lab)
        self.snapshots = self.follow(LH_SNAPSHOTS)
        self.volumes = lab.informers.of(LH_VOLUMES)
        self.engines = lab.informers.of(LH_ENGINES)

    async def reconcile(self, key: Key) -> None:
        obj = self.snapshots.items.get(key)
        if obj is None or deleting(obj) or (obj.get("status") or {}).get("readyToUse") or not obj["spec"].get("createSnapshot"):
            return
        volume = self.volumes.get(obj["spec"]["volume"], NAMESPACE)
        now = self.lab.now()
        if volume is None:
            await self._write(obj, {"readyToUse": False, "error": f"volume {obj['spec']['volume']} not found"})
            return
        asked = moment((obj.get("status") or {}).get("requestedTime"))
        if asked is None:
            meta = {
                "labels": {"longhornvolume": obj["spec"]["volume"]},
                "ownerReferences": obj["metadata"].get("ownerReferences") or [reference(volume)],
            }
            self.snapshots.offer(await self.client.patch(LH_SNAPSHOTS, key[1], {"metadata": meta}, NAMESPACE))
            await self._write(obj, {"requestedTime": stamp(now), "readyToUse": False})
            self.enqueue(key, self.pace.snapshot)
            return
        left = (asked + timedelta(seconds=self.pace.snapshot) - now).total_seconds()
        if left > 0:
            self.enqueue(key, left)
            return
        engine = self.engines.get(f"{obj['spec']['volume']}-e-0", NAMESPACE)
        head = ((engine.get("status") or {}).get("snapshots") or {}).get("volume-head") if engine else None
        parent = (head or {}).get("parent", "")
        labels = obj["spec"].get("labels") or {}
        status = {
            "readyToUse": True, "creationTime": stamp(now), "size": self.lab.dice.randrange(8, 96) * 2**20, "restoreSize": int(volume["spec"]["size"]),
            "parent": parent, "children": {"volume-head": True}, "userCreated": True, "markRemoved": False, "labels": labels, "error": "",
            "ownerID": volume["status"].get("ownerID", ""),
        }  # fmt: skip
        await self._write(obj, status)
        if engine is not None:
            await self._chain(engine, key[1], parent, status)

    async def _chain(self, engine: Json, name: str, parent: str, status: Json) -> None:
        """The new snapshot goes between the live head and the one before."""
        mine = {
            "name": name, "parent": parent, "children": {"volume-head": True}, "removed": False, "usercreated": True, "created": status["creationTime"],
            "size": str(status["size"]), "labels": status["labels"],
        }  # fmt: skip
        chain: Json = {name: mine, "volume-head": {"name": "volume-head", "parent": name}}
        if parent:
            chain[parent] = {"children": {"volume-head": None, name: True}}
        self.engines.offer(await self.client.patch_status(LH_ENGINES, engine["metadata"]["name"], {"snapshots": chain}, NAMESPACE))

    async def _write(self, obj: Json, status: Json) -> None:
        self.snapshots.offer(await self.client.patch_status(LH_SNAPSHOTS, obj["metadata"]["name"], status, NAMESPACE))


class LonghornBackups(Controller):
    """Uploads the backups that are asked for, and keeps the records of their volumes."""

    name = "longhorn-backups"

    def __init__(self, lab: Lab) -> None:
        super().__init__(lab)
        self.backups = self.follow(LH_BACKUPS)
        self.snapshots = self.follow(LH_SNAPSHOTS, self._of_snapshot)
        self.volumes = lab.informers.of(LH_VOLUMES)
        self.targets = lab.informers.of(LH_TARGETS)
        self.records = lab.informers.of(LH_BACKUP_VOLUMES)

    def _of_snapshot(self, snapshot: Json) -> list[Key]:
        name = snapshot["metadata"]["name"]
        return [k for k, b in self.lab.informers.of(LH_BACKUPS).items.items() if b["spec"].get("snapshotName") == name and not _ended(b)]

    async def reconcile(self, key: Key) -> None:
        obj = self.backups.items.get(key)
        if obj is None or deleting(obj) or _ended(obj):
            return
        snapshot = self.snapshots.get(obj["spec"].get("snapshotName", ""), NAMESPACE)
        target = self.targets.get("default", NAMESPACE)
        now, status = self.lab.now(), obj.get("status") or {}
        if target is None or not (target.get("status") or {}).get("available"):
            await self._write(obj, {"state": "Error", "error": "backup target default is not available"})
            return
        if snapshot is None or not (snapshot.get("status") or {}).get("readyToUse"):
            if status.get("state") != "Pending":
                await self._write(
                    obj, {"state": "Pending", "messages": {"info": f"waiting for snapshot {obj['spec'].get('snapshotName')} to be ready"}}
                )
            self.enqueue(key, LOOK_S)
            return
        volume = self.volumes.get(snapshot["spec"]["volume"], NAMESPACE)
        if volume is None:
            await self._write(obj, {"state": "Error", "error": f"volume {snapshot['spec']['volume']} not found"})
            return
        began = moment(status.get("lastSyncedAt")) if status.get("state") == "InProgress" else None
        if began is None:
            await self._write(
                obj,
                {
                    "state": "InProgress",
                    "progress": 0,
                    "lastSyncedAt": stamp(now),
                    "volumeName": volume["metadata"]["name"],
                    "messages": {"info": None},
                },
            )
            self.enqueue(key, self.pace.backup / 5)
            return
        part = (now - began).total_seconds() / self.pace.backup
        if part < 1:
            await self._write(obj, {"progress": int(part * 100)})
            self.enqueue(key, self.pace.backup / 5)
            return
        await self._finish(obj, snapshot, volume, now)

    async def _finish(self, obj: Json, snapshot: Json, volume: Json, now: datetime) -> None:
        taken = moment(snapshot["status"]["creationTime"]) or now
        size = int(volume["status"]["actualSize"] * 0.92)
        name = obj["metadata"]["name"]
        status = make.finished_backup(
            volume, name, snapshot["metadata"]["name"], taken, now, size, size // 60, obj["spec"].get("labels") or {}
        )
        await self._write(obj, status)
        last = {"lastBackup": name, "lastBackupAt": stamp(taken)}
        self.volumes.offer(await self.client.patch_status(LH_VOLUMES, volume["metadata"]["name"], last, NAMESPACE))
        record = next((r for r in self.records.values() if r["spec"].get("volumeName") == volume["metadata"]["name"]), None)
        if record is None:
            await create_whole(self.lab, make.backup_volume(volume, {"metadata": {"name": name}, "status": status}, size, stamp(now)))
            return
        stored = int((record.get("status") or {}).get("dataStored") or 0) + size // 60
        news = {"lastBackupName": name, "lastBackupAt": stamp(now), "dataStored": str(stored), "lastSyncedAt": stamp(now)}
        self.records.offer(await self.client.patch_status(LH_BACKUP_VOLUMES, record["metadata"]["name"], news, NAMESPACE))

    async def _write(self, obj: Json, status: Json) -> None:
        self.backups.offer(await self.client.patch_status(LH_BACKUPS, obj["metadata"]["name"], status, NAMESPACE))


def _ended(backup: Json) -> bool:
    return (backup.get("status") or {}).get("state") in ("Completed", "Error", "Unknown", "Deleting")


class BackupTargets(Controller):
    """Polls the target as often as it says, or when it is asked to."""

    name = "longhorn-targets"

    def __init__(self, lab: Lab) -> None:
        super().__init__(lab)
        self.targets = self.follow(LH_TARGETS)

    async def reconcile(self, key: Key) -> None:
        target = self.targets.items.get(key)
        if target is None or is_true(target, "Unavailable"):
            return
        now = self.lab.now()
        asked = moment(target["spec"].get("syncRequestedAt"))
        synced = moment((target.get("status") or {}).get("lastSyncedAt"))
        every = 0.0 if self.lab.still else _seconds(target["spec"].get("pollInterval", "5m0s"))
        due = synced is None or (every > 0 and now >= synced + timedelta(seconds=every)) or (asked is not None and asked > synced)
        if due:
            self.targets.offer(
                await self.client.patch_status(LH_TARGETS, key[1], {"lastSyncedAt": stamp(now), "available": True}, NAMESPACE)
            )
            synced = now
        if every > 0 and synced is not None:
            self.enqueue(key, max(1.0, (synced + timedelta(seconds=every) - now).total_seconds()))


def _seconds(text: str) -> float:
    """``5m0s`` -> 300; 0 for what is no duration."""
    total, number = 0.0, ""
    for letter in text:
        if letter.isdigit() or letter == ".":
            number += letter
        else:
            total += float(number or 0) * {"h": 3600, "m": 60, "s": 1}.get(letter, 0)
            number = ""
    return total


BACKUPS: tuple[type[Controller], ...] = (PgSchedules, PgBackups, RecurringJobs, Snapshots, LonghornBackups, BackupTargets)
