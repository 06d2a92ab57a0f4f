"""The site of the site document as objects, and how they come into an API server, embedded or real."""

from __future__ import annotations

import asyncio
import copy
import random
import re
from collections.abc import Iterable
from datetime import UTC, datetime

import msgspec

from coldtui.domain.errors import Unreachable
from coldtui.lab.client import KINDS, NAMESPACES, ApiError, Json, Kind, KubeClient, kind_of
from coldtui.lab.controllers.endpoints import make_slice
from coldtui.lab.seeds import core, longhorn, postgres
from coldtui.lab.seeds.longhorn import VolumeSpec
from coldtui.lab.seeds.parts import Host, Seed

VERSION = "v1.34.4+k3s1"
HOSTS = (
    Host("k3s-master", "192.168.15.110", 0, master=True),
    *(Host(f"k3s-worker-{n}", f"192.168.15.{110 + n}", n) for n in range(1, 5)),
)
PG_HOSTS = ("k3s-worker-1", "k3s-worker-2", "k3s-worker-3")
SETTLE_S = 60.0
"""How long a real control plane may take to make accounts and serve fresh CRDs."""

_VERSION_FORM = re.compile(r"v1\.\d{1,3}\.\d{1,3}([-+][0-9A-Za-z.+-]{1,40})?")


def is_version(text: str) -> bool:
    """Whether ``text`` is a version that a K3s server could have."""
    return _VERSION_FORM.fullmatch(text) is not None


_encode = msgspec.json.Encoder().encode


def build(now: datetime | None = None, *, version: str = VERSION) -> Seed:
    """The whole site in good health at ``now``; the same for the same moment."""
    seed = Seed((now or datetime.now(UTC)).astimezone(UTC), HOSTS, random.Random(110))
    core.add_namespaces(seed)
    core.add_nodes(seed, version)
    core.add_kube_system(seed)
    core.add_metallb(seed)
    postgres.add_postgres(seed, PG_HOSTS)
    core.add_applications(seed)
    core.add_monitoring(seed)
    longhorn.add_system(seed)
    longhorn.add_policy(seed)
    nodes = longhorn.add_volumes(seed, _volumes(seed))
    longhorn.add_instance_managers(seed, nodes)
    core.add_k3s(seed, version)
    core.add_events(seed)
    _add_slices(seed)
    return seed


def _volumes(seed: Seed) -> list[VolumeSpec]:
    """Twelve volumes, their copies spread so that every node holds some, the user's node among them."""
    names = [h.name for h in seed.hosts]
    pods = {o["metadata"]["name"]: o for o in [*seed.objects, *seed.derived] if o["kind"] == "Pod"}

    def pod_of(prefix: str) -> str:
        return str(next(name for name in pods if name == prefix or name.startswith(f"{prefix}-")))

    wanted = (
        *(("database", name, 20, 4.6 + 0.1 * n, name, ("Cluster", postgres.CLUSTER)) for n, name in enumerate(postgres.INSTANCES)),
        ("monitoring", "data-prometheus-0", 12, 8.1, "prometheus-0", ("StatefulSet", "prometheus")),
        ("monitoring", "data-loki-0", 6, 4.2, "loki-0", ("StatefulSet", "loki")),
        ("monitoring", "grafana", 2, 0.3, pod_of("grafana"), ("ReplicaSet", "grafana")),
        ("production", "registry-data", 6, 4.0, pod_of("registry"), ("ReplicaSet", "registry")),
        ("production", "customer-uploads", 5, 1.6, pod_of("file-exchange"), ("ReplicaSet", "file-exchange")),
        ("production", "data-redis-0", 2, 0.2, "redis-0", ("StatefulSet", "redis")),
        ("production", "data-redis-1", 2, 0.2, "redis-1", ("StatefulSet", "redis")),
        ("production", "exports", 5, 0.9, "", ("", "")),
        ("production", "mail-spool", 2, 0.1, "", ("", "")),
    )
    specs = []
    promised = dict.fromkeys(names, 0)
    for namespace, claim, size, used, pod, workload in wanted:
        attached = pods[pod]["spec"]["nodeName"] if pod else ""
        # The user's node first, then where least is promised: no disk beyond what it may hold.
        near = [attached] if attached else []
        copies = (near + sorted((n for n in names if n not in near), key=lambda n: promised[n]))[:3]
        for name in copies:
            promised[name] += size
        specs.append(VolumeSpec(namespace, claim, size, used, tuple(copies), attached, pod, workload, days=140))
    return specs


def _add_slices(seed: Seed) -> None:
    pods = [o for o in [*seed.objects, *seed.derived] if o["kind"] == "Pod"]
    for service in [o for o in seed.objects if o["kind"] == "Service"]:
        near = [p for p in pods if p["metadata"]["namespace"] == service["metadata"]["namespace"]]
        made = make_slice(service, near)
        seed.derive({**made, "metadata": {**made["metadata"], "creationTimestamp": service["metadata"]["creationTimestamp"]}})


def lines(objects: Iterable[Json]) -> bytes:
    """Objects as NDJSON, for the embedded server's bulk path."""
    return b"\n".join(_encode(obj) for obj in objects)


async def load(client: KubeClient, objects: Iterable[Json]) -> None:
    """Put objects into the embedded server as they are, status, uids and creation times included. ApiError, Unreachable."""
    await client.request("POST", "/lab/bulk", body=lines(objects), content_type="application/x-ndjson", deadline_s=60.0)


async def seed_api(client: KubeClient, seed: Seed) -> int:
    """Create the site on any API server with ordinary requests; what is there already is left alone. Returns how many objects were made.

    Only what people and operators make: Deployments become pods by the control plane's own controllers. Raises ApiError, Unreachable.
    """
    uids: dict[str, str] = {}
    made = 0
    for obj in seed.objects:
        made += await _create(client, obj, uids)
    return made


async def _create(client: KubeClient, obj: Json, uids: dict[str, str]) -> bool:
    kind = kind_of(obj)
    body = copy.deepcopy(obj)
    meta = body["metadata"]
    ours = meta.pop("uid", "")
    for field in ("creationTimestamp", "generation", "resourceVersion"):
        meta.pop(field, None)
    for reference in meta.get("ownerReferences") or ():
        reference["uid"] = uids.get(reference["uid"], reference["uid"])
    bound = (body.get("spec") or {}).get("claimRef")
    if bound:
        bound["uid"] = uids.get(bound["uid"], bound["uid"])
    status = body.pop("status", None) if kind.status else None
    try:
        answer = await _patiently(client, kind, body)
    except ApiError:
        # It may be there: "already exists", or a cluster address that it holds itself.
        known = await client.find(kind, meta["name"], meta.get("namespace", ""))
        if known is None:
            raise
        uids[ours] = known["metadata"]["uid"]
        return False
    uids[ours] = answer["metadata"]["uid"]
    if status and kind is not NAMESPACES:
        await client.patch_status(kind, meta["name"], _without_past(kind, status), meta.get("namespace", ""))
    return True


def _without_past(kind: Kind, status: Json) -> Json:
    """Counters that only the control plane can know are its own to write."""
    if kind.group == "apps":
        return {}
    return {k: v for k, v in status.items() if not (kind.plural == "poddisruptionbudgets" and k == "observedGeneration")}


async def _patiently(client: KubeClient, kind: Kind, body: Json) -> Json:
    """Create; wait for what a fresh control plane is still making: the default account of a namespace, the paths of a CRD."""
    loop = asyncio.get_running_loop()
    until = loop.time() + SETTLE_S
    while True:
        try:
            return await client.create(kind, body)
        except ApiError as error:
            unserved = error.code == 404 and bool(kind.group)
            early = error.code == 403 and ("serviceaccount" in str(error) or "not yet ready" in str(error))
            if not (unserved or early) or loop.time() > until:
                raise
        except Unreachable:
            if loop.time() > until:
                raise
        await asyncio.sleep(0.3)


def kinds(seed: Seed) -> set[tuple[str, str]]:
    """apiVersion and kind of everything in a site; all of them are in `KINDS`."""
    found = {(o["apiVersion"], o["kind"]) for o in [*seed.objects, *seed.derived]}
    unknown = found - KINDS.keys()
    if unknown:
        raise KeyError(f"the client does not know {sorted(unknown)}")
    return found
