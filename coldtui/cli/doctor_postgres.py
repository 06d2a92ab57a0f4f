"""The doctor's look at the database: password and grants by SQL, `/pg/status` through the API, where the VIP leads, the right to switch over."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from ..domain.errors import ColdError
from ..domain.postgres import PgCluster, site_cluster
from ..domain.readings import Known, Unknown
from ..domain.replication import SqlStatus
from ..domain.text import alike, counted
from ..domain.topology import VIP, topology
from ..domain.world import DATABASE
from ..present.postgres import missing_cluster
from .doctor import OK, WARN, Check

if TYPE_CHECKING:
    from ..domain.world import World
    from ..ports import Kube
    from ..wiring import Site

READ = ("pods", "services", DATABASE)
"""What is read for it besides."""
SQL, MANAGERS, ADDRESS, RIGHTS, CLUSTER = "database SQL", "database status", "database VIP", "database rights", "database cluster"


async def without_api(site: Site) -> list[Check]:
    """The servers that the configuration names, when the API tells nothing."""
    if not site.config.postgres.instances:
        return []
    return list(servers(await site.live.once((DATABASE,), 4.0), site.config.postgres.user))


def servers(world: World, user: str) -> Iterator[Check]:
    """Nothing is said where there is no database, unless the configuration names one that does not exist."""
    if missing := missing_cluster(world):
        yield Check(CLUSTER, WARN, missing, "mend postgres.cluster")
    sql = {name: reading for name, reading in sorted(world.pg_sql.items()) if name != VIP}
    silent = {name: reading.reason for name, reading in sql.items() if isinstance(reading, Unknown)}
    told = {name: reading.value for name, reading in sql.items() if isinstance(reading, Known)}
    if told:
        yield Check(SQL, OK, f"{', '.join(told)} {'answers' if len(told) == 1 else 'answer'}, {_versions(told)}")
    for reason in alike(silent):
        words, _, remedy = reason.partition(" · ")
        yield Check(SQL, WARN, words, remedy or "no lag, sessions and locks of it; check postgres.instances and the network between")
    yield from _grants(told, user)
    yield from _address(world)


def _versions(told: Mapping[str, SqlStatus]) -> str:
    return "PostgreSQL " + ", ".join(sorted({status.version for status in told.values()}))


def _grants(told: Mapping[str, SqlStatus], user: str) -> Iterator[Check]:
    lacking: dict[str, list[str]] = {}
    for name, status in told.items():
        for grant in status.missing:
            lacking.setdefault(grant, []).append(name)
    for grant, names in lacking.items():
        what, _, shows = grant.partition(": ")
        yield Check(SQL, WARN, f"{', '.join(names)}: without {what} these are not shown: {shows}", f"GRANT {what} TO {user}")


def _address(world: World) -> Iterator[Check]:
    """Through the VIP, where somebody lets us in at all."""
    reading = world.pg_sql.get(VIP)
    if reading is None:
        return
    if isinstance(reading, Unknown):
        if any(isinstance(r, Known) for r in world.pg_sql.values()):
            yield Check(ADDRESS, WARN, reading.reason, "who announces it? coldtui vips; is vip.probe right?")
        return
    found = topology(world, site_cluster(world), datetime.now(UTC))
    where = (found.vip.server if found.vip is not None else "") or reading.value.listens
    if reading.value.in_recovery:
        yield Check(ADDRESS, WARN, f"leads to {where}, a standby: writes fail there", "which endpoints has its service? coldtui vips")
    else:
        yield Check(ADDRESS, OK, f"leads to the primary, {where}")


def managers(world: World) -> Iterator[Check]:
    """`/pg/status` of each instance, through the API's proxy to its pod."""
    silent = {key.partition("/")[2]: r.reason for key, r in sorted(world.pg_managers.items()) if isinstance(r, Unknown)}
    told = [key for key, r in world.pg_managers.items() if isinstance(r, Known)]
    if told:
        yield Check(MANAGERS, OK, f"/pg/status of {counted(len(told), 'instance')} read through the API")
    for reason in alike(silent):
        words, _, remedy = reason.partition(" · ")
        grant = ": grant get on pods/proxy (deploy/operator-rbac.yaml)" if "needs get on pods/proxy" in words else ""
        yield Check(MANAGERS, WARN, words, remedy or f"a switchover is not evaluated without it{grant}")


async def rights(kube: Kube, world: World, deadline_s: float) -> list[Check]:
    """Whether this user may switch over. An account that only looks is as it should be without."""
    cluster = site_cluster(world)
    if cluster is None:
        return []
    try:
        may = await kube.may(
            "patch", "postgresql.cnpg.io", "clusters", namespace=cluster.namespace, subresource="status", deadline_s=deadline_s
        )
        sees = await kube.may("get", "coordination.k8s.io", "leases", namespace=cluster.namespace, deadline_s=deadline_s)
    except ColdError as error:
        return [Check(RIGHTS, WARN, f"whether it may switch over is not known: {error.title}", error.hint)]
    lease = f"needs get on leases in {cluster.namespace}: whether the manager of a lost primary lives is not evaluated"
    return [_may(cluster, granted=may), *([] if sees else [Check(RIGHTS, WARN, lease, "deploy/viewer-rbac.yaml grants it")])]


def _may(cluster: PgCluster, *, granted: bool) -> Check:
    if granted:
        return Check(RIGHTS, OK, f"may switch {cluster.name} over")
    return Check(
        RIGHTS,
        OK,
        f"looks only: no switchover without patch on clusters/status in {cluster.namespace}",
        "deploy/operator-rbac.yaml grants it",
    )
