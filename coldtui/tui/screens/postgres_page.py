"""All that is known of one row of the Postgres screen, on a page of its own: an instance, a session, a database, a cluster."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from textual.app import ComposeResult

from ...domain.objects import Ref
from ...domain.world import World
from ...present import postgres_server as server
from ...present import postgres_topology as topology
from ...present.lines import Line, wrap_line
from ...present.postgres_failover import Keys
from ...present.postgres_topology import MemberOf
from ...present.rows import Cell, Tone
from ..widgets.textview import TextView
from . import postgres as rows
from .attending import Attending
from .listings import Part


class PostgresPage(Attending):
    """Follows the World as its row does; acts are those of the row."""

    def __init__(self, part: Part, key: str, title: str) -> None:
        super().__init__()
        self._part, self.key, self.named = part, key, title
        self._found: tuple[World | None, Any] = (None, None)

    def body(self) -> ComposeResult:
        yield TextView(self.named, stem=f"{self.part.id}-{self.named}")

    @property
    def part(self) -> Part:
        return self._part

    @property
    def item(self) -> Any:
        """None: it is not there any more. Looked for once in each World: keys and acts ask for it often."""
        if self.world is not None and self._found[0] is not self.world:
            self._found = (self.world, self.part.listing.items(self.world).get(self.key))
        return self._found[1]

    def show(self, world: World, now: datetime) -> None:
        item, view = self.item, self.query_one(TextView)
        if item is None:
            view.show([(Cell(f"{self.named} is not there any more", Tone.WARN),)])
            return
        wide = max(40, (view.size.width or self.size.width) - 2)
        lines = whole(self.part, world, item, now, wide, rows.keys_of(self))
        view.show([(Cell(" "), *piece) for line in lines for piece in wrap_line(line, wide)])

    def on_resize(self) -> None:
        super().on_resize()
        if self.world is not None and self.now is not None and self.is_mounted:
            self.show(self.world, self.now)

    def subject(self) -> Ref | None:
        item = self.item
        return self.part.ref(item) if item is not None else None

    def acts_on(self) -> Ref | None:
        return rows.acts_on(self.part, self.item)

    def act_values(self) -> Mapping[str, str]:
        return rows.values_of(self.world, self.item)

    def acts_besides(self) -> tuple[tuple[Ref, Mapping[str, str]], ...]:
        return rows.besides_of(self.world, self.item)


def whole(part: Part, world: World, item: Any, now: datetime, cells: int, keys: Keys) -> tuple[Line, ...]:
    """What the boxes of the screen have room for in part."""
    columns = max(24, min(60, cells - 30))
    if isinstance(item, MemberOf):
        lines = topology.whole(world, item, now, keys, columns)
        return (*lines, (), *server.server_lines(world, now, columns)) if item.name == topology.of(world, now).primary else lines
    lines = part.detail(world, item, now)
    return (*lines, (), *server.server_lines(world, now, columns)) if part.id == "databases" else lines
