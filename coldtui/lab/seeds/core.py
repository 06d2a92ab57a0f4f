"""Nodes, namespaces, what K3s ships, MetalLB, the applications, monitoring, and recent events."""

from __future__ import annotations

import uuid
from datetime import timedelta

from coldtui.lab.client import Json
from coldtui.lab.controllers.base import micro
from coldtui.lab.controllers.metallb import announcer
from coldtui.lab.controllers.nodes import HEALTHY, LEASE_NAMESPACE
from coldtui.lab.seeds.parts import Host, Release, Seed, budget, container, daemon_set, deployment, make, service, stateful_set
from coldtui.lab.seeds.postgres import CLUSTER, VIP
from coldtui.lab.seeds.postgres import NAMESPACE as DATABASE

PRODUCTION, METALLB, MONITORING, UPGRADE = "production", "metallb-system", "monitoring", "system-upgrade"
NAMESPACES = (
    "default", "kube-system", "kube-public", LEASE_NAMESPACE, DATABASE, PRODUCTION, "cnpg-system", "longhorn-system", METALLB, MONITORING, UPGRADE,
)  # fmt: skip
POOL = "192.168.15.200-192.168.15.210"
POOL_SIZE = 11


def add_namespaces(seed: Seed) -> None:
    for name in NAMESPACES:
        obj = make("v1", "Namespace", name, created=seed.ago(days=180), labels={"kubernetes.io/metadata.name": name})
        seed.add(obj | {"spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"}})
        account = make("v1", "ServiceAccount", "default", name, created=seed.ago(days=180))
        root = make("v1", "ConfigMap", "kube-root-ca.crt", name, created=seed.ago(days=180)) | {"data": {"ca.crt": "lab"}}
        seed.derive(account, root)


def node(host: Host, version: str, created: str, now: str) -> Json:
    """A node of 4 CPUs and 8 GiB that is well."""
    labels = {
        "beta.kubernetes.io/arch": "amd64", "beta.kubernetes.io/instance-type": "k3s", "beta.kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64",
        "kubernetes.io/hostname": host.name, "kubernetes.io/os": "linux", "node.kubernetes.io/instance-type": "k3s",
    }  # fmt: skip
    if host.master:
        labels |= {
            "node-role.kubernetes.io/control-plane": "true",
            "node-role.kubernetes.io/master": "true",
            "node-role.kubernetes.io/etcd": "true",
        }
    else:
        labels |= {"node-role.kubernetes.io/worker": "true", "plan.upgrade.cattle.io/k3s-agent": "8f0a2b"}
    annotations = {
        "k3s.io/hostname": host.name, "k3s.io/internal-ip": host.ip, "k3s.io/node-args": '["server","--cluster-init","--disable=servicelb"]' if host.master else '["agent"]',
        "k3s.io/node-env": "{}", "flannel.alpha.coreos.com/public-ip": host.ip, "node.alpha.kubernetes.io/ttl": "0",
    }  # fmt: skip
    obj = make("v1", "Node", host.name, created=created, labels=labels, annotations=annotations)
    obj["spec"] = {"podCIDR": f"10.42.{host.number}.0/24", "podCIDRs": [f"10.42.{host.number}.0/24"], "providerID": f"k3s://{host.name}"}
    size = {"cpu": "4", "memory": "8131896Ki", "ephemeral-storage": "101430960Ki", "pods": "110", "hugepages-2Mi": "0"}
    machine = uuid.uuid5(uuid.NAMESPACE_DNS, f"{host.name}.cold.example")
    obj["status"] = {
        "capacity": size, "allocatable": {**size, "ephemeral-storage": "98672037775"},
        "addresses": [{"type": "InternalIP", "address": host.ip}, {"type": "Hostname", "address": host.name}],
        "conditions": [
            {"type": t, "status": s, "reason": r, "message": m, "lastHeartbeatTime": now, "lastTransitionTime": created} for t, s, r, m in HEALTHY
        ],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": 10250}},
        "nodeInfo": {
            "architecture": "amd64", "operatingSystem": "linux", "osImage": "Debian GNU/Linux 12 (bookworm)", "kernelVersion": "6.1.0-41-amd64",
            "kubeletVersion": version, "kubeProxyVersion": version, "containerRuntimeVersion": "containerd://2.1.5-k3s1",
            "bootID": str(uuid.uuid5(uuid.NAMESPACE_OID, f"boot {machine}")), "machineID": machine.hex, "systemUUID": str(machine),
        },
        "images": [],
    }  # fmt: skip
    return obj


def lease(owner: Json, renewed: str) -> Json:
    name = owner["metadata"]["name"]
    obj = make("coordination.k8s.io/v1", "Lease", name, LEASE_NAMESPACE, created=owner["metadata"].get("creationTimestamp", ""))
    obj["metadata"]["ownerReferences"] = [{"apiVersion": "v1", "kind": "Node", "name": name, "uid": owner["metadata"]["uid"]}]
    obj["spec"] = {"holderIdentity": name, "leaseDurationSeconds": 40, "renewTime": renewed}
    return obj


def add_nodes(seed: Seed, version: str) -> None:
    for host in seed.hosts:
        made = node(host, version, seed.ago(days=180 - host.number), seed.ago(seconds=30))
        seed.add(made, lease(made, micro(seed.now)))


def add_kube_system(seed: Seed) -> None:
    workers = [h.name for h in seed.hosts if not h.master]
    master = next(h.name for h in seed.hosts if h.master)
    for name, value in (("system-cluster-critical", 2_000_000_000), ("system-node-critical", 2_000_001_000)):
        seed.derive(make("scheduling.k8s.io/v1", "PriorityClass", name, created=seed.ago(days=180)) | {"value": value})
    dns = {"k8s-app": "kube-dns"}
    deployment(seed, "kube-system", "coredns", {"containers": [container("coredns", "rancher/mirrored-coredns-coredns:1.12.3", port=53, cpu="100m", memory="70Mi")]},
               [master], days=41, labels=dns, restarts=[1])  # fmt: skip
    service(seed, "kube-system", "kube-dns", dns, {"dns": 53, "metrics": 9153}, days=180, ip="10.43.0.10")
    deployment(seed, "kube-system", "local-path-provisioner", {"containers": [container("local-path-provisioner", "rancher/local-path-provisioner:v0.0.32", cpu="10m", memory="32Mi")]},
               [master], days=41)  # fmt: skip
    deployment(seed, "kube-system", "metrics-server", {"containers": [container("metrics-server", "rancher/mirrored-metrics-server:v0.8.0", port=10250, cpu="100m", memory="70Mi")]},
               [master], days=41, labels={"k8s-app": "metrics-server"})  # fmt: skip
    service(seed, "kube-system", "metrics-server", {"k8s-app": "metrics-server"}, {"https": 443}, days=180)
    deployment(seed, "kube-system", "traefik", {"containers": [container("traefik", "rancher/mirrored-library-traefik:3.5.1", port=8000, cpu="50m", memory="96Mi")]},
               workers[:1], days=41, labels={"app.kubernetes.io/name": "traefik"})  # fmt: skip
    traefik = service(seed, "kube-system", "traefik", {"app.kubernetes.io/name": "traefik"}, {"web": 80, "websecure": 443}, days=180, kind="LoadBalancer",
                      annotations={"metallb.io/ip-allocated-from-pool": "cold-pool"})  # fmt: skip
    traefik["status"] = {"loadBalancer": {"ingress": [{"ip": "192.168.15.201", "ipMode": "VIP"}]}}
    local = make("storage.k8s.io/v1", "StorageClass", "local-path", created=seed.ago(days=180))
    seed.add(local | {"provisioner": "rancher.io/local-path", "reclaimPolicy": "Delete", "volumeBindingMode": "WaitForFirstConsumer"})
    kubernetes = make(
        "v1", "Service", "kubernetes", "default", created=seed.ago(days=180), labels={"component": "apiserver", "provider": "kubernetes"}
    )
    kubernetes["spec"] = {
        "type": "ClusterIP",
        "clusterIP": "10.43.0.1",
        "clusterIPs": ["10.43.0.1"],
        "ports": [{"name": "https", "port": 443, "targetPort": 6443}],
    }
    seed.derive(kubernetes)


def add_metallb(seed: Seed) -> None:
    workers = [h.name for h in seed.hosts if not h.master]
    deployment(seed, METALLB, "controller", {"containers": [container("controller", "quay.io/metallb/controller:v0.16.1", port=7472, cpu="20m", memory="48Mi")]},
               workers[2:3], days=175, labels={"app": "metallb", "component": "controller"})  # fmt: skip
    daemon_set(seed, METALLB, "speaker", {"containers": [container("speaker", "quay.io/metallb/speaker:v0.16.1", port=7472, cpu="20m", memory="48Mi")], "hostNetwork": True},
               days=175, labels={"app": "metallb", "component": "speaker"})  # fmt: skip
    pool = make("metallb.io/v1beta1", "IPAddressPool", "cold-pool", METALLB, created=seed.ago(days=175))
    pool["spec"] = {"addresses": [POOL], "autoAssign": True, "avoidBuggyIPs": False}
    pool["status"] = {"assignedIPv4": 2, "availableIPv4": POOL_SIZE - 2, "assignedIPv6": 0, "availableIPv6": 0}
    advertisement = make("metallb.io/v1beta1", "L2Advertisement", "cold-l2", METALLB, created=seed.ago(days=175))
    advertisement["spec"] = {"ipAddressPools": ["cold-pool"]}
    seed.add(pool, advertisement)
    for namespace, name, ip in ((DATABASE, f"{CLUSTER}-vip", VIP), ("kube-system", "traefik", "192.168.15.201")):
        where = announcer([h.name for h in seed.hosts], ip)
        labels = {"metallb.io/node": where, "metallb.io/service-name": name, "metallb.io/service-namespace": namespace}
        status = make(
            "metallb.io/v1beta1",
            "ServiceL2Status",
            f"l2-{uuid.uuid5(uuid.NAMESPACE_OID, name).hex[:5]}",
            METALLB,
            created=seed.ago(days=12),
            labels=labels,
        )
        status |= {"spec": {}, "status": {"node": where, "serviceName": name, "serviceNamespace": namespace, "interfaces": []}}
        seed.add(status)


def add_applications(seed: Seed) -> None:
    workers = [h.name for h in seed.hosts if not h.master]
    backend = container("cold-backend", "registry.cold.example/cold-backend:v1.5.173", port=8080, cpu="200m", memory="256Mi", limit="512Mi", probe="/healthz",
                        env={"ENVIRONMENT": "production", "POSTGRES_HOST": f"{CLUSTER}-rw.{DATABASE}"})  # fmt: skip
    rolling = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}
    deployment(
        seed, PRODUCTION, "cold-backend", {"containers": [backend]}, [workers[0], workers[1], workers[3]], days=160, strategy=rolling,
        releases=[
            Release("registry.cold.example/cold-backend:v1.5.171", 24, "v1.5.171: index on sensor readings"),
            Release("registry.cold.example/cold-backend:v1.5.172", 11, "v1.5.172: fix time zone of exports"),
            Release("registry.cold.example/cold-backend:v1.5.173", 4, "v1.5.173: faster alarm list"),
        ],
    )  # fmt: skip
    portal = container("customer-portal", "registry.cold.example/customer-portal:v2.1.0", port=8081, cpu="100m", memory="128Mi", limit="256Mi", probe="/health",
                       env={"API_URL": f"http://cold-backend.{PRODUCTION}:8080"})  # fmt: skip
    deployment(
        seed, PRODUCTION, "customer-portal", {"containers": [portal]}, [workers[2], workers[3]], days=150, strategy=rolling,
        releases=[
            Release("registry.cold.example/customer-portal:v2.0.9", 40, "v2.0.9"),
            Release("registry.cold.example/customer-portal:v2.1.0", 9, "v2.1.0: new login"),
        ],
    )  # fmt: skip
    service(seed, PRODUCTION, "cold-backend", {"app": "cold-backend"}, {"http": 8080}, days=160)
    service(seed, PRODUCTION, "customer-portal", {"app": "customer-portal"}, {"http": 8081}, days=150)
    budget(seed, PRODUCTION, "cold-backend", {"app": "cold-backend"}, most=1, pods=3, days=160)
    budget(seed, PRODUCTION, "customer-portal", {"app": "customer-portal"}, most=1, pods=2, days=150)
    redis = {"containers": [container("redis", "docker.io/library/redis:8.2-alpine", port=6379, cpu="50m", memory="64Mi")]}
    stateful_set(seed, PRODUCTION, "redis", redis, [workers[1], workers[2]], claim="data", mount="/data", size="2Gi", days=150)
    service(seed, PRODUCTION, "redis", {"app": "redis"}, {"redis": 6379}, days=150)
    for name, host, claim, days in (("registry", workers[3], "registry-data", 165), ("file-exchange", workers[0], "customer-uploads", 120)):
        spec = {
            "containers": [container(name, f"registry.cold.example/{name}:3.0", port=5000, cpu="50m", memory="64Mi", mounts={"data": "/data"})],
            "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": claim}}],
        }  # fmt: skip
        deployment(seed, PRODUCTION, name, spec, [host], days=days, strategy={"type": "Recreate"})
        service(seed, PRODUCTION, name, {"app": name}, {"http": 5000}, days=days)


def add_monitoring(seed: Seed) -> None:
    workers = [h.name for h in seed.hosts if not h.master]
    for name, host, size, image in (
        ("prometheus", workers[1], "12Gi", "quay.io/prometheus/prometheus:v3.5.0"),
        ("loki", workers[2], "8Gi", "docker.io/grafana/loki:3.5.3"),
    ):
        spec = {"containers": [container(name, image, port=9090 if name == "prometheus" else 3100, cpu="150m", memory="512Mi")]}
        stateful_set(seed, MONITORING, name, spec, [host], claim="data", mount="/data", size=size, days=140)
        service(seed, MONITORING, name, {"app": name}, {"http": 9090 if name == "prometheus" else 3100}, days=140)
    spec = {
        "containers": [container("grafana", "docker.io/grafana/grafana:12.1.0", port=3000, cpu="50m", memory="128Mi", mounts={"data": "/var/lib/grafana"})],
        "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "grafana"}}],
    }  # fmt: skip
    deployment(seed, MONITORING, "grafana", spec, [workers[0]], days=140, strategy={"type": "Recreate"})
    service(seed, MONITORING, "grafana", {"app": "grafana"}, {"http": 3000}, days=140)


def add_k3s(seed: Seed, version: str) -> None:
    """Datastore snapshots and the finished upgrade."""
    master = next(h for h in seed.hosts if h.master)
    slot = seed.now.replace(hour=seed.now.hour // 12 * 12, minute=0, second=0, microsecond=0)
    for index in range(5):
        at = slot - timedelta(hours=12 * index)
        name = f"etcd-snapshot-{master.name}-{int(at.timestamp())}"
        made = at.strftime("%Y-%m-%dT%H:%M:%SZ")
        for where in (master.name, "s3"):
            digest = uuid.uuid5(uuid.NAMESPACE_OID, f"{name}{where}").hex[:6]
            obj = make("k3s.cattle.io/v1", "ETCDSnapshotFile", f"{'s3' if where == 's3' else 'local'}-{name}-{digest}", created=made,
                       labels={"etcd.k3s.cattle.io/snapshot-storage-node": where}, annotations={"etcd.k3s.cattle.io/snapshot-token-hash": "5b1c0f2d9e3a"})  # fmt: skip
            local = f"file:///var/lib/rancher/k3s/server/db/snapshots/{name}"
            obj["spec"] = {
                "snapshotName": name,
                "nodeName": where,
                "location": f"s3://cold-storage-backups/etcd/{name}" if where == "s3" else local,
            }
            if where == "s3":
                obj["spec"]["s3"] = {
                    "endpoint": "0123456789abcdef.r2.cloudflarestorage.com",
                    "bucket": "cold-storage-backups",
                    "prefix": "etcd",
                    "region": "auto",
                }
            obj["status"] = {"creationTime": made, "readyToUse": True, "size": str(13_000_000 - index * 41_000)}
            seed.add(obj)
    deployment(seed, UPGRADE, "system-upgrade-controller", {"containers": [container("system-upgrade-controller", "rancher/system-upgrade-controller:v0.16.3", cpu="10m", memory="48Mi")]},
               [master.name], days=170)  # fmt: skip
    plan = make("upgrade.cattle.io/v1", "Plan", "k3s-agent", UPGRADE, created=seed.ago(days=43))
    plan["spec"] = {
        "version": version, "concurrency": 1, "cordon": True, "serviceAccountName": "system-upgrade", "drain": {"force": True, "ignoreDaemonSets": True},
        "nodeSelector": {"matchExpressions": [{"key": "node-role.kubernetes.io/control-plane", "operator": "DoesNotExist"}]},
        "upgrade": {"image": "rancher/k3s-upgrade"},
    }  # fmt: skip
    done = seed.ago(days=41)
    words = {"Validated": "PlanIsValid", "LatestResolved": "Version", "Complete": "Complete"}
    plan["status"] = {
        "latestVersion": version.replace("+", "-"), "latestHash": "8f0a2b", "applying": [],
        "conditions": [{"type": t, "status": "True", "reason": r, "message": "", "lastUpdateTime": done, "lastTransitionTime": done} for t, r in words.items()],
    }  # fmt: skip
    seed.add(plan)


def event(
    seed: Seed, about: Json, reason: str, message: str, *, minutes: float, component: str, warning: bool = False, count: int = 1
) -> None:
    meta = about["metadata"]
    namespace = meta.get("namespace", "default")
    last, first = seed.ago(minutes=minutes), seed.ago(minutes=minutes + (count - 1) * 4)
    digest = uuid.uuid5(uuid.NAMESPACE_OID, f"{meta['uid']}{reason}{message}").hex[:16]
    obj = make("v1", "Event", f"{meta['name']}.{digest}", namespace, created=first)
    target = {"apiVersion": about["apiVersion"], "kind": about["kind"], "name": meta["name"], "uid": meta["uid"]}
    if meta.get("namespace"):
        target["namespace"] = meta["namespace"]
    obj |= {
        "involvedObject": target, "reason": reason, "message": message, "type": "Warning" if warning else "Normal", "source": {"component": component},
        "reportingComponent": component, "reportingInstance": "", "firstTimestamp": first, "lastTimestamp": last, "count": count, "eventTime": None,
    }  # fmt: skip
    seed.add(obj)


def add_events(seed: Seed) -> None:
    """What happened in the last hour: a calm site with one small worry behind it."""
    every = [*seed.objects, *seed.derived]
    found = {(o["kind"], o["metadata"]["name"]): o for o in every}
    found |= {("Node", o["metadata"]["name"]): o for o in every if (o["apiVersion"], o["kind"]) == ("v1", "Node")}  # Longhorn has Nodes too
    pods = {n.rpartition("-")[0].rpartition("-")[0]: o for (k, n), o in found.items() if k == "Pod"}
    current = next(n for (k, n), o in found.items() if k == "ReplicaSet" and n.startswith("cold-backend-") and o["spec"]["replicas"])
    backend, cluster = pods["cold-backend"], found["Cluster", CLUSTER]
    event(seed, backend, "Unhealthy", f'Readiness probe failed: Get "http://{backend["status"]["podIP"]}:8080/healthz": context deadline exceeded', minutes=37,
          component="kubelet", warning=True, count=2)  # fmt: skip
    event(seed, found["Service", f"{CLUSTER}-vip"], "nodeAssigned", f'announcing from node "{announcer([h.name for h in seed.hosts], VIP)}" with protocol "layer2"', minutes=52,
          component="metallb-speaker")  # fmt: skip
    event(seed, cluster, "ContinuousArchiving", "WAL archiving is working", minutes=48, component="cloudnative-pg")
    event(
        seed,
        found["RecurringJob", "snapshot-6h"],
        "Completed",
        "recurring job snapshot-6h completed for 12 volumes",
        minutes=44,
        component="longhorn-recurring-job",
    )
    event(seed, found["Node", seed.hosts[2].name], "ImageGCFreed", "freed 412 MiB of unused images", minutes=29, component="kubelet")
    event(
        seed,
        found["Deployment", "cold-backend"],
        "ScalingReplicaSet",
        f"Scaled up replica set {current} from 2 to 3",
        minutes=57,
        component="deployment-controller",
    )
