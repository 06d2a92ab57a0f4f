"""Postgres: the site's database as three sources tell it. The head stays; tab goes from part to part below it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical

from ...domain.objects import Ref
from ...domain.postgres import PgCluster
from ...domain.readings import Known
from ...domain.replication import lsn_text
from ...domain.sessions import DatabaseFacts, Session
from ...domain.topology import last_position
from ...domain.world import World
from ...present import postgres as pg_words
from ...present import postgres_activity as activity
from ...present import postgres_server as server
from ...present import postgres_topology as topology
from ...present import words
from ...present.lines import Line, two_columns, wrap_line
from ...present.postgres_failover import Keys
from ...present.postgres_head import head as head_of
from ...present.postgres_head import marks
from ...present.postgres_topology import MemberOf, tone_of
from ...present.rows import Cell, Tone
from ..widgets.card import Card
from ..widgets.lines import Lines
from ..widgets.table import RowTable
from .attending import Attending
from .listings import ListingsScreen, Part, plain_part

if TYPE_CHECKING:
    from .base import WorldScreen

FEW = ("instances", "databases", "clusters")
"""Parts with few rows: their tables have the whole width, and what is said of a row stands below."""
BARS, LEAST_FOOT, FOOT, LEAST_TABLE = 4, 5, 8, 6
"""Rows: title, worst line, parts and hints; the box of an instance at the least, with its border; the box of a session; its table."""
NEXT = " next"
SERVER, TALL = ("sessions", "locks", "databases"), 30
"""Parts that are about one server; and so low a terminal that the head is brief beside anything but the instances."""


def _member_ref(item: MemberOf) -> Ref:
    return Ref("pods", item.name, item.cluster.namespace)


def _locked(world: World, item: activity.Blocked, now: datetime) -> tuple[Line, ...]:
    return activity.session_lines(world, item.session, now)


def _session(item: activity.Blocked | Session) -> Session:
    return item.session if isinstance(item, activity.Blocked) else item


def _title(item: Any) -> str:
    """Of what is no object of the API."""
    if isinstance(item, activity.Blocked | Session):
        return f"session {_session(item).pid}"
    return item.name if isinstance(item, DatabaseFacts) else ""


def _session_ref(s: Session) -> Ref:
    return Ref("pg_sessions", str(s.pid))


def _known_of(s: Session) -> Mapping[str, str]:
    """Pid and start together are a session."""
    return {"started": s.started.isoformat()}


def _nothing(item: Any) -> Ref | None:
    return None


def _nowhere(ref: Ref) -> str | None:
    return None


def acts_on(part: Part, item: Any) -> Ref | None:
    """An instance: what can be done to it is not what can be done to any pod."""
    if isinstance(item, activity.Blocked | Session):
        return _session_ref(_session(item))
    if isinstance(item, DatabaseFacts):
        return Ref("pg_databases", item.name)
    ref = part.ref(item) if item is not None else None
    return Ref("pg_instances", ref.name, ref.namespace) if ref is not None and ref.kind == "pods" else ref


def values_of(world: World | None, item: Any) -> Mapping[str, str]:
    """What is known of it besides its name, by the fields of operations."""
    if isinstance(item, activity.Blocked | Session):
        return _known_of(_session(item))
    if isinstance(item, PgCluster):
        return {"cluster": item.key, **_last_seen(world, item)}
    if not isinstance(item, MemberOf):
        return {}
    itself = {"to": ""} if item.name == item.cluster.current_primary else {}  # who leads is failed over from, never to
    return {**itself, **_last_seen(world, item.cluster)}


def _last_seen(world: World | None, cluster: PgCluster) -> Mapping[str, str]:
    """Where the primary's WAL was when it last answered this console: once it is dead nobody else can tell a failover what is lost."""
    at = last_position(world, cluster.current_primary) if world is not None else None
    return {"primary_lsn": lsn_text(at)} if at is not None else {}


def besides_of(world: World | None, item: Any) -> tuple[tuple[Ref, Mapping[str, str]], ...]:
    """Of one that waits: who is at the root of it, as ending that one helps all."""
    if not isinstance(item, activity.Blocked) or world is None:
        return ()
    root = activity.root_of(activity.sessions_of(world), item.session)
    return ((_session_ref(root), _known_of(root)),) if root.pid != item.session.pid else ()


def keys_of(screen: WorldScreen) -> Keys:
    """As they are bound now, for words that tell what to press."""
    app, table = screen.cold, screen.table
    arming = app.acting.arming
    opens = app.key_of("table.open", table) if table is not None else ""
    return Keys(opens, app.key_of("act.menu", screen), "" if arming.armed or arming.forbidden else app.key_of("arm"))


def _wrapped(lines: Sequence[Line], card: Card) -> list[Line]:
    """As many lines as the words take: half a sentence helps nobody."""
    wide = card.content_size.width
    return [part for line in lines for part in wrap_line(line, wide)] if wide > 20 else list(lines)


class PostgresScreen(Attending, ListingsScreen):
    PARTS: ClassVar[tuple[Part, ...]] = (
        Part("instances", topology.MEMBERS, topology.readings, _member_ref, lambda ref: ref.key if ref.kind == "pods" else None),
        Part("sessions", activity.SESSIONS, activity.session_lines, _nothing, _nowhere),
        Part("locks", activity.LOCKS, _locked, _nothing, _nowhere),
        Part("databases", server.DATABASES, server.database_pane, _nothing, _nowhere),
        plain_part("clusters", pg_words.CLUSTERS, "pg_clusters", pg_words.describe),
    )
    DEFAULT_CSS = """
    PostgresScreen #head { height: 5; padding: 0 1; }
    PostgresScreen #parts { height: 1; padding: 0 1; }
    PostgresScreen #foot { height: 1fr; min-height: 3; }
    PostgresScreen #below { width: 1fr; height: 100%; }
    PostgresScreen #item { width: 58; height: 100%; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._at = 0
        self._laid: object = None

    def body(self) -> ComposeResult:
        yield Lines(id="head")
        yield Lines(id="parts")
        with Vertical(id="middle"):
            for part in self.PARTS:
                yield RowTable(part.listing, id=part.id)
        with Horizontal(id="foot"):
            yield Card("", id="below")
            yield Card("", id="item")

    def on_mount(self) -> None:
        super().on_mount()
        self._turn()

    def acts_on(self) -> Ref | None:
        return acts_on(self.part, self._item)

    def act_values(self) -> Mapping[str, str]:
        return values_of(self.world, self._item)

    def acts_besides(self) -> tuple[tuple[Ref, Mapping[str, str]], ...]:
        return besides_of(self.world, self._item)

    @property
    def _item(self) -> Any:
        """What the cursor is on."""
        return self._table_of(self.part).item if self.is_mounted else None

    # --- parts

    @property
    def part(self) -> Part:
        """The one that is shown."""
        return self.PARTS[self._at]

    def action_part(self, by: int) -> None:
        self._at = (self._at + by) % len(self.PARTS)
        self._turn()
        self.call_after_refresh(self._arrive)  # a table that was hidden has no width yet

    def _arrive(self) -> None:
        self._table_of(self.part).focus()
        if self.world is not None and self.now is not None:
            self.show(self.world, self.now)

    def reveal(self, ref: Ref) -> bool:
        at = next((n for n, part in enumerate(self.PARTS) if part.key(ref) is not None), None)
        if at is None:
            return False
        self._at = at
        self._turn()
        return super().reveal(ref)

    def _turn(self) -> None:
        for part in self.PARTS:
            table = self._table_of(part)
            table.display = part is self.part
            table.styles.height, table.styles.min_height = "1fr", 4
        self.attend()

    # --- showing

    def show(self, world: World, now: datetime) -> None:
        few = self.part.id in FEW
        middle = min(6, 2 + max(2, len(self.part.listing.items(world)))) if few else 0
        strip = self._strip(world, now)
        rows = self.size.height - BARS - len(strip) + 1 - (middle + LEAST_FOOT if few else LEAST_TABLE + FOOT)
        brief = self.part.id != "instances" and self.size.height < TALL
        calm = max(3, rows + LEAST_FOOT - FOOT) if few else 0
        head = head_of(world, now, self.size.width - 2, brief=brief, rows=max(3, rows), calm=calm, keys=keys_of(self))
        self.query_one("#head", Lines).styles.height = len(head)
        self.query_one("#head", Lines).put_cells(head)
        self.query_one("#parts", Lines).styles.height = len(strip)
        self.query_one("#parts", Lines).put_cells(strip)
        table = self._table_of(self.part)
        self.query_one("#middle").styles.height = middle if few else "1fr"
        self.query_one("#foot").styles.height = "1fr" if few else FOOT
        table.show(world, now)
        self._show_pane()

    def _strip(self, world: World, now: datetime) -> tuple[Line, ...]:
        """The parts, with what is the matter in one of them; how to get there; how old what is shown is, and below, why it is not whole."""
        cells, marked = [], marks(world, now)
        for part in self.PARTS:
            here = part is self.part
            cells.append(Cell(f"[{part.id}]" if here else f" {part.id} ", Tone.ACCENT if here else Tone.MUTED))
            if part.id in marked and not here:
                cells.append(Cell(f"{marked[part.id]} ", Tone.WARN))
        cells.append(Cell(f" {self.cold.key_of('listings.next', self)}", Tone.ACCENT))
        told, why = self._told(world, now) if self.part.id in SERVER else (Cell(""), "")
        room = self.size.width - 2 - sum(len(cell.text) for cell in (*cells, told))
        cells += [Cell(NEXT, Tone.MUTED)] if room >= len(NEXT) else []
        cells += [told] if room >= 0 else []  # the box below tells it too
        return (tuple(cells), *(((Cell(f" {why}", Tone.STALE),),) if why else ()))

    def _told(self, world: World, now: datetime) -> tuple[Cell, str]:
        """(how old the lists are, why they are not whole)."""
        reading = world.pg_databases if self.part.id == "databases" else world.pg_sessions
        why = activity.lacking(world, now) or getattr(reading, "reason", "")
        if not isinstance(reading, Known):
            return Cell(""), why
        return Cell(f"  SQL {words.age(now - reading.as_of)}", tone_of(reading, now, Tone.MUTED)), why

    def _show_pane(self) -> None:
        if self.world is None or self.now is None or not self.is_mounted:
            return
        part, both = self.part, self.has_class("-wide") and self.part.id in FEW
        below, beside = (self.query_one(f"#{name}", Card) for name in ("below", "item"))
        below.opens = beside.opens = self.cold.key_of("table.open", self._table_of(part))
        beside.display = both
        if (laid := (both, part.id)) != self._laid:  # their widths, which lines are broken by, are known once they are laid out
            self._laid = laid
            self.call_after_refresh(self._show_pane)
        item = self._table_of(part).item
        ref = part.ref(item) if item is not None else None
        title = ref.name if ref is not None else _title(item) or part.listing.title
        if both:
            below.retitle("Primary")
            below.show(_wrapped(server.server_lines(self.world, self.now), below))
            beside.retitle(title)
            beside.show(_wrapped(self._high(item), beside))
        else:
            below.retitle(title)
            below.show(_wrapped(self._low(item, below.content_size.width), below))

    def on_row_table_row_chosen(self, message: RowTable.RowChosen) -> None:
        """Enter: what the box has no room for."""
        from .postgres_page import PostgresPage

        message.prevent_default()
        if (item := self._item) is not None:
            ref = self.part.ref(item)
            self.app.push_screen(PostgresPage(self.part, message.key, ref.name if ref is not None else _title(item)))

    def on_row_table_row_highlighted(self, message: RowTable.RowHighlighted) -> None:
        """What its column cuts of a query stands in the box below."""
        if self.part.id in SERVER:
            message.prevent_default()
            self.hints.hush()
            self._show_pane()

    def _high(self, item: Any) -> tuple[Line, ...]:
        """What is said of an item in a box that is narrow and high."""
        if self.world is None or self.now is None or item is None:
            return ()
        if isinstance(item, MemberOf):
            return topology.readings(self.world, item, self.now, keys_of(self))
        return self.part.detail(self.world, item, self.now)

    def _low(self, item: Any, cells: int) -> tuple[Line, ...]:
        """What is said of an item in a box that is wide and low."""
        if self.world is None or self.now is None:
            return ()
        if isinstance(item, MemberOf):
            return topology.readings_beside(self.world, item, self.now, cells, keys_of(self))
        if isinstance(item, activity.Blocked | Session):
            return activity.session_low(self.world, _session(item), self.now, cells)
        if self.part.id == "databases":
            first = server.database_lines(self.world, item, self.now) if item is not None else ()
            return (*first, *two_columns(server.server_lines(self.world, self.now, 12), cells))
        return self.part.detail(self.world, item, self.now) if item is not None else ()
