"""The instances of the site's database as three sources tell them: rows, the head of the screen, and every reading with its source and age."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from coldtui.domain.values import dataclass

from ..domain import postgres as domain
from ..domain.disagreements import SOURCES as SAID
from ..domain.failover_signs import signs_of
from ..domain.pgdisks import CRITICAL, WARNING, disks, fullest
from ..domain.pgstrain import CONNECTIONS_WARNING
from ..domain.postgres import PgCluster
from ..domain.readings import Known, Reading, Unknown
from ..domain.replication import lsn_text
from ..domain.topology import FRESH, Member, Topology, cluster_of, topology
from ..domain.verdicts import Grade
from ..domain.world import World
from . import words
from .lines import UNKNOWN, Line, label, old, pad, two_columns
from .postgres import InstanceOf, instance_verdict, state_of
from .postgres_failover import Keys, cause_lines, quorum_words
from .rows import Cell, Column, Listing, Row, Tone

FULL = 0.995
"""Of a disk: what rounds to 100 %."""
FAR_B = 16 << 20
"""A standby that is so far behind, a WAL segment, is marked."""
MEASURED = timedelta(minutes=3)
"""Kubelets are asked seldom: what they measured is that old without anything being wrong."""
VALUES = 9
"""Cells of the labels in the pane."""

_kept: tuple[World, datetime, Topology] | None = None


def of(world: World, now: datetime) -> Topology:
    """Of the site's cluster. Kept for the last World and moment, since every row asks."""
    global _kept
    if _kept is None or _kept[0] is not world or _kept[1] != now:
        _kept = (world, now, topology(world, cluster_of(world), now))
    return _kept[2]


@dataclass(frozen=True, slots=True)
class MemberOf:
    """A row: an instance of a cluster. What is known of it is looked up when it is drawn."""

    cluster: PgCluster
    name: str

    @property
    def key(self) -> str:
        return f"{self.cluster.namespace}/{self.name}"


def _items(world: World) -> Mapping[str, MemberOf]:
    c = cluster_of(world)
    if c is None:
        return {}
    found = (MemberOf(c, i.name) for i in domain.instances(world, c))
    return {item.key: item for item in found}


def member(world: World, item: MemberOf, now: datetime) -> Member:
    return next(m for m in of(world, now).members if m.name == item.name)


def tone_of(reading: Reading[Any], now: datetime, tone: Tone = Tone.PLAIN) -> Tone:
    """Old values are never shown in the colour of now."""
    return tone if isinstance(reading, Known) and now - reading.as_of <= FRESH else Tone.STALE


def value_cell(reading: Reading[Any], now: datetime, say: Callable[[Any], str] = str, tone: Tone = Tone.PLAIN) -> Cell:
    return Cell(say(reading.value), tone_of(reading, now, tone)) if isinstance(reading, Known) else Cell(UNKNOWN, Tone.MUTED)


_COLUMNS: tuple[Column, ...] = (
    Column("name", "INSTANCE", 10, grow=3, sort_key="E"),
    Column("role", "ROLE", 7, sort_key="R"),
    Column("state", "STATE", 11, grow=2, sort_key="S"),
    Column("timeline", "TL", 3, right=True),
    Column("behind", "BEHIND", 9, right=True),
    Column("sync", "SYNC", 6),
    Column("connections", "CONN", 4, right=True),
    Column("node", "NODE", 12, grow=2),
    Column("received", "WAL AT", 11, right=True, priority=1),
    Column("replayed", "REPLAYED", 11, right=True, priority=1),
    Column("disk", "DISK", 4, right=True, priority=1),
    Column("restarts", "RESTARTS", 8, right=True, priority=2),
    Column("source", "SOURCE", 8, priority=2),
)


_FORMER = {"unhealthy": "former"}
"""What the operator labels so is the old primary of a role change; the label itself stands in the pane, and its word is too wide for the column."""


def role_word(m: Member) -> tuple[str, Tone]:
    """The role by the nearest source; where another says otherwise it is marked."""
    said = {r.value for r in (m.by_sql, m.by_manager) if isinstance(r, Known)}
    if len(said) > 1:
        return "?", Tone.BAD
    role = m.role
    return _FORMER.get(role, role) or "?", Tone.ACCENT if role == "primary" else Tone.MUTED if not role else Tone.PLAIN


_SHORT = {
    "CrashLoopBackOff": "crash loop",
    "Init:CrashLoopBackOff": "crash loop",
    "ImagePullBackOff": "no image",
    "ErrImagePull": "no image",
}
"""What would be cut in a narrow table; the head and the pod say it in full."""


def _state(world: World, item: MemberOf, m: Member, now: datetime) -> Cell:
    judged = instance_verdict(world, InstanceOf(item.cluster, m.instance), now)
    short = replace(judged, word=_SHORT.get(judged.word, judged.word))
    return state_of(short, m, now, others=any(x.answers for x in of(world, now).members), follows="streaming")


def behind_cell(m: Member, now: datetime) -> Cell:
    """Measured against the last word of a primary that is gone it is a least."""
    if not isinstance(m.behind, Known):
        return Cell("" if m.role == "primary" else UNKNOWN, Tone.MUTED)
    size = words.size(m.behind.value)
    if now - m.behind.as_of > FRESH:
        return Cell(f"≥ {size}" if m.behind.value else size, Tone.STALE)
    return Cell(f"▲{size}", Tone.WARN) if m.behind.value >= FAR_B else Cell(size)


def _row(world: World, item: MemberOf, now: datetime) -> Row:
    t, m = of(world, now), member(world, item, now)
    lead = next((x for x in t.members if x.name == t.primary), None)
    other = (
        lead is not None and isinstance(lead.timeline, Known) and isinstance(m.timeline, Known) and m.timeline.value != lead.timeline.value
    )
    nearest = next((r for r in (m.sql, m.manager) if isinstance(r, Known)), None)
    cells = (
        Cell(m.name, Tone.STRONG),
        Cell(*role_word(m)),
        _state(world, item, m, now),
        value_cell(m.timeline, now, (lambda n: f"▲{n}") if other else str, Tone.BAD if other else Tone.PLAIN),
        behind_cell(m, now),
        Cell("" if m.role == "primary" else UNKNOWN, Tone.MUTED)
        if not isinstance(m.standby, Known)
        else value_cell(m.standby, now, lambda s: s.sync_state),
        value_cell(m.connections, now, lambda x: str(x[0])),
        Cell(m.instance.node or UNKNOWN, Tone.STALE if old(world, "pods") else Tone.PLAIN),
        value_cell(m.received if m.role != "primary" else m.position, now, lsn_text),
        value_cell(m.replayed, now, lsn_text) if m.role != "primary" else Cell(""),
        disk_cell(world, item, m, now),
        Cell(str(m.instance.restarts) if m.instance.pod else UNKNOWN, Tone.STALE if old(world, "pods") else Tone.MUTED),
        Cell(SAID[nearest.source] if nearest is not None else "the Cluster", Tone.MUTED),
    )
    return Row(item.key, cells, dim=not m.answers and (m.told is not None or old(world, "pg_clusters")))


MEMBERS: Listing[MemberOf] = Listing(
    noun="postgres",
    title="PostgreSQL instances",
    sources=("pg_clusters", "pods", "nodes", "leases"),
    columns=_COLUMNS,
    items=_items,
    row=_row,
    sorts={
        "name": lambda world, x: (x.name != x.cluster.current_primary, x.name),
        "role": lambda world, x: (x.name != x.cluster.current_primary, x.name),
        "state": lambda world, x: x.name,
    },
    default_sort="name",
    text=lambda x: f"{x.name} {x.cluster.name}",
    trouble=lambda world, x, now: (
        instance_verdict(world, InstanceOf(x.cluster, member(world, x, now).instance), now).grade in (Grade.BAD, Grade.PART)
    ),
    namespaced=False,  # they are those of one cluster
)


# ---------------------------------------------------------------- the pane


def readings(world: World, item: MemberOf, now: datetime, keys: Keys | None = None) -> tuple[Line, ...]:
    """Everything that is known of an instance, each value with its source and age; first why nobody takes over, and why a source does not tell."""
    first, values, last = _parts(world, item, now, keys)
    return (*first, *values, *(last if item.name != of(world, now).primary else ()))  # those of the primary stand beside


def readings_beside(world: World, item: MemberOf, now: datetime, cells: int, keys: Keys | None = None) -> tuple[Line, ...]:
    """The same in two columns, for a box that is wide and low."""
    first, values, last = _parts(world, item, now, keys, 12)
    return (*first, *two_columns((*values, *last), cells))


def whole(world: World, item: MemberOf, now: datetime, keys: Keys | None = None, columns: int = 24) -> tuple[Line, ...]:
    """For a page of its own: every cause, every value, and the trends of a standby; those of the primary are told with what it does."""
    t, m = of(world, now), member(world, item, now)
    _, values, last = _parts(world, item, now, keys, columns)
    causes = cause_lines(world, t, now, keys, whole=True)
    last = last if m.name != t.primary else ()
    return (*causes, *(((),) if causes else ()), *_silence(m, now), *values, *(((),) if last else ()), *last)


def _parts(
    world: World, item: MemberOf, now: datetime, keys: Keys | None, columns: int = 24
) -> tuple[tuple[Line, ...], list[Line], tuple[Line, ...]]:
    """What is in the way, the values, the trends."""
    t, m = of(world, now), member(world, item, now)
    leads = m.name == t.primary
    lines: list[Line] = list(cause_lines(world, t, now, keys)) if m.instance.is_current or leads else []
    lines += _silence(m, now)
    apart = "WAL at" if m.role != "primary" else "Received Replayed Behind Streams Replay Sent as"
    first, rest = _rows(m, world, now)
    values = list(_role_lines(m, now))
    values += [
        _reading_line(name, reading, say, now, tone)
        for name, reading, say, tone in (*first, *_disk_rows(world, item, m), *rest)
        if name not in apart and isinstance(reading, Known)
    ]
    if met := quorum_words(signs_of(world, item.cluster, now)):
        values.append((label("Quorum", VALUES), Cell(met)))
    return tuple(lines), values, trends(world, m.name, primary=leads, columns=columns)


def _silence(m: Member, now: datetime) -> list[Line]:
    """Why a source does not tell, how old the last word of one is, and which grant is missing."""
    lines: list[Line] = []
    for source, reading in (("SQL", m.sql), ("/pg/status", m.manager)):
        if not isinstance(reading, Known):
            lines.append((label(source, 11), Cell(reading.reason, Tone.STALE)))
        elif now - reading.as_of > FRESH:
            lines.append((label(source, 11), Cell(f"last told {words.age(now - reading.as_of)} ago", Tone.STALE)))
    if isinstance(m.sql, Known):
        lines += [(label("SQL lacks", VALUES), Cell(f" {grant}", Tone.WARN)) for grant in m.sql.value.missing]
    return lines


ReadingRow = tuple[str, Reading[Any], Callable[[Any], str], Tone]


def _role_lines(m: Member, now: datetime) -> Iterator[Line]:
    """One line while the sources agree; else one for each."""
    asked = (("SQL", m.by_sql), ("status", m.by_manager), ("label", m.label), ("Cluster", m.named))
    told = [(source, r) for source, r in asked if isinstance(r, Known)]
    if not told:
        return
    age = words.age(max(now - r.as_of for _, r in told))
    if len({r.value for _, r in told}) == 1:
        names = f"{len(told)} agree" if len(told) > 2 else ", ".join(source for source, _ in told)
        tone = tone_of(max((r for _, r in told), key=lambda r: r.as_of), now)
        yield label("Role", VALUES), Cell(pad(told[0][1].value, 17), tone), Cell(f" {names} {age}", Tone.MUTED)
        return
    for n, (source, r) in enumerate(told):
        yield (
            label("Role" if n == 0 else "", VALUES),
            Cell(pad(f"▲ {r.value}", 17), tone_of(r, now, Tone.BAD)),
            Cell(f" {source} {words.age(now - r.as_of)}", Tone.MUTED),
        )


def _rows(m: Member, world: World, now: datetime) -> tuple[tuple[ReadingRow, ...], tuple[ReadingRow, ...]]:
    """Those that an operator looks for, and those that are seldom of use."""
    full = (
        isinstance(m.connections, Known)
        and m.connections.value[1]
        and m.connections.value[0] >= CONNECTIONS_WARNING * m.connections.value[1]
    )
    least = "≥ " if isinstance(m.behind, Known) and m.behind.value and now - m.behind.as_of > FRESH else ""
    as_of = world.sources["pods"].as_of
    pod: Reading[int] = (
        Known(m.instance.restarts, "pods", as_of) if m.instance.pod is not None and as_of is not None else Unknown("pods", "no pod")
    )
    first: tuple[ReadingRow, ...] = (
        ("Timeline", m.timeline, str, Tone.PLAIN),
        ("WAL at", m.position, lsn_text, Tone.PLAIN),
        ("Received", m.received, lsn_text, Tone.PLAIN),
        ("Replayed", m.replayed, lsn_text, Tone.PLAIN),
        ("Behind", m.behind, lambda b: least + _behind_words(b, m.behind_s), Tone.PLAIN),
        ("Streams", m.receiving, lambda x: "yes" if x else "no", Tone.PLAIN),
        ("Replay", m.paused, lambda x: "▲ paused" if x else "running", Tone.WARN if getattr(m.paused, "value", False) else Tone.PLAIN),
        ("Sent as", m.standby, lambda s: " ".join(x for x in (s.state, s.sync_state) if x), Tone.PLAIN),
        (
            "Conn",
            m.connections,
            lambda x: f"{'▲ ' if full else ''}{x[0]}{f' of {x[1]}' if x[1] else ''}",
            Tone.WARN if full else Tone.PLAIN,
        ),
    )
    rest: tuple[ReadingRow, ...] = (
        ("Restarts", pod, lambda n: f"{n:,}", Tone.PLAIN),
        ("Settings", m.pending_restart, lambda x: "wait for restart" if x else "in effect", Tone.PLAIN),
        ("System", m.system_id, str, Tone.PLAIN),
    )
    return first, rest


def _disk_rows(world: World, item: MemberOf, m: Member) -> Iterator[ReadingRow]:
    """Used and whole; of a claim whose kubelet does not tell only how large it is."""
    for disk in disks(world, item.cluster, m.instance):
        whole = words.size(disk.capacity_b) if disk.capacity_b else "?"
        part = disk.fraction
        share = words.percent(part) if part is not None else words.size(disk.used.value) if isinstance(disk.used, Known) else "?"
        tone = Tone.PLAIN if part is None or part < WARNING else Tone.WARN if part < CRITICAL else Tone.BAD
        if isinstance(disk.used, Known):
            mark = "▲ " if tone is not Tone.PLAIN else ""
            yield disk.what, disk.used, lambda used, text=f"{mark}{share} of {whole}": text, tone  # type: ignore[misc]
        elif disk.capacity_b and world.sources["claims"].as_of is not None:
            yield disk.what, Known(disk.capacity_b, "claim", world.sources["claims"].as_of), lambda b: f"? of {words.size(b)}", Tone.STALE


def disk_cell(world: World, item: MemberOf, m: Member, now: datetime) -> Cell:
    """The fullest of its disks."""
    found = fullest(disks(world, item.cluster, m.instance))
    if found is None or found.fraction is None:
        return Cell(UNKNOWN, Tone.MUTED)
    share, full = words.percent(found.fraction), found.fraction >= WARNING
    if isinstance(found.used, Known) and now - found.used.as_of > MEASURED:
        return Cell(share, Tone.STALE)
    tone = Tone.BAD if found.fraction >= CRITICAL else Tone.WARN if full else Tone.PLAIN
    return Cell("full" if found.fraction >= FULL else f"▲{share}" if full else share, tone)


def _behind_words(octets: int, seconds: float | None) -> str:
    return words.size(octets) + (f", {seconds:.1f} s" if seconds is not None and octets else "")


def _reading_line(name: str, reading: Known[Any], say: Callable[[Any], str], now: datetime, tone: Tone = Tone.PLAIN) -> Line:
    source = {"sql": "SQL", "manager": "status", "pods": "pod", "cluster": "Cluster"}.get(reading.source, reading.source)
    age = words.age(now - reading.as_of)
    fresh = FRESH if reading.source in ("sql", "manager") else MEASURED
    shown = tone if now - reading.as_of <= fresh else Tone.STALE
    return (label(name, VALUES), Cell(pad(say(reading.value), 17), shown), Cell(f" {source} {age}", Tone.MUTED))


def trends(world: World, name: str, *, primary: bool, columns: int = 24) -> tuple[Line, ...]:
    """An hour as sparklines."""
    shown: tuple[tuple[str, str, Callable[[float], str]], ...] = (
        (
            ("tps", "pg_tps", lambda v: f"{v:.0f}/s"),
            ("WAL", "pg_wal", lambda v: f"{words.size(v)}/s"),
            ("conn", "pg_connections", lambda v: f"{v:.0f}"),
            ("hits", "pg_hit", lambda v: f"{v:.1%}"),
        )
        if primary
        else (("lag", f"pg_lag/{name}", words.size),)
    )
    lines: list[Line] = []
    for title, key, say in shown:
        samples = world.trends.get(key, ())
        known = [v for v in samples if v == v]
        if known:
            lines.append((label(title, VALUES), Cell(words.spark(samples, columns), Tone.ACCENT), Cell(f" {say(known[-1])}")))
    return tuple(lines)
