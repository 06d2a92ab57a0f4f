"""Fresh reads for plans and checks: one object or all of a kind, decoded, never from a cache."""

from __future__ import annotations

import time
from typing import Any
from urllib.parse import quote

from ...domain.errors import ColdError, Expired
from ...domain.kinds import Kind
from ...domain.replication import ManagerStatus
from ...domain.text import plain
from ...domain.troubles import LineTrouble
from ...ports import Clock
from .decoders import registered
from .decoding import UNDECODABLE, Decoder, Listing
from .failures import Question, no_api, refusal, status_of
from .pgstatus import manager_status
from .transport import Channel

PAGE = 500
_PROXIED_B = 1 << 20
STATUS_PORT = 8000
"""Of an instance manager."""


def decoder_of(kind: Kind) -> Decoder[Any]:
    """Raises ColdError for a kind that cannot be decoded."""
    found = registered(kind.name)
    if found is None:
        raise ColdError(f"{kind.title} cannot be decoded", detail=f"no decoder is registered for {kind.name}")
    return found


class Reads:
    """Blocking; see `ports.Kube.read` and `read_all`."""

    def __init__(self, channel: Channel, clock: Clock, *, gzip: bool) -> None:
        self._channel, self._clock, self._gzip = channel, clock, gzip
        self._plain_managers: set[str] = set()
        """Namespaces whose instance managers answered without TLS."""

    def one(self, kind: Kind, name: str, namespace: str, deadline_s: float) -> Any:
        path = kind.path(quote(namespace, safe=""), quote(name, safe=""))
        decoder = decoder_of(kind)
        raw = self._channel.json(path, Question.of("get", kind, namespace, name), deadline_s=deadline_s)
        try:
            return decoder.item(raw, self._clock.now())
        except UNDECODABLE:
            whole = f"{namespace}/{name}" if namespace else name
            raise LineTrouble(f"{kind.plural} {whole} cannot be read: it is not what the API describes", kind="garbage") from None

    def every(self, kind: Kind, namespace: str, fields: str, labels: str, deadline_s: float) -> tuple[Any, ...]:
        """All pages within the deadline. Without a resourceVersion, since a plan rests on what is, not on what some server remembers."""
        end = time.monotonic() + deadline_s
        selectors = [(name, text) for name, text in (("fieldSelector", fields), ("labelSelector", labels)) if text]
        found: list[Any] = []
        token = ""
        while True:
            limits = [("limit", str(PAGE)), *([("continue", token)] if token else [])]
            try:
                page = self._page(kind, namespace, selectors + limits, end)
            except Expired:
                if not token:
                    raise
                return self._page(kind, namespace, selectors, end).items  # never two halves of different times
            found += page.items
            token = page.meta.continue_
            if not token:
                return tuple(found)

    def pod_get(self, namespace: str, pod: str, port: int, path: str, scheme: str, deadline_s: float) -> bytes:
        """See `ports.Kube.pod_get`. The address is built here: a client's templates would quote its slashes and colons."""
        end = time.monotonic() + deadline_s
        target = f"{scheme}:{quote(pod, safe='')}:{port}" if scheme == "https" else f"{quote(pod, safe='')}:{port}"
        url = f"/api/v1/namespaces/{quote(namespace, safe='')}/pods/{target}/proxy/{path.lstrip('/')}"
        question = Question("get", "pods/proxy", namespace=namespace, name=pod)
        try:
            response = self._channel.ask("GET", url, accept="*/*", deadline_s=deadline_s)
            data = self._channel.read(response, max(0.1, end - time.monotonic()), limit=_PROXIED_B)
        except LineTrouble as error:
            if error.kind != "timeout":
                raise
            what = f"{pod} did not answer on port {port} through {self._channel.where} within {deadline_s:.0f} s"
            raise LineTrouble(what, kind="timeout") from error
        if 200 <= response.status < 300:
            return data
        headers = {k.lower(): v for k, v in response.headers.items()}
        if response.status in (403, 404) and status_of(data).kind:
            raise refusal(response.status, headers, data, question, self._channel.where)
        said = status_of(data).message or data[:200].decode(errors="replace")  # of the API server's proxy, else of the pod itself
        raise LineTrouble(f"{pod} does not answer on port {port} ({response.status})", kind="server", detail=plain(said)[:200])

    def pg_status(self, namespace: str, pod: str, deadline_s: float) -> ManagerStatus:
        """See `ports.Kube.pg_status`. The manager speaks TLS since 1.25; an older one does not, and what a namespace spoke last is tried first."""
        end = time.monotonic() + deadline_s
        schemes = ("https", "http") if namespace not in self._plain_managers else ("http", "https")
        failed: LineTrouble | None = None
        for scheme in schemes:
            left = end - time.monotonic()
            if failed is not None and left < 0.1:
                break
            try:
                found = manager_status(self.pod_get(namespace, pod, STATUS_PORT, "pg/status", scheme, left), pod)
            except LineTrouble as error:
                if error.kind not in ("server", "garbage"):
                    raise
                failed = failed or error
                continue
            (self._plain_managers.add if scheme == "http" else self._plain_managers.discard)(namespace)
            return found
        assert failed is not None
        raise failed

    def _page(self, kind: Kind, namespace: str, query: list[tuple[str, str]], end: float) -> Listing[Any]:
        left = end - time.monotonic()
        if left <= 0:
            raise LineTrouble(f"{self._channel.where} did not list all {kind.title} in time", kind="timeout")
        question = Question.of("list", kind, namespace)
        decoder = decoder_of(kind)
        raw = self._channel.json(kind.path(quote(namespace, safe="")), question, query=query, gzip=self._gzip, deadline_s=left)
        try:
            page = decoder.listing(raw, self._clock.now())
        except UNDECODABLE:
            raise no_api(200, {}, self._channel.where) from None
        if page.skipped:
            raise LineTrouble(f"{page.skipped} of the {kind.title} cannot be read: they are not what the API describes", kind="garbage")
        return page
