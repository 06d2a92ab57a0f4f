"""All hosts with the controllers on an API server: power, services, faults, and that the API and SSH tell the same."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import asyncssh
import pytest

from coldtui.lab import site
from coldtui.lab.apiserver.process import ApiServerProcess
from coldtui.lab.client import EVENTS, LEASES, NODES, ApiError, Informers, Json, KubeClient
from coldtui.lab.control import ApiPower
from coldtui.lab.controllers.base import Crew, Lab, Pace, is_true, moment
from coldtui.lab.hosts.fleet import FREED, Fleet
from coldtui.lab.supervisor import ALL
from tests.lab.conftest import FAST, until

PACE = dataclasses.replace(FAST, reboot=0.8, restart=0.6, grace=30.0)
SLOW = dataclasses.replace(PACE, reboot=3.0, restart=3.0)
"""For what must be seen while a host or its K3s is away."""
WORKER, MASTER = "k3s-worker-3", "k3s-master"


class Site:
    """A running site with its hosts, and the words to ask both sides."""

    def __init__(self, lab: Lab, fleet: Fleet) -> None:
        self.lab, self.fleet, self.client = lab, fleet, lab.client

    async def connect(self, name: str = WORKER, user: str = "lab") -> asyncssh.SSHClientConnection:
        host, _, port = self.fleet.addresses()[name].partition(":")
        return await asyncssh.connect(
            host,
            int(port),
            username=user,
            client_keys=[str(self.fleet.key)],
            known_hosts=str(self.fleet.known_hosts),
            config=None,
            agent_path=None,
        )

    async def ask(self, line: str, name: str = WORKER) -> str:
        """stdout of a command; empty when the host is not there."""
        connection = None
        try:
            connection = await self.connect(name)
            return str((await connection.run(line)).stdout).strip()
        except (OSError, asyncssh.Error):
            return ""
        finally:
            if connection is not None:
                connection.abort()

    async def node(self, name: str = WORKER) -> Json:
        return await self.client.get(NODES, name)

    async def renewed(self, name: str = WORKER) -> datetime:
        found = moment((await self.client.get(LEASES, name, "kube-node-lease"))["spec"]["renewTime"])
        assert found is not None
        return found


@asynccontextmanager
async def running(server: ApiServerProcess, folder: Path, pace: Pace = PACE) -> AsyncIterator[Site]:
    async with KubeClient.from_kubeconfig(server.kubeconfig) as client:
        seed = site.build(datetime.now(UTC))
        await site.load(client, [*seed.objects, *seed.derived])
        lab = Lab(client, Informers(client), pace, still=True)
        crew = await Crew.start(lab, ALL)
        fleet = Fleet(lab, folder / "ssh", ApiPower(server).host)
        try:
            await fleet.start()
            yield Site(lab, fleet)
        finally:
            await fleet.aclose()
            await crew.stop()


def play(tmp_path: Path, scene: Callable[[Site], Awaitable[None]], pace: Pace = PACE) -> None:
    async def run() -> None:
        with ApiServerProcess(tmp_path / "api", arguments=("--still",)) as server:
            async with running(server, tmp_path, pace) as on:
                await scene(on)

    asyncio.run(run())


BOOT = "cat /proc/sys/kernel/random/boot_id"


def test_a_reboot(tmp_path: Path) -> None:
    """`systemctl reboot` drops every connection of that host, which refuses for a while and then has a new boot ID; the lease rests until K3s runs
    again, and then the Node has the same boot ID, is Ready, and a Rebooted event tells of it. Other hosts do not notice."""

    async def scene(on: Site) -> None:
        old = await on.ask(BOOT)
        assert old == (await on.node())["status"]["nodeInfo"]["bootID"]
        since = await on.ask("uptime -s")
        other, mine = await on.connect("k3s-worker-1"), await on.connect()
        following = await mine.create_process("journalctl -f -n 0 -o cat")
        done = await mine.run("sudo -n systemctl reboot")
        assert done.exit_status == 0
        said = await asyncio.wait_for(following.stdout.read(), 5)
        assert "System is rebooting." in said
        await asyncio.wait_for(mine.wait_closed(), 5)
        with pytest.raises(ConnectionRefusedError):
            await on.connect()
        down = await on.renewed()
        assert is_true(await on.node(), "Ready"), "so soon nobody has noticed"
        assert (await other.run("hostname")).stdout == "k3s-worker-1\n"

        async def answers() -> bool:
            return await on.ask(BOOT) not in ("", old)

        await until(answers)
        new = await on.ask(BOOT)
        assert await on.ask("uptime -s") > since

        async def runs() -> bool:
            return await on.ask("systemctl is-system-running") == "running"

        await until(runs)

        async def proven() -> bool:
            node = await on.node()
            return node["status"]["nodeInfo"]["bootID"] == new and is_true(node, "Ready") and await on.renewed() > down

        await until(proven)

        async def told() -> bool:
            events = (await on.client.list(EVENTS, "default", fields=f"involvedObject.name={WORKER},reason=Rebooted"))[0]
            return any(new in event["message"] for event in events)

        await until(told)
        assert [line.split()[0] for line in (await on.ask("journalctl --list-boots")).splitlines()] == ["-1", "0"]
        other.abort()

    play(tmp_path, scene, SLOW)


def test_a_restart_of_the_agent(tmp_path: Path) -> None:
    """The unit has a new InvocationID; the lease rests while K3s is not running, and goes on at once afterwards. The boot is the same."""

    async def scene(on: Site) -> None:
        boot, old = await on.ask(BOOT), await on.ask("systemctl show k3s-agent -p InvocationID --value")
        async with await on.connect() as line:
            asked = asyncio.create_task(line.run("sudo -n systemctl restart k3s-agent"))

            async def stopped() -> bool:
                return on.lab.machines.silent(WORKER)

            await until(stopped)
            at = await on.renewed()
            await asyncio.sleep(PACE.restart * 0.6)  # as long as it is gone, longer than a heartbeat
            if on.lab.machines.silent(WORKER):
                assert await on.renewed() == at
            assert (await asked).exit_status == 0
        assert await on.ask("systemctl show k3s-agent -p InvocationID --value") not in ("", old)

        async def renewed() -> bool:
            return await on.renewed() > at

        await until(renewed)
        assert await on.ask(BOOT) == boot
        assert is_true(await on.node(), "Ready")

    play(tmp_path, scene)


def test_a_restart_on_the_master(tmp_path: Path) -> None:
    """While `k3s` is restarted the API server really is away; an agent that is restarted meanwhile waits for it."""

    async def scene(on: Site) -> None:
        async with await on.connect(MASTER) as line:
            await line.run("sudo -n systemctl restart --no-block k3s")

            async def away() -> bool:
                return not await on.fleet._api_answers()

            await until(away)
            assert await on.ask("systemctl is-active k3s", MASTER) in ("activating", "deactivating", "inactive")
            await on.ask("sudo -n systemctl restart --no-block k3s-agent")
            assert await on.ask("systemctl is-active k3s-agent") != "active"
            await until(on.fleet._api_answers)

        async def both() -> bool:
            return [await on.ask("systemctl is-active k3s", MASTER), await on.ask("systemctl is-active k3s-agent")] == ["active", "active"]

        await until(both)

    play(tmp_path, scene, SLOW)


def test_the_master_takes_the_api_along(tmp_path: Path) -> None:
    """A reboot of the only server: no API until its K3s runs again, then every node is still Ready."""

    async def scene(on: Site) -> None:
        old = await on.ask(BOOT, MASTER)
        await on.ask("sudo -n systemctl reboot", MASTER)

        async def away() -> bool:
            return not await on.fleet._api_answers()

        await until(away)
        await until(on.fleet._api_answers)

        async def well() -> bool:
            try:
                nodes = (await on.client.list(NODES))[0]
            except ApiError:
                return False
            mine = next(n for n in nodes if n["metadata"]["name"] == MASTER)
            return all(is_true(n, "Ready") for n in nodes) and mine["status"]["nodeInfo"]["bootID"] != old

        await until(well)
        assert await on.ask(BOOT, MASTER) == (await on.node(MASTER))["status"]["nodeInfo"]["bootID"]

    play(tmp_path, scene)


def test_power_and_ssh_go_together(tmp_path: Path) -> None:
    """A machine without power refuses SSH and answers again, in another boot, when it has power; a machine that shall not come back from its
    reboot stays off until it is let go."""

    async def scene(on: Site) -> None:
        old = await on.ask(BOOT)
        on.lab.machines.power_off(WORKER)
        assert await on.ask("hostname") == ""
        on.lab.machines.power_on(WORKER)

        async def answers() -> bool:
            return await on.ask("hostname") == WORKER

        await until(answers)
        assert await on.ask(BOOT) != old
        on.fleet.stuck.add("*")
        await on.ask("sudo -n reboot")

        async def stranded() -> bool:
            return on.fleet.stranded == {WORKER}

        await until(stranded)
        assert await on.ask("hostname") == ""
        assert on.fleet.release() == [WORKER]
        await until(answers)

    play(tmp_path, scene)


def test_faults_of_ssh(tmp_path: Path) -> None:
    """A host refuses, shows another key, wants a password for sudo; each ends, and only that host has it."""

    async def scene(on: Site) -> None:
        await on.fleet.refuse(WORKER, True)
        assert (await on.ask("hostname"), await on.ask("hostname", "k3s-worker-1")) == ("", "k3s-worker-1")
        await on.fleet.refuse(WORKER, False)
        assert await on.ask("hostname") == WORKER
        await on.fleet.change_key(WORKER, True)
        with pytest.raises(asyncssh.HostKeyNotVerifiable):
            await on.connect()
        await on.fleet.change_key(WORKER, False)
        on.fleet.want_password(WORKER, True)
        password = on.fleet.password_file.read_text()
        assert on.fleet.password_file.stat().st_mode & 0o777 == 0o600
        async with await on.connect() as line:
            assert (await line.run("sudo -n true")).exit_status == 1
            assert (await line.run("sudo -S -p '' true", input=password)).exit_status == 0
        on.fleet.want_password(WORKER, False)
        assert await on.ask("sudo -n id -un") == "root"

    play(tmp_path, scene)


def test_what_is_cleaned_is_seen_by_the_kubelet(tmp_path: Path) -> None:
    """Space that a clean frees on the host is missing in the kubelet's figures too, file system and images alike."""

    async def scene(on: Site) -> None:
        async def figures() -> tuple[int, int]:
            found = await on.client.call("GET", f"/api/v1/nodes/{WORKER}/proxy/stats/summary")
            return found["node"]["fs"]["usedBytes"], found["node"]["runtime"]["imageFs"]["usedBytes"]

        used, images = await figures()
        shown = int((await on.ask("df -B1 --output=used /")).splitlines()[1])
        assert shown == pytest.approx(used, rel=0.01)
        assert await on.ask("sudo k3s crictl rmi --prune")
        freed = shown - int((await on.ask("df -B1 --output=used /")).splitlines()[1])
        assert freed > 1 << 30

        async def told() -> bool:
            return ((await on.node())["metadata"].get("annotations") or {}).get(FREED) == str(freed)

        await until(told)
        now = await figures()
        assert now[0] == pytest.approx(used - freed, abs=1 << 20)
        assert now[1] == images - freed

    play(tmp_path, scene)


def test_keys_and_ports_last(tmp_path: Path) -> None:
    """A lab that is started again in its folder has the same host keys, login key and ports: known_hosts of yesterday still holds."""

    async def scene(on: Site) -> None:
        files = {p.name: p.read_bytes() for p in (on.fleet.known_hosts, on.fleet.key, on.fleet.folder / "config")}
        again = Fleet(on.lab, on.fleet.folder)
        addresses = on.fleet.addresses()
        await on.fleet.aclose()
        await again.start()
        try:
            assert again.addresses() == addresses
            assert {p.name: p.read_bytes() for p in (again.known_hosts, again.key, again.folder / "config")} == files
        finally:
            await again.aclose()

    play(tmp_path, scene)
