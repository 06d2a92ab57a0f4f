"""When a kubelet last renewed its lease: compared for change only, since clocks differ."""

from __future__ import annotations

from ..domain.errors import ColdError, Unauthorized, Unreachable
from ..domain.kinds import LEASES
from ..domain.nodes import Lease
from .engine import RunContext

FORBIDDEN = "may not be read"
"""Nothing can be proven by it then."""


async def renewed(ctx: RunContext, node: str) -> str:
    """A text that changes with each renewal; empty: not known now; FORBIDDEN: it will never be."""
    try:
        lease: Lease = await ctx.means.kube.read(LEASES, node, deadline_s=5.0)
    except Unauthorized:
        return FORBIDDEN
    except Unreachable:
        return ""
    except ColdError:
        return FORBIDDEN
    return lease.renewed.isoformat() if lease.renewed is not None else "never"
