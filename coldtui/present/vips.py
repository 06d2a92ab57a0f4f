"""Addresses of LoadBalancer services as rows, a line and JSON."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from ..domain import vips as domain
from ..domain.readings import Known, Reading
from ..domain.verdicts import Grade
from ..domain.vips import Vip
from ..domain.world import World
from . import words
from .lines import UNKNOWN, Line, cut_line, label, old, pair
from .rows import Cell, Column, Listing, Row, Tone
from .verdicts import aside, nothing, verdict_cell

SOURCES = ("services", "endpointslices", "l2_statuses", "ip_pools", "l2_advertisements", "nodes")


def announcer_cells(v: Vip) -> Line:
    """`● k3s-worker-3` when announced, else the verdict: `▲ no endpoints`, `? unknown`. The glyph is a cell of its own: it stays when the room is short."""
    tone = verdict_cell(v.verdict).tone
    if v.verdict.grade is Grade.GOOD and v.announcers:
        return (Cell(words.GLYPHS["good"], tone), Cell(f" {v.announcers[0]}", tone))
    glyph, _, word = verdict_cell(v.verdict).text.partition(" ")
    return (Cell(glyph, tone), Cell(f" {word}", tone))


def vip_cells(v: Vip) -> Line:
    """Address, verdict and why, for one line."""
    service = v.service.key if v.service else "no Service"
    why = f"  {v.verdict.why}" if v.verdict.why else ""
    return (Cell(v.address or "no address", Tone.STRONG), Cell(f"  {service}  ", Tone.MUTED), *announcer_cells(v), Cell(why, Tone.MUTED))


def vip_line(world: World, now: datetime, cells: int) -> Line:
    """The worst address on one line, and how many more there are."""
    found = domain.vips(world)
    if not found:
        return cut_line((label("VIP", 9), nothing(world, "services", "LoadBalancer services", now)), cells)
    order = (Grade.BAD, Grade.PART, Grade.UNKNOWN, Grade.OFF, Grade.GOOD)
    worst = min(found, key=lambda v: order.index(v.verdict.grade))
    more = (Cell(f"  and {len(found) - 1} more", Tone.MUTED),) if len(found) > 1 else ()
    return cut_line((label("VIP", 9), Cell(worst.address or "no address"), Cell(" "), *announcer_cells(worst), *more), cells)


def endpoints_text(v: Vip) -> str:
    return UNKNOWN if v.endpoints_ready is None else f"{v.endpoints_ready}/{v.endpoints}"


def _node(reading: Reading[str]) -> str:
    return reading.value if isinstance(reading, Known) else UNKNOWN


_COLUMNS: tuple[Column, ...] = (
    Column("address", "ADDRESS", 15, grow=1, sort_key="E"),
    Column("state", "STATE", 15, sort_key="S"),
    Column("announcer", "ANNOUNCED BY", 14, grow=1, sort_key="L"),
    Column("service", "SERVICE", 20, grow=3, sort_key="R"),
    Column("endpoints", "READY", 5, right=True),
    Column("next", "NEXT", 14, grow=1, priority=1),
    Column("ports", "PORTS", 10, priority=2),
    Column("pool", "POOL", 10, grow=1, priority=3, sort_key="P"),
    Column("policy", "POLICY", 7, priority=4),
)


def _row(world: World, v: Vip, now: datetime) -> Row:
    s = v.service
    ports = ",".join(f"{p.port}/{p.protocol}" for p in s.ports) if s else ""
    cells = (
        Cell(v.address or "<pending>", Tone.STRONG),
        verdict_cell(v.verdict),
        Cell(",".join(v.announcers) or UNKNOWN, Tone.STALE if old(world, "l2_statuses") else Tone.PLAIN),
        Cell(s.key if s else UNKNOWN),
        Cell(endpoints_text(v), Tone.BAD if v.endpoints_ready == 0 and not old(world, "endpointslices") else Tone.PLAIN),
        Cell(_node(v.following), Tone.MUTED),
        Cell(ports or UNKNOWN),
        Cell(v.pool or UNKNOWN),
        Cell(s.traffic_policy if s else UNKNOWN, Tone.MUTED),
    )
    return Row(v.key, cells, dim=old(world, "services"))


def _json(world: World, v: Vip, now: datetime) -> dict[str, Any]:
    reasons = {name: r.reason for name, r in (("elected", v.elected), ("next", v.following)) if not isinstance(r, Known)}
    if v.verdict.grade is Grade.UNKNOWN:
        reasons["status"] = v.verdict.why
    return {
        "address": v.address or None,
        "status": None if v.verdict.grade is Grade.UNKNOWN else v.verdict.word,
        "why": v.verdict.why,
        "service": v.service.key if v.service else None,
        "pool": v.pool or None,
        "announced_by": list(v.announcers),
        "announced_source": v.announced_by or None,
        "elected": v.elected.value if isinstance(v.elected, Known) else None,
        "next": v.following.value if isinstance(v.following, Known) else None,
        "endpoints_ready": v.endpoints_ready,
        "endpoints": v.endpoints,
        "ports": [{"port": p.port, "protocol": p.protocol, "name": p.name} for p in v.service.ports] if v.service else [],
        **aside(world, now, SOURCES, reasons),
    }


def _items(world: World) -> Mapping[str, Vip]:
    return {v.key: v for v in domain.vips(world)}


VIPS: Listing[Vip] = Listing(
    noun="vips",
    title="Addresses",
    sources=SOURCES,
    columns=_COLUMNS,
    items=_items,
    row=_row,
    sorts={
        "address": lambda world, v: (not v.address, [part.rjust(3, "0") for part in v.address.split(".")], v.key),
        "state": lambda world, v: ({Grade.BAD: 0, Grade.PART: 1, Grade.UNKNOWN: 2}.get(v.verdict.grade, 3), v.key),
        "announcer": lambda world, v: (v.announcers, v.key),
        "service": lambda world, v: v.service.key if v.service else "",
        "pool": lambda world, v: (v.pool, v.key),
    },
    default_sort="address",
    text=lambda v: f"{v.address} {v.service.key if v.service else ''} {v.pool} {' '.join(v.announcers)} {v.verdict.word}",
    trouble=lambda world, v, now: domain.trouble(world, v, now) is not None,
    labels=lambda v: v.service.labels if v.service else {},
    json=_json,
    namespaced=True,
)


def describe(world: World, v: Vip, now: datetime) -> tuple[Line, ...]:
    """The detail pane of an address: who announces it, who would, and what answers behind it."""
    s = v.service
    lines: list[Line] = [
        (label("State"), verdict_cell(v.verdict), Cell(f"  {v.verdict.why}" if v.verdict.why else "", Tone.MUTED)),
        pair("Address", v.address or "none"),
        pair("Service", s.key if s else "none"),
        pair(
            "Announced by", f"{', '.join(v.announcers) or UNKNOWN}" + (f"  (from {v.announced_by})" if v.announced_by == "events" else "")
        ),
        _reading("Elected", v.elected),
        _reading("Next", v.following),
        pair("Pool", v.pool or UNKNOWN),
        pair("Endpoints", f"{endpoints_text(v)} ready"),
    ]
    if s is not None:
        lines += [
            pair("Ports", ", ".join(f"{p.name or p.port} {p.port}/{p.protocol} to {p.target or p.port}" for p in s.ports) or UNKNOWN),
            pair("Selector", ", ".join(f"{k}={x}" for k, x in sorted(s.selector.items())) or "none"),
            pair("Traffic policy", s.traffic_policy),
        ]
    return tuple(lines)


def _reading(name: str, reading: Reading[str]) -> Line:
    if isinstance(reading, Known):
        return pair(name, f"{reading.value}  (lowest SHA-256 of node#address)" if name == "Elected" else reading.value)
    return pair(name, f"{UNKNOWN} {reading.reason}", Tone.MUTED)
