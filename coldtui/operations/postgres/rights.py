"""Whether this user may do what an act on a PostgreSQL cluster needs, asked before anything is done."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator

from ...domain.errors import ColdError
from ...domain.kinds import CLAIMS, PG_CLUSTERS, PODS, Kind
from ...domain.plans import Finding, Outlook
from ...domain.values import dataclass
from ...ports import Kube
from .checks import Judge

REMEDY = "ask for that right (RBAC)"


@dataclass(frozen=True, slots=True)
class Right:
    verb: str
    kind: Kind
    sub: str = ""

    def __str__(self) -> str:
        return f"{self.verb} on {self.kind.plural}{f'/{self.sub}' if self.sub else ''}"


CHANGE_CLUSTER, CHANGE_STATUS = Right("patch", PG_CLUSTERS), Right("patch", PG_CLUSTERS, "status")
DELETE_POD, DELETE_CLAIM = Right("delete", PODS), Right("delete", CLAIMS)


async def missing(kube: Kube, rights: tuple[Right, ...], namespace: str, deadline_s: float) -> tuple[Right, ...]:
    """What is certainly not permitted. A server that does not say is asked no further: the act itself will tell."""

    async def may(right: Right) -> bool:
        kind = right.kind
        try:
            return await kube.may(right.verb, kind.group, kind.plural, namespace=namespace, subresource=right.sub, deadline_s=deadline_s)
        except ColdError:
            return True

    found = await asyncio.gather(*map(may, rights))
    return tuple(right for right, granted in zip(rights, found, strict=True) if not granted)


def of_rights(j: Judge, act: str, lacking: tuple[Right, ...]) -> Iterator[Finding]:
    """One stop for each; its code tells the command line that it is a right that is missing."""
    for right in lacking:
        yield j.stop(f"{act}.right-{right.kind.name}", f"it needs {right} in {j.cluster.namespace}", REMEDY)


def blocked_by(findings: Iterable[Finding]) -> str:
    """Why it cannot be confirmed at all. Empty where only rights are missing: the outlook refuses that, and faces say `not permitted`."""
    stops = [f for f in findings if f.outlook is Outlook.REFUSED]
    return "" if all(".right-" in f.code for f in stops) else "; ".join(f.sentence for f in stops)
