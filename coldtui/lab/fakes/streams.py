"""The streams of `FakeKube`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ...domain.errors import Closed, Expired, TooNew, Unreachable
from ...domain.kinds import Kind
from ...ports import Batch, Page

if TYPE_CHECKING:
    from .kube import FakeKube


class FakeStreams:
    """Port `KubeStreams` over a FakeKube."""

    def __init__(self, kube: FakeKube) -> None:
        self._kube = kube

    def pages(self, kind: Kind, *, version: str | None, limit: int | None = 500, deadline_s: float = 30.0) -> Iterator[Page]:
        kube = self._kube
        call = "glance" if limit == 1 else "list"  # one object: only the version is wanted
        with kube._cond:
            kube.calls.append((call, kind.name))
            kube._hang(deadline_s)
            kube._check(call, kind.name)
            if version not in (None, "", "0") and int(version or 0) > kube._rv:
                raise TooNew("too large resource version")
            log = kube._log(kind.name)
            at, skipped = kube._rv, log.skipped
            objects: Mapping[str, Any] = log.objects
            if version not in (None, "", "0") and limit is not None:  # as a real server: exactly that version
                at = int(version or 0)
                objects = log.as_of(at)
            items = tuple(objects.values())
        size = len(items) or 1 if limit is None else min(limit, kube.page_size)
        starts = range(0, max(1, len(items)), size)
        for number, start in enumerate(starts):
            if number and kube._between is not None:
                kube._between(kind.name, number)
            with kube._cond:
                if number:
                    kube._hang(deadline_s)
                    kube._check("page", kind.name)
            more = start + size < len(items)
            yield Page(items[start : start + size], str(at), more, len(items) - start - size if more else None, 0 if more else skipped)

    def watch(self, kind: Kind, version: str, *, timeout_s: int) -> Iterator[Batch]:
        kube = self._kube
        with kube._cond:
            kube.calls.append(("watch", kind.name))
            kube._hang(30.0)
            kube._check("watch", kind.name)
            cut, ended, broken, log = kube._cut, kube._ended, kube._broken, kube._log(kind.name)
            seen = int(version)
            if seen > kube._rv:
                raise TooNew("too large resource version")
            if seen < log.oldest:
                raise Expired("too old resource version")
        while True:
            with kube._cond:
                while True:
                    if kube._closed or cut != kube._cut:
                        raise Closed("shut")
                    if kube._dead or broken != kube._broken:
                        raise Unreachable("connection reset by peer", detail=kube._server)
                    if not kube._paused:
                        if log is not kube._kinds.get(kind.name) or ended != kube._ended:
                            return
                        if seen < log.oldest:
                            raise Expired("too old resource version")
                        if log.garbage or (log.events and log.events[-1][0] > seen):
                            break
                    kube._cond.wait()
                changed: dict[str, Any] = {}
                gone: set[str] = set()
                fresh = [event for event in log.events[-1000:] if event[0] > seen]
                if len(fresh) == 1000:
                    fresh = [event for event in log.events if event[0] > seen]
                for at, key, value in fresh:
                    seen = at
                    if key is None:
                        continue
                    if value is None:
                        changed.pop(key, None)
                        gone.add(key)
                    else:
                        gone.discard(key)
                        changed[key] = value
                skipped, log.garbage = log.garbage, 0
            yield Batch(changed, frozenset(gone), str(seen) if fresh else "", skipped, len(fresh))

    def poll(self, kind: Kind, *, deadline_s: float) -> Page:
        kube = self._kube
        with kube._cond:
            kube.calls.append(("poll", kind.name))
            kube._hang(deadline_s)
            kube._check("poll", kind.name)
            log = kube._log(kind.name)
            return Page(tuple(log.objects.values()), "", False, None, log.skipped)

    def shut(self) -> None:
        with self._kube._cond:
            self._kube._cut += 1
            self._kube._cond.notify_all()

    def close(self) -> None:
        with self._kube._cond:
            self._kube._closed = True
            self._kube._cond.notify_all()
