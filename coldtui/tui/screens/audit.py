"""The audit: who did what to which object, when, from where, and how it ended; and whether its chain holds."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import partial
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical

from ...domain.errors import ColdError
from ...domain.objects import Ref
from ...domain.runs import AuditEntry
from ...domain.world import World
from ...live.core import in_thread
from ...ports import Journal
from ...present import audit as audit_words
from ...present.audit import AUDIT, AuditRow
from ...present.rows import Cell, Tone
from ..widgets.card import Card
from ..widgets.fold import fold
from ..widgets.table import RowTable
from .base import WorldScreen
from .run import RunScreen, RunText

FIRST = 500
"""Newest entries that are shown before the rest is read."""
PIECE = 5_000
POLL_S = 1.0


class AuditScreen(WorldScreen):
    AUTO_FOCUS = "RowTable"
    CSS = """
    AuditScreen #list { height: 1fr; }
    AuditScreen #chain { display: none; height: auto; max-height: 50%; }
    AuditScreen.-verified #chain { display: block; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("V", "verify", "Verify", id="audit.verify", tooltip="Walk the whole chain: is an entry edited, missing or moved?"),
        Binding("r", "run", "Run", id="audit.run", tooltip="The run that this entry is about"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._rows: dict[str, AuditRow] = {}
        self._last = 0
        """Number of the newest entry of all up to which every one was read."""
        self._journal_id = ""
        self._seen = -1
        self._reading = False

    def body(self) -> ComposeResult:
        with Vertical():
            yield RowTable(AUDIT, items=self._items, id="list")
            yield Card("Chain", id="chain")

    @property
    def list(self) -> RowTable:
        return self.query_one("#list", RowTable)

    def _items(self, world: World) -> Mapping[str, AuditRow]:
        return self._rows

    def on_mount(self) -> None:
        super().on_mount()
        self._look()
        self.set_interval(POLL_S, self._look, name="audit")

    def show(self, world: World, now: datetime) -> None:
        self.list.show(world, now)

    def _again(self) -> None:
        if self.world is not None and self.now is not None and self.is_mounted and self.is_current and not self.has_class("-tiny"):
            self.list.show(self.world, self.now)

    # ------------------------------------------------------------ reading

    def _look(self) -> None:
        """Whether anything was written since; read it."""
        if self.is_current and not self._reading and self.cold.site.live.journal is not None:
            self._reading = True
            self.run_worker(self._read(self.cold.site.live.journal), group="audit", exit_on_error=False, description="the audit")

    async def _read(self, journal: Journal) -> None:
        try:
            changed = await in_thread("audit", journal.changed)
            if changed != self._seen:
                await self._read_new(journal)
                self._seen = changed
        except ColdError as error:
            self.say(" · ".join(part for part in (error.title, error.hint) if part), Tone.WARN)
        except Exception as error:  # noqa: BLE001 - the boundary of a worker: shown and logged
            self.app._handle_exception(error)
        finally:
            self._reading = False

    async def _read_new(self, journal: Journal) -> None:
        if (id := await in_thread("audit", lambda: journal.id)) != self._journal_id:
            self._journal_id, self._last = id, 0
            self._rows = {}
        if not self._last:
            self._take(await in_thread("audit", partial(_rows_of, journal, 0, FIRST, newest=True)))
            self._again()
        while found := await in_thread("audit", partial(_rows_of, journal, self._last, PIECE)):
            self._take(found)
            self._last = found[-1].seq
            if len(found) < PIECE:
                break
            self.list.title = f"{AUDIT.title}, reading"
        self.list.title = AUDIT.title
        self._again()

    def _take(self, rows: tuple[AuditRow, ...]) -> None:
        self._rows.update((row.key, row) for row in rows)

    # ------------------------------------------------------------ keys

    def subject(self) -> Ref | None:
        row = self._row()
        return Ref("audit", row.key) if row is not None else None

    def _row(self) -> AuditRow | None:
        found: AuditRow | None = self.list.item if self.is_mounted else None
        return found

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action == "describe":
            return parameters == (False,)
        if action == "menu":
            return False
        if action == "run":
            row = self._row()
            return row is not None and bool(row.run)
        return super().check_action(action, parameters)

    def narrow(self, argument: str) -> None:
        """`:audit verify`, else as on every screen."""
        if argument.strip() == "verify":
            self.action_verify()
        else:
            super().narrow(argument)

    def on_row_table_row_highlighted(self, message: RowTable.RowHighlighted) -> None:
        super().on_row_table_row_highlighted(message)
        self.refresh_bindings()

    def on_row_table_row_chosen(self, message: RowTable.RowChosen) -> None:
        self.action_describe(False)

    def action_run(self) -> None:
        row = self._row()
        if row is not None and row.run:
            self.app.push_screen(RunScreen(row.run))

    def action_describe(self, yaml: bool) -> None:
        row, journal = self._row(), self.cold.site.live.journal
        if row is not None and journal is not None:
            self.run_worker(self._open(journal, row.seq), group="entry", exclusive=True, exit_on_error=False, description="an entry")

    async def _open(self, journal: Journal, seq: int) -> None:
        try:
            entry = await in_thread("audit-entry", partial(_entry, journal, seq))
        except ColdError as error:
            self.say(str(error), Tone.WARN)
            return
        if entry is None:
            self.say(f"entry {seq} is not there any more: V looks at the whole chain", Tone.BAD)
        elif self.is_current:
            self.app.push_screen(RunText(f"Audit entry {seq}", audit_words.entry_lines(entry)))

    def action_verify(self) -> None:
        journal = self.cold.site.live.journal
        if journal is None:
            self.say("there is no journal, or it cannot be read", Tone.WARN)
            return
        self._show_chain(((Cell("reading every entry …", Tone.MUTED),),))
        self.run_worker(self._verify(journal), group="verify", exclusive=True, exit_on_error=False, description="verifying the audit")

    async def _verify(self, journal: Journal) -> None:
        try:
            found = await in_thread("audit-verify", journal.verify)
        except ColdError as error:
            self._show_chain(((Cell(str(error), Tone.BAD),),))
        else:
            self._show_chain(audit_words.verified_lines(found))

    def _show_chain(self, lines: tuple[tuple[Cell, ...], ...]) -> None:
        card = self.query_one("#chain", Card)
        folded = fold(lines, max(20, self.size.width - 4))
        self.add_class("-verified")
        card.styles.height = len(folded) + 2
        card.show(folded)

    def action_back(self) -> None:
        if self.has_class("-verified") and not self.hints.notice:
            self.remove_class("-verified")
            return
        super().action_back()


def _rows_of(journal: Journal, after: int, limit: int, *, newest: bool = False) -> tuple[AuditRow, ...]:
    return tuple(audit_words.row_of(entry) for entry in journal.audit_entries(after=after, limit=limit, newest_first=newest))


def _entry(journal: Journal, seq: int) -> AuditEntry | None:
    found = journal.audit_entries(after=seq - 1, limit=1)
    return found[0] if found and found[0].seq == seq else None
