"""Where writes reach a Cluster, and whether they are taken there: the VIP where it is this Cluster's, and the address of its -rw Service."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta

from ...domain.errors import ColdError, NotFound
from ...domain.postgres import PgCluster
from ...domain.replication import SqlStatus
from ...domain.troubles import trouble_of
from ...domain.values import dataclass
from ...ports import Database, Means
from .facts import INSTANCE_S, VIP, WRITES, PgFacts, gather_cluster

OUR_FAULT = frozenset({"unauthorized", "forbidden", "config", "tls", "dns"})
"""Troubles that say nothing of the server: we are not let in, or do not know how."""
OUT_OF_REACH = OUR_FAULT | {"timeout", "refused", "lost", "garbage"}
"""The same for an address that exists inside the cluster only: a workstation may have no route to it."""

ANEW = timedelta(seconds=5)
"""What could not be read is not asked for more often: all servers and lists are read for it."""


@dataclass(frozen=True, slots=True)
class Way:
    """Through which a write was accepted just now."""

    target: str = ""
    """Empty: through none."""
    why: str = ""
    """Why not."""
    blind: bool = False
    """What failed says nothing of the Cluster, only of what is seen from here."""


def vip_of_another(facts: PgFacts) -> str:
    """Why the VIP is not this Cluster's; empty: it is, or it does not answer and nothing else says that it is another's.

    There is one VIP in the configuration, the site's. A restored copy has the system ID of its source, so that alone proves nothing.
    """
    if facts.site and facts.site != facts.cluster.key:
        return f"the VIP is that of {facts.site}"
    told, own = facts.status(VIP), system_of(facts)
    if told is None or not told.system_id or not own:
        return "" if facts.site else "whose VIP it is cannot be told"
    return "" if told.system_id == own else f"the VIP leads to another database (system ID {told.system_id}, not {own})"


def system_of(facts: PgFacts) -> str:
    """The system ID of a Cluster by its own word, else by its primary's. Empty: not told."""
    cluster: PgCluster = facts.cluster
    head, sql = facts.manager(facts.primary), facts.status(facts.primary)
    told = (cluster.system_id, head.system_id if head is not None else "", sql.system_id if sql is not None else "")
    return next((system for system in told if system), "")


def write_paths(facts: PgFacts, database: Database) -> tuple[str, ...]:
    """Targets at which writes to this Cluster can be tried, that of the applications first."""
    if database is None:
        return ()
    here = ((VIP,) if not vip_of_another(facts) else ()) + ((WRITES,) if facts.rw else ())
    return tuple(target for target in here if target in database.targets)


async def writing_way(means: Means, facts: PgFacts) -> Way:
    """The first path through which a write is accepted now."""
    if means.database is None:
        return Way(why="no connection to the database servers", blind=True)
    reasons, blind = [], True
    if VIP in means.database.targets and (why := vip_of_another(facts)):
        reasons.append(why)
    for target in write_paths(facts, means.database):
        try:
            await means.database.probe_write(target, deadline_s=INSTANCE_S)
            strange = await _strange(means.database, facts) if target == VIP else ""
        except ColdError as error:
            reasons.append(trouble_of(error).words)
            blind = blind and says_nothing(error, OUR_FAULT if target == VIP else OUT_OF_REACH)
        else:
            if not strange:
                return Way(target)
            reasons.append(strange)
    return Way(why="; ".join(reasons) or "neither vip.probe nor the -rw Service gives an address", blind=blind)


def says_nothing(error: ColdError, kinds: frozenset[str]) -> bool:
    """Whether a failure tells of us and not of the server."""
    return isinstance(error, NotFound) or trouble_of(error).kind in kinds


async def _strange(database: Database, facts: PgFacts) -> str:
    """A VIP that did not answer when the facts were gathered, and does now, may lead to another database."""
    own = system_of(facts)
    if facts.status(VIP) is not None or not own:
        return ""
    told: SqlStatus = await database.status(VIP, deadline_s=INSTANCE_S)
    return "" if told.system_id in ("", own) else f"the VIP leads to another database (system ID {told.system_id}, not {own})"


async def with_ways(means: Means, facts: PgFacts, deadline_s: float) -> PgFacts:
    """The facts, gathered anew where they do not tell whose VIP it is or where the -rw Service leads: what could not be read then may be told by now.
    Raises what `gather_cluster` does."""
    if means.database is None or (facts.site and facts.rw) or means.clock.now() - facts.at < ANEW:
        return facts
    return await gather_cluster(facts.cluster.key, means, deadline_s)


async def no_write(means: Means, facts: PgFacts, leads: str, unseen: Callable[[str], Awaitable[None]]) -> str:
    """What keeps a write from being accepted on the path of the applications; empty: nothing, or nothing that can be seen from here.

    Where no path can be used from this machine, `leads` itself must accept one; where that is not told either, `unseen` is told why.
    """
    way = await writing_way(means, facts)
    if way.target:
        return ""
    if not way.blind:
        return f"a write to be accepted: {way.why}"
    return await by_itself(means, leads, unseen)


async def by_itself(means: Means, leads: str, unseen: Callable[[str], Awaitable[None]]) -> str:
    """The same at the address of `leads` alone: that it left recovery is not enough, its commits may hang."""
    if means.database is None:
        await unseen("no connection to the database servers")
        return ""
    try:
        status = await means.database.status(leads, deadline_s=INSTANCE_S)
        if status.in_recovery:
            return f"{leads} to leave recovery"
        await means.database.probe_write(leads, deadline_s=INSTANCE_S)
    except ColdError as error:
        if not says_nothing(error, OUT_OF_REACH):
            return f"{leads} to accept a write: {trouble_of(error).words}"
        await unseen(trouble_of(error).words)
    return ""
