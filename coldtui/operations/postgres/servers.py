"""Which servers the site's database has and which of them leads, by their own word over SQL. The Cluster object helps where it can be read."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import datetime
from difflib import get_close_matches

from ...domain import kinds
from ...domain.errors import ColdError, Misconfigured, NotFound, Refused, Unauthorized, Unreachable
from ...domain.plans import Premise
from ...domain.postgres import PgCluster
from ...domain.readings import Known, Reading, Unknown
from ...domain.replication import SqlStatus
from ...domain.text import alike, plain
from ...domain.values import dataclass
from ...ports import Database, Means
from .facts import INSTANCE_S, VIP, WRITES, _ask, find_cluster, introduce

CLUSTER_S = 3.0
"""For what the API tells: with it down, the servers are still asked."""


@dataclass(frozen=True, slots=True)
class Servers:
    cluster: Reading[PgCluster]
    sql: Mapping[str, Reading[SqlStatus]]
    """By instance."""
    at: datetime

    @property
    def leaders(self) -> tuple[str, ...]:
        """Those that say they are no standby: more than one is a split brain."""
        return tuple(name for name, found in self.sql.items() if isinstance(found, Known) and not found.value.in_recovery)

    @property
    def known_cluster(self) -> PgCluster | None:
        return None if isinstance(self.cluster, Unknown) else self.cluster.value

    @property
    def premises(self) -> tuple[Premise, ...]:
        every: dict[str, Reading[PgCluster] | Reading[SqlStatus]] = {"the cluster": self.cluster}
        every |= {f"SQL of {name}": found for name, found in self.sql.items()}
        return tuple(Premise(n, None, r.reason) if isinstance(r, Unknown) else Premise(n, r.as_of) for n, r in every.items())


def database_of(means: Means) -> Database:
    """Raises Unreachable where there is none."""
    if means.database is None:
        raise Unreachable("no connection to the database servers", hint="set postgres.instances or cluster, and the password")
    return means.database


async def meet(means: Means, deadline_s: float = CLUSTER_S) -> Reading[PgCluster]:
    """Learn from the API where the servers are. Never raises for an API that does not answer: the configuration may name them all."""
    at = means.clock.now()

    async def ask() -> PgCluster:
        cluster = await find_cluster("", means, deadline_s)
        labels = f"cnpg.io/cluster={cluster.name}"
        where = cluster.namespace
        try:
            pods = await means.kube.read_all(kinds.PODS, namespace=where, labels=labels, deadline_s=deadline_s)
            services = await means.kube.read_all(kinds.SERVICES, namespace=where, labels=labels, deadline_s=deadline_s)
        except ColdError:
            return cluster  # servers without an address are told of, one by one
        await introduce(means, cluster, {pod.name: pod for pod in pods}, services)
        return cluster

    return await _ask("cluster", ask(), deadline_s, at)


async def ask_servers(means: Means, deadline_s: float) -> Servers:
    """Every server at once, each with its own deadline. Raises Unreachable where there is no connection at all."""
    database = database_of(means)
    cluster = await meet(means, min(CLUSTER_S, deadline_s / 2))
    at = means.clock.now()
    targets = await asyncio.to_thread(lambda: database.targets)  # the library is loaded here, not on the loop
    names = dict.fromkeys(() if isinstance(cluster, Unknown) else cluster.value.instance_names)
    names |= dict.fromkeys(name for name in targets if name not in (VIP, WRITES))
    asked = [_ask(name, database.status(name, deadline_s=INSTANCE_S), INSTANCE_S, at) for name in names]
    return Servers(cluster, dict(zip(names, await asyncio.gather(*asked), strict=True)), at)


def named(servers: Servers, instance: str) -> str:
    """The instance of that name; empty: the primary. Raises NotFound with the nearest, and what `primary` does."""
    if not instance:
        return primary(servers)
    if instance in servers.sql:
        return instance
    raise unknown_instance(instance, tuple(servers.sql))


def unknown_instance(instance: str, known: tuple[str, ...]) -> NotFound:
    near = get_close_matches(instance, known, n=2, cutoff=0.4)
    hint = f"did you mean {' or '.join(near)}?" if near else f"there are: {', '.join(known)}" if known else "no instance is known"
    return NotFound(f"no instance {plain(instance)}", hint=hint)


def primary(servers: Servers) -> str:
    """The one that leads. Raises Refused where two do or only standbys answer, Unreachable where none answers."""
    leaders = servers.leaders
    if len(leaders) == 1:
        return leaders[0]
    if leaders:
        raise Refused(f"{' and '.join(leaders)} both say that they are primary", hint="find out which is right: coldtui postgres status")
    silent = {name: found for name, found in servers.sql.items() if isinstance(found, Unknown)}
    standbys = [name for name, found in servers.sql.items() if isinstance(found, Known)]
    said = alike({name: found.reason for name, found in silent.items()})
    detail = "; ".join((*((f"{', '.join(standbys)} in recovery",) if standbys else ()), *said))
    if standbys and not silent:
        raise Refused("no server is primary: all are standbys", detail=detail, hint="coldtui postgres status")
    raise _no_answer({found.kind for found in silent.values()}, detail)


def _no_answer(troubles: set[str], detail: str) -> ColdError:
    """With the remedy, and the exit code, of what all of them have in common."""
    title = "no primary answers over SQL"
    if troubles and troubles <= {"unauthorized", "forbidden"}:
        return Unauthorized(title, detail=detail, hint="check postgres.user, postgres.password_file, pg_hba.conf")
    if troubles == {"config"}:
        return Misconfigured(title, detail=detail, hint="mend postgres.password_file")
    if troubles == {"tls"}:
        return Unreachable(title, detail=detail, hint="set postgres.sslmode and postgres.sslrootcert as the servers have it")
    if not troubles:
        return Unreachable(title, detail="no server is known", hint="set postgres.instances.NAME: host:port")
    return Unreachable(title, detail=detail, hint="are the addresses of postgres.instances right? coldtui postgres status")


async def reach(means: Means, instance: str) -> Database:
    """The database, with the address of an instance known: a run that is taken up again begins without."""
    database = database_of(means)
    if instance not in await asyncio.to_thread(lambda: database.targets):
        await meet(means)
    return database
