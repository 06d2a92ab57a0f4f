"""Makes docs/img/status.png: the first screen of the console over a fresh demo, at 120x40.

    .venv/bin/python docs/img/make.py

Needs `rsvg-convert` and the font JetBrains Mono. The demo that it starts ends with it.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from coldtui.config.load import load
from coldtui.domain.readings import Freshness
from coldtui.domain.world import World
from coldtui.lab.demo import DemoOptions, start
from coldtui.tui.app import ColdApp
from coldtui.tui.site import Options
from coldtui.wiring import Site, open_site

HERE = Path(__file__).parent
SIZE = (120, 40)
SAMPLES_S = 90.0
"""The network needs two samples of every kubelet, the little charts a few more."""


def _told(site: Site) -> bool:
    """Whether everything that the first screen shows has been read, and the charts have something to draw."""
    world = site.live.world
    live = all(state.freshness is Freshness.LIVE for state in world.sources.values())
    return live and all(len(world.trends.get(name, ())) >= 4 for name in ("cpu", "memory"))


async def picture(site: Site) -> str:
    """The first screen as SVG."""
    app = ColdApp(site, Options(begin=site.live.start, end=site.live.close))
    loop, told = asyncio.get_running_loop(), asyncio.Event()

    def changed(_: World) -> None:
        if _told(site):
            loop.call_soon_threadsafe(told.set)

    ends = site.live.subscribe(changed)
    try:
        async with app.run_test(size=SIZE) as pilot:
            async with asyncio.timeout(SAMPLES_S):
                await told.wait()
            app.publish(force=True)
            await pilot.pause()
            return app.export_screenshot(title="coldtui")
    finally:
        ends()
        await site.live.close()


def drawable(svg: str) -> str:
    """Without the fonts from the network, and with blanks kept."""
    svg = re.sub(r"@font-face \{[^}]*\}", "", svg).replace("Fira Code", "JetBrains Mono")
    return svg.replace("<text ", '<text xml:space="preserve" ')


def main() -> None:
    """Start a demo, draw, convert."""
    converter = shutil.which("rsvg-convert")
    if converter is None:
        raise SystemExit("rsvg-convert is missing: apt install librsvg2-bin")
    with start(DemoOptions()) as lab:
        config = load({}, {"HOME": str(lab.dir)}, config_flag=str(lab.config))
        svg = drawable(asyncio.run(picture(open_site(config, {}))))
    with tempfile.NamedTemporaryFile("w", suffix=".svg", encoding="utf-8") as file:
        file.write(svg)
        file.flush()
        subprocess.run([converter, file.name, "-o", str(HERE / "status.png")], check=True, timeout=60)


if __name__ == "__main__":
    main()
