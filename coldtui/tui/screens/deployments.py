"""Deployments with the stateful and daemon sets beside them; enter opens the rollout tree of one deployment."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.containers import Horizontal

from coldtui.domain.values import dataclass

from ...domain.deployments import Deployment
from ...domain.objects import Ref
from ...domain.world import World
from ...present import deployments as deployment_words
from ...present import words
from ...present.lines import Line, pair
from ...present.rows import Cell, Listing, Row, Tone
from ..widgets.card import Card
from ..widgets.table import RowTable
from .base import WorldScreen
from .listings import ListingsScreen, Part, plain_part


def _set_detail(world: World, item: Any, now: datetime) -> tuple[Line, ...]:
    return (
        (Cell(deployment_words.set_words(item)),),
        (),
        pair("Replicas", f"{item.ready} ready, {item.updated} updated, {item.available} available, {item.desired} wanted"),
        pair("Created", f"{words.stamp(item.created)}  ({words.age(now - item.created)})"),
        *(pair("Image" if i == 0 else "", f"{container}: {image}") for i, (container, image) in enumerate(item.images)),
    )


class DeploymentsScreen(ListingsScreen):
    PARTS: ClassVar[tuple[Part, ...]] = (
        plain_part("deployments", deployment_words.DEPLOYMENTS, "deployments", deployment_words.detail, share=2),
        plain_part("statefulsets", deployment_words.STATEFULSETS, "statefulsets", _set_detail),
        plain_part("daemonsets", deployment_words.DAEMONSETS, "daemonsets", _set_detail),
    )

    def on_row_table_row_chosen(self, message: RowTable.RowChosen) -> None:
        message.prevent_default()  # Textual calls the base's handler too: it would open describe over this
        if message.table.id == "deployments":
            self.app.push_screen(DeploymentScreen(message.key))
        else:
            super().on_row_table_row_chosen(message)


@dataclass(frozen=True, slots=True)
class Branch:
    """One line of the rollout tree, with its place."""

    place: int
    row: Row

    @property
    def key(self) -> str:
        return self.row.key


class DeploymentScreen(WorldScreen):
    """One deployment: itself, its ReplicaSets and their pods as a tree, and its revisions."""

    CSS = """
    DeploymentScreen #tree { width: 1fr; }
    DeploymentScreen #facts { display: none; width: 46%; }
    DeploymentScreen.-wide #facts { display: block; }
    """

    def __init__(self, key: str) -> None:
        super().__init__()
        self.key = key
        self._branches: dict[str, Branch] = {}

    def body(self) -> ComposeResult:
        listing: Listing[Branch] = Listing(
            noun="rollout",
            title=f"Rollout of {self.key.partition('/')[2] or self.key}",
            sources=("deployments", "replicasets", "pods"),
            columns=deployment_words.TREE_COLUMNS,
            items=self._tree,
            row=lambda world, branch, now: branch.row,
            sorts={"name": lambda world, branch: branch.place},
            default_sort="name",
            text=lambda branch: " ".join(cell.text for cell in branch.row.cells),
        )
        with Horizontal():
            yield RowTable(listing, id="tree")
            yield Card("Details", id="facts")

    def _tree(self, world: World) -> Mapping[str, Branch]:
        return self._branches

    def deployment(self, world: World) -> Deployment | None:
        return world.deployments.items.get(self.key)

    def show(self, world: World, now: datetime) -> None:
        found = self.deployment(world)
        facts = self.query_one("#facts", Card)
        if found is None:
            state = world.sources["deployments"]
            text = "this deployment no longer exists" if state.whole else f"not known: {words.freshness(state, now)}"
            self._branches = {}
            facts.show(((Cell(text, Tone.WARN),),))
        else:
            rows = deployment_words.tree_rows(world, found, now)
            self._branches = {row.key: Branch(place, row) for place, row in enumerate(rows)}
            facts.show(deployment_words.detail(world, found, now))
        self.query_one(RowTable).show(world, now)

    def subject(self) -> Ref | None:
        key = self.query_one(RowTable).key if self.is_mounted else None
        kind, _, rest = (key or f"deployments/{self.key}").partition("/")
        namespace, _, name = rest.partition("/")
        return Ref(kind, name, namespace)

    def on_row_table_row_chosen(self, message: RowTable.RowChosen) -> None:
        ref = self.subject()
        if ref is not None and ref.kind == "pods":
            self.cold.open_ref(ref)
        else:
            self.action_describe(False)
