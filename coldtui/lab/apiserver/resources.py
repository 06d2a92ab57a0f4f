"""The kinds that are served: a registry of built-in resources, to which CRDs add theirs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

READ = ("get", "list", "watch")
ALL_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
CREATE_ONLY = ("create",)


@dataclass(frozen=True, slots=True)
class Subresource:
    """``pods/eviction`` and the like: what its body is and which verbs it takes."""

    name: str
    kind: str
    group: str = ""
    version: str = "v1"
    verbs: tuple[str, ...] = ("get", "patch", "update")


STATUS = "status"
SCALE = Subresource("scale", "Scale", "autoscaling")
EVICTION = Subresource("eviction", "Eviction", "policy", verbs=("create",))
BINDING = Subresource("binding", "Binding", verbs=("create",))
LOG = Subresource("log", "Pod", verbs=("get",))
PROXY = Subresource("proxy", "NodeProxyOptions", verbs=("create", "delete", "get", "patch", "update"))
POD_PROXY = Subresource("proxy", "PodProxyOptions", verbs=("create", "delete", "get", "patch", "update"))
TOKEN = Subresource("token", "TokenRequest", "authentication.k8s.io", verbs=("create",))
FINALIZE = Subresource("finalize", "Namespace", verbs=("update",))


@dataclass(frozen=True, slots=True)
class Resource:
    """One kind in one served version; versions of a kind share a collection."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True
    short: tuple[str, ...] = ()
    subresources: tuple[Subresource, ...] = ()
    verbs: tuple[str, ...] = ALL_VERBS
    generation: bool = False
    """``metadata.generation`` counts changes of the spec."""
    fields: tuple[str, ...] = ()
    """Field selectors beyond ``metadata.name`` and ``metadata.namespace``."""
    categories: tuple[str, ...] = ()
    singular: str = ""
    list_kind: str = ""
    custom: bool = False
    storage_version: str = ""
    """The version that objects are kept in; empty: this one."""
    virtual: bool = False
    """Answered by code, not kept in the store (reviews, metrics)."""
    scale_paths: tuple[str, str, str] = ("", "", "")
    """Custom scale: paths of spec replicas, status replicas and label selector."""

    @property
    def group_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def items_kind(self) -> str:
        return self.list_kind or f"{self.kind}List"

    def sub(self, name: str) -> Subresource | None:
        return next((s for s in self.subresources if s.name == name), None)

    @property
    def has_status(self) -> bool:
        return self.sub(STATUS) is not None


def _make(
    gv: str,
    kind: str,
    plural: str,
    *,
    cluster: bool = False,
    short: str = "",
    subs: Iterable[Subresource] = (),
    status: bool = True,
    generation: bool = False,
    fields: str = "",
    verbs: tuple[str, ...] = ALL_VERBS,
    categories: str = "",
    virtual: bool = False,
) -> Resource:
    group, _, version = gv.rpartition("/")
    own = (Subresource(STATUS, kind, group, version),) if status else ()
    return Resource(
        group,
        version,
        plural,
        kind,
        not cluster,
        tuple(short.split()),
        (*own, *subs),
        verbs,
        generation,
        tuple(fields.split()),
        tuple(categories.split()),
        kind.lower(),
        virtual=virtual,
    )


POD_FIELDS = "spec.nodeName spec.restartPolicy spec.schedulerName spec.serviceAccountName spec.hostNetwork status.phase status.podIP status.nominatedNodeName"
EVENT_FIELDS = (
    "involvedObject.kind involvedObject.namespace involvedObject.name involvedObject.uid involvedObject.apiVersion"
    " involvedObject.resourceVersion involvedObject.fieldPath reason reportingComponent source type"
)

BUILT_IN: tuple[Resource, ...] = (
    _make("v1", "Node", "nodes", cluster=True, short="no", subs=[PROXY], fields="spec.unschedulable"),
    _make("v1", "Namespace", "namespaces", cluster=True, short="ns", subs=[FINALIZE], fields="status.phase"),
    _make("v1", "Pod", "pods", short="po", subs=[BINDING, EVICTION, LOG, POD_PROXY], generation=True, fields=POD_FIELDS, categories="all"),
    _make("v1", "Service", "services", short="svc", fields="spec.clusterIP spec.type", categories="all"),
    _make("v1", "Endpoints", "endpoints", short="ep", status=False),
    _make("v1", "Event", "events", short="ev", status=False, fields=EVENT_FIELDS),
    _make("v1", "ConfigMap", "configmaps", short="cm", status=False),
    _make("v1", "Secret", "secrets", status=False, fields="type"),
    _make("v1", "ServiceAccount", "serviceaccounts", short="sa", status=False, subs=[TOKEN]),
    _make("v1", "PersistentVolume", "persistentvolumes", cluster=True, short="pv"),
    _make("v1", "PersistentVolumeClaim", "persistentvolumeclaims", short="pvc"),
    _make(
        "v1",
        "ReplicationController",
        "replicationcontrollers",
        short="rc",
        subs=[SCALE],
        generation=True,
        fields="status.replicas",
        categories="all",
    ),
    _make("v1", "ResourceQuota", "resourcequotas", short="quota"),
    _make("v1", "LimitRange", "limitranges", short="limits", status=False),
    _make("apps/v1", "Deployment", "deployments", short="deploy", subs=[SCALE], generation=True, categories="all"),
    _make("apps/v1", "ReplicaSet", "replicasets", short="rs", subs=[SCALE], generation=True, fields="status.replicas", categories="all"),
    _make("apps/v1", "StatefulSet", "statefulsets", short="sts", subs=[SCALE], generation=True, categories="all"),
    _make("apps/v1", "DaemonSet", "daemonsets", short="ds", generation=True, categories="all"),
    _make("apps/v1", "ControllerRevision", "controllerrevisions", status=False),
    _make("batch/v1", "Job", "jobs", generation=True, fields="status.successful", categories="all"),
    _make("batch/v1", "CronJob", "cronjobs", short="cj", generation=True, categories="all"),
    _make("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets", short="pdb", generation=True),
    _make("coordination.k8s.io/v1", "Lease", "leases", status=False),
    _make("discovery.k8s.io/v1", "EndpointSlice", "endpointslices", status=False, generation=True),
    _make("storage.k8s.io/v1", "StorageClass", "storageclasses", cluster=True, short="sc", status=False),
    _make("storage.k8s.io/v1", "VolumeAttachment", "volumeattachments", cluster=True),
    _make("storage.k8s.io/v1", "CSINode", "csinodes", cluster=True, status=False),
    _make("storage.k8s.io/v1", "CSIDriver", "csidrivers", cluster=True, status=False),
    _make("storage.k8s.io/v1", "CSIStorageCapacity", "csistoragecapacities", status=False),
    _make("rbac.authorization.k8s.io/v1", "Role", "roles", status=False),
    _make("rbac.authorization.k8s.io/v1", "RoleBinding", "rolebindings", status=False),
    _make("rbac.authorization.k8s.io/v1", "ClusterRole", "clusterroles", cluster=True, status=False),
    _make("rbac.authorization.k8s.io/v1", "ClusterRoleBinding", "clusterrolebindings", cluster=True, status=False),
    _make("networking.k8s.io/v1", "Ingress", "ingresses", short="ing", generation=True),
    _make("networking.k8s.io/v1", "IngressClass", "ingressclasses", cluster=True, status=False, generation=True),
    _make("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies", short="netpol", status=False, generation=True),
    _make("autoscaling/v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers", short="hpa", categories="all"),
    _make("scheduling.k8s.io/v1", "PriorityClass", "priorityclasses", cluster=True, short="pc", status=False, generation=True),
    _make(
        "apiextensions.k8s.io/v1", "CustomResourceDefinition", "customresourcedefinitions", cluster=True, short="crd crds", generation=True
    ),
    _make("apiregistration.k8s.io/v1", "APIService", "apiservices", cluster=True),
    _make(
        "admissionregistration.k8s.io/v1",
        "ValidatingWebhookConfiguration",
        "validatingwebhookconfigurations",
        cluster=True,
        status=False,
        generation=True,
    ),
    _make(
        "admissionregistration.k8s.io/v1",
        "MutatingWebhookConfiguration",
        "mutatingwebhookconfigurations",
        cluster=True,
        status=False,
        generation=True,
    ),
    _make(
        "authorization.k8s.io/v1",
        "SelfSubjectAccessReview",
        "selfsubjectaccessreviews",
        cluster=True,
        status=False,
        verbs=CREATE_ONLY,
        virtual=True,
    ),
    _make(
        "authorization.k8s.io/v1",
        "SelfSubjectRulesReview",
        "selfsubjectrulesreviews",
        cluster=True,
        status=False,
        verbs=CREATE_ONLY,
        virtual=True,
    ),
    _make(
        "authorization.k8s.io/v1",
        "SubjectAccessReview",
        "subjectaccessreviews",
        cluster=True,
        status=False,
        verbs=CREATE_ONLY,
        virtual=True,
    ),
    _make(
        "authentication.k8s.io/v1", "SelfSubjectReview", "selfsubjectreviews", cluster=True, status=False, verbs=CREATE_ONLY, virtual=True
    ),
    _make("metrics.k8s.io/v1beta1", "NodeMetrics", "nodes", cluster=True, status=False, verbs=("get", "list"), virtual=True),
    _make("metrics.k8s.io/v1beta1", "PodMetrics", "pods", status=False, verbs=("get", "list"), virtual=True),
)


@dataclass(slots=True)
class Registry:
    """Every served kind, found by group, version and plural name."""

    by_path: dict[tuple[str, str, str], Resource] = field(default_factory=dict)

    @classmethod
    def built_in(cls) -> Registry:
        registry = cls()
        for resource in BUILT_IN:
            registry.add(resource)
        return registry

    def add(self, resource: Resource) -> None:
        self.by_path[resource.group, resource.version, resource.plural] = resource

    def remove(self, group: str, plural: str) -> None:
        """Stop serving a custom kind in all its versions."""
        for path in [p for p in self.by_path if p[0] == group and p[2] == plural]:
            del self.by_path[path]

    def find(self, group: str, version: str, plural: str) -> Resource | None:
        return self.by_path.get((group, version, plural))

    def kind(self, api_version: str, kind: str) -> Resource | None:
        """The stored resource that an object's ``apiVersion`` and ``kind`` name."""
        group, _, version = api_version.rpartition("/")
        return next((r for r in self.by_path.values() if (r.group, r.version, r.kind) == (group, version, kind) and not r.virtual), None)

    def versions(self, group: str) -> list[str]:
        """Served versions of a group, preferred first."""
        return sorted({v for g, v, _ in self.by_path if g == group}, key=_version_rank)

    def groups(self) -> list[str]:
        """Groups in the order of discovery, the core group (empty name) excluded."""
        return list(dict.fromkeys(g for g, _, _ in self.by_path if g))

    def of(self, group: str, version: str) -> Iterator[Resource]:
        return (r for (g, v, _), r in self.by_path.items() if (g, v) == (group, version))


def _version_rank(version: str) -> tuple[int, str]:
    """Stable versions before beta before alpha, newer first within each."""
    level = 2 if "alpha" in version else 1 if "beta" in version else 0
    digits = "".join(c if c.isdigit() else " " for c in version).split()
    return level, "".join(f"{999 - int(d):03}" for d in digits)
