"""`coldtui run exec ID`: the process of a confirmed run. Started by the launcher, not by people; not in `--help`."""

from __future__ import annotations

import asyncio
import gc
import signal
from collections.abc import MutableMapping
from functools import partial
from typing import TYPE_CHECKING

from ..domain.errors import Exit, NotFound

if TYPE_CHECKING:
    from ..operations.runner import Bench


def run(flags: list[str], run_id: str, environ: MutableMapping[str, str]) -> int:
    """`flags`: the global ones, which say which site and which journal. Returns the exit code of the run."""
    from ..wiring import open_bench
    from .args import parse
    from .catalogue import GLOBAL
    from .run import configure

    gc.enable()
    config = configure(parse(flags, {}, GLOBAL), environ)
    return asyncio.run(perform(open_bench(config, environ), run_id))


async def perform(bench: Bench, run_id: str) -> Exit:
    """Carry it out in this process: SIGTERM and SIGINT ask it to stop, SIGHUP does nothing."""
    from ..operations.runner import Handle, execute, on_terminate

    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # a session of its own gets none; who starts it by hand may close their terminal
    handle = Handle()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, partial(on_terminate, bench, run_id, handle))
    try:
        return await execute(bench, run_id, handle)
    except NotFound:
        return Exit.REFUSED  # whoever started this process was refused, or killed, before the run was confirmed
    finally:
        await asyncio.to_thread(bench.journal.close)
