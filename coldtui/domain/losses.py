"""Positions in the WAL compared: how far a standby is behind, and what would be lost with the primary. Those of two timelines cannot be compared."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from .postgres import MAJOR_UPGRADE, PgCluster
from .readings import Known, Reading, Unknown
from .replication import Claim, Standby
from .values import dataclass

if TYPE_CHECKING:
    from .topology import Member
    from .world import World

FRESH = timedelta(seconds=25)
"""An answer that is older proves nothing now: servers are asked each 10 s at least."""
SETTLING = timedelta(seconds=60)
"""So long after a new primary a standby may be on the old timeline, and a label may be behind."""
NOT_ASKED = "not asked"


def fresh(reading: Reading[object], now: datetime) -> bool:
    return isinstance(reading, Known) and now - reading.as_of <= FRESH


@dataclass(frozen=True, slots=True)
class Loss:
    """What would be lost if the primary died now, or is lost if it is gone for good: from its WAL position to what the best replica has received."""

    octets: Reading[int]
    primary: str
    best: str
    """The replica that has received most; empty: none is known."""
    as_of: datetime | None
    """The older of the two answers it rests on."""
    gone: bool = False
    """The primary does not answer: it is its last known position that counts."""
    alone: bool = False
    """There is no replica: all would be lost, however many bytes that is."""


def _between(ahead: Reading[int], behind: Reading[int]) -> Reading[int]:
    """Both were told moments apart: what looks less than nothing is nothing."""
    if isinstance(ahead, Unknown):
        return Unknown(ahead.source, f"where the primary is: {ahead.reason}")
    if isinstance(behind, Unknown):
        return behind
    source = ahead.source if ahead.source == behind.source else f"{ahead.source}, {behind.source}"
    return Known(max(0, ahead.value - behind.value), source, min(ahead.as_of, behind.as_of))


def behind_of(position: Reading[int], replayed: Reading[int], standby: Reading[Standby]) -> Reading[int]:
    """By what the primary knew of it when it told its position: two servers are never asked at the same moment."""
    at_once = (
        isinstance(standby, Known) and isinstance(position, Known) and standby.as_of == position.as_of and standby.value.replay is not None
    )
    if at_once and isinstance(standby, Known) and isinstance(position, Known) and isinstance(replayed, Known):
        seen = max(standby.value.replay or 0, replayed.value)
        return Known(max(0, position.value - seen), position.source, position.as_of)
    return _between(position, replayed)


def seconds_of(behind: Reading[int], standby: Reading[Standby]) -> float | None:
    if not isinstance(behind, Known) or behind.value == 0 or not isinstance(standby, Known):
        return None
    return standby.value.replay_lag_s


def by_branch(c: PgCluster, members: tuple[Member, ...], primary: str, now: datetime) -> tuple[Member, ...]:
    """Positions of two timelines cannot be compared: who follows another branch is behind by no number."""
    lead = next((m for m in members if m.name == primary), None)
    return tuple(
        replace(m, behind=Unknown("sql", f"it is on timeline {_number(m)}, the primary on {_number(lead)}"), behind_s=None)
        if lead is not None and isinstance(m.behind, Known) and _apart(c, lead, m, now)
        else m
        for m in members
    )


def _number(m: Member) -> int:
    return m.timeline.value if isinstance(m.timeline, Known) else 0


def _apart(c: PgCluster, lead: Member, m: Member, now: datetime) -> bool:
    """Whether it is known to be on another branch. A lower timeline may be the last word of a control file for a while after a role change."""
    ours, own = lead.timeline, m.timeline
    if not isinstance(ours, Known) or not isinstance(own, Known) or own.value == ours.value:
        return False
    last = max((at for at in (c.current_primary_since, c.target_primary_since) if at is not None), default=None)
    sure = own.source == "sql" and isinstance(m.sql, Known) and m.sql.value.timeline_sure
    return own.value > ours.value or sure or last is None or now - last > SETTLING


def loss_of(world: World, c: PgCluster, members: tuple[Member, ...], primary: str, now: datetime, *, asked: bool) -> Loss:
    if c.replica_cluster or c.phase == MAJOR_UPGRADE:
        why = "it follows another cluster" if c.replica_cluster else "no instance runs while it is upgraded"
        return Loss(Unknown("cluster", why), primary, "", None)
    claim = last_claim(world, {m.name for m in members}, primary)
    if primary and c.instances and len(members) == 1:
        gone = claim is not None and (claim.ended or now - claim.seen > FRESH)
        return Loss(
            Unknown("cluster", "all: there is no replica"), primary, "", claim.seen if claim is not None else None, gone, alone=True
        )
    if claim is None or claim.lsn is None:
        why = ("the primary never told where its WAL is" if primary else "there is no primary") if asked else NOT_ASKED
        return Loss(Unknown("sql", why), primary, "", None)
    gone = claim.ended or now - claim.seen > FRESH
    lead = next((m for m in members if m.name == claim.name), None)
    best, apart = None, False
    for m in members:
        if m.name == claim.name:
            continue
        got = _received(m, now, gone=gone)
        if got is not None and lead is not None and _apart(c, lead, m, now):
            apart = True
        elif got is not None and (best is None or got.value > best[0]):
            best = (got.value, m.name, got.as_of)
    if best is None:
        why = f"nobody follows {claim.name}" if apart else "what the replicas have received is not known"
        return Loss(Unknown(claim.source, why), claim.name, "", claim.seen, gone)
    octets = max(0, claim.lsn - best[0])
    return Loss(Known(octets, claim.source, claim.seen), claim.name, best[1], min(claim.seen, best[2]), gone)


def _received(m: Member, now: datetime, *, gone: bool) -> Known[int] | None:
    """The most that a replica is known to have now: what was fetched from the archive is replayed, never received."""
    has = [r for r in (m.received, m.replayed) if isinstance(r, Known) and now - r.as_of <= FRESH]
    if isinstance(m.standby, Known) and m.standby.value.flush is not None and not gone:
        has.append(Known(m.standby.value.flush, m.standby.source, m.standby.as_of))  # as the primary knew it when it told its own
    return max(has, key=lambda r: r.value) if has else None


def last_claim(world: World, names: set[str], primary: str) -> Claim | None:
    """Of who is primary now, by SQL where that tells, since what it knows of its standbys is by SQL too; else of the one that was, by its last word."""
    found = [c for c in world.pg_claims.values() if c.name in names and c.lsn is not None]

    def by_sql(c: Claim) -> bool:
        return c.source == "sql" and not c.ended and world.at - c.seen <= FRESH

    return max(found, key=lambda c: (not c.ended, c.name == primary, by_sql(c), c.seen), default=None)


def last_position(world: World, primary: str) -> int | None:
    """Where the WAL of an instance was when it last said to be primary, by the words of now or of before its death. None: it never said so here."""
    found = [c for c in world.pg_claims.values() if c.name == primary and c.lsn is not None]
    newest = max(found, key=lambda c: c.seen, default=None)
    return newest.lsn if newest is not None else None
