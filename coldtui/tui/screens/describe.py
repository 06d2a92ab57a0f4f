"""One object in full: described, or as YAML. Read from the API when opened and on ctrl-r; never watched, so its age is shown."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from ...domain.errors import ColdError, Forbidden, NotFound, NotInstalled, Unreachable
from ...domain.events import Event
from ...domain.kinds import KINDS, NODE_STATS, NODES, Kind
from ...domain.objects import Ref
from ...domain.world import World
from ...ports import Kube
from ...present import words
from ...present.describe import describe
from ...present.lines import Line
from ...present.rows import Cell, Tone
from ...present.yamltext import yaml_lines
from ..site import Site
from ..widgets.fold import fold
from ..widgets.lines import Lines
from ..widgets.textview import TextView
from .base import WorldScreen

DEADLINE_S = 10.0


def client(site: Site) -> Kube:
    """The client for single questions. Raises Unreachable while there is none, with what is known of why."""
    found: Kube | None = site.kube
    if found is None:
        raise Unreachable("not connected to the API yet", hint="ctrl-r tries again")
    return found


def error_lines(error: ColdError) -> list[Line]:
    """What went wrong, a line each: what, where, the remedy."""
    return [(Cell(text, tone),) for text, tone in ((error.title, Tone.WARN), (error.detail, Tone.PLAIN), (error.hint, Tone.MUTED)) if text]


class DescribeScreen(WorldScreen):
    """`d` and `y` change between the two forms; `ctrl-r` reads again."""

    CSS = """
    DescribeScreen #reading { height: 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+r", "reread", "Read again", id="describe.reread", tooltip="Read the object and its events again"),
    ]

    def __init__(self, ref: Ref, *, yaml: bool = False) -> None:
        super().__init__()
        self.ref, self.yaml = ref, yaml
        self.obj: Mapping[str, Any] | None = None
        self.events: tuple[Event, ...] | None = None
        """None: not read."""
        self.read_at: datetime | None = None
        self.trouble: ColdError | None = None
        """Why the last reading failed."""
        self.events_trouble: ColdError | None = None
        self._busy_since: datetime | None = None

    # ------------------------------------------------------------ layout

    def body(self) -> ComposeResult:
        yield Lines(id="reading")
        yield TextView(self._title(), stem=f"{self.ref.kind}-{self.ref.name}")

    def on_mount(self) -> None:
        self.set_interval(1.0, self._count)
        self.action_reread()

    def _title(self) -> str:
        kind = KINDS.get(self.ref.kind)
        noun = str(self.obj.get("kind", "")) if self.obj is not None else ""
        return f"{noun or (kind.title if kind else self.ref.kind)} {self.ref.key}{' · YAML' if self.yaml else ''}"

    def show(self, world: World, now: datetime) -> None:
        self._show_reading()

    def subject(self) -> Ref | None:
        return self.ref

    def on_resize(self) -> None:
        self._show_reading()
        if self.obj is None:
            self._show_words()

    def _count(self) -> None:
        """Elapsed seconds while a reading takes long."""
        if self._busy_since is not None and self.is_current:
            self._show_reading()

    @property
    def _there(self) -> bool:
        """Not before it is mounted, and not while it is being left: its children go first, and a reading may end just then."""
        return self.is_mounted and bool(self.query(TextView))

    def _show_reading(self) -> None:
        if not self._there:
            return
        now, cells = self.cold.now(), [Cell(" ")]
        if self._busy_since is not None:
            waited = int((now - self._busy_since).total_seconds())
            cells.append(Cell(f"{words.GLYPHS['part']} reading{f' for {waited} s' if waited >= 1 else ' …'}", Tone.ACCENT))
            if self.read_at is not None:
                cells.append(Cell(f" · shown as read {self._when(now)}", Tone.MUTED))
        elif self.trouble is not None:
            what = f"not read again: {self.trouble.title}" if self.obj is not None else f"not read: {self.trouble.title}"
            cells.append(Cell(f"{words.GLYPHS['bad']} {what}", Tone.WARN))
            if self.read_at is not None:
                cells.append(Cell(f" · shown as read {self._when(now)}", Tone.STALE))
            cells.append(Cell(" · ctrl-r tries again", Tone.MUTED))
        elif self.read_at is not None:
            cells.append(Cell(f"read {self._when(now)}", Tone.MUTED))
            cells.append(Cell(" · not followed: ctrl-r reads again", Tone.MUTED))
        self.query_one("#reading", Lines).put_cells([tuple(cells)])

    def _when(self, now: datetime) -> str:
        assert self.read_at is not None
        return f"{self.read_at:%H:%M:%SZ}, {words.age(now - self.read_at)} ago"

    # ------------------------------------------------------------ reading

    def action_reread(self) -> None:
        self.run_worker(self._read(), exclusive=True, group="describe", exit_on_error=False, description=f"read {self.ref}")

    async def _read(self) -> None:
        self._busy_since = self.cold.now()
        self._show_reading()
        try:
            kind = self._kind()
            kube = client(self.cold.site)
            self.obj = await asyncio.wait_for(
                kube.fetch(kind, self.ref.name, self.ref.namespace, deadline_s=DEADLINE_S), timeout=DEADLINE_S + 2
            )
            self.read_at, self.trouble, self.events = self.cold.now(), None, None
            await self._show_object()
            await self._read_events(kube)
        except ColdError as error:
            self.trouble = error
        except TimeoutError:
            self.trouble = Unreachable(f"no answer within {DEADLINE_S:.0f} s")
        except Exception as error:  # noqa: BLE001 - the boundary of a worker: shown and logged
            self.trouble = ColdError(f"fault of this program: {type(error).__name__}", hint="see the log")
            self.app._handle_exception(error)
        finally:
            self._busy_since = None
        if self.obj is None:
            self._show_words()
        else:
            await self._show_object()
        self._show_reading()

    def _kind(self) -> Kind:
        kind = NODES if self.ref.kind == NODE_STATS.name else KINDS.get(self.ref.kind)
        if kind is None:
            raise NotInstalled(f"{self.ref.kind} is nothing that the API keeps")
        return kind

    async def _read_events(self, kube: Kube) -> None:
        assert self.obj is not None
        self.events_trouble = None
        try:
            self.events = await asyncio.wait_for(
                kube.events_of(str(self.obj.get("kind", "")), self.ref.name, self.ref.namespace, deadline_s=DEADLINE_S), DEADLINE_S + 2
            )
        except ColdError as error:
            self.events_trouble = error
        except TimeoutError:
            self.events_trouble = Unreachable(f"no answer within {DEADLINE_S:.0f} s")

    async def _show_object(self) -> None:
        obj, events, now = self.obj, self.events, self.cold.now()
        if obj is None or not self.is_mounted:
            return
        # In a thread: a custom resource may be a megabyte, and keys must not wait for it.
        yaml = self.yaml
        lines = await asyncio.to_thread(yaml_lines, obj) if yaml else await asyncio.to_thread(describe, obj, events or (), now)
        if yaml != self.yaml or not self._there:
            return
        if not yaml and events is None:
            lines = (*lines[:-1], (Cell(f"  {self._no_events()}", Tone.WARN if self.events_trouble else Tone.MUTED),))
        view = self.query_one(TextView)
        view.title, view.ending = self._title(), "yaml" if yaml else "txt"
        view.show(lines)
        view.refresh()

    def _no_events(self) -> str:
        return f"not read: {self.events_trouble.title}" if self.events_trouble is not None else "reading …"

    def _show_words(self) -> None:
        """In place of the object: why it is not here."""
        if not self._there:
            return
        view, error = self.query_one(TextView), self.trouble
        if error is None:
            lines: list[Line] = [(), (Cell("  reading …", Tone.MUTED),)]
        else:
            known = {
                NotFound: "It may have been deleted or replaced since the list was read.",
                Forbidden: "The account that the console uses may not read it.",
            }
            more = next((text for kind, text in known.items() if isinstance(error, kind)), "")
            said = [*error_lines(error), *(((Cell(more, Tone.MUTED),),) if more else ())]
            lines = [(), *((Cell("  "), *line) for line in fold(said, max(20, self.size.width - 4)))]
        view.title = self._title()
        view.show(lines)
        view.refresh()

    # ------------------------------------------------------------ keys

    def action_describe(self, yaml: bool) -> None:
        """The other form of the same reading, at once."""
        if yaml != self.yaml:
            self.yaml = yaml
            self.query_one(TextView).top = 0
            self.run_worker(
                self._show_form(), exclusive=True, group="describe-form", exit_on_error=False, description="show the other form"
            )

    async def _show_form(self) -> None:
        if self.obj is None:
            self._show_words()
        else:
            await self._show_object()
