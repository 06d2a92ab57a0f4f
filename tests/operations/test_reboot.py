"""Reboots on the lab's living site: SSH hosts that really go away, the embedded API, the real runner and journal."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from coldtui.domain.errors import Cancelled
from coldtui.domain.plans import Outlook
from coldtui.domain.runs import RunState, What
from coldtui.domain.secret import Secret
from coldtui.lab.apiserver.process import ApiServerProcess
from coldtui.lab.client import NODES
from coldtui.operations.desk import pending_after_boot
from coldtui.operations.runner import Handle
from tests.operations.host_ground import MASTER, OTHER, PACE, WORKER, boot_of, by_code, host_ground
from tests.operations.means import ME, soon

STEPS = 5


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServerProcess]:
    with ApiServerProcess(tmp_path_factory.mktemp("api"), arguments=("--still",)) as running:
        yield running


async def test_a_reboot_from_plan_to_proof(server: ApiServerProcess, tmp_path: Path) -> None:
    """Planning touches nothing. The run cordons, orders once, sees the host go and come back in another boot, waits for the kubelet's word for that
    boot and a renewed lease, uncordons what it cordoned, and waits for volumes and PostgreSQL. Each wait is said."""
    async with host_ground(server, tmp_path, replace(PACE, reboot=3.0, restart=3.0)) as on:
        plan = await on.plan("node.reboot")
        assert (plan.blocked, plan.outlook) == ("", Outlook.GO)
        assert (on.boots(), await on.cordoned()) == (1, False)
        old = boot_of(await on.node())

        run = await on.done("node.reboot")
        assert (run.state, run.outcome.startswith("done in ")) == (RunState.DONE, True)
        assert on.boots() == 2
        assert boot_of(await on.node()) == on.fleet.machines[WORKER].boot_id != old
        assert await on.ready()
        assert not await on.cordoned()
        assert on.steps(run) == [(n, what) for n in range(STEPS) for what in ("started", "finished")]
        said = "\n".join(on.said(run))
        for words in (
            f"{WORKER} is down", f"{WORKER} does not answer over SSH", f"{WORKER} is back over SSH, boot ", "has not reported its new boot yet",
            f"{WORKER} is back: Ready, and its lease renewed in the new boot", "not healthy again", "are as before the reboot",
        ):  # fmt: skip
            assert words in said, words
        assert on.log(run)[0] == f"{WORKER}: systemctl reboot"
        postgres = {p.key: p.is_ready for p in await on.kube.read_all(pods_kind()) if p.name.startswith("postgres-")}
        assert set(postgres.values()) == {True}


def pods_kind() -> Any:
    from coldtui.domain.kinds import PODS

    return PODS


async def test_a_node_that_somebody_cordoned_stays_so(server: ApiServerProcess, tmp_path: Path) -> None:
    """What this run did not cordon it does not uncordon; that Longhorn rebuilds nothing there meanwhile is said and not waited for."""
    async with host_ground(server, tmp_path) as on:
        await on.client.patch(NODES, WORKER, {"spec": {"unschedulable": True}})
        run = await on.done("node.reboot")
        assert run.state is RunState.DONE, run.outcome
        assert on.boots() == 2
        assert await on.cordoned()
        told = [e.text for e in on.journal.events(run.id) if e.what is What.ITEM]
        assert any("Longhorn rebuilds no copy there while it is cordoned" in text for text in told)


async def test_the_server_itself(server: ApiServerProcess, tmp_path: Path) -> None:
    """Rebooting the only server takes the API away: that was said before, the run waits and says so, and ends well when it is back."""
    async with host_ground(server, tmp_path) as on:
        assert "reboot.api-gone" in by_code(await on.plan("node.reboot", MASTER))
        run = await on.done("node.reboot", MASTER)
        assert run.state is RunState.DONE, run.outcome
        assert on.boots(MASTER) == 2
        assert any("the Kubernetes API" in text for text in on.said(run))


async def test_killed_at_every_turn(server: ApiServerProcess, tmp_path: Path) -> None:
    """A runner that dies after any of its events: whoever takes the run up ends it right, the host is rebooted once, the node takes pods again."""
    async with host_ground(server, tmp_path, replace(PACE, reboot=0.2, restart=0.1, boot=0.1, rebuild=0.1)) as on:
        nodes, at, ended = [WORKER, OTHER, "k3s-worker-2", "k3s-worker-4"], 3, False
        booted = dict.fromkeys(nodes, 1)
        while not ended:
            node = nodes[at % len(nodes)]
            run = await on.begun("node.reboot", node, timeout=60)
            ended = not await on.killed(run, at)
            done = on.journal.run(run.id)  # its end may have been the event after which it died
            done = done if done.state.ended else await on.perform(run)
            assert done.state is RunState.DONE, (at, done.outcome, on.log(run))
            booted[node] += 1
            assert on.boots(node) == booted[node], f"killed after event {at}"
            assert not await on.cordoned(node), f"killed after event {at}"
            at += 4
        assert at > 15


async def test_a_host_that_does_not_come_back(server: ApiServerProcess, tmp_path: Path) -> None:
    """Out of time the run says exactly what is missing, where to look, and what it leaves behind."""
    async with host_ground(server, tmp_path) as on:
        on.fleet.stuck.add(WORKER)
        run = await on.done("node.reboot", timeout=10)
        assert run.state is RunState.PARTIAL
        assert f"{WORKER} is not back in time: {WORKER} does not answer over SSH: connection refused" in run.outcome
        assert "look at the console" in run.outcome
        assert f"{WORKER} is still cordoned: coldtui node uncordon {WORKER}" in run.outcome
        assert f"{WORKER} was told to reboot and was not seen back" in run.outcome


async def test_ssh_is_back_but_no_kubelet(server: ApiServerProcess, tmp_path: Path) -> None:
    """A K3s that does not start is told apart from a host that is away, with the state of its unit and where to look."""
    async with host_ground(server, tmp_path) as on:
        machine = on.fleet.machines[WORKER]
        machine.timing = replace(machine.timing, start=60.0)
        run = await on.done("node.reboot", timeout=10)
        assert run.state is RunState.PARTIAL
        assert "the kubelet of k3s-worker-3 has not reported its new boot yet; k3s-agent is activating (start)" in run.outcome
        assert "SSH answers, no kubelet: journalctl -u k3s-agent" in run.outcome
        assert on.boots() == 2


async def test_a_password_for_sudo(server: ApiServerProcess, tmp_path: Path) -> None:
    """The plan names the secret; with it the reboot goes through and no line has it; with a wrong one the runner refuses before anything."""
    async with host_ground(server, tmp_path) as on:
        on.fleet.want_password(WORKER, True)
        password = on.fleet.password_file.read_text().strip()
        plan = await on.plan("node.reboot")
        assert by_code(plan)["needs-secret.sudo"].object == f"secrets/sudo/{WORKER}"
        assert not plan.blocked

        on.secrets = {f"sudo/{WORKER}": Secret("guess-work")}
        run = await on.done("node.reboot")
        assert run.state is RunState.REFUSED, run.outcome
        assert "does not take that password" in run.outcome
        assert (on.boots(), await on.cordoned()) == (1, False)

        on.secrets = {"sudo": Secret(password)}
        run = await on.done("node.reboot")
        assert run.state is RunState.DONE, run.outcome
        everything = "\n".join([*on.log(run), *(str(e) for e in on.journal.events(run.id))])
        assert password not in everything


async def test_a_secret_that_nobody_gave(server: ApiServerProcess, tmp_path: Path) -> None:
    """A run without the password that sudo wants ends at the order, and says what stands."""
    async with host_ground(server, tmp_path) as on:
        on.fleet.want_password(WORKER, True)
        run = await on.done("node.reboot")
        assert run.state is RunState.PARTIAL
        assert f"sudo on {WORKER} wants a password" in run.outcome
        assert f"{WORKER} is still cordoned" in run.outcome
        assert "was told to reboot" not in run.outcome
        assert on.boots() == 1


async def test_the_machine_that_the_console_runs_on(server: ApiServerProcess, tmp_path: Path) -> None:
    """The reboot of our own machine is announced; the run is marked for after the boot before the order goes out, is found by the first desk that
    opens in another boot, and ends well without a second reboot."""
    async with host_ground(server, tmp_path) as on:
        boot = boot_of(await on.node())
        on.me = replace(ME, boot_id=boot, hostname=WORKER)
        assert "reboot.console-here" in by_code(await on.plan("node.reboot"))
        run = await on.begun("node.reboot")
        at = 0
        while on.boots() == 1 and at < 20:  # the runner dies at the order, as it does with its machine
            at += 1
            if await on.killed(run, at):
                kept = on.journal.run(run.id).after_boot
                asked = any(e.memo.get("1/asked") for e in on.journal.events(run.id))
                assert kept == (boot if asked else "")
                if asked:
                    break
        assert pending_after_boot(on.journal, boot, "k3s-worker-3") == ()

        async def rebooted() -> bool:
            return on.boots() == 2 and on.fleet.machines[WORKER].up

        if on.boots() == 1:  # killed between its word and the order: the boot is somebody else's then
            on.fleet.reboot(WORKER)
        await on.settle(rebooted)
        on.me = replace(on.me, boot_id=on.fleet.machines[WORKER].boot_id)
        assert [r.id for r in pending_after_boot(on.journal, on.me.boot_id, on.journal.run(run.id).runner_host)] == [run.id]
        done = await on.perform(run)
        assert done.state is RunState.DONE, done.outcome
        assert (on.boots(), await on.cordoned(), done.after_boot) == (2, False, "")


async def test_cancelled_while_the_host_is_away(server: ApiServerProcess, tmp_path: Path) -> None:
    """Who stops the run meanwhile is told that the order cannot be recalled, and that the node is still cordoned."""
    async with host_ground(server, tmp_path) as on:
        run, handle = await on.begun("node.reboot"), Handle()
        going = asyncio.ensure_future(on.perform(run, handle))
        await soon(lambda: any("is down" in text for text in on.said(run)))
        handle.cancel("anna")
        done = await going
        assert done.state is RunState.PARTIAL
        assert str(Cancelled("stopped before the next act, as asked")) in done.outcome
        assert "was told to reboot and was not seen back" in done.outcome
        assert f"coldtui node uncordon {WORKER}" in done.outcome


async def test_somebody_else_reboots_it_meanwhile(server: ApiServerProcess, tmp_path: Path) -> None:
    """A host that went into another boot between plan and order is not rebooted once more."""
    async with host_ground(server, tmp_path) as on:
        run = await on.begun("node.reboot", cordon=False)
        # RUNNER, PLAN, STARTED: it dies with its memo of the boot on disk, and nothing ordered.
        await on.killed(run, 3)
        assert on.journal.events(run.id)[-1].memo["0/boot"] == boot_of(await on.node())
        on.fleet.reboot(WORKER)

        async def back() -> bool:
            return on.boots() == 2 and on.fleet.machines[WORKER].up and await on.ready()

        await on.settle(back)
        done = await on.perform(run)
        assert "is in another boot than when this run began" in done.outcome
        assert on.boots() == 2


async def test_the_gate_of_plans_stays_closed(server: ApiServerProcess, tmp_path: Path) -> None:
    """What a plan asks of a host are reads of the table: no entry of sudo's or systemd's journal there tells of more."""
    async with host_ground(server, tmp_path) as on:
        before = len(on.fleet.machines[WORKER].journal.entries)
        for operation in ("node.reboot", "node.restart-k3s", "node.clean-disk"):
            await on.plan(operation)
        assert len(on.fleet.machines[WORKER].journal.entries) == before
        assert on.boots() == 1


async def test_without_an_api(server: ApiServerProcess, tmp_path: Path) -> None:
    """With the API away the host can be rebooted by SSH alone: no cordon, and the proof waits for the API, says so, and comes with it."""
    async with host_ground(server, tmp_path) as on:
        await asyncio.to_thread(server.control, "down")
        try:
            run = await on.begun("node.reboot")
            assert [title for title in run.steps if "ordon" in title] == []
            going = asyncio.ensure_future(on.perform(run))
            await soon(lambda: any("the Kubernetes API" in text for text in on.said(run)) and on.boots() == 2)
        finally:
            await asyncio.to_thread(server.control, "down", False)
        done = await going
        assert done.state is RunState.DONE, done.outcome
        assert (on.boots(), await on.cordoned(), await on.ready()) == (2, False, True)
