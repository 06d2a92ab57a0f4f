"""Fresh reads and acts: one contract, three worlds - the fake, the lab's API server, a real control plane."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest

from coldtui.adapters.kube import reads
from coldtui.adapters.kube.adapter import connect
from coldtui.domain.errors import (
    BudgetRefused,
    Conflict,
    EvictionImpossible,
    Forbidden,
    Invalid,
    NamespaceEnds,
    NotFound,
    NotInstalled,
    Refused,
    Unreachable,
)
from coldtui.domain.kinds import EVENTS, LEASES, NODES, PG_CLUSTERS, PODS, Kind
from coldtui.lab.apiserver.process import ApiServerProcess
from coldtui.lab.fakes import FakeKube
from coldtui.ports import HeldLease, Kube, PatchForm
from tests.adapters.kube import shapes
from tests.controlplane.plane import ControlPlane
from tests.lab.apiserver.site import MERGE, Client, budget, node, pod, running, wait_for
from tests.whole.recorder import Recorder

T = TypeVar("T")
MAPS = Kind("maps", "", "v1", "configmaps", True, "config maps")
ABSENT = Kind("absent", "nobody.example", "v1", "things", True, "things", custom=True)
OTHER_UID = "11111111-1111-1111-1111-111111111111"
CORDON = {"spec": {"unschedulable": True}}
NS = "/api/v1/namespaces"
PDBS = "/apis/policy/v1/namespaces/default/poddisruptionbudgets"
_numbers = itertools.count(1)


def run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(asyncio.wait_for(work, 30))


def unique(word: str) -> str:
    return f"{word}-{next(_numbers)}-{time.monotonic_ns() % 10**9}"


class World(ABC):
    """Something that the port is a port to, and what a test needs to happen in it."""

    kube: Kube
    """With an open gate."""
    shut: Kube
    """The same, with a closed one."""

    @abstractmethod
    def node(self) -> str:
        """A new one."""

    @abstractmethod
    def pod(self, name: str, on: str, app: str = "acts") -> str:
        """One that runs and is ready; returns its uid."""

    @abstractmethod
    def budget(self, app: str, pod: str) -> Callable[[], None]:
        """A budget that lets nothing of `app` go; returns what takes it away."""

    @abstractmethod
    def gone(self, pod: str) -> None:
        """What the kubelet does at the end of an accepted eviction."""

    @abstractmethod
    def close(self) -> None: ...


class FakeWorld(World):
    def __init__(self) -> None:
        self.fake = FakeKube()
        self.fake.lingering = True
        self.closed = FakeKube()
        self.closed.writable = False
        self.kube, self.shut = self.fake, self.closed

    def _put(self, kind: str, value: Any) -> None:
        for each in (self.fake, self.closed):
            each.put(kind, value)

    def node(self) -> str:
        name = unique("node")
        self._put("nodes", shapes.decode("nodes", {**node(name), "metadata": shapes.meta(name, "")}))
        return name

    def pod(self, name: str, on: str, app: str = "acts") -> str:
        made = shapes.pod(name, metadata={"labels": {"app": app}}, spec={"nodeName": on})
        self._put("pods", shapes.decode("pods", made))
        return f"uid-{name}"

    def budget(self, app: str, pod: str) -> Callable[[], None]:
        key = f"default/{pod}"
        self.fake.refuse_eviction(key, lambda: BudgetRefused("a disruption budget holds it", detail="needs 1 healthy pods and has 1"))
        return lambda: self.fake.refuse_eviction(key, None)

    def gone(self, pod: str) -> None:
        self.fake.remove("pods", f"default/{pod}")

    def close(self) -> None:
        for each in (self.fake, self.closed):
            run(each.aclose())


class ServerWorld(World):
    """An API server; everything that is not under test goes by a plain client, none of whose code is the program's."""

    def __init__(self, kubeconfig: Path, viewer: Path, *, controllers: bool, compact: Callable[[], object]) -> None:
        """`controllers`: the disruption controller keeps the numbers of budgets; else we write them."""
        self.kubeconfig, self.viewer, self.controllers, self.compact = kubeconfig, viewer, controllers, compact
        self.admin = Client(kubeconfig)
        self.adapter = connect(kubeconfig=kubeconfig, writable=True)
        self.closed = connect(kubeconfig=kubeconfig)
        self.kube, self.shut = self.adapter, self.closed
        self._leave = contextlib.ExitStack()

    def node(self) -> str:
        name = unique("acts-node")
        self.admin.post("/api/v1/nodes", node(name))
        self._leave.callback(self.admin.call, "DELETE", f"/api/v1/nodes/{name}")
        return name

    def pod(self, name: str, on: str, app: str = "acts", namespace: str = "default") -> str:
        path = f"{NS}/{namespace}/pods"
        body = pod(name, namespace, app=app, on=on)
        body["spec"]["automountServiceAccountToken"] = False
        made = self.admin.post(path, body)
        self._leave.callback(self.admin.call, "DELETE", f"{path}/{name}?gracePeriodSeconds=0")
        told = self.admin.patch(f"{path}/{name}/status", {"status": running(pod(name))["status"]})
        assert told.code == 200, told.data
        return str(made["metadata"]["uid"])

    def budget(self, app: str, pod: str) -> Callable[[], None]:
        name = unique("acts-budget")
        body = budget(name, app=app, allowed=0)
        status = body.pop("status")
        self.admin.post(PDBS, body)
        if not self.controllers:
            assert self.admin.patch(f"{PDBS}/{name}/status", {"status": status}, MERGE).code == 200

        def counted() -> bool:
            found = self.admin.get(f"{PDBS}/{name}").json.get("status", {})
            return (found.get("observedGeneration"), found.get("desiredHealthy"), found.get("currentHealthy")) == (1, 1, 1)

        wait_for(counted, "the budget to be counted", 30)
        away = self._leave.enter_context(contextlib.ExitStack())
        away.callback(self.admin.call, "DELETE", f"{PDBS}/{name}")
        return away.close

    def gone(self, pod: str) -> None:
        self.admin.call("DELETE", f"{NS}/default/pods/{pod}?gracePeriodSeconds=0")

    def close(self) -> None:
        self._leave.close()
        for each in (self.adapter, self.closed):
            run(each.aclose())


class Contract:
    """What every world must keep."""

    def test_a_fresh_read(self, world: World) -> None:
        """One object as its domain value; one that is not there is NotFound, by name."""
        name, on = unique("pod"), world.node()
        uid = world.pod(name, on)
        found = run(world.kube.read(PODS, name, "default"))
        assert (found.key, found.uid, found.node, found.labels) == (f"default/{name}", uid, on, {"app": "acts"})
        assert run(world.kube.read(NODES, on)).name == on
        with pytest.raises(NotFound, match="default/nobody"):
            run(world.kube.read(PODS, "nobody", "default"))

    def test_fresh_reads_of_many(self, world: World) -> None:
        """All of a kind, or those of a node, a label, a namespace: exactly these."""
        on, other, app = world.node(), world.node(), unique("app")
        names = [unique("pod") for _ in range(3)]
        for name, where in zip(names, (on, on, other), strict=True):
            world.pod(name, where, app)

        def read(**selectors: Any) -> list[str]:
            return [p.name for p in run(world.kube.read_all(PODS, **selectors))]

        assert sorted(read(fields=f"spec.nodeName={on}")) == sorted(names[:2])
        assert sorted(read(labels=f"app={app}")) == sorted(names)
        assert read(labels=f"app={app}", fields=f"spec.nodeName={other}", namespace="default") == names[2:]
        assert read(labels=f"app={app}", namespace="kube-system") == []
        assert set(names) <= set(read())
        with pytest.raises(Invalid) as caught:
            read(fields="spec.colour=red")
        assert "spec.colour" in str(caught.value)

    def test_cordon_and_back(self, world: World) -> None:
        """A dry run changes nothing, the patch cordons, the next one uncordons; a node that is not there is NotFound."""
        on = world.node()

        def cordoned() -> bool:
            return bool(run(world.kube.read(NODES, on)).unschedulable)

        run(world.kube.patch(NODES, on, CORDON, form=PatchForm.STRATEGIC, dry_run=True))
        assert not cordoned()
        run(world.kube.patch(NODES, on, CORDON, form=PatchForm.STRATEGIC))
        assert cordoned()
        run(world.kube.patch(NODES, on, {"spec": {"unschedulable": None}}))
        assert not cordoned()
        with pytest.raises(NotFound, match="nobody"):
            run(world.kube.patch(NODES, "nobody", CORDON))

    def test_creating(self, world: World) -> None:
        """A dry run creates nothing; a second one of the same name is a Conflict."""
        body = {"metadata": {"name": unique("map")}, "data": {"a": "b"}}
        run(world.kube.create(MAPS, body, "default", dry_run=True))
        made = run(world.kube.create(MAPS, body, "default"))
        assert (made["metadata"]["name"], made["data"]) == (body["metadata"]["name"], {"a": "b"})
        with pytest.raises(Conflict, match="exists already"):
            run(world.kube.create(MAPS, body, "default"))
        run(world.kube.delete(MAPS, made["metadata"]["name"], "default"))

    def test_deleting(self, world: World) -> None:
        """A dry run and the uid of another delete nothing; grace 0 deletes at once, and then it is NotFound."""
        name, on = unique("pod"), world.node()
        uid = world.pod(name, on)
        run(world.kube.delete(PODS, name, "default", uid=uid, dry_run=True))
        with pytest.raises(Conflict):
            run(world.kube.delete(PODS, name, "default", uid=OTHER_UID))
        assert run(world.kube.read(PODS, name, "default")).deleted is None
        run(world.kube.delete(PODS, name, "default", uid=uid, grace_s=0))
        if isinstance(world, FakeWorld):
            world.gone(name)
        with pytest.raises(NotFound):
            run(world.kube.delete(PODS, name, "default", uid=uid))

    def test_evicting(self, world: World) -> None:
        """A dry run evicts nothing; an accepted eviction gives the pod its deletion time; at its end it is NotFound."""
        name, on = unique("pod"), world.node()
        uid = world.pod(name, on)
        run(world.kube.evict("default", name, uid=uid, dry_run=True))
        assert run(world.kube.read(PODS, name, "default")).deleted is None
        run(world.kube.evict("default", name, uid=uid, grace_s=7))
        assert run(world.kube.read(PODS, name, "default")).deleted is not None
        world.gone(name)
        with pytest.raises(NotFound, match=name):
            run(world.kube.evict("default", name, uid=uid))

    def test_evicting_a_namesake(self, world: World) -> None:
        """A pod that came back under the same name is not evicted in place of the old one: Conflict."""
        name, on = unique("pod"), world.node()
        world.pod(name, on)
        with pytest.raises(Conflict):
            run(world.kube.evict("default", name, uid=OTHER_UID))
        assert run(world.kube.read(PODS, name, "default")).deleted is None

    def test_a_budget_holds_a_pod(self, world: World) -> None:
        """BudgetRefused with the server's numbers, dry or not; without the budget the pod goes."""
        name, on, app = unique("pod"), world.node(), unique("app")
        uid = world.pod(name, on, app)
        lift = world.budget(app, name)
        for dry in (True, False):
            with pytest.raises(BudgetRefused) as caught:
                run(world.kube.evict("default", name, uid=uid, dry_run=dry))
            assert "needs 1 healthy pods and has 1" in caught.value.detail
            assert caught.value.retry_after_s is None
        lift()
        run(world.kube.evict("default", name, uid=uid, grace_s=0))

    def test_a_lease_as_a_lock(self, world: World) -> None:
        """Taken, renewed, given up, taken by another: each write is of the version that was read, and the loser of a race is told Conflict."""
        name = unique("lock")
        assert run(world.kube.lease("default", name)) is None
        free = HeldLease("default", name, "host/a/1", "", None, 30)
        first = run(world.kube.put_lease(free, acquired=True))
        assert (first.holder, first.duration_s, first.transitions) == ("host/a/1", 30, 0)
        assert first.version
        assert first.renewed is not None
        assert first.acquired == first.renewed
        with pytest.raises(Conflict):
            run(world.kube.put_lease(replace(free, holder="host/b/2"), acquired=True))
        renewed = run(world.kube.put_lease(first, acquired=False))
        assert run(world.kube.lease("default", name)) == renewed
        assert renewed.version != first.version
        assert renewed.acquired == first.acquired
        with pytest.raises(Conflict, match="changed meanwhile"):
            run(world.kube.put_lease(replace(first, holder="host/b/2"), acquired=True))
        freed = run(world.kube.put_lease(replace(renewed, holder="", duration_s=1), acquired=False))
        assert (freed.holder, freed.transitions) == ("", 0)
        taken = run(world.kube.put_lease(replace(freed, holder="host/b/2", duration_s=30), acquired=True))
        assert (taken.holder, taken.transitions) == ("host/b/2", 1)

    def test_a_closed_gate(self, world: World) -> None:
        """Every act is Refused, and reading and dry runs work."""
        name, on = unique("pod"), world.node()
        world.pod(name, on)
        shut = world.shut
        acts: list[Callable[[], Coroutine[Any, Any, Any]]] = [
            lambda: shut.patch(NODES, on, CORDON),
            lambda: shut.create(MAPS, {"metadata": {"name": "x"}}, "default"),
            lambda: shut.delete(PODS, name, "default"),
            lambda: shut.evict("default", name),
            lambda: shut.put_lease(HeldLease("default", unique("lock"), "me", "", None, 30), acquired=True),
        ]
        for act in acts:
            with pytest.raises(Refused, match="read-only: nothing was sent"):
                run(act())
        assert run(shut.read(PODS, name, "default")).deleted is None
        run(shut.patch(NODES, on, CORDON, dry_run=True))
        run(shut.create(MAPS, {"metadata": {"name": "x"}}, "default", dry_run=True))
        run(shut.evict("default", name, dry_run=True))
        run(shut.delete(PODS, name, "default", grace_s=0, dry_run=True))
        assert not run(shut.read(NODES, on)).unschedulable


class ServerContract(Contract):
    """What only a server can be asked."""

    def test_a_stale_patch(self, world: ServerWorld) -> None:
        """A patch that names the version it rests on is refused once somebody else was quicker."""
        on = world.node()
        version = run(world.kube.fetch(NODES, on))["metadata"]["resourceVersion"]
        run(world.kube.patch(NODES, on, {"metadata": {"labels": {"a": "b"}}}))
        with pytest.raises(Conflict, match=f"nodes {on} changed meanwhile"):
            run(world.kube.patch(NODES, on, {"metadata": {"resourceVersion": version}, **CORDON}))

    def test_impossible_patches(self, world: ServerWorld) -> None:
        """What a field may not be is Invalid with field and reason; a strategic patch of a custom kind and a failed test are Invalid too."""
        on = world.node()
        wrong = {"spec": {"taints": [{"key": "t", "effect": "Never"}]}}
        with pytest.raises(Invalid, match=f"patch of nodes {on}") as caught:
            run(world.kube.patch(NODES, on, wrong))
        assert "effect: Unsupported value" in caught.value.detail
        name = unique("pg")
        cluster = {"apiVersion": "postgresql.cnpg.io/v1", "kind": "Cluster", "metadata": {"name": name}}
        run(world.kube.create(PG_CLUSTERS, {**cluster, "spec": {"instances": 1, "storage": {"size": "1Gi"}}}, "default"))
        with pytest.raises(Invalid) as caught:
            run(world.kube.patch(PG_CLUSTERS, name, {"spec": {"instances": 2}}, "default", form=PatchForm.STRATEGIC))
        assert "accepted media types" in caught.value.detail
        guard = [{"op": "test", "path": "/spec/instances", "value": 7}]
        with pytest.raises(Invalid):
            run(world.kube.patch(PG_CLUSTERS, name, guard, "default", form=PatchForm.JSON))
        after = run(world.kube.patch(PG_CLUSTERS, name, {"spec": {"instances": 2}}, "default"))
        assert after["spec"]["instances"] == 2
        status = run(world.kube.patch(PG_CLUSTERS, name, {"status": {"phase": "told"}}, "default", subresource="status"))
        assert status["status"]["phase"] == "told"
        run(world.kube.delete(PG_CLUSTERS, name, "default"))

    def test_who_wrote_it(self, world: ServerWorld) -> None:
        """The server notes `coldtui` as the manager of what we change."""
        on = world.node()
        run(world.kube.patch(NODES, on, CORDON, form=PatchForm.STRATEGIC))
        managers = {m["manager"] for m in world.admin.get(f"/api/v1/nodes/{on}").json["metadata"]["managedFields"]}
        assert "coldtui" in managers

    def test_warnings_are_kept(self, world: ServerWorld) -> None:
        """What the server says beside its answer can be read afterwards."""
        name = unique("pg")
        cluster = {"apiVersion": "postgresql.cnpg.io/v1", "kind": "Cluster", "metadata": {"name": name}}
        body = {**cluster, "spec": {"instances": 1, "storage": {"size": "1Gi"}, "colour": "red"}}
        run(world.kube.create(PG_CLUSTERS, body, "default", dry_run=True))
        run(world.kube.create(PG_CLUSTERS, body, "default", dry_run=True))
        assert list(world.kube.warnings) == ['unknown field "spec.colour"']

    def test_what_is_missing(self, world: ServerWorld) -> None:
        """A kind that is not served, a namespace that is not there and a right that is not given are three different errors."""
        with pytest.raises(NotInstalled):
            run(world.kube.read(ABSENT_PG, "x", "default"))
        with pytest.raises(NotInstalled):
            run(world.kube.patch(ABSENT, "x", {}, "default"))
        with pytest.raises(NotFound, match="namespace nowhere does not exist"):
            run(world.kube.create(MAPS, {"metadata": {"name": "x"}}, "nowhere"))
        viewer = connect(kubeconfig=world.viewer, writable=True)
        with pytest.raises(Forbidden, match="needs patch on nodes") as caught:
            run(viewer.patch(NODES, world.node(), CORDON))
        assert (caught.value.verb, caught.value.resource) == ("patch", "nodes")
        with pytest.raises(Forbidden, match="needs create on pods/eviction in namespace default"):
            run(viewer.evict("default", "x"))
        with pytest.raises(Forbidden, match=r"needs list on leases \(coordination.k8s.io\)"):
            run(viewer.read_all(LEASES))
        run(viewer.aclose())

    def test_two_budgets(self, world: ServerWorld) -> None:
        """Two budgets on one pod: EvictionImpossible, since no repetition helps."""
        name, on, app = unique("pod"), world.node(), unique("app")
        uid = world.pod(name, on, app)
        lifts = [world.budget(app, name) for _ in range(2)]
        with pytest.raises(EvictionImpossible, match=f"more than one disruption budget selects pod default/{name}"):
            run(world.kube.evict("default", name, uid=uid))
        assert run(world.kube.read(PODS, name, "default")).deleted is None
        for lift in lifts:
            lift()

    def test_a_namespace_that_ends(self, world: ServerWorld) -> None:
        """In a namespace that is being deleted nothing can be created or evicted: NamespaceEnds."""
        space, on = unique("ending"), world.node()
        world.admin.post("/api/v1/namespaces", {"metadata": {"name": space}})
        held = {"metadata": {"name": "held", "finalizers": ["coldtui.example/hold"]}}
        world.admin.post(f"{NS}/{space}/configmaps", held)
        uid = world.pod("p", on, namespace=space)
        world.admin.call("DELETE", f"{NS}/{space}")
        wait_for(lambda: world.admin.get(f"{NS}/{space}").json["status"]["phase"] == "Terminating", "the namespace to end")
        with pytest.raises(NamespaceEnds):
            run(world.kube.create(MAPS, {"metadata": {"name": "x"}}, space))
        with pytest.raises(NamespaceEnds):
            run(world.kube.evict(space, "p", uid=uid))
        world.admin.patch(f"{NS}/{space}/configmaps/held", {"metadata": {"finalizers": None}})

    def test_times_of_a_lease(self, world: ServerWorld) -> None:
        """A renewal changes renewTime alone; what others keep in the lease stays."""
        name = unique("lock")
        path = f"/apis/coordination.k8s.io/v1/namespaces/default/leases/{name}"
        held = run(world.kube.put_lease(HeldLease("default", name, "me", "", None, 30), acquired=True))
        first = world.admin.get(path).json["spec"]
        assert first["acquireTime"] == first["renewTime"]
        assert abs(datetime.fromisoformat(first["renewTime"]) - datetime.now(UTC)) < timedelta(minutes=1)
        world.admin.patch(path, {"metadata": {"labels": {"kept": "yes"}}})
        again = run(world.kube.lease("default", name))
        assert again is not None
        assert again == replace(held, version=again.version)
        run(world.kube.put_lease(again, acquired=False))
        after = world.admin.get(path).json
        assert (after["spec"]["acquireTime"], after["metadata"]["labels"]) == (first["acquireTime"], {"kept": "yes"})
        assert after["spec"]["renewTime"] > first["renewTime"]
        assert after["spec"].get("leaseTransitions", 0) == 0

    def test_all_pages_of_one_moment(self, world: ServerWorld, monkeypatch: pytest.MonkeyPatch) -> None:
        """Five pods in pages of two are five pods."""
        monkeypatch.setattr(reads, "PAGE", 2)
        on, app = world.node(), unique("app")
        names = [unique("pod") for _ in range(5)]
        for name in names:
            world.pod(name, on, app)
        assert sorted(p.name for p in run(world.kube.read_all(PODS, labels=f"app={app}"))) == sorted(names)

    def test_pages_that_a_compaction_parts(self, world: ServerWorld, monkeypatch: pytest.MonkeyPatch) -> None:
        """History is forgotten between two pages: all is listed anew, of one moment, and nothing is lost or told twice."""
        monkeypatch.setattr(reads, "PAGE", 1)
        marks = [unique("event") for _ in range(3)]

        def tell(name: str) -> None:
            about = {"kind": "Pod", "name": "x", "namespace": "default"}
            event = {"metadata": {"name": name}, "involvedObject": about, "reason": "R", "type": "Normal"}
            world.admin.post(f"{NS}/default/events", event)

        for name in marks[:2]:
            tell(name)
        page = world.adapter._reads._page
        asked: list[Any] = []

        def paged(*question: Any) -> Any:
            found = page(*question)
            if not asked:
                tell(marks[2])
                world.compact()
            asked.append(found)
            return found

        monkeypatch.setattr(world.adapter._reads, "_page", paged)
        found = [event.name for event in run(world.kube.read_all(EVENTS, namespace="default"))]
        assert len(asked) == 2, "the first page, and the whole"
        assert sorted(name for name in found if name in marks) == sorted(marks)
        assert len(set(found)) == len(found)

    def test_nothing_leaves_through_a_closed_gate(self, world: ServerWorld, tmp_path: Path) -> None:
        """A relay before the server sees reads, reviews and dry runs, and no request that could change anything."""
        name, on = unique("pod"), world.node()
        world.pod(name, on)
        with Recorder(world.kubeconfig, tmp_path / "recorder") as recorder:
            kube = connect(kubeconfig=recorder.kubeconfig)
            dry: list[Callable[[bool], Coroutine[Any, Any, Any]]] = [
                *(lambda d, f=form: kube.patch(NODES, on, CORDON, form=f, dry_run=d) for form in (PatchForm.MERGE, PatchForm.STRATEGIC)),
                lambda d: kube.patch(NODES, on, {"status": {}}, subresource="status", dry_run=d),
                lambda d: kube.patch(NODES, on, [], form=PatchForm.JSON, dry_run=d),
                lambda d: kube.create(MAPS, {"metadata": {"name": "x"}}, "default", dry_run=d),
                lambda d: kube.evict("default", name, dry_run=d),
                lambda d: kube.delete(PODS, name, "default", grace_s=0, dry_run=d),
            ]
            lease = HeldLease("default", unique("lock"), "me", "", None, 30)
            refused: list[Callable[[], Coroutine[Any, Any, Any]]] = [
                *(lambda act=act: act(False) for act in dry),
                lambda: kube.put_lease(lease, acquired=True),
                lambda: kube.put_lease(replace(lease, version="1"), acquired=False),
            ]
            for refuse in refused:
                with pytest.raises(Refused):
                    run(refuse())
            assert recorder.requests == [], "not even a connection that says what was wanted"
            for act in dry:
                run(act(True))
            assert run(kube.may("delete", "", "nodes"))
            run(kube.aclose())
        assert len(recorder.requests) == len(dry) + 1
        assert recorder.mutating() == []
        after = world.admin.get(f"{NS}/default/pods/{name}").json["metadata"]
        assert "deletionTimestamp" not in after
        assert "unschedulable" not in world.admin.get(f"/api/v1/nodes/{on}").json["spec"]

    def test_an_eviction_whose_answer_is_lost(self, world: ServerWorld, tmp_path: Path) -> None:
        """It is not asked a second time, and the error says that its outcome is not known; the pod tells."""
        name, on = unique("pod"), world.node()
        uid = world.pod(name, on)
        with Recorder(world.kubeconfig, tmp_path / "recorder") as recorder:
            kube = connect(kubeconfig=recorder.kubeconfig, writable=True)
            run(kube.evict("default", name, uid=uid, dry_run=True))  # so that the connection is a kept one
            recorder.lose_answers(lambda request: request.mutates)
            with pytest.raises(Unreachable) as caught:
                run(kube.evict("default", name, uid=uid))
            assert "whether it was done is not known" in caught.value.detail
            recorder.lose_answers(None)
            assert run(kube.read(PODS, name, "default")).deleted is not None
            run(kube.aclose())
        assert len(recorder.mutating()) == 1


ABSENT_PG = replace(PG_CLUSTERS, group="nobody.example")


class TestFake(Contract):
    @pytest.fixture
    def world(self) -> Iterator[World]:
        found = FakeWorld()
        yield found
        found.close()

    def test_rights_and_faults_to_order(self) -> None:
        """A right that is taken away is Forbidden by name, a fault is raised from the act that it was ordered for, and neither does anything."""
        world = FakeWorld()
        on = world.node()
        world.pod("p", on)
        world.fake.allowed = lambda verb, group, resource: (verb, resource) != ("create", "pods/eviction")
        with pytest.raises(Forbidden, match="needs create on pods/eviction"):
            run(world.fake.evict("default", "p"))
        world.fake.allowed = lambda *_: True
        world.fake.fail("evict", lambda: Unreachable("gone"), "default/p")
        with pytest.raises(Unreachable):
            run(world.fake.evict("default", "p"))
        assert world.fake.acts == []
        run(world.fake.evict("default", "p"))
        assert world.fake.did("evict") == ["default/p"]

    def test_what_was_done_is_remembered(self) -> None:
        """Each act is noted in order with its body, its dryness and whether it was accepted; a refused gate notes nothing."""
        world = FakeWorld()
        on = world.node()
        world.pod("p", on)
        fake = world.fake
        run(fake.patch(NODES, on, CORDON))
        run(fake.evict("default", "p", dry_run=True))
        world.budget("acts", "p")
        with pytest.raises(BudgetRefused):
            run(fake.evict("default", "p"))
        fake.writable = False
        with pytest.raises(Refused):
            run(fake.evict("default", "p"))
        assert [(a.verb, a.key, a.dry_run, a.accepted) for a in fake.acts] == [
            ("patch", on, False, True),
            ("evict", "default/p", True, True),
            ("evict", "default/p", False, False),
        ]
        assert fake.did("patch") == [on]
        assert fake.did("evict") == []


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServerProcess]:
    with ApiServerProcess(tmp_path_factory.mktemp("api")) as process:
        yield process


class TestEmbedded(ServerContract):
    @pytest.fixture
    def world(self, embedded: ApiServerProcess) -> Iterator[World]:
        found = ServerWorld(
            embedded.kubeconfig,
            embedded.view_kubeconfig,
            controllers=False,
            compact=lambda: embedded.command({"compact": True}),
        )
        yield found
        found.close()


@pytest.mark.controlplane
class TestControlPlane(ServerContract):
    @pytest.fixture
    def world(self, plane: ControlPlane) -> Iterator[World]:
        files = plane.kubeconfigs
        found = ServerWorld(files["admin"], files["view"], controllers=True, compact=plane.compact)
        yield found
        found.close()
