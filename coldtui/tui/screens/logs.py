"""The log of a container, followed. The stream is taken up again when it breaks, and closed at once when the screen is left."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen

from ...domain.errors import ColdError, Forbidden, NotFound, Unreachable
from ...domain.kinds import PODS
from ...domain.objects import Ref
from ...domain.pods import Pod
from ...domain.sources import KUBE
from ...domain.world import World
from ...ports import LogLine, LogRequest
from ...present import pods as pod_words
from ...present import words
from ...present.rows import Tone
from ..guard import Guarded
from ..widgets.draw import fit, width_of
from ..widgets.lines import Lines
from ..widgets.logview import LogView
from .base import WorldScreen
from .describe import DEADLINE_S, client
from .pods import worth_looking_at

TAIL = 500
"""Lines from before the log was opened."""
BEHIND_S = 5.0
"""A line that comes later than this after it was written is told as lag."""


class ContainerList(Guarded, ModalScreen[str]):
    """A small list: whose log. Gives the container's name, or nothing for esc."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "dismiss('')", "Cancel", id="containers.cancel"),
        Binding("enter", "choose", "Open", id="containers.open"),
        Binding("j,down", "move(1)", "Down", show=False, id="containers.down"),
        Binding("k,up", "move(-1)", "Up", show=False, id="containers.up"),
    ]
    CSS = """
    ContainerList { align: center middle; background: $background 60%; }
    ContainerList > Vertical { width: 72; max-width: 96%; height: auto; border: round $primary; border-title-color: $title; background: $surface; padding: 0 1; }
    """

    def __init__(self, title: str, names: Sequence[str], states: Sequence[tuple[str, Tone]], at: int) -> None:
        super().__init__()
        self._title, self._names, self._states, self._at = title, tuple(names), tuple(states), at

    def compose(self) -> ComposeResult:
        with Vertical() as box:
            box.border_title = Content(self._title)
            box.border_subtitle = Content("enter opens · esc goes back")
            rows = Lines()
            rows.styles.height = len(self._names)
            yield rows

    def on_mount(self) -> None:
        self._draw()

    def _draw(self) -> None:
        wide = min(40, max(width_of(name) for name in self._names))
        self.query_one(Lines).put(
            [
                ((("▸ " if i == self._at else "  ") + fit(name, wide), "title" if i == self._at else Tone.PLAIN), (f"  {state}", tone))
                for i, (name, (state, tone)) in enumerate(zip(self._names, self._states, strict=True))
            ]
        )

    def action_move(self, by: int) -> None:
        self._at = (self._at + by) % len(self._names)
        self._draw()

    def action_choose(self) -> None:
        self.dismiss(self._names[self._at])


class Seen:
    """Which lines were already shown: after a break the server starts again at a whole second."""

    def __init__(self) -> None:
        self.last: datetime | None = None
        self._texts: Counter[str] = Counter()
        self._again: Counter[str] | None = None

    def resume(self) -> None:
        """What comes next is from a new stream."""
        self._again = self._texts.copy()

    def fresh(self, lines: Sequence[LogLine]) -> list[LogLine]:
        return [line for line in lines if self._is_new(line)]

    def _is_new(self, line: LogLine) -> bool:
        if line.at is None:
            return True
        if self._again is not None and self.last is not None:
            if line.at < self.last:
                return False
            if line.at == self.last and self._again[line.text] > 0:
                self._again[line.text] -= 1
                return False
            if line.at > self.last:
                self._again = None
        if self.last is None or line.at > self.last:
            self.last, self._texts = line.at, Counter()
        if line.at == self.last:
            self._texts[line.text] += 1
        return True


class LogsScreen(WorldScreen):
    """Keys of the text are the LogView's; here: other containers, the instance before, connect again, full screen."""

    RETRY_S: ClassVar[tuple[float, ...]] = (1.0, 2.0, 4.0, 8.0, 10.0)
    """Between tries; the last one for ever. Each is stretched by up to a quarter."""
    CSS = """
    LogsScreen.-full > #title, LogsScreen.-full > #worst { display: none; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "p", "previous", "Previous", id="logs.instance", tooltip="The log of the instance before the last restart, or the present one"
        ),
        Binding("tab", "container(1)", "Container", id="logs.container", tooltip="The next container of this pod"),
        Binding("shift+tab", "container(-1)", "Container before", show=False, id="logs.container-before"),
        Binding("v", "containers", "Containers", show=False, id="logs.containers", tooltip="Choose a container from a list"),
        Binding("ctrl+r", "again", "Connect again", show=False, id="logs.again", tooltip="Open the stream again, now"),
        Binding("d", "describe(False)", "Describe", show=False, id="describe", tooltip="All about this pod, with its events"),
        Binding("y", "describe(True)", "YAML", show=False, id="yaml", tooltip="The pod as the API gives it"),
        Binding("f", "full", "Full screen", show=False, id="logs.full", tooltip="Hide the lines above, or show them"),
    ]

    def __init__(self, ref: Ref, *, previous: bool = False, container: str = "") -> None:
        super().__init__()
        self.ref, self.previous, self.container = ref, previous, container
        self._names: tuple[str, ...] = ()
        self._since_s: int | None = None
        self._head = False
        self._seen = Seen()
        self._opened: datetime | None = None
        self._taken = 0
        self._status = ""
        """How the stream stands when it does not just flow."""
        self._behind_s = 0.0
        self._behind_at: datetime | None = None
        self._paused = False
        """Closed because another mode is in front."""
        self._nudge = asyncio.Event()
        self._line_down = False

    # ------------------------------------------------------------ layout

    def body(self) -> ComposeResult:
        yield LogView()

    @property
    def view(self) -> LogView:
        return self.query_one(LogView)

    def on_mount(self) -> None:
        self._begin()

    def on_resize(self) -> None:
        self._retitle()

    def subject(self) -> Ref | None:
        return self.ref

    def _retitle(self) -> None:
        if not self.is_mounted:
            return
        which = (
            f" ({self._names.index(self.container) + 1} of {len(self._names)})"
            if self.container in self._names[1:] + self._names[:1] and len(self._names) > 1
            else ""
        )
        view, room = self.view, max(16, self.size.width - 44)
        name = f"{self.ref.name} {self.container}".rstrip()
        view.title = (fit(name, room).rstrip() if width_of(name) > room else name) + which
        view.stem = f"{self.ref.name}-{self.container}".rstrip("-")
        view.refresh()

    def show(self, world: World, now: datetime) -> None:
        line = world.sources.get(KUBE)
        down = line is not None and line.trouble is not None
        if self._line_down and not down:
            self._nudge.set()  # the line is back: try now, not at the end of a pause
        self._line_down = down
        self._show_note()

    def _show_note(self) -> None:
        """What is not as it should be, in the view's first line."""
        if not self.is_mounted:
            return
        now, parts = self.cold.now(), []
        if self.previous:
            parts.append("previous instance")
        if self._status:
            parts.append(self._status)
        elif self.world is not None and not self.previous:
            line = self.world.sources.get(KUBE)
            if line is not None and line.trouble is not None:
                since = f" since {words.age(now - line.since)}" if line.since else ""
                parts.append(f"the API does not answer{since}: may be old")
        if self._behind_s > BEHIND_S and self._behind_at is not None and (now - self._behind_at).total_seconds() < 2 * BEHIND_S:
            parts.append(f"{self._behind_s:.0f} s behind, 0 skips")
        note = " · ".join(parts)
        if note != self.view.note:
            self.view.note = note
            self.view.refresh()

    def _set(self, status: str) -> None:
        self._status = status
        self._show_note()

    # ------------------------------------------------------------ the stream

    def _begin(self) -> None:
        """Follow from where we are; whatever followed before is closed."""
        self._nudge = asyncio.Event()
        self.run_worker(self._follow(), exclusive=True, group="log", exit_on_error=False, description=f"log of {self.ref.key}")

    def _restart(self) -> None:
        """Another log, or another part of it."""
        self.view.clear()
        self._seen, self._taken, self._behind_s = Seen(), 0, 0.0
        self._status = ""
        self._retitle()
        self._show_note()
        self._begin()

    def _stamp(self) -> str:
        return f"{self.cold.now():%H:%M:%SZ}"

    async def _follow(self) -> None:
        try:
            await self._choose_container()
            await self._keep_following()
        except Exception as error:  # noqa: BLE001 - the boundary of a worker: shown and logged
            self._set("stopped")
            self.view.say(f"stopped: fault of this program ({type(error).__name__}), see the log")
            self.app._handle_exception(error)

    async def _choose_container(self) -> None:
        """The pod's containers, and which one when none was named. A pod that the World does not know is asked for once."""
        pod = self._pod()
        if pod is not None:
            self._names = tuple(c.name for c in pod.containers)
            if not self.container and pod.containers:
                best = worth_looking_at(pod)
                self.container = pod.containers[best].name
                if sum(not c.init for c in pod.containers) > 1:
                    self.call_later(self.action_containers)
        elif not self.container:
            try:
                whole = await client(self.cold.site).fetch(PODS, self.ref.name, self.ref.namespace, deadline_s=DEADLINE_S)
            except ColdError as error:
                self.view.say(f"the pod could not be read: {error.title}")
            else:
                spec = whole.get("spec") or {}
                self._names = tuple(str(c.get("name")) for key in ("initContainers", "containers") for c in spec.get(key) or ())
                self.container = next((str(c.get("name")) for c in spec.get("containers") or ()), "")
        self._retitle()

    def _pod(self) -> Pod | None:
        world = self.world or self.cold.site.live.world
        return world.pods.items.get(self.ref.key)

    async def _keep_following(self) -> None:
        tries, said = 0, ""
        while True:
            taken = self._taken
            try:
                await self._stream(broken=bool(said))
                if self._taken > taken:
                    tries, said = 0, ""
                why = self._end_words()
                if self.previous or self._is_full():
                    self._set("first lines only" if self._is_full() else "complete")
                    return
                waits, status = why, why
            except (NotFound, Forbidden) as error:
                waits, status = self._no_log(error)
                if not status:
                    self._set(waits)
                    self.view.say(" · ".join(x for x in (error.title, error.hint) if x))
                    return
            except (ColdError, TimeoutError) as error:
                title = error.title if isinstance(error, ColdError) else f"no answer within {DEADLINE_S:.0f} s"
                if self._taken > taken:
                    tries, said = 0, ""
                waits = f"stream broken: {title}, trying again"
                status = f"API lost, try {tries + 2}" if isinstance(error, Unreachable | TimeoutError) else f"failed, try {tries + 2}"
            if waits != said:
                said = waits
                self.view.say(
                    f"{self._stamp()} {waits}"
                    if not waits.startswith("stream broken")
                    else waits.replace("broken", f"broken at {self._stamp()}", 1)
                )
            self._set(status)
            await self._wait(self.RETRY_S[min(tries, len(self.RETRY_S) - 1)])
            tries += 1
            self._seen.resume()

    async def _wait(self, seconds: float) -> None:
        self._nudge.clear()
        try:
            await asyncio.wait_for(self._nudge.wait(), seconds * random.uniform(1.0, 1.25))
        except TimeoutError:
            return

    def _end_words(self) -> str:
        """Why a stream that ended by itself did."""
        pod, world = self._pod(), self.world
        if pod is None and world is not None and world.whole("pods"):
            return "ended: the pod is gone"
        if pod is not None and pod.finished:
            return f"ended: the pod is {pod.state}"
        return "ended: the container has stopped, waiting for it to start again"

    def _no_log(self, error: ColdError) -> tuple[str, str]:
        """(words, status while waiting); no status: this will not change by waiting."""
        if isinstance(error, Forbidden):
            return "not permitted", ""
        if self.previous:
            return "no previous instance", ""
        if self._pod() is None:
            return "the pod is gone", ""
        return " · ".join(x for x in (f"no log yet: {error.title}", error.hint) if x), "waiting"

    def _request(self) -> LogRequest:
        last = self._seen.last
        tail = None if last is not None or self._head or self._since_s is not None else TAIL
        since_s = self._since_s if last is None else None
        where = (self.ref.namespace, self.ref.name, self.container)
        return LogRequest(*where, follow=not self.previous, previous=self.previous, tail=tail, since_s=since_s, since=last)

    async def _stream(self, *, broken: bool) -> None:
        """One stream to its end. Raises domain.errors."""
        self._opened = self.cold.now()
        stream: Any = client(self.cold.site).logs(self._request(), deadline_s=DEADLINE_S)
        if not broken:
            self._set("")
        try:
            async for batch in stream:
                fresh = self._seen.fresh(batch)
                if broken:
                    broken = False
                    self.view.say(f"going on at {self._stamp()}")
                    self._set("")
                if self._head and self._taken + len(fresh) > self._room:
                    fresh = fresh[: self._room - self._taken]
                self._taken += len(fresh)
                if fresh:
                    self._measure(fresh[-1])
                    self.view.extend(fresh)
                if self._is_full():
                    self.view.say(f"the first {self._taken} lines; 0 shows the newest")
                    return
                await asyncio.sleep(0)  # a flood must not keep keys waiting
        finally:
            await stream.aclose()

    @property
    def _room(self) -> int:
        """Lines of the head that the view keeps, beside some words of ours."""
        return self.view.capacity - 10

    def _is_full(self) -> bool:
        """The head was asked for, and all of it that can be kept is here."""
        return self._head and self._taken >= self._room

    def _measure(self, line: LogLine) -> None:
        """How late a line is that was written while we followed; those from before are history, not lag."""
        now = self.cold.now()
        late = line.at is not None and self._opened is not None and line.at > self._opened
        was = self._behind_s
        self._behind_s = max(0.0, (now - line.at).total_seconds()) if late and line.at is not None else 0.0
        self._behind_at = now
        if self._behind_s > BEHIND_S or was > BEHIND_S:
            self._show_note()

    # ------------------------------------------------------------ coming and going

    def on_screen_suspend(self) -> None:
        """Another screen of the console was opened: its mode has another stack. A dialog or describe over us changes nothing."""
        if self not in self.app.screen_stack:
            self.workers.cancel_group(self, "log")
            self._paused = True

    def on_screen_resume(self) -> None:
        if self._paused:
            self._paused = False
            if not (self.previous or self._is_full()):
                self._seen.resume()
                self._begin()

    # ------------------------------------------------------------ keys

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action == "logs":
            return False
        if action in {"container", "containers"}:
            return len(self._names) > 1
        return super().check_action(action, parameters)

    def on_log_view_range_chosen(self, message: LogView.RangeChosen) -> None:
        self._since_s, self._head = message.since_s, message.head
        self._restart()

    def action_again(self) -> None:
        self._seen.resume()
        self._set("")
        self._begin()

    def action_previous(self) -> None:
        self.previous = not self.previous
        self._restart()

    def action_full(self) -> None:
        self.toggle_class("-full")

    def action_container(self, by: int) -> None:
        at = self._names.index(self.container) if self.container in self._names else 0
        self._switch(self._names[(at + by) % len(self._names)])

    def action_containers(self) -> None:
        pod = self._pod()
        if pod is None or self.world is None or self.now is None or not self.is_current:
            return
        found = [pod_words.container_state(self.world, c, self.now) for c in pod.containers]
        states = [(f"{cell.text}{' (init)' if c.init else ''}", cell.tone) for c, cell in zip(pod.containers, found, strict=True)]
        at = next((i for i, c in enumerate(pod.containers) if c.name == self.container), 0)
        self.app.push_screen(ContainerList(f"Log of {pod.name}", [c.name for c in pod.containers], states, at), self._chosen)

    def _chosen(self, name: str | None) -> None:
        if name:
            self._switch(name)

    def _switch(self, name: str) -> None:
        if name != self.container:
            self.container = name
            self._restart()
