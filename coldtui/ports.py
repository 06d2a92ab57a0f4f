"""What the world can do, as Protocols. `adapters/<port>` implements them, the lab ships fakes, `live` uses them.

Every call has a deadline. The streams of the Kubernetes API are the one blocking port: each runs in a thread that `live` owns,
since a blocked read is the cheapest way to wait for thirty sockets, and is woken from another thread by `shut`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from datetime import datetime
from typing import Any, Protocol

from coldtui.domain.values import dataclass

from .domain.kinds import Kind


class Clock(Protocol):
    """Time, injectable."""

    def now(self) -> datetime:
        """Aware, UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds."""
        ...


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list, decoded."""

    items: tuple[Any, ...]
    """Domain values, each with `.key`."""
    version: str
    """resourceVersion of the list."""
    more: bool
    """Another page follows."""
    remaining: int | None = None
    """remainingItemCount, where the server tells."""
    skipped: int = 0
    """Items that could not be decoded (garbage); counted, never silently dropped."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What a watch brought since the last look, folded: the newest state of each key."""

    changed: Mapping[str, Any]
    """key -> domain value."""
    gone: frozenset[str]
    version: str
    """The newest resourceVersion seen, bookmarks included; empty when nothing new came."""
    skipped: int = 0
    """Lines that were not JSON or not decodable."""
    events: int = 0


class KubeStreams(Protocol):
    """Blocking reads for the reflectors. Called from threads; raises `domain.errors` only."""

    def pages(self, kind: Kind, *, version: str | None, limit: int | None = 500, deadline_s: float = 30.0) -> Iterator[Page]:
        """List a kind page by page. `version` None: newest; "0": any cached; "N": at least as new.

        Raises Expired (410, also on a later page), TooNew (504 ResourceVersionTooLarge), Forbidden, NotInstalled, Unauthorized,
        Throttled, Unreachable.
        """
        ...

    def watch(self, kind: Kind, version: str, *, timeout_s: int) -> Iterator[Batch]:
        """Follow a kind from `version` until the server ends the stream (StopIteration: reconnect from the last version).

        The first batch is empty and says that the server accepted the watch. Then yields at once when something came, folding what already
        lies in the buffer. Raises Expired for 410 whether it comes as HTTP status or
        as ERROR event, Throttled for 429, Unreachable when the line breaks or stays silent for 150 s, Closed after `shut`.
        """
        ...

    def poll(self, kind: Kind, *, deadline_s: float) -> Page:
        """Read a polled collection once (metrics.k8s.io)."""
        ...

    def shut(self) -> None:
        """Wake every blocked reader: their streams end with Closed. New calls work again at once."""
        ...

    def close(self) -> None:
        """Shut for good: new calls raise Closed."""
        ...


@dataclass(frozen=True, slots=True)
class LogRequest:
    """What part of a container's log is wanted."""

    namespace: str
    pod: str
    container: str
    follow: bool = False
    previous: bool = False
    tail: int | None = 200
    since_s: int | None = None
    since: datetime | None = None
    """Excludes `since_s`."""
    timestamps: bool = True


@dataclass(frozen=True, slots=True)
class LogLine:
    at: datetime | None
    text: str
    """Plain: control characters replaced, ANSI colour sequences removed, at most 4,096 characters."""


@dataclass(frozen=True, slots=True)
class ServerFacts:
    version: str
    """gitVersion."""
    cluster_uid: str
    """UID of namespace kube-system; empty when it may not be read."""


class Kube(Protocol):
    """Single questions to the Kubernetes API, read only. Raises `domain.errors` only."""

    @property
    def server(self) -> str:
        """URL without credentials."""
        ...

    @property
    def streams(self) -> KubeStreams: ...

    @property
    def clock_skew_s(self) -> float | None:
        """The server's clock minus this machine's, in seconds, by the newest answer to `alive`; exact to about a second. None: not told yet."""
        ...

    async def alive(self, *, deadline_s: float = 3.0) -> str:
        """`GET /readyz` on a connection of its own. Any HTTP answer means that the line lives; returns its text (`ok` or what is not ready).

        Raises Unreachable, Unauthorized.
        """
        ...

    async def facts(self, *, deadline_s: float = 5.0) -> ServerFacts: ...

    async def fetch(self, kind: Kind, name: str, namespace: str = "", *, deadline_s: float = 10.0) -> Mapping[str, Any]:
        """One whole object as the API gives it, managedFields dropped, every string made plain. For describe and YAML."""
        ...

    async def events_of(self, api_kind: str, name: str, namespace: str = "", *, deadline_s: float = 10.0) -> tuple[Any, ...]:
        """`domain.events.Event`s about one object, oldest first (field selector involvedObject.*)."""
        ...

    async def node_stats(self, node: str, address: str, *, deadline_s: float = 5.0) -> Any:
        """`domain.nodes.NodeStats`, with the lesser permission first: the kubelet itself (`nodes/stats`), then `nodes/proxy`."""
        ...

    def logs(
        self, request: LogRequest, *, deadline_s: float = 10.0, told: Callable[[str], None] | None = None
    ) -> AsyncIterator[tuple[LogLine, ...]]:
        """Lines in batches as they come; ends when the container ends, or at once without `follow`. `deadline_s` is for the first byte.

        A follow whose line breaks is taken up again, without losing or repeating lines; the error is raised when that fails for half a minute.
        With `told` it is tried for ever, and `told(sentence)` says when it broke and when it is back; it is called from any thread.
        """
        ...

    async def may(
        self, verb: str, group: str, resource: str, *, namespace: str = "", subresource: str = "", deadline_s: float = 5.0
    ) -> bool:
        """SelfSubjectAccessReview."""
        ...

    async def aclose(self) -> None: ...
