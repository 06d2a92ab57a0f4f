"""Cordon, runner program, leases and gates on whole sites as they are wired: against the lab's API server and against a real control plane."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from coldtui.adapters.kube.adapter import connect
from coldtui.config.load import load
from coldtui.domain.errors import JournalTrouble, Locked, Refused, StepFailed
from coldtui.domain.kinds import NODES
from coldtui.domain.plans import Rung
from coldtui.domain.runs import Run, RunState
from coldtui.lab.apiserver.process import ApiServerProcess
from coldtui.live.pace import SystemClock
from coldtui.operations.desk import Desk, Prepared
from coldtui.operations.locks import Leases, LeaseTimes
from coldtui.ports import PatchForm
from coldtui.wiring import Site, open_desk, open_site
from tests.controlplane.plane import ControlPlane
from tests.lab.apiserver.site import Client
from tests.operations.means import ROOT, soon

_numbers = itertools.count(1)
LEASE = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/coldtui-site"


@dataclass
class Place:
    """A cluster, and the state folder of one machine."""

    folder: Path
    kubeconfig: Path
    environ: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.client = Client(self.kubeconfig)
        self.environ = {
            "PATH": os.environ["PATH"], "HOME": str(self.folder), "COLDTUI_STATE": str(self.folder / "state"),
            "COLDTUI_KUBECONFIG": str(self.kubeconfig), **self.environ,
        }  # fmt: skip

    def node(self) -> str:
        """A new one."""
        name = f"acted-{os.getpid()}-{next(_numbers)}"
        made = self.client.call("POST", "/api/v1/nodes", {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}})
        assert made.code == 201, made.data
        return name

    def unschedulable(self, name: str) -> Any:
        return self.client.get(f"/api/v1/nodes/{name}").json.get("spec", {}).get("unschedulable")

    def site(self, flags: Mapping[str, Any] | None = None) -> Site:
        return open_site(load(flags or {}, self.environ), self.environ)

    def desk(self, flags: Mapping[str, Any] | None = None) -> Desk:
        return open_desk(self.site(flags), "command line")


async def confirmed(desk: Desk, name: str, node: str) -> Run:
    return await desk.confirm(await desk.prepare(name, {"node": node}))


class Contract:
    """What holds on either server."""

    async def test_cordon_and_uncordon(self, place: Place) -> None:
        """Done means that the server says so; a second cordon has nothing to do; uncordon leaves no field behind, as kubectl does."""
        desk, name = place.desk(), place.node()
        run = await confirmed(desk, "node.cordon", name)
        assert (run.state, run.attempts) == (RunState.DONE, 1)
        assert place.unschedulable(name) is True
        assert (await desk.prepare("node.cordon", {"node": name})).plan.done == f"{name} is cordoned already"
        assert (await confirmed(desk, "node.uncordon", name)).state is RunState.DONE
        assert place.unschedulable(name) is None
        assert run.site.server == place.site().facts.server
        assert run.site.cluster_uid
        await desk.aclose()

    async def test_planning_has_closed_gates(self, place: Place) -> None:
        """The means that plans are made with refuse to change anything, and the server never hears of it."""
        desk, name = place.desk(), place.node()
        await desk.prepare("node.cordon", {"node": name})
        means = await desk.means()
        with pytest.raises(Refused):
            await means.kube.patch(NODES, name, {"spec": {"unschedulable": True}}, form=PatchForm.STRATEGIC)
        assert place.unschedulable(name) is None
        await desk.aclose()

    async def test_the_program_that_the_launcher_starts(self, place: Place) -> None:
        """`coldtui run exec ID` in a process of its own: takes the run up, holds the lease, cordons, gives the lease back, says how it ended."""
        desk, name = place.desk(), place.node()
        run = locked(desk, await desk.prepare("node.cordon", {"node": name}))
        pid = await asyncio.to_thread(desk.launcher.launch, run, secrets={})
        journal = desk.journal()
        await soon(lambda: journal.run(run.id).state.ended)
        now = journal.run(run.id)
        assert (now.state, now.runner_pid) == (RunState.DONE, pid), now.outcome
        assert place.unschedulable(name) is True
        lease = place.client.get(LEASE).json["spec"]
        assert not lease.get("holderIdentity")
        assert lease["acquireTime"]
        assert [e.what for e in journal.audit_entries()] == ["confirmed", "ended"]
        assert journal.verify().whole
        await desk.aclose()

    async def test_two_machines_want_one_lease(self, place: Place) -> None:
        """Both reach for it at once: one holds it; the other sees it renewed and is refused by name; let go, it is free at once."""
        times = LeaseTimes(duration_s=5, renew_s=0.05, retry_s=0.05, watch_s=10)
        one, two = machine(place, "one", times), machine(place, "two", times)
        keepers: list[asyncio.Task[None]] = []

        async def take(leases: Leases) -> None:
            await leases.acquire(patience)
            keepers.append(asyncio.create_task(leases.keep()))

        took = await asyncio.gather(take(one), take(two), return_exceptions=True)
        winner, loser = (one, two) if took[0] is None else (two, one)
        refusals = [t for t in took if t is not None]
        assert [type(t) for t in refusals] == [Locked]
        assert str(refusals[0]).startswith(f"site is held by anna on {winner.holder.split('/')[0]} (run r) since ")
        assert holder_of(place) == winner.holder
        assert await winner.gate() == ""
        await loser.release()
        assert holder_of(place) == winner.holder
        for keeper in keepers:
            keeper.cancel()
        await asyncio.wait(keepers)
        await winner.release()
        await loser.acquire(patience)
        assert holder_of(place) == loser.holder
        await loser.release()
        for leases in (one, two):
            await leases.kube.aclose()

    async def test_a_machine_that_died_is_taken_over_after_its_lease(self, place: Place) -> None:
        """Its record stands still: taken over once it was watched for its duration, not before, and counted as a transition."""
        times = LeaseTimes(duration_s=1, renew_s=0.05, retry_s=0.05, watch_s=10)
        one, two = machine(place, "one", times), machine(place, "two", times)
        await one.acquire(patience)
        before = place.client.get(LEASE).json["spec"].get("leaseTransitions") or 0
        begun = two.clock.monotonic()
        await two.acquire(patience)
        assert two.clock.monotonic() - begun > 1.0
        spec = place.client.get(LEASE).json["spec"]
        assert (spec["holderIdentity"], spec["leaseTransitions"]) == (two.holder, before + 1)
        assert (await one.gate()).startswith("site was taken over by anna on two (run r) since ")
        await two.release()
        assert await freed(one) == ""
        await one.release()
        for leases in (one, two):
            await leases.kube.aclose()


def holder_of(place: Place) -> Any:
    return place.client.get(LEASE).json["spec"].get("holderIdentity")


async def freed(leases: Leases) -> str:
    for _ in range(400):
        if not (why := await leases.gate()):
            break
        await asyncio.sleep(0.02)
    return why


def machine(place: Place, host: str, times: LeaseTimes) -> Leases:
    async def say(text: str) -> None:
        return

    async def ended(run: str) -> bool:
        return False

    kube = connect(kubeconfig=place.kubeconfig, writable=True)
    return Leases(kube, SystemClock(), "kube-system", f"{host}/anna/r", ("site",), say, ended, times)


async def patience(why: str, seconds: float) -> None:
    await asyncio.sleep(seconds)


def locked(desk: Desk, prepared: Prepared) -> Run:
    """A confirmed run that takes the site, though a cordon needs no such lock."""
    run, entry = desk._record_of(prepared, "why not")
    run = replace(run, locks=("site",))
    desk.journal().begin(run, entry)
    return run


# ------------------------------------------------------------ the two servers


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServerProcess]:
    with ApiServerProcess(tmp_path_factory.mktemp("api"), arguments=("--crds", "none")) as process:
        yield process


class TestEmbedded(Contract):
    @pytest.fixture
    def place(self, embedded: ApiServerProcess, tmp_path: Path) -> Place:
        return Place(tmp_path, embedded.kubeconfig)


@pytest.mark.controlplane
class TestControlPlane(Contract):
    @pytest.fixture
    def place(self, plane: ControlPlane, tmp_path: Path) -> Place:
        return Place(tmp_path, plane.kubeconfigs["admin"])

    async def test_kubectl_sees_the_same(self, place: Place, plane: ControlPlane) -> None:
        """Ours is theirs: SchedulingDisabled after our cordon, gone after our uncordon, and kubectl's own cordon is nothing to do for us."""
        desk, name = place.desk(), place.node()
        await confirmed(desk, "node.cordon", name)
        assert "SchedulingDisabled" in plane.kubectl("get", "node", name)
        await confirmed(desk, "node.uncordon", name)
        assert "SchedulingDisabled" not in plane.kubectl("get", "node", name)
        plane.kubectl("cordon", name)
        assert (await desk.prepare("node.cordon", {"node": name})).plan.done
        plane.kubectl("uncordon", name)
        assert (await desk.prepare("node.uncordon", {"node": name})).plan.done
        await desk.aclose()


# ------------------------------------------------------------ wiring alone


@pytest.fixture
def place(embedded: ApiServerProcess, tmp_path: Path) -> Place:
    return Place(tmp_path, embedded.kubeconfig)


async def test_read_only_confirms_nothing(place: Place) -> None:
    """Plans are shown, confirming is refused with the setting and where it came from, and the refusal is kept."""
    desk, name = place.desk({"read_only": True}), place.node()
    with pytest.raises(Refused, match=r"nothing may be changed: read_only is set \(flag --read-only\)"):
        await confirmed(desk, "node.cordon", name)
    assert place.unschedulable(name) is None
    assert [e.what for e in desk.journal().audit_entries()] == ["refused"]
    await desk.aclose()


async def test_without_a_writable_state_folder_only_the_smallest_is_done(place: Place) -> None:
    """A cordon goes on and says that it is not recorded; anything larger is refused with the remedy, and no second journal is begun."""
    (place.folder / "state").write_text("not a folder")
    desk, name = place.desk(), place.node()
    run = await confirmed(desk, "node.cordon", name)
    assert run.state is RunState.DONE
    assert "; not recorded: the journal cannot be written" in run.outcome
    assert "remove it or set state_dir" in run.outcome
    assert place.unschedulable(name) is True
    prepared = await desk.prepare("node.uncordon", {"node": name})
    larger = replace(prepared, plan=replace(prepared.plan, rung=Rung.VISIBLE), own_rung=Rung.VISIBLE)
    with pytest.raises(JournalTrouble, match="remove it or set state_dir"):
        await desk.confirm(larger)
    assert place.unschedulable(name) is True
    assert (place.folder / "state").is_file()
    await desk.aclose()


async def test_where_only_the_disk_is_full_visible_acts_go_on_too(place: Place) -> None:
    """Cleaning a disk must not wait for the room that its record needs; what disrupts refuses."""
    desk, name = place.desk(), place.node()

    def full() -> Any:
        raise JournalTrouble("the journal cannot be written: the disk is full", hint="free space")

    desk = replace(desk, journal=full)
    prepared = await desk.prepare("node.cordon", {"node": name})
    for rung in (Rung.DISRUPTIVE, Rung.DESTRUCTIVE):
        with pytest.raises(JournalTrouble, match="the disk is full"):
            await desk.confirm(replace(prepared, plan=replace(prepared.plan, rung=rung), own_rung=rung), reason="x")
    assert place.unschedulable(name) is None
    run = await desk.confirm(replace(prepared, plan=replace(prepared.plan, rung=Rung.VISIBLE), own_rung=Rung.VISIBLE))
    assert (run.state, place.unschedulable(name)) == (RunState.DONE, True)
    assert run.outcome.endswith("not recorded: the journal cannot be written: the disk is full · free space")
    await desk.aclose()


async def test_the_runner_of_a_lost_configuration_says_so(place: Place) -> None:
    """The kubeconfig is gone when the runner looks for it: the run ends as failed with one line; nothing hangs."""
    own = place.folder / "own.kubeconfig"
    own.write_bytes(place.kubeconfig.read_bytes())
    own.chmod(0o600)
    place.environ["COLDTUI_KUBECONFIG"] = str(own)
    desk, name = place.desk(), place.node()
    run = locked(desk, await desk.prepare("node.cordon", {"node": name}))
    own.unlink()
    await asyncio.to_thread(desk.launcher.launch, run, secrets={})
    journal = desk.journal()
    await soon(lambda: journal.run(run.id).state.ended)
    assert journal.run(run.id).state is RunState.FAILED
    assert "own.kubeconfig" in journal.run(run.id).outcome
    assert place.unschedulable(name) is None
    await desk.aclose()


async def test_a_launcher_without_a_program_says_so(place: Place) -> None:
    """The interpreter cannot be started: one line, not a traceback."""
    desk, name = place.desk(), place.node()
    run = locked(desk, await desk.prepare("node.cordon", {"node": name}))
    desk.launcher._argv = ("/no/such/python",)  # type: ignore[attr-defined]
    with pytest.raises(StepFailed, match="the runner cannot be started"):
        await asyncio.to_thread(desk.launcher.launch, run, secrets={})
    await desk.aclose()


def test_opening_a_desk_loads_nothing_heavy(place: Place) -> None:
    """The console opens it at its start: no SSH, no database, no operation, and nothing is written."""
    code = (
        "import json, os, sys\nfrom coldtui.config.load import load\nfrom coldtui.wiring import open_desk, open_site\n"
        "env = dict(os.environ)\nsite = open_site(load({}, env), env)\nopen_desk(site, 'console')\n"
        "print(json.dumps([m for m in ('asyncssh', 'sqlite3', 'cryptography', 'coldtui.operations.nodes', 'coldtui.operations.runner',"
        " 'coldtui.operations.drain') if m in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=place.environ, capture_output=True, timeout=60, check=True)
    assert json.loads(done.stdout) == []
    assert not (place.folder / "state" / "journal.db").exists()


def test_a_runner_by_hand_is_refused_for_a_run_that_is_not_there(place: Place) -> None:
    """`coldtui run exec` is no way around a confirmation: without a confirmed run it does nothing."""
    done = subprocess.run(
        [sys.executable, "-m", "coldtui", "run", "exec", "20261124-140210-7f3a"], cwd=ROOT, env=place.environ, capture_output=True, timeout=60, check=False
    )  # fmt: skip
    assert done.returncode == 3
    assert place.client.get(LEASE).json.get("spec", {}).get("holderIdentity") is None
    helped = subprocess.run(
        [sys.executable, "-m", "coldtui", "--help"], cwd=ROOT, env=place.environ, capture_output=True, timeout=60, check=True
    )
    assert b"exec" not in helped.stdout
