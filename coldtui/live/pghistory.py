"""Trends of the site's database: lag of each replica, transactions and WAL a second, connections, cache hits."""

from __future__ import annotations

from datetime import datetime
from math import nan

from immutables import Map

from ..domain import topology
from ..domain.readings import Known
from ..domain.replication import SqlStatus
from ..domain.world import Trend, World

SAMPLES = 240
"""One hour of 15 s."""
MOST_STEPS = 3
"""A rate over a longer gap is no sample for now."""


class PgHistory:
    """Ring buffers. One caller at a time."""

    def __init__(self, step_s: float) -> None:
        self._step_s = step_s
        self._trends: dict[str, Trend] = {}
        self._last_at: float | None = None
        self._before: Known[SqlStatus] | None = None

    def sample(self, world: World, now: datetime, monotonic: float) -> Map[str, Trend]:
        """Take one sample and return the trends; nothing where no server was ever asked. Missed steps become NaN."""
        missed = 0
        if self._last_at is not None:
            missed = max(0, min(SAMPLES, round((monotonic - self._last_at) / self._step_s) - 1))
        self._last_at = monotonic
        values = self._values(world, now)
        for name in {*values, *self._trends}:
            value, old = values.get(name, nan), self._trends.get(name, ())
            if old or value == value:  # a trend begins with its first value
                self._trends[name] = (*old, *((nan,) * missed if old else ()), value)[-SAMPLES:]
        return Map(self._trends)

    def _values(self, world: World, now: datetime) -> dict[str, float]:
        if not world.pg_sql and not world.pg_managers:
            return {}
        found = topology.topology(world, topology.cluster_of(world), now)
        values = {
            f"pg_lag/{m.name}": float(m.behind.value)
            for m in found.members
            if isinstance(m.behind, Known) and now - m.behind.as_of <= topology.FRESH
        }
        primary = next((m.sql for m in found.members if m.name == found.primary), None)
        if not isinstance(primary, Known):
            self._before = None
            return values
        values["pg_connections"] = float(primary.value.connections)
        values.update(self._rates(primary))
        return values

    def _rates(self, now: Known[SqlStatus]) -> dict[str, float]:
        """Of counters; none across a restart or another primary."""
        before, self._before = self._before, now
        if before is None or before.value.started != now.value.started:
            return {}
        seconds = (now.as_of - before.as_of).total_seconds()
        if not 0 < seconds <= MOST_STEPS * self._step_s:
            return {}
        found = {}
        commits = now.value.commits + now.value.rollbacks - before.value.commits - before.value.rollbacks
        if commits >= 0:
            found["pg_tps"] = commits / seconds
        hit, read = now.value.blocks_hit - before.value.blocks_hit, now.value.blocks_read - before.value.blocks_read
        if hit >= 0 and read >= 0 and hit + read > 0:
            found["pg_hit"] = hit / (hit + read)
        if now.value.current is not None and before.value.current is not None:
            found["pg_wal"] = max(0, now.value.current - before.value.current) / seconds
        return found
