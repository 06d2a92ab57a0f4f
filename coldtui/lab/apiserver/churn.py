"""Load: many pod status updates a second, made by changing bytes."""

from __future__ import annotations

import asyncio
import random
import re
import time

from coldtui.lab.apiserver.store import Collection, Item, Store

_RESTARTS = re.compile(rb'"restartCount":(\d+)')
BEAT_S = 0.05
"""Updates are made in small batches at this distance."""


class Churn:
    """Changes ``rate`` pods a second until stopped."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._task: asyncio.Task[None] | None = None
        self.rate = 0.0
        self.made = 0
        """Updates since the server began."""

    def start(self, rate: float) -> None:
        """Change the rate; 0 stops."""
        self.stop()
        self.rate = rate
        if rate > 0:
            self._task = asyncio.get_running_loop().create_task(self._run(rate))

    def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            self._task = None
        self.rate = 0.0

    async def _run(self, rate: float) -> None:
        dice = random.Random(1)
        began, made = time.monotonic(), 0
        while True:
            await asyncio.sleep(BEAT_S)
            pods = self._store.collections.get(("", "pods"))
            due = int((time.monotonic() - began) * rate) - made
            made += due
            if pods is None or not pods.items:
                continue
            keys = pods.ordered()
            for _ in range(due):
                touch(pods, pods.items[dice.choice(keys)])
                self.made += 1


def touch(pods: Collection, item: Item) -> Item:
    """One more restart of the pod's first container, in its bytes."""
    found = _RESTARTS.search(item.raw)
    if found is None:
        return pods.put_raw(item, item.raw)
    low, high = found.span(1)
    raw = b"%b%d%b" % (item.raw[:low], (int(found[1]) + 1) % 1000, item.raw[high:])
    return pods.put_raw(item, raw)
