"""Storage: Longhorn's volumes and nodes, and the claims of the cluster. No digit: `:storage`, the palette, or the card on Status."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar

from textual.app import ComposeResult

from ...domain.objects import Ref
from ...domain.readings import Freshness
from ...domain.storage import Claim
from ...domain.world import World
from ...present import storage as storage_words
from ...present import words
from ...present.lines import Line, pair
from ...present.rows import Cell, Tone
from ...present.verdicts import verdict_cell
from ..widgets.card import Card
from ..widgets.draw import width_of
from ..widgets.fold import fold
from ..widgets.lines import Lines
from ..widgets.table import RowTable
from ..widgets.textview import TextView
from .base import WorldScreen
from .listings import ListingsScreen, Part, plain_part

TALL = 34
"""From this height on all three tables have room; below, the one with the focus takes what there is."""
LEAST = 4


def claim_detail(world: World, claim: Claim, now: datetime) -> tuple[Line, ...]:
    """A claim, and the Longhorn volume under it where there is one."""
    size = f"{words.size(claim.requested_b)} asked" + (f", {words.size(claim.capacity_b)} given" if claim.capacity_b is not None else "")
    lines: list[Line] = [
        (verdict_cell(storage_words.claim_verdict(world, claim)),),
        (),
        pair("Namespace", claim.namespace),
        pair("Size", size),
        pair("Class", claim.storage_class or "none"),
        pair("Access", ", ".join(claim.access) or "–"),
        pair("Volume", claim.volume or "none yet"),
    ]
    if claim.created is not None:
        lines.append(pair("Created", f"{words.stamp(claim.created)}  ({words.age(now - claim.created)})"))
    lines += [pair(c.type, c.message or c.reason, Tone.WARN) for c in claim.conditions if c.status == "True"]
    below = next((v for v in world.lh_volumes.items.values() if v.claim_key == claim.key), None)
    if below is not None:
        lines += [(), (Cell("Longhorn volume", Tone.ACCENT),), *storage_words.describe_volume(world, below, now)]
    return tuple(lines)


PARTS: tuple[Part, ...] = (
    plain_part("lh_volumes", storage_words.VOLUMES, "lh_volumes", storage_words.describe_volume, share=2),
    plain_part("lh_nodes", storage_words.NODES, "lh_nodes", storage_words.describe_node),
    plain_part("claims", storage_words.CLAIMS, "claims", claim_detail),
)


class StorageScreen(ListingsScreen):
    PARTS: ClassVar[tuple[Part, ...]] = PARTS
    CSS = """
    StorageScreen #sum { height: 1; }
    StorageScreen.-wide #pane { width: 45%; margin-left: 1; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._begun = False

    def body(self) -> ComposeResult:
        yield Lines(id="sum")
        yield from super().body()

    def show(self, world: World, now: datetime) -> None:
        self._sum(world, now)
        if not self._begun and world.sources["lh_volumes"].freshness is not Freshness.LOADING:
            self._begun = True
            if world.sources["lh_volumes"].freshness is Freshness.NOT_INSTALLED:
                self._table_of(self.PARTS[-1]).focus()  # another kind of storage: the claims are what there is
        super().show(world, now)

    def _sum(self, world: World, now: datetime) -> None:
        width = self.size.width - 2
        lines: list[Line]
        if world.lh_nodes.items or world.lh_volumes.items:
            room, health = storage_words.capacity_line(world, now, min(56, width)), storage_words.volumes_line(world, now)
            both: Line = (Cell(" "), *room, Cell("   "), *health)
            fits = sum(width_of(cell.text) for cell in both) <= width
            lines = [both] if fits else [(Cell(" "), *room), (Cell(" "), *health)]
        else:
            lines = []  # the tables say why
        found = self.query_one("#sum", Lines)
        found.display = bool(lines)
        found.styles.height = max(1, len(lines))
        found.put_cells(lines)

    def _show_pane(self) -> None:
        super()._show_pane()
        pane = self.query_one("#pane", Card)
        if self.has_class("-wide") and self.world is not None and self.now is not None:
            item = self._table_of(self.part).item
            if item is not None and pane.content_size.width:
                pane.show(fold(self.part.detail(self.world, item, self.now), pane.content_size.width))

    def on_resize(self) -> None:
        self._share_room()
        self.call_after_refresh(self._again)

    def _again(self) -> None:
        if self.world is not None and self.now is not None and self.is_mounted and not self.has_class("-tiny"):
            self.show(self.world, self.now)

    def on_descendant_focus(self) -> None:
        self._share_room()

    def _share_room(self) -> None:
        """On a low terminal the focused table gets all but the title and the first rows of the others."""
        height = self.size.height or self.app.size.height
        for part in self.PARTS:
            table = self._table_of(part)
            if height >= TALL:
                table.styles.height = f"{part.share}fr"
            else:
                table.styles.height = "1fr" if part is self.part else LEAST
            table.styles.min_height = LEAST

    def reveal(self, ref: Ref) -> bool:
        """A copy, engine or snapshot is found at its volume, a persistent volume at its claim."""
        world = self.world
        if world is not None and ref.kind in {"lh_replicas", "lh_engines", "lh_snapshots"}:
            item = world.shelf(ref.kind).items.get(ref.key)
            ref = Ref("lh_volumes", item.volume, item.namespace) if item is not None else ref
        elif world is not None and ref.kind == "volumes":
            volume = world.volumes.items.get(ref.key)
            namespace, _, name = volume.claim.partition("/") if volume is not None else ("", "", "")
            ref = Ref("claims", name, namespace) if name else ref
        return super().reveal(ref)

    def on_row_table_row_chosen(self, message: RowTable.RowChosen) -> None:
        message.prevent_default()  # Textual would go on to describe it, as the base does
        part = next(p for p in self.PARTS if p.id == message.table.id)
        self.app.push_screen(StoredScreen(part, message.key))


class StoredScreen(WorldScreen):
    """One volume, Longhorn node or claim, as it is now."""

    def __init__(self, part: Part, key: str) -> None:
        super().__init__()
        self.part, self.key = part, key

    def body(self) -> ComposeResult:
        yield TextView(f"{self.part.listing.title}: {self.key}", stem=self.key)

    def _item(self, world: World) -> Any:
        return self.part.listing.items(world).get(self.key)

    def subject(self) -> Ref | None:
        namespace, slash, name = self.key.partition("/")
        return Ref(self.part.id, name, namespace) if slash else Ref(self.part.id, namespace)

    def show(self, world: World, now: datetime) -> None:
        item = self._item(world)
        state = world.sources[self.part.id]
        lines: list[Line] = []
        if not state.whole:
            lines += [(Cell(f"{words.GLYPHS['off']} {words.freshness(state, now)}", Tone.STALE),), ()]
        if item is None:
            gone = "it is no longer in the cluster" if state.whole else "it is not known"
            lines.append((Cell(gone, Tone.WARN),))
        else:
            lines += self.part.detail(world, item, now)
        self.query_one(TextView).show([(Cell(" "), *line) for line in fold(lines, max(20, self.size.width - 2))])

    def on_resize(self) -> None:
        if self.world is not None and self.now is not None and not self.has_class("-tiny"):
            self.show(self.world, self.now)
