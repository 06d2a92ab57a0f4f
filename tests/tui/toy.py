"""A console over hand-made Worlds as a program of its own, for tests and measurements in a real terminal.

    python -m tests.tui.toy [--picture DIR] [--pods N] [--busy N] [--break-import] [--fail-key] [--clock]

--busy N: the use of N nodes changes each second. --picture DIR: with the saved picture. --break-import: an import fails after the picture.
"""

from __future__ import annotations

import os
import sys

argv = sys.argv[1:]


def opt(name: str, default: str) -> str:
    return argv[argv.index(name) + 1] if name in argv else default


if "--picture" in argv:  # before anything else is imported, as the program does
    from coldtui.tui.picture import Picture, fingerprint

    picture: Picture | None = Picture(opt("--picture", ""), fingerprint([], os.environ))
    assert picture is not None
    picture.draw()
else:
    picture = None

try:
    if "--break-import" in argv:
        raise ImportError("a broken install")
    import asyncio
    from dataclasses import replace
    from typing import Any

    from coldtui.tui.app import run_console
    from coldtui.tui.site import Options
    from tests.tui import worlds
    from tests.tui.consoles import FixedLive, FixedSite

    world = worlds.healthy()
    if count := int(opt("--pods", "0")):
        world = worlds.with_pods(world, [worlds.pod(f"load-{i:05}-abcde", namespace=f"ns-{i % 40}", on="k3s-master") for i in range(count)])
    if count := int(opt("--nodes", "0")):
        world = worlds.with_nodes(world, [*world.nodes.items.values(), *(worlds.node(f"extra-{i:05}") for i in range(count))])
    site = FixedSite(FixedLive(world))

    async def busy() -> None:
        step = 0
        while True:
            await asyncio.sleep(1)
            step += 1
            now = site.live.world
            names = sorted(now.node_usage.items)[: int(opt("--busy", "0"))]
            changed = {n: replace(now.node_usage.items[n], cpu_m=1000 + (step * 377 + i * 911) % 6000) for i, n in enumerate(names)}
            shelf = now.node_usage
            site.live.put(replace(now, node_usage=replace(shelf, items=shelf.items.update(changed))))

    tasks: list[Any] = []

    async def begin() -> None:
        if "--busy" in argv:
            tasks.append(asyncio.create_task(busy()))

    async def end() -> None:
        for task in tasks:
            task.cancel()

    moment = None if "--clock" in argv else (lambda: worlds.NOW)
    options = Options(now=moment, begin=begin, end=end, theme=opt("--theme", ""), start=opt("--start", "nodes"), log="coldtui.log")
    code = run_console(site, picture, options)
except BaseException:
    if picture is not None:
        picture.undo()
    raise
sys.exit(code)
