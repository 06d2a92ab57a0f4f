"""What the kubelets tell of their nodes, with the lesser permission first."""

from __future__ import annotations

import time
from urllib.parse import quote

from ...domain.errors import ColdError, Forbidden, Unauthorized
from ...domain.nodes import NodeStats
from ...domain.troubles import LineTrouble
from ...ports import Clock
from .credentials import Access
from .decoding import UNDECODABLE
from .failures import Question
from .nodes import node_stats
from .transport import Channel

_PORT = 10250
_AGAIN_S = 300.0
"""After a kubelet refused us it is asked through the API for this long."""


class Kubelets:
    """Blocking; see `ports.Kube.node_stats`."""

    def __init__(self, access: Access, api: Channel, clock: Clock) -> None:
        self._access, self._api, self._clock = access, api, clock
        self._kubelets: dict[str, Channel] = {}
        self._kubelet_refused: dict[str, tuple[float, ColdError]] = {}

    def stats(self, node: str, address: str, deadline_s: float) -> NodeStats:
        end = time.monotonic() + deadline_s
        direct = self._from_kubelet(node, address, deadline_s / 2)
        if isinstance(direct, NodeStats):
            return direct
        question = Question("get", "nodes/proxy", name=node)
        path = f"/api/v1/nodes/{quote(node, safe='')}/proxy/stats/summary"
        try:
            raw = self._api.json(path, question, deadline_s=max(0.1, end - time.monotonic()))
        except Forbidden as error:
            if isinstance(direct, Forbidden | Unauthorized) or direct is None:
                raise Forbidden(
                    "needs get on nodes/stats (kubelet) or on nodes/proxy",
                    verb="get",
                    resource="nodes/stats",
                    detail=error.detail,
                    hint="grant get on nodes/stats to a service account and use its token: nodes/proxy would allow far more",
                ) from error
            raise Forbidden(
                f"{direct.title}, and the way around needs get on nodes/proxy",
                verb="get",
                resource="nodes/proxy",
                hint="let this machine reach port 10250 of the nodes",
            ) from error
        return self._summary(raw, self._api)

    def _from_kubelet(self, node: str, address: str, deadline_s: float) -> NodeStats | ColdError | None:
        """Straight from the node, with our token. None: that was not possible to try; an error: it was tried and refused."""
        tls = self._access.tls
        if tls is None or self._access.insecure or self._access.proxy is not None or not address or not self._access.has_token:
            return None  # the token goes only to who proves to be of this cluster
        since, error = self._kubelet_refused.get(address, (float("-inf"), None))
        if error is not None and time.monotonic() - since < _AGAIN_S:
            return error
        channel = self._kubelets.get(address)
        if channel is None:
            channel = self._kubelets.setdefault(
                address, Channel(_at_kubelet(self._access, address), kept=1, connect_s=min(1.0, deadline_s))
            )
        try:
            raw = channel.json("/stats/summary", Question("get", "nodes/stats", name=node), deadline_s=deadline_s)
            return self._summary(raw, channel)
        except ColdError as error:
            self._kubelet_refused[address] = (time.monotonic(), error)
            return error

    def _summary(self, raw: bytes, channel: Channel) -> NodeStats:
        try:
            return node_stats(raw, self._clock.now())
        except UNDECODABLE:
            raise LineTrouble(f"the summary of {channel.where} cannot be read", kind="garbage") from None

    def close(self) -> None:
        for channel in self._kubelets.values():
            channel.close()


def _at_kubelet(access: Access, address: str) -> Access:
    """The same credentials at a node's address."""
    host = f"[{address}]" if ":" in address else address
    return Access(f"https://{host}:{_PORT}", access.tls, access.auth, impersonate=access.impersonate, source=access.source)
