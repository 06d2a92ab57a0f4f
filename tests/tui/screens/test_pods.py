"""Pods and one pod: what is listed, where the keys lead, and what hostile names do."""

from __future__ import annotations

from dataclasses import replace

import pytest

from coldtui.domain.objects import Owner, Ref
from coldtui.domain.pods import Container
from coldtui.domain.world import World
from coldtui.tui.screens.describe import DescribeScreen
from coldtui.tui.screens.logs import LogsScreen
from coldtui.tui.screens.node import NodeScreen
from coldtui.tui.screens.nodes import NodesScreen
from coldtui.tui.screens.pods import PodScreen, PodsScreen, owner_ref
from coldtui.tui.widgets.table import RowTable
from tests.tui import worlds
from tests.tui.consoles import Console, console, run, snapshot_app
from tests.tui.screens import sites
from tests.tui.screens.kubes import LogKube
from tests.tui.screens.waiting import until

CRASHING = sites.crashing().key


def select(c: Console, key: str) -> None:
    table = c.app.top.table
    assert table is not None
    assert table.select(key)


def test_nine_opens_pods_of_all_namespaces() -> None:
    """9 lists every pod; a namespace after the command narrows, 0 shows all again."""

    async def check() -> None:
        async with console(worlds.healthy()) as c:
            await c.press("9")
            assert isinstance(c.app.screen, PodsScreen)
            assert "Pods (all namespaces) [15]" in c.text
            c.app.run_command("pods postgres")
            await c.settle()
            assert "Pods (postgres) [3]" in c.text
            await c.press("0")
            assert "Pods (all namespaces) [15]" in c.text
            c.app.run_command("pods app=coredns")
            await c.settle()
            assert "[1 of 15] /-l app=coredns" in c.text

    run(check())


def test_enter_opens_the_pod_with_its_containers_and_events() -> None:
    """The pod's screen says why it does not run, how its containers ended, and what the cluster said; esc comes back to its row."""

    async def check() -> None:
        async with console(sites.troubled(), start="pods") as c:
            select(c, CRASHING)
            await c.press("enter")
            assert isinstance(c.app.screen, PodScreen)
            for words in (
                "waiting CrashLoopBackOff",
                "OOMKilled 137, 3m ago",
                "3m x31",
                "Back-off restarting failed",
                "deployment/customer-portal",
            ):
                assert words in c.text
            table = c.app.screen.query_one(RowTable)
            assert isinstance(table.item, Container)
            assert table.item.name == "portal"
            await c.press("escape")
            assert c.app.top.subject() == Ref("pods", "customer-portal-5c4b-2k8", "cold-prod")

    run(check())


def test_pod_that_goes_is_said_to_be_gone() -> None:
    """When the pod leaves the cluster the screen says so and where it ran; it is not blamed while pods are unread."""

    async def check() -> None:
        async with console(sites.troubled(), start="pods") as c:
            select(c, CRASHING)
            await c.press("enter")
            await c.put(worlds.without(sites.troubled(), "pods"))
            assert "no longer in the cluster · it ran on k3s-worker-4" in c.text
            await c.put(worlds.forbidden(sites.troubled(), "pods"))
            assert "this pod is not known: not permitted" in c.text

    run(check())


def test_enter_on_a_container_opens_its_log() -> None:
    """Enter or l on a container is about that container, p about the instance before."""

    async def check() -> None:
        kube = LogKube("one")
        async with console(sites.troubled(), start="pods", kube=kube) as c:
            select(c, CRASHING)
            await c.press("enter", "j", "enter")
            await until(c, lambda: bool(kube.requests), "the log")
            assert isinstance(c.app.screen, LogsScreen)
            assert (kube.requests[0].container, kube.requests[0].previous) == ("metrics", False)
            await c.press("escape", "k", "p")
            await until(c, lambda: len(kube.requests) > 1, "the log before")
            assert (kube.requests[1].container, kube.requests[1].previous) == ("portal", True)

    run(check())


def test_o_goes_to_the_node_and_J_to_the_owner() -> None:
    """o lands on the node in its list, J on the deployment; what has no node or owner says so."""

    async def check() -> None:
        lone = replace(worlds.pod("lone"), node="", owner=None)
        world = worlds.healthy()
        world = worlds.with_pods(world, [*world.pods.items.values(), lone])
        async with console(world, start="pods") as c:
            select(c, "cold-prod/cold-backend-7d9f6c-1x2")
            await c.press("o")
            assert isinstance(c.app.screen, NodesScreen)
            assert c.app.top.subject() == Ref("nodes", "k3s-worker-2")
            await c.press("9", "J")
            assert c.app.top.subject() == Ref("deployments", "cold-backend", "cold-prod")
            await c.press("9")
            select(c, "cold-prod/lone")
            await c.press("o")
            assert "lone is not on a node yet" in c.text
            await c.press("J")
            assert "lone has no owner" in c.text

    run(check())


def test_owner_refs() -> None:
    """A ReplicaSet leads to its deployment while that is known, else to itself; an unread kind leads nowhere."""
    world = worlds.healthy()
    pod = worlds.pod("cold-backend-7d9f6c-x", owner=Owner("ReplicaSet", "cold-backend-7d9f6c", "u"))
    assert owner_ref(world, pod) == Ref("deployments", "cold-backend", "cold-prod")
    assert owner_ref(worlds.without(world, "deployments"), pod) == Ref("replicasets", "cold-backend-7d9f6c", "cold-prod")
    assert owner_ref(world, replace(pod, owner=Owner("Node", "k3s-master", "u"))) == Ref("nodes", "k3s-master")
    assert owner_ref(world, replace(pod, owner=Owner("Job", "j", "u"))) is None


def test_describe_and_pod_from_a_node() -> None:
    """On a node's screen enter opens the pod under the cursor and d describes it."""

    async def check() -> None:
        async with console(worlds.healthy(), start="nodes") as c:
            await c.press("j", "enter")
            assert isinstance(c.app.screen, NodeScreen)
            await c.press("enter")
            assert isinstance(c.app.screen, PodScreen)
            await c.press("d")
            assert isinstance(c.app.screen, DescribeScreen)
            await c.press("escape", "escape")
            assert isinstance(c.app.screen, NodeScreen)

    run(check())


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (62, 16)])
def test_hostile_names(size: tuple[int, int]) -> None:
    """Names of 253 characters, markup, emoji and combining marks neither break a line nor act, in the list, the pane and the pod."""

    async def check() -> None:
        pods = [replace(worlds.pod(name), containers=(Container(name, name, True, 0, "running"),), message=name) for name in worlds.HOSTILE]
        world = worlds.with_pods(worlds.healthy(), pods)
        async with console(world, size=size, start="pods") as c:
            for pod in pods:
                select(c, pod.key)
                await c.settle()
                await c.press("enter")
                assert isinstance(c.app.screen, PodScreen)
                assert "\x1b" not in c.text
                await c.press("escape")
            assert c.app.is_running

    run(check())


def state(name: str) -> World:
    troubled = sites.stored(sites.troubled())
    made: dict[str, World] = {
        "healthy": worlds.healthy(), "troubled": troubled, "loading": worlds.loading(), "stale": worlds.stale(troubled, "pods"),
        "forbidden": worlds.forbidden(troubled, "pods"),
    }  # fmt: skip
    return made[name]


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
@pytest.mark.parametrize("name", ["healthy", "troubled", "loading", "stale", "forbidden"])
def test_pods_picture(snap_compare: object, size: tuple[int, int], name: str) -> None:
    """How the list looks in each state of its source."""
    assert snap_compare(snapshot_app(state(name), start="pods"), terminal_size=size, press=("j",) * 5)  # type: ignore[operator]


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
@pytest.mark.parametrize("name", ["troubled", "stale"])
def test_pod_picture(snap_compare: object, size: tuple[int, int], name: str) -> None:
    """How one crashing pod looks, live and stale."""
    keys = (*("j",) * 5, "enter")
    assert snap_compare(snapshot_app(state(name), start="pods"), terminal_size=size, press=keys)  # type: ignore[operator]
