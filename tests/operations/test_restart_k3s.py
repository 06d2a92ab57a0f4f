"""Restarts of K3s: the right unit, what is said before, the journal followed live, the proof by a new start and a renewed lease."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from coldtui.domain.nodes import Node
from coldtui.domain.plans import Outlook, Plan, Rung, Weight
from coldtui.domain.readings import Known, Reading, Unknown
from coldtui.domain.runs import RunState
from coldtui.lab.apiserver.process import ApiServerProcess
from coldtui.operations.hosts import HostFacts, Unit
from coldtui.operations.restart_k3s import RestartFacts, RestartK3s, plan_restart
from tests.operations.host_ground import MASTER, OTHER, PACE, WORKER, HostGround, by_code, host_ground
from tests.operations.means import ME
from tests.tui.worlds import healthy

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
RUNS, AGENT = Unit("k3s", True, "active", "running", "a1"), Unit("k3s-agent", True, "active", "running", "b2")
NODES: dict[str, Node] = dict(healthy().nodes.items.items())


def plan_of(name: str, units: Mapping[str, Unit], nodes: Reading[tuple[Node, ...]] | None = None) -> Plan:
    host = HostFacts(name, NOW, "root@h:22", boot_id=NODES[name].boot_id, hostname=name, units=units)
    known = nodes if nodes is not None else Known(tuple(NODES.values()), "nodes", NOW)
    return plan_restart(RestartFacts(name, NOW, known, host, ME), RestartK3s(name), NOW)


def down(name: str) -> Node:
    node = NODES[name]
    return replace(node, conditions=tuple(replace(c, status="Unknown") if c.type == "Ready" else c for c in node.conditions))


def units(*there: Unit) -> dict[str, Unit]:
    missing = {"k3s": Unit("k3s", False), "k3s-agent": Unit("k3s-agent", False)}
    return {**missing, **{unit.name: unit for unit in there}}


# ------------------------------------------------------------ plans


def test_an_agent() -> None:
    """Rung 2, the site's lock, the agent's unit; containers go on, the API stays."""
    plan = plan_of(WORKER, units(AGENT))
    assert (plan.title, plan.verb, plan.confirm, plan.rung, plan.locks) == (
        f"Restart K3s on {WORKER}",
        "restart",
        WORKER,
        Rung.DISRUPTIVE,
        ("site",),
    )
    assert [(s.name, s.args["unit"]) for s in plan.steps] == [("k3s.restart", "k3s-agent"), ("k3s.ready", "k3s-agent")]
    assert set(by_code(plan)) == {"host.reached", "k3s.state", "k3s.containers"}
    assert (plan.outlook, plan.blocked) == (Outlook.GO, "")


def test_the_only_server() -> None:
    """The server's unit; that the API is gone for some seconds is a warning."""
    plan = plan_of(MASTER, units(RUNS))
    assert plan.steps[0].args["unit"] == "k3s"
    found = by_code(plan)["k3s.api-gap"]
    assert (found.weight, found.sentence) == (Weight.WARNING, f"the API is gone for some seconds: {MASTER} is the only control plane")


@pytest.mark.parametrize(
    ("node", "there", "why"),
    [
        (WORKER, units(RUNS), f"{WORKER} is no control plane by its labels, but its host has k3s.service only"),
        (MASTER, units(AGENT), f"{MASTER} is a control plane by its labels, but its host has k3s-agent.service only"),
        (WORKER, units(), f"there is neither k3s.service nor k3s-agent.service on {WORKER}"),
        (WORKER, units(RUNS, AGENT), f"{WORKER} has both k3s.service and k3s-agent.service, and it is not clear which one is meant"),
        (WORKER, units(RUNS, replace(AGENT, active="inactive")), "and it is not clear which one is meant"),
        (WORKER, {}, f"the services of {WORKER} could not be read"),
    ],
)
def test_the_unit_must_fit_the_role(node: str, there: dict[str, Unit], why: str) -> None:
    """A host whose unit does not agree with the node's role is not touched: an agent must not be made of a server."""
    plan = plan_of(node, there)
    assert why in by_code(plan)["k3s.unit"].sentence
    assert why in plan.blocked


def test_of_two_units_the_one_that_runs_is_meant() -> None:
    """A left-over unit that is not active does not hold the other, if that fits the role."""
    plan = plan_of(WORKER, units(replace(RUNS, active="inactive"), AGENT))
    assert (plan.steps[0].args["unit"], plan.blocked) == ("k3s-agent", "")


def test_a_unit_that_is_in_trouble_is_told() -> None:
    """What systemd says of it now, with how often it was started again."""
    ill = replace(AGENT, active="activating", sub="auto-restart", restarts=7)
    found = by_code(plan_of(WORKER, units(ill)))["k3s.state"]
    assert (found.weight, found.sentence) == (
        Weight.WARNING,
        f"k3s-agent.service of {WORKER} is activating (auto-restart), restarted 7 times by systemd",
    )


def test_without_an_api() -> None:
    """A server may be what brings the API back; an agent does not start before it. Both can be confirmed, neither is evaluated."""
    away: Unknown = Unknown("nodes", "connection refused")
    server, agent = plan_of(MASTER, units(RUNS), away), plan_of(WORKER, units(AGENT), away)
    assert by_code(server)["k3s.no-api"].sentence.endswith("this may bring it back")
    assert by_code(agent)["k3s.no-api"].remedy == "restart k3s on the server first"
    assert (server.outlook, server.blocked, agent.outlook, agent.blocked) == (Outlook.NOT_EVALUATED, "", Outlook.NOT_EVALUATED, "")


def test_an_etcd_majority() -> None:
    """With another member down the datastore has no majority meanwhile; with all up another server answers."""
    roles = ("control-plane", "etcd")
    servers = {name: replace(NODES[name], roles=roles) for name in (MASTER, OTHER, WORKER)}
    rest = [node for name, node in NODES.items() if name not in servers]
    well: Reading[tuple[Node, ...]] = Known((*servers.values(), *rest), "nodes", NOW)
    assert by_code(plan_of(MASTER, units(RUNS), well))["k3s.api-stays"].sentence == "2 other control planes answer for the API meanwhile"
    ill: Reading[tuple[Node, ...]] = Known((servers[MASTER], servers[OTHER], replace(down(WORKER), roles=roles), *rest), "nodes", NOW)
    assert by_code(plan_of(MASTER, units(RUNS), ill))["k3s.api-gap"].sentence.startswith("etcd has no majority meanwhile: 1 of 3 members")


# ------------------------------------------------------------ runs


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServerProcess]:
    with ApiServerProcess(tmp_path_factory.mktemp("api"), arguments=("--still",)) as running:
        yield running


def starts(on: HostGround, node: str) -> int:
    """How often the unit was started, by the host's journal."""
    unit = on.fleet.machines[node].k3s
    return sum(1 for e in on.fleet.machines[node].journal.entries if e.message.startswith(f"Starting {unit.name}"))


async def test_a_restart_of_an_agent(server: ApiServerProcess, tmp_path: Path) -> None:
    """One new start of the same boot, the journal of both halves in the run's log as it was written, a renewed lease as proof."""
    async with host_ground(server, tmp_path) as on:
        before, boots = on.fleet.machines[WORKER].k3s.invocation, on.boots()
        run = await on.done("node.restart-k3s")
        assert run.state is RunState.DONE, run.outcome
        assert on.fleet.machines[WORKER].k3s.invocation != before
        assert (on.boots(), starts(on, WORKER)) == (boots, 1)
        log = "\n".join(on.log(run))
        for words in (
            "systemctl restart --no-block k3s-agent.service", "Stopped k3s-agent.service", "Starting k3s agent", "Started k3s-agent.service",
            "its kubelet has renewed its lease",
        ):  # fmt: skip
            assert words in log, words
        assert await on.ready()


async def test_a_restart_of_the_server(server: ApiServerProcess, tmp_path: Path) -> None:
    """The API goes and comes back; the run says that it waits for it, and ends well."""
    async with host_ground(server, tmp_path) as on:
        run = await on.done("node.restart-k3s", MASTER)
        assert run.state is RunState.DONE, run.outcome
        assert starts(on, MASTER) == 1
        assert await on.ready(MASTER)


async def test_a_k3s_that_does_not_start(server: ApiServerProcess, tmp_path: Path) -> None:
    """Out of time: the state of the unit, the last line of its journal in the outcome, more of them in the log, and where to look."""
    async with host_ground(server, tmp_path) as on:
        machine = on.fleet.machines[WORKER]
        machine.timing = replace(machine.timing, start=60.0)
        run = await on.done("node.restart-k3s", timeout=10)
        assert run.state is RunState.PARTIAL
        assert (
            "k3s-agent on k3s-worker-3 does not work in time: k3s-agent on k3s-worker-3 is activating (start); its last line: "
            in run.outcome
        )
        assert "journalctl -u k3s-agent on k3s-worker-3" in run.outcome
        assert "was told to restart and was not seen to work again" in run.outcome
        assert any(line.startswith("the last ") for line in on.log(run))


async def test_killed_at_every_turn(server: ApiServerProcess, tmp_path: Path) -> None:
    """A runner that dies after any of its events: the run ends right when it is taken up, and what was once seen started is not restarted again."""
    async with host_ground(server, tmp_path, replace(PACE, restart=0.1)) as on:
        at, ended = 2, False
        while not ended:
            node = (WORKER, OTHER)[at % 2]
            before = starts(on, node)
            run = await on.begun("node.restart-k3s", node, timeout=60)
            ended = not await on.killed(run, at)
            seen = any(e.what.value == "finished" for e in on.journal.events(run.id))
            between = starts(on, node)
            done = on.journal.run(run.id)  # its end may have been the event after which it died
            done = done if done.state.ended else await on.perform(run)
            assert done.state is RunState.DONE, (at, done.outcome)
            # An order whose effect nobody has seen yet is given once more; never after that.
            assert starts(on, node) - before <= 2
            if seen:
                assert starts(on, node) == between
            at += 2
        assert at > 8


async def test_the_password_of_sudo_is_needed_for_the_journal_too(server: ApiServerProcess, tmp_path: Path) -> None:
    """Without it the run ends at the order, having changed nothing; that the journal could not be followed is said."""
    async with host_ground(server, tmp_path) as on:
        on.fleet.want_password(WORKER, True)
        run = await on.done("node.restart-k3s")
        assert run.state is RunState.FAILED
        assert "wants a password" in run.outcome
        assert starts(on, WORKER) == 0
        assert any("the journal of k3s-agent on k3s-worker-3 is not followed" in line for line in on.log(run))


async def test_ssh_is_away_at_the_order(server: ApiServerProcess, tmp_path: Path) -> None:
    """A host that stops answering between plan and order fails the run with what was missing; nothing was restarted."""
    async with host_ground(server, tmp_path) as on:
        run = await on.begun("node.restart-k3s")
        await on.killed(run, 3)
        await on.fleet.refuse(WORKER, True)
        done = await on.perform(run)
        assert done.state in (RunState.FAILED, RunState.PARTIAL)
        assert "is not reached over SSH" in done.outcome
        assert starts(on, WORKER) == 0
