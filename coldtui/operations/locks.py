"""Locks between machines: a Lease for each lock that a run holds in the journal, renewed while it works.

The journal holds a lock on this machine, always. The Leases hold it against other machines while the API answers. Whether another holder
lives is judged as client-go does: by seeing its record change, never by comparing clocks.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace

from ..domain.errors import ColdError, Conflict, Forbidden, Locked, NotFound, NotInstalled, Unreachable
from ..domain.runs import cancelling
from ..domain.text import plain
from ..ports import Clock, HeldLease, Kube

CALL_S = 5.0
TRIES = 3
"""Of one renewal, when others write between our read and our write."""


@dataclass(frozen=True)
class LeaseTimes:
    """Seconds; in one place, so that tests run the same rules faster."""

    duration_s: int = 30
    renew_s: float = 10.0
    retry_s: float = 2.0
    """Between tries while a lease is not ours or the API is away: its return must be seen soon."""
    watch_s: float = 32.0
    """How long another holder is watched before it is taken for alive although its record did not change."""


TIMES = LeaseTimes()


def lease_name(lock: str) -> str:
    """`site` -> `coldtui-site`, `node:K3s_Worker` -> `coldtui-node-k3s-worker`, `deployment:NS/NAME` -> `coldtui-deployment-ns.name`.

    A slash becomes a dot, which no namespace can hold, so that two locks never share a name.
    """
    safe = re.sub(r"[^a-z0-9.-]+", "-", lock.lower().replace("/", ".")).strip("-.")
    return f"coldtui-{safe}"[:253].rstrip("-.")


def holder_name(host: str, user: str, run: str) -> str:
    return "/".join(plain(part).replace("/", "_") or "?" for part in (host, user, run))


def words_of_holder(holder: str) -> str:
    """`host/user/run` -> `user on host (run ...)`; a stranger's identity as it stands."""
    parts = holder.split("/")
    return f"{parts[1]} on {parts[0]} (run {parts[2]})" if len(parts) == 3 else holder


@dataclass
class _Lock:
    name: str
    """Of the Lease."""
    lock: str
    """Of the lock in the journal."""
    lease: HeldLease | None = None
    """As it was last written by us."""
    ours: bool = False
    fresh_until: float = 0.0
    """By our monotonic clock: nobody can take it over before."""
    seen: tuple[object, ...] = ()
    seen_at: float = 0.0
    """When the other holder's record was first seen as it is now."""
    other: str = ""
    """Who else holds it; empty: nobody."""
    other_words: str = ""


@dataclass
class Leases:
    """The Leases of one run. `say` writes a sentence into its log; `ended` tells of a holder's run id whether this machine knows that it
    is over (then there is nothing to wait for)."""

    kube: Kube
    clock: Clock
    namespace: str
    holder: str
    locks: tuple[str, ...]
    say: Callable[[str], Awaitable[None]]
    ended: Callable[[str], Awaitable[bool]]
    times: LeaseTimes = TIMES
    off: str = ""
    """Why no Leases are held at all (not permitted)."""
    _locks: list[_Lock] = field(default_factory=list)
    _away: bool = False
    """Whether the API did not answer the last time."""
    _said_away: bool = False
    _tried: float = float("-inf")
    _one: asyncio.Lock = field(default_factory=asyncio.Lock)

    def __post_init__(self) -> None:
        self._locks = [_Lock(lease_name(lock), lock) for lock in sorted(self.locks)]  # one order for all: no two runs wait for each other

    # --- taking

    async def acquire(self, wait: Callable[[str, float], Awaitable[None]]) -> None:
        """Take every Lease. `wait(why, seconds)` passes time and raises when the run is to stop.

        Raises Locked when another holder lives. An API that does not answer, or forbids, is said once and holds nobody up.
        """
        for lock in self._locks:
            if not await self._acquire(lock, wait):
                return

    async def _acquire(self, lock: _Lock, wait: Callable[[str, float], Awaitable[None]]) -> bool:
        """False: the API does not answer, or forbids."""
        begun, first_seen = self.clock.monotonic(), None
        while True:
            other = await self._try(lock)
            if self.off or self._away:
                return False
            if lock.ours:
                return True
            if other:
                changed = first_seen is not None and lock.seen_at != first_seen  # its record was written under our eyes
                if changed or self.clock.monotonic() - begun > self.times.watch_s:
                    raise self._held(lock)
                first_seen = lock.seen_at
            about = f"{lock.other_words} holds lease {lock.name}: watching whether that run lives" if other else f"lease {lock.name}"
            await wait(about, self.times.retry_s)

    def _held(self, lock: _Lock) -> Locked:
        run = lock.other.rsplit("/", 1)[-1]
        machine = lock.other.split("/", 1)[0]
        return Locked(
            f"{lock.lock} is held by {lock.other_words}",
            holder=run,
            hint=f"wait until it ends, or on {machine}: coldtui run follow {run}; {cancelling(lock.lock, run)}",
        )

    # --- keeping

    async def keep(self) -> None:
        """Renew for ever; a task of its own, so that it goes on while a step works."""
        while not self.off and self._locks:
            all_ours = all(lock.ours for lock in self._locks) and not self._away
            await asyncio.sleep(self.times.renew_s if all_ours else self.times.retry_s)
            await self._renew_all()

    async def _renew_all(self) -> None:
        for lock in self._locks:
            if not self.off:
                await self._try(lock)

    async def gate(self) -> str:
        """Before an act: why it may not begin. A lease that may have run out is asked for first, so that the first act after the API's
        return does not meet another's."""
        now = self.clock.monotonic()
        stale = any(lock.ours is False or now >= lock.fresh_until for lock in self._locks)
        if stale and not self.off and now - self._tried >= self.times.retry_s:
            await self._renew_all()
        for lock in self._locks:
            if lock.other and not self.off:
                return f"{lock.lock} was taken over by {lock.other_words}: waiting until it is free"
        return ""

    # --- one lease

    async def _try(self, lock: _Lock) -> str:
        """Take or renew it. Returns who else holds it; empty: it is ours, or nobody could be asked."""
        async with self._one:
            self._tried = self.clock.monotonic()
            try:
                for _ in range(TRIES):
                    try:
                        await self._write(lock)
                        break
                    except Conflict:
                        lock.lease = None
            except Unreachable as error:
                await self._unreachable(error)
                return ""
            except (Forbidden, NotFound, NotInstalled) as error:
                self.off = error.title
                await self.say(f"no lease in {self.namespace}: {error.title}; the run is locked on this machine only")
                return ""
            except ColdError as error:
                self.off = str(error)
                await self.say(f"lease {lock.name}: {error}; the run is locked on this machine only")
                return ""
            if self._away:
                self._away = False
                if self._said_away:
                    self._said_away = False
                    await self.say(
                        "the API answers again: " + (f"{lock.other_words} holds {lock.name}" if lock.other else f"{lock.name} is held")
                    )
            return lock.other

    async def _write(self, lock: _Lock) -> None:
        """Raises Conflict when somebody was quicker."""
        begun = self.clock.monotonic()
        if lock.ours and lock.lease is not None:
            await self._put(lock, lock.lease, begun, acquired=False)
            return
        found = await self.kube.lease(self.namespace, lock.name, deadline_s=CALL_S)
        if found is None:
            await self._put(lock, HeldLease(self.namespace, lock.name, self.holder, "", None, self.times.duration_s), begun, acquired=True)
        elif found.holder == self.holder:
            await self._put(lock, found, begun, acquired=False)
        elif not found.holder or self._expired(lock, found) or await self._over(found.holder):
            await self._put(lock, found, begun, acquired=True)
        else:
            since = f" since {found.acquired:%Y-%m-%d %H:%M:%S}Z" if found.acquired is not None else ""
            lock.ours, lock.lease = False, None
            lock.other, lock.other_words = found.holder, words_of_holder(found.holder) + since

    async def _put(self, lock: _Lock, lease: HeldLease, begun: float, *, acquired: bool) -> None:
        wanted = replace(lease, holder=self.holder, duration_s=self.times.duration_s)
        lock.lease = await self.kube.put_lease(wanted, acquired=acquired, deadline_s=CALL_S)
        lock.ours, lock.other, lock.other_words, lock.seen = True, "", "", ()
        lock.fresh_until = begun + self.times.duration_s

    def _expired(self, lock: _Lock, found: HeldLease) -> bool:
        """Whether the record stood still for its whole duration while we watched."""
        now = self.clock.monotonic()
        record = (found.holder, found.renewed, found.acquired, found.transitions, found.duration_s)
        if record != lock.seen:
            lock.seen, lock.seen_at = record, now
            return False
        return now - lock.seen_at > found.duration_s

    async def _over(self, holder: str) -> bool:
        """A run of this machine that ended without letting go."""
        host, _, run = holder.partition("/")
        return host == self.holder.partition("/")[0] and await self.ended(run.rsplit("/", 1)[-1])

    async def _unreachable(self, error: Unreachable) -> None:
        self._away = True
        now = self.clock.monotonic()
        if not self._said_away and any(now >= lock.fresh_until for lock in self._locks):
            self._said_away = True
            await self.say(f"the leases cannot be written ({error.title}): the run goes on, locked on this machine only")

    # --- letting go

    async def release(self) -> None:
        """Empty the holder of each Lease that is ours. What cannot be reached runs out by itself."""
        for lock in self._locks:
            async with self._one:
                if lock.ours:
                    lock.ours = False
                    await self._give_back(lock)

    async def _give_back(self, lock: _Lock) -> None:
        lease = lock.lease
        try:
            for _ in range(TRIES):
                if lease is None:  # a renewal that was cut short may have written a newer version
                    lease = await self.kube.lease(self.namespace, lock.name, deadline_s=CALL_S)
                if lease is None or lease.holder != self.holder:
                    return
                try:
                    await self.kube.put_lease(replace(lease, holder="", duration_s=1), acquired=False, deadline_s=CALL_S)
                    return
                except Conflict:
                    lease = None
        except ColdError as error:
            await self.say(f"lease {lock.name} was not given back ({error.title}): it runs out in {self.times.duration_s} s")
