"""``python -m coldtui.lab.apiserver --dir DIR``: run the API server until SIGTERM. One JSON line on stdout says that it listens."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import logging
import signal
import sys
from pathlib import Path

from coldtui.lab.apiserver.server import BOOKMARK_S, HISTORY, VERSION, ApiServer, Options
from coldtui.lab.apiserver.store import encode


def _options(arguments: list[str]) -> tuple[Options, argparse.Namespace]:
    parser = argparse.ArgumentParser(prog="python -m coldtui.lab.apiserver", description=__doc__)
    parser.add_argument("--dir", type=Path, required=True, help="certificates, tokens, kubeconfig files")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0: any free port")
    parser.add_argument("--version", default=VERSION, help="what /version says; features follow it")
    parser.add_argument("--control", type=Path, help="unix socket for commands (default: control.sock in --dir)")
    parser.add_argument("--history", type=int, default=HISTORY, help="events a resource remembers before 410")
    parser.add_argument("--bookmark-seconds", type=float, default=BOOKMARK_S)
    parser.add_argument("--still", action="store_true", help="freeze the simulated numbers")
    parser.add_argument("--crds", default="all", help="all, none, or API groups of the packaged CRDs, separated by commas")
    parser.add_argument("--load", type=Path, help="NDJSON of objects to begin with")
    parser.add_argument("--with-parent", action="store_true", help="end when standard input closes, so that no parent leaves this behind")
    given = parser.parse_args(arguments)
    groups = None if given.crds == "all" else frozenset() if given.crds == "none" else frozenset(given.crds.split(","))
    control = given.control or given.dir / "control.sock"
    options = Options(given.dir, given.host, given.port, given.version, control, given.history, given.bookmark_seconds, given.still, groups)
    return options, given


class _UntilClosed(asyncio.Protocol):
    """Sets an event when the pipe from the parent closes."""

    def __init__(self, stopped: asyncio.Event) -> None:
        self._stopped = stopped

    def connection_lost(self, exc: Exception | None) -> None:
        self._stopped.set()


async def _main(arguments: list[str]) -> None:
    options, given = _options(arguments)
    server = ApiServer(options)
    await server.start()
    if given.load is not None:
        with given.load.open("rb") as lines:
            server.admin.load_lines(lines)
    # What is loaded stays: the collector of cycles need not look at it again and again.
    gc.freeze()
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    if given.with_parent:
        await loop.connect_read_pipe(lambda: _UntilClosed(stopped), sys.stdin)
    kubeconfig = options.folder / "admin.kubeconfig"
    ready = {
        "url": server.url,
        "port": server.port,
        "kubeconfig": str(kubeconfig),
        "control": str(options.control),
        "version": options.version,
    }
    sys.stdout.write(encode(ready).decode() + "\n")
    sys.stdout.flush()
    try:
        await stopped.wait()
    finally:
        await server.stop()


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_main(sys.argv[1:]))
