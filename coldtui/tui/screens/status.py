"""Status, the home screen: the whole site on one page. Tab goes from card to card, enter opens what the card is about."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical

from coldtui.domain.values import dataclass

from ...domain.objects import Ref
from ...domain.postgres import site_cluster
from ...domain.world import World
from ...present import words
from ...present.backups import recoverable_card
from ...present.lines import Line
from ...present.postgres import postgres_card
from ...present.status import cluster_card, deployments_card, events_card
from ...present.storage import storage_card
from ..widgets.card import Card
from .base import WorldScreen


@dataclass(frozen=True, slots=True)
class Part:
    """One card of the home screen."""

    id: str
    title: str
    opens: str
    """Id of the screen that enter leads to."""
    lines: Callable[[World, datetime, int, int], tuple[Line, ...]]
    """(world, now, width, height) -> lines."""


PARTS: tuple[Part, ...] = (
    Part("cluster", "Cluster", "nodes", lambda w, now, cells, rows: cluster_card(w, now, cells)),
    Part("storage", "Storage", "storage", lambda w, now, cells, rows: storage_card(w, now, cells)),
    Part("deployments", "Deployments", "deployments", deployments_card),
    Part("postgres", "PostgreSQL", "postgres", lambda w, now, cells, rows: postgres_card(w, now, cells)),
    Part("recoverable", "Recoverable", "backups", lambda w, now, cells, rows: recoverable_card(w, now, cells)),
    Part("recent", "Recent events", "events", events_card),
)
LEFT = 3
"""How many of them stand in the left column."""


class PartCard(Card, can_focus=True):
    """A card that can be entered."""

    DEFAULT_CSS = "PartCard:focus { border: round $accent; }"


class StatusScreen(WorldScreen):
    AUTO_FOCUS = ""
    CSS = """
    StatusScreen #left { width: 1fr; }
    StatusScreen #right { width: 1fr; }
    StatusScreen.-wide #left { width: 46%; }
    StatusScreen.-wide #right { width: 54%; }
    StatusScreen #cluster, StatusScreen #postgres { height: 9; }
    StatusScreen #storage, StatusScreen #recoverable { height: 6; }
    StatusScreen.-tall #storage, StatusScreen.-tall #recoverable { height: 7; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "enter", "Open", id="status.open", tooltip="Open the card that has the focus; without one, the worst problem"),
        Binding("tab,right,down,j", "card(1)", "Next card", show=False, id="status.next", tooltip="Next card"),
        Binding("shift+tab,left,up,k", "card(-1)", "Previous card", show=False, id="status.previous", tooltip="Previous card"),
    ]

    def body(self) -> ComposeResult:
        with Horizontal():
            with Vertical(id="left"):
                yield from (PartCard(part.title, id=part.id) for part in PARTS[:LEFT])
            with Vertical(id="right"):
                yield from (PartCard(part.title, id=part.id) for part in PARTS[LEFT:])

    def show(self, world: World, now: datetime) -> None:
        for part in PARTS:
            card = self.query_one(f"#{part.id}", PartCard)
            size = card.content_size
            if size.width:
                card.show(part.lines(world, now, size.width, size.height))
        found = site_cluster(world)
        if found is not None:
            self.query_one("#postgres", PartCard).retitle(f"PostgreSQL  {found.name}")
        self.query_one("#recent", PartCard).retitle("Recent runs and events" if world.runs.runs else "Recent events")
        cluster = self.query_one("#cluster", PartCard)
        oldest = min((n.created for n in world.nodes.items.values()), default=None)
        cluster.retitle("Cluster", f"up {words.age(now - oldest)}" if oldest is not None else "")

    def on_resize(self) -> None:
        super().on_resize()
        self.set_class(self.size.height >= 30, "-tall")
        # The cards get their sizes with the layout that follows.
        self.call_after_refresh(self._show_again)

    def _show_again(self) -> None:
        if self.world is not None and self.now is not None and self.is_mounted and not self.has_class("-tiny"):
            self.show(self.world, self.now)

    def subject(self) -> Ref | None:
        return None

    def action_card(self, by: int) -> None:
        cards = list(self.query(PartCard))
        at = next((i for i, card in enumerate(cards) if card.has_focus), None)
        chosen = cards[(at + by) % len(cards)] if at is not None else cards[0 if by > 0 else -1]
        chosen.focus()

    def action_back(self) -> None:
        if self.focused is not None and not self.hints.hush(all=True):
            self.set_focus(None)
            return
        super().action_back()

    async def action_enter(self) -> None:
        focused = self.focused
        part = next((p for p in PARTS if focused is not None and p.id == focused.id), None)
        if part is None:
            self.cold.action_worst()
        else:
            self.cold.run_command(part.opens)
