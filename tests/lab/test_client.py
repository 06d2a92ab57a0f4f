"""The client and its informer against the embedded server, faults and all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import yaml

from coldtui.domain.errors import Misconfigured, Unreachable
from coldtui.lab.apiserver.process import ApiServerProcess
from coldtui.lab.client import CONFIG_MAPS, DEPLOYMENTS, NODES, Access, ApiError, Informer, Informers, Json, KubeClient
from tests.lab.conftest import until

Act = Callable[[KubeClient], Awaitable[None]]


def run(server: ApiServerProcess, act: Act, *, deadline_s: float = 5.0) -> None:
    async def whole() -> None:
        async with KubeClient.from_kubeconfig(server.kubeconfig, deadline_s=deadline_s) as client:
            await act(client)

    asyncio.run(whole())


def config_map(name: str, **data: str) -> Json:
    return {"metadata": {"name": name, "namespace": "default"}, "data": data}


@asynccontextmanager
async def following(client: KubeClient) -> AsyncIterator[Informer]:
    informer = Informer(client, CONFIG_MAPS, "default")
    task = asyncio.create_task(informer.run())
    try:
        await asyncio.wait_for(informer.synced.wait(), 10)
        yield informer
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def seen(informer: Informer, name: str) -> None:
    async def is_there() -> bool:
        return informer.get(name, "default") is not None

    await until(is_there)


def test_writes(server: ApiServerProcess) -> None:
    """Create, find, the three patches, a stale replace, a guarded delete; refusals carry code and reason."""

    async def act(client: KubeClient) -> None:
        made = await client.create(CONFIG_MAPS, config_map("one", a="1"))
        with pytest.raises(ApiError) as error:
            await client.create(CONFIG_MAPS, config_map("one"))
        assert (error.value.code, error.value.reason, error.value.conflict) == (409, "AlreadyExists", True)
        await client.patch(CONFIG_MAPS, "one", {"data": {"b": "2"}}, "default")
        await client.patch(CONFIG_MAPS, "one", {"data": {"c": "3", "a": None}}, "default", how="strategic")
        now = await client.patch(CONFIG_MAPS, "one", [{"op": "add", "path": "/data/d", "value": "4"}], "default", how="json")
        assert now["data"] == {"b": "2", "c": "3", "d": "4"}
        with pytest.raises(ApiError, match="modified"):
            await client.replace(CONFIG_MAPS, {**made, "data": {}})
        await client.delete(CONFIG_MAPS, "one", "default", uid="00000000-0000-0000-0000-000000000000")
        assert await client.find(CONFIG_MAPS, "one", "default") is not None, "another object's uid must not delete this one"
        await client.delete(CONFIG_MAPS, "one", "default", uid=made["metadata"]["uid"])
        await client.delete(CONFIG_MAPS, "one", "default")
        assert await client.find(CONFIG_MAPS, "one", "default") is None

    run(server, act)


def test_status_is_written_apart(server: ApiServerProcess) -> None:
    """A status patch leaves the spec alone, and a spec patch the status."""

    async def act(client: KubeClient) -> None:
        spec = {
            "selector": {"matchLabels": {"a": "b"}},
            "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}},
        }
        await client.create(DEPLOYMENTS, {"metadata": {"name": "web", "namespace": "default"}, "spec": spec})
        await client.patch(DEPLOYMENTS, "web", {"spec": {"replicas": 7}, "status": {"replicas": 3}}, "default", sub="status")
        obj = await client.get(DEPLOYMENTS, "web", "default")
        assert (obj["spec"]["replicas"], obj["status"]["replicas"]) == (1, 3)

    run(server, act)


def test_lists_come_in_pages(server: ApiServerProcess) -> None:
    """More objects than a page holds arrive complete, with the kind that items of lists lack."""

    async def act(client: KubeClient) -> None:
        lines = [
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"n{i:04d}", "namespace": "pages"}, "data": {}}
            for i in range(1203)
        ]
        from coldtui.lab.site import load

        await load(client, lines)
        items, version = await client.list(CONFIG_MAPS, "pages")
        assert len({i["metadata"]["name"] for i in items}) == 1203
        assert int(version) > 0
        assert items[0]["kind"] == "ConfigMap"

    run(server, act)


@pytest.mark.parametrize("fault", ["down", "expired", "garbage", "cut", "too-many", "unauthorized", "restored"])
def test_an_informer_survives(server: ApiServerProcess, fault: str) -> None:
    """Whatever happens to the server, the cache is what the server has soon after it is over."""

    async def act(client: KubeClient) -> None:
        async with following(client) as informer:
            before, after = f"{fault}-before", f"{fault}-after"
            await client.create(CONFIG_MAPS, config_map(before))
            await seen(informer, before)
            server.control(fault, True, **({"back": 3} if fault == "restored" else {}))
            await asyncio.sleep(0.2)  # the time that the fault lasts
            server.control(fault, False)

            async def made() -> bool:
                try:
                    return bool(await client.create(CONFIG_MAPS, config_map(after)))
                except (ApiError, Unreachable):
                    return False

            await until(made)
            await seen(informer, after)

            async def same() -> bool:
                return {o["metadata"]["name"] for o in (await client.list(CONFIG_MAPS, "default"))[0]} == {k[1] for k in informer.items}

            await until(same)

    run(server, act)


def test_a_forgotten_past_is_listed_again(server: ApiServerProcess) -> None:
    """410 leads to one new list, and what was deleted meanwhile leaves the cache and is told."""

    async def act(client: KubeClient) -> None:
        await client.create(CONFIG_MAPS, config_map("to-go"))
        async with following(client) as informer:
            gone: list[str] = []
            informer.listen(lambda before, after: gone.append(before["metadata"]["name"]) if before and after is None else None)
            server.control("down", True)
            server.control("expired", True)
            server.control("down", False)

            async def deleted() -> bool:
                try:
                    await client.delete(CONFIG_MAPS, "to-go", "default")
                except Unreachable:
                    return False
                return True

            await until(deleted)
            lists = informer.lists

            async def relisted() -> bool:
                return informer.lists > lists

            await until(relisted)
            server.control("expired", False)

            async def told() -> bool:
                return "to-go" in gone and informer.get("to-go", "default") is None

            await until(told)

    run(server, act)


def test_dead_streams_are_reopened(server: ApiServerProcess) -> None:
    """After half-open streams, `reopen` makes the caches follow again from where they were."""

    async def act(client: KubeClient) -> None:
        informers = Informers(client)
        informer = informers.of(CONFIG_MAPS)
        await informers.start()
        try:
            server.control("half-open", True)
            await client.create(CONFIG_MAPS, config_map("unheard"))
            server.control("half-open", False)
            informers.reopen()
            await seen(informer, "unheard")
            assert informer.lists == 1, "it resumed instead of listing anew"
        finally:
            await informers.stop()

    run(server, act)


def test_deadlines_hold(server: ApiServerProcess) -> None:
    """A frozen server: the request ends with Unreachable at its deadline."""

    async def act(client: KubeClient) -> None:
        server.pause()
        try:
            loop = asyncio.get_running_loop()
            began = loop.time()
            with pytest.raises(Unreachable):
                await client.list(NODES)
            assert loop.time() - began < 2.0
        finally:
            server.resume()

    run(server, act, deadline_s=0.3)


def test_a_token_opens_too(server: ApiServerProcess) -> None:
    """A kubeconfig with a token and one with a certificate are the same to the client."""

    async def act() -> None:
        async with KubeClient.from_kubeconfig(server.token_kubeconfig) as client:
            await client.list(CONFIG_MAPS)

    asyncio.run(act())


def test_a_bad_kubeconfig_is_named(tmp_path: Path) -> None:
    """Missing file, no YAML mapping, unknown context: Misconfigured with the path."""
    path = tmp_path / "kubeconfig"
    with pytest.raises(Misconfigured, match="kubeconfig cannot be used"):
        Access.load(path)
    path.write_text(yaml.safe_dump({"current-context": "x", "contexts": [], "clusters": [], "users": []}))
    with pytest.raises(Misconfigured, match="KeyError: 'x'"):
        Access.load(path)
