"""The console itself: modes, keys, commands, the tick that brings the newest World to the screen, and the terminal's care."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from textual.app import App
from textual.binding import Binding, BindingType
from textual.filter import Monochrome, NoColor
from textual.screen import Screen

from ..domain.objects import Ref
from ..domain.problems import Problem, problems
from ..domain.text import one_of, plain
from ..domain.world import World
from ..present.rows import Tone
from . import commands, theme
from .acting import Acting
from .dialogs.base import Fresh
from .driver import HUNG_UP, QuietDriver
from .guard import Guarded
from .keyed import KeyedApp
from .paint import PaintedApp
from .screens import SCREENS, Entry
from .screens.base import WorldScreen
from .site import Options, Site
from .widgets.bars import HintLine
from .widgets.prompt import PromptLine

if TYPE_CHECKING:
    from .picture import Picture

log = logging.getLogger(__name__)

PUBLISH_S = 0.25
"""The newest World is shown at most this often: one repaint costs a few ms, and nobody reads faster."""
HURRY_S = 2.0
"""So long after the start a newer World is shown at once: each brings what is waited for. (Live makes ten a second at most.)"""
SHARE = 0.02
"""Of a core, that taking in newer Worlds may cost: a site of 1,000 nodes is shown less often than four times a second."""
HURRY_SHARE = 0.2
"""The same in the hurry of the start, when the lists of a big site still come in."""
SLOWEST_S = 1.0
GC_THRESHOLD = 500_000
"""Only closed screens leave cycles, so the collector is run while nobody types (`_tick`), and by itself only if so many objects came
to be meanwhile. At Python's own threshold of 700 it walked 20,000 pods again and again, for up to 150 ms, in which no key was answered."""
QUIET_S = 5.0
SWITCH_S = 0.001
"""How long a thread that decodes may keep the interpreter while the console waits for it. With Python's 5 ms a dozen of them at the
start held up each paint by a tenth of a second, and under load each key."""
TICK_S = 5.0
"""Ages move in steps of 5 s."""
PICTURE_S = 60.0


def _mode(entry: Entry) -> Callable[[], Screen[Any]]:
    return lambda: entry.load()()


class ColdApp(Guarded, KeyedApp, PaintedApp):
    """The console over one site."""

    TITLE = "coldtui"
    ENABLE_COMMAND_PALETTE = False
    MODES = {entry.id: _mode(entry) for entry in SCREENS}  # noqa: RUF012 - Textual's own declaration
    DEFAULT_MODE = SCREENS[0].id
    CSS = """
    Screen { color: $foreground; scrollbar-size: 0 0; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        *(
            Binding(str(entry.number), f"open('{entry.id}')", entry.title, id=f"screen.{entry.id}", tooltip=entry.help)
            for entry in SCREENS
            if entry.number
        ),
        Binding(
            "exclamation_mark", "worst", "Worst", key_display="!", show=False, id="worst", tooltip="Open the worst problem; again: the next"
        ),
        Binding("ctrl+r", "refresh", "Refresh", show=False, id="refresh", tooltip="Read everything anew and paint the whole screen"),
        Binding("ctrl+p", "palette", "Palette", show=False, id="palette", tooltip="Find what to do by its words"),
        Binding("colon", "command", "Command", key_display=":", id="command", tooltip="Type a command"),
        Binding("A", "arm", "Arm", show=False, id="arm", tooltip="Arm for 15 minutes, so that acts can be confirmed; again: read-only"),
        Binding("ctrl+u", "undo", "Undo", id="undo", tooltip="Undo the act of the last 10 s"),
        Binding("question_mark", "help", "Help", key_display="?", id="help", tooltip="Keys and commands of this screen"),
        Binding("ctrl+c", "interrupt", "Quit", show=False, priority=True, id="quit", tooltip="Close the prompt, or leave the console"),
    ]

    def __init__(self, site: Site, options: Options | None = None, picture: Picture | None = None) -> None:
        super().__init__(driver_class=QuietDriver if sys.platform != "win32" else None, watch_css=False)
        self.site, self.options, self.picture = site, options or Options(), picture
        self.acting = Acting(self)
        self.ascii_only = plain_letters_only(os.environ, getattr(sys.__stderr__, "encoding", None))
        if self.no_color and not os.environ.get("NO_COLOR"):  # https://no-color.org: only a non-empty value means none
            self.no_color = False
            self._filters = [f for f in self._filters if not isinstance(f, (Monochrome, NoColor))]
        self._take_theme(self.options.theme or ("ansi" if os.environ.get("TERM") == "linux" else theme.DEFAULT))
        self._first_theme = self.theme
        self.home = self.options.start if self.options.start in self.MODES else self.DEFAULT_MODE
        """Id of the first screen."""
        self._current_mode = self.home
        self._screen_stacks = {self.home: []}
        self.world: World | None = None
        self.problems: tuple[Problem, ...] = ()
        self.worst_at = 0
        self.failures: list[Exception] = []
        """The last errors of ours that were shown and logged."""
        self._failed_at: dict[str, int] = {}
        self.history: list[str] = []
        """Commands typed."""
        self._opened_worst = ""
        self._up = False
        self._up_at = 0.0
        self._cost_s = 0.0
        """CPU of taking in the World that was shown last."""
        self._woken = False
        self._shown: tuple[int, float] = (-1, 0.0)
        self._unsubscribe: Callable[[], None] = lambda: None
        self._clash_said: set[str] = set()
        self._frame: tuple[str, float, tuple[int, int]] | None = None
        self._frame_at = 0.0
        self._collected_at = time.monotonic()

    # ------------------------------------------------------------ colours

    def get_theme_variable_defaults(self) -> dict[str, str]:
        return dict(theme.DEFAULTS)

    def _take_theme(self, name: str) -> None:
        """Before the first paint: without the repaint of everything that a later change costs."""
        try:
            found = theme.load(name)
        except KeyError:
            log.warning("theme %s does not exist", name)
            name, found = theme.DEFAULT, theme.load(theme.DEFAULT)
        self.register_theme(found.theme)
        self.set_reactive(App.theme, name)
        self.stylesheet.set_variables(self.get_css_variables())
        self._refresh_truecolor_filter(self.ansi_theme)
        self.palette = theme.palette(name, mono=self.no_color)

    def choose_theme(self, name: str) -> None:
        if name not in theme.names():
            near = one_of(theme.names(), name)
            self.say(f"no theme {name}" if name else "themes: " + " ".join(theme.names()), Tone.WARN)
            if name and near:
                self.say(f"no theme {name}; did you mean {near}?", Tone.WARN)
            return
        self.register_theme(theme.load(name).theme)
        self.palette = theme.palette(name, mono=self.no_color)
        self.theme = name
        for stack in self._screen_stacks.values():
            for screen in stack:
                for widget in screen.query("*"):
                    widget.refresh()

    # ------------------------------------------------------------ the World

    def now(self) -> datetime:
        return self.options.now() if self.options.now is not None else datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds, for what is counted down."""
        return self.options.monotonic() if self.options.monotonic is not None else time.monotonic()

    def _changed(self, world: World) -> None:
        """From any thread, at any rate."""
        if not self._woken:
            self._woken = True
            self.call_later(self._wake)

    def _wake(self) -> None:
        now = time.monotonic()
        hurry = now - self._up_at < HURRY_S
        distance = min(SLOWEST_S, max(0.0 if hurry else PUBLISH_S, self._cost_s / (HURRY_SHARE if hurry else SHARE)))
        wait = self._shown[1] + distance - now
        if wait > 0:
            self.set_timer(wait, self._publish_new)
        else:
            self._publish_new()

    def _publish_new(self) -> None:
        self._woken = False
        if self.site.live.world.revision != self._shown[0]:
            self.publish(force=True)

    def publish(self, *, force: bool = False) -> None:
        """Bring the newest World and the time to the screen that is on top."""
        world, moment = self.site.live.world, time.monotonic()
        if not force and world.revision == self._shown[0] and moment - self._shown[1] < TICK_S / 2:
            return
        self._shown = (world.revision, moment)
        now, began = self.now(), time.thread_time()
        try:
            self.world, self.problems = world, problems(world, now)
            self.acting.settle(world)
            self.worst_at = min(self.worst_at, max(0, len(self.problems) - 1))
            screen = self.top_or_none
            if screen is not None:
                screen.offer(world, now, self.problems)
        except Exception as error:  # noqa: BLE001 - the boundary: one object that cannot be shown must not stop the clock
            self._handle_exception(error)
        self._cost_s = time.thread_time() - began

    def _tick(self) -> None:
        driver = self._driver
        if isinstance(driver, QuietDriver) and not self.is_headless and not driver.terminal_lives():
            self.leave(HUNG_UP)
            return
        self.publish()
        if time.monotonic() - self._frame_at >= PICTURE_S:
            self.keep_picture()
        if time.monotonic() - max(self._collected_at + PICTURE_S, self._typed_at + QUIET_S) >= 0:
            self._collected_at = time.monotonic()
            gc.collect()

    # ------------------------------------------------------------ screens

    @property
    def top_or_none(self) -> WorldScreen | None:
        """The topmost screen that shows the World, under whatever dialogs there are."""
        return next((s for s in reversed(self._screen_stacks.get(self._current_mode, [])) if isinstance(s, WorldScreen)), None)

    @property
    def top(self) -> WorldScreen:
        found = self.top_or_none
        assert found is not None, "every mode begins with a WorldScreen"
        return found

    def go(self, id: str, argument: str = "", *, listed: bool = False) -> None:
        """Open a screen; the one that is open goes back to its list. `argument` as after a command; `listed`: something in its list is wanted."""
        self.capture_picture()
        here = self.current_mode == id
        if not here:
            self.switch_mode(id)
        while (here or argument or listed) and len(self.screen_stack) > 1:  # what is asked for is in the list, whatever was open above it
            self.pop_screen()
        screen = self.top
        if argument:
            screen.when_shown(lambda: screen.narrow(argument))

    def open_ref(self, ref: Ref) -> bool:
        """Show an object where it is listed; False, with a word, when no screen lists its kind."""
        entry = next((e for e in SCREENS if ref.kind in e.kinds), None)
        if entry is None:
            self.say(f"{ref} has no screen of its own", Tone.MUTED)
            return False
        self.go(entry.id, listed=True)
        screen = self.top

        def reveal() -> None:
            if not screen.reveal(ref):
                screen.say(f"{ref} is not listed", Tone.WARN)

        screen.when_shown(reveal)
        return True

    def say(self, text: str, tone: Tone = Tone.PLAIN, *, sticky: bool = False) -> None:
        """A notice in the last line of the screen on top."""
        screen = self.top_or_none
        if screen is not None:
            screen.say(text, tone, sticky=sticky)

    def unsay(self, text: str) -> None:
        """Take a notice away, wherever it still stands."""
        for stack in self._screen_stacks.values():
            for screen in stack:
                for hints in screen.query(HintLine):
                    hints.forget(text)

    def arming_changed(self) -> None:
        """The console was armed, or is read-only again: title, keys and an open plan say so."""
        self.paint_arming()
        for screen in self.screen_stack:
            screen.refresh_bindings()
            if isinstance(screen, Fresh):
                screen.arming_changed()

    def paint_arming(self) -> None:
        """The countdown in the title; painted when its text changed."""
        if self.top_or_none is not None:
            self.top_or_none.show_title()

    # ------------------------------------------------------------ keys

    def handle_bindings_clash(self, clashed_bindings: set[Binding], node: Any) -> None:
        for binding in clashed_bindings:
            if binding.id in self._keymap:  # two keys of one binding, or two remapped ones: `keymap.conflicts` judges those
                continue
            text = f"keymap: {self.get_key_display(binding)} also means {binding.description or binding.action}"
            if text not in self._clash_said:
                self._clash_said.add(text)
                log.warning("%s", text)
                self.call_later(self.say, text, Tone.WARN, sticky=True)

    def action_open(self, id: str) -> None:
        self.worst_at, self._opened_worst = 0, ""
        self.go(id)

    def action_worst(self) -> None:
        """Open the worst problem; when it is the one opened last, the next."""
        if not self.problems:
            self.say("no problems known", Tone.MUTED)
            return
        if self.problems[self.worst_at].key == self._opened_worst:
            self.worst_at = (self.worst_at + 1) % len(self.problems)
        problem = self.problems[self.worst_at]
        self._opened_worst = problem.key
        if problem.object.kind == "sources":
            self.say(" · ".join(part for part in (problem.sentence, problem.cause) if part), Tone.WARN)
        else:
            self.open_ref(problem.object)
        self.publish(force=True)

    def action_refresh(self) -> None:
        self.site.live.refresh()
        self.repaint()
        self.say("reading everything anew", Tone.MUTED)

    def repaint(self) -> None:
        """Paint the whole screen, whatever the terminal shows."""
        self.forget_screen()
        self.screen.refresh(layout=True)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        return self.acting.can_undo if action == "undo" else super().check_action(action, parameters)

    def action_arm(self) -> None:
        if isinstance(self.screen, WorldScreen):
            self.acting.arming.toggle()

    def action_undo(self) -> None:
        self.acting.undo()

    def action_command(self) -> None:
        if isinstance(self.screen, WorldScreen):
            self.screen.query_one(PromptLine).ask(
                ":",
                changed=lambda typed: "  ".join(commands.complete(self, typed)[:6]) if typed else "",
                done=self.run_command,
                offer=lambda typed: commands.complete(self, typed),
                history=self.history,
                tone=Tone.MUTED,
            )

    def run_command(self, line: str) -> None:
        """What was typed after `:`; `-` is the last one again."""
        line = line.strip().removeprefix(":")
        if not line:
            return
        if line == "-":
            if not self.history:
                self.say("no command before this one", Tone.MUTED)
                return
            line = self.history[-1]
        name, _, argument = line.partition(" ")
        command = commands.find(name, self)
        if command is None:
            near = commands.nearest(name, self)
            self.say(f"no command {name}" + (f"; did you mean :{near}?" if near else ""), Tone.WARN)
            return
        if not self.history or self.history[-1] != line:
            self.history.append(line)
        command.run(self, argument.strip())

    def action_palette(self) -> None:
        from .dialogs.help import Palette, offers

        if isinstance(self.screen, WorldScreen):
            self.push_screen(Palette(offers(self)))

    def action_help(self) -> None:
        from .dialogs.help import HelpScreen, help_lines

        if isinstance(self.screen, WorldScreen):
            self.push_screen(HelpScreen(help_lines(self.screen)))

    def action_interrupt(self) -> None:
        if isinstance(self.screen, Fresh):
            self.screen.action_cancel()
            return
        for prompt in self.screen.query(PromptLine):
            if prompt.open:
                prompt.cancel()
                return
        self.leave()

    async def action_quit(self) -> None:
        self.leave()

    def leave(self, code: int = 0) -> None:
        """End the console, keeping its picture for the next start."""
        self.keep_picture()
        self.exit(code, return_code=code)

    # ------------------------------------------------------------ life

    async def on_load(self) -> None:
        """Before anything is painted: what was saved is then there for the first paint, and the lists come in while the screen is built."""
        if self.options.begin is not None:
            await self._begin(self.options.begin)

    def on_mount(self) -> None:
        self._up, self._up_at = True, time.monotonic()
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._loop_failed)
        if not self.is_headless:
            loop.add_signal_handler(signal.SIGTERM, self.leave, 128 + signal.SIGTERM)
            loop.add_signal_handler(signal.SIGHUP, self._hung_up)
        self.app_resume_signal.subscribe(self, self._resumed)
        if self.options.keymap:
            self.set_keymap(self.options.keymap)
            self.call_after_refresh(self._check_keymap)
        self._unsubscribe = self.site.live.subscribe(self._changed)
        self.set_interval(TICK_S, self._tick, name="ages and clock")
        self.publish(force=True)
        self.call_after_refresh(self._settle)

    async def _begin(self, begin: Callable[[], Awaitable[Any]]) -> None:
        try:
            await begin()
        except Exception as error:  # noqa: BLE001 - the boundary: without its sources the console still shows what was saved
            self.call_later(self._handle_exception, error)  # once it can be shown

    @staticmethod
    def _settle() -> None:
        """What the imports made lives as long as the process: never walk it, not even once (12 ms)."""
        gc.freeze()
        gc.set_threshold(GC_THRESHOLD)
        gc.enable()

    def on_unmount(self) -> None:
        self._unsubscribe()

    def _check_keymap(self) -> None:
        from .keymap import conflicts

        for hints in self.top.query(HintLine):
            hints.remake()
        found = conflicts(self.options.keymap)
        if found:
            for sentence in found:
                log.warning("%s", sentence)
            more = f" (and {len(found) - 1} more: coldtui doctor)" if len(found) > 1 else ""
            self.say(found[0] + more, Tone.WARN, sticky=True)

    def on_resize(self) -> None:
        """The terminal may have reflowed or cleared. Of sizes that follow one another quickly the last may be the one that is painted already: then
        nothing else would paint it again."""
        self.repaint()

    def _resumed(self, _: App[Any]) -> None:
        driver = self._driver
        if isinstance(driver, QuietDriver):
            driver.send_size()
        self.repaint()
        self.publish(force=True)

    def _hung_up(self) -> None:
        """The terminal is gone. Leave; and if something still waits for it, leave without it."""
        waiter = threading.Timer(3.0, os._exit, (HUNG_UP,))
        waiter.daemon = True
        waiter.start()
        self.leave(HUNG_UP)

    # ------------------------------------------------------------ errors

    def _handle_exception(self, error: Exception) -> None:
        """Once the console is up, an error is a line on the screen and a traceback in the log, not the end."""
        if not self._up:
            super()._handle_exception(error)
            return
        self.failures = [*self.failures[-49:], error]
        place = error.__traceback__
        while place is not None and place.tb_next is not None:
            place = place.tb_next
        where_from = f"{type(error).__name__} {place.tb_frame.f_code.co_filename}:{place.tb_lineno}" if place else repr(error)
        seen = self._failed_at[where_from] = self._failed_at.get(where_from, 0) + 1
        if seen == 1:
            log.error("internal error", exc_info=error)
        elif seen % 100 == 0:  # one that comes with every tick must not fill the disk
            log.error("internal error, %d times now: %s", seen, where_from)
        words = plain(f"{type(error).__name__}: {error}")[:200]
        where = f" · see {self.options.log}" if self.options.log else ""
        try:
            self.say(f"internal error: {words}{where}", Tone.BAD, sticky=True)
        except Exception:
            log.exception("the error could not be shown")

    def _loop_failed(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if isinstance(error, Exception):
            self._handle_exception(error)
        else:
            log.error("event loop: %s", context.get("message"))

    # ------------------------------------------------------------ the picture

    def capture_picture(self) -> None:
        """Remember how the first screen looks, while it is the one that is seen."""
        if self.theme != self._first_theme:
            return  # the next start has the configured colours
        home = self.current_mode == self.home and len(self.screen_stack) == 1 and isinstance(self.screen, WorldScreen)
        if self.picture is not None and self.painter is not None and home and (frame := self.painter.frame(1)):
            self._frame = (frame, time.time(), self.painter.size)

    def keep_picture(self) -> None:
        """Write the picture for the next start."""
        if self.picture is None:
            return
        self._frame_at = time.monotonic()
        self.capture_picture()
        if self._frame is not None:
            frame, at, size = self._frame
            if trouble := self.picture.save(frame, size, at):
                log.warning("the start-up picture is not kept: %s", trouble)

    @property
    def save_folder(self) -> Path:
        """Where logs and texts are saved."""
        return (self.options.state_dir / "saved") if self.options.state_dir is not None else Path.cwd()


def plain_letters_only(environ: Any, encoding: str | None) -> bool:
    """Whether this terminal has letters only: the Linux console's font, or a locale that is not UTF-8."""
    return environ.get("TERM", "") in {"linux", "vt100", "vt220"} or (encoding or "utf-8").lower().replace("-", "") != "utf8"


def refusal(environ: Any, ttys: bool) -> str:
    """Why there can be no console here, in one line; empty when there can."""
    term = environ.get("TERM", "")
    if not ttys:
        return "coldtui: this is not a terminal; use `coldtui status` (or any noun, with --json for scripts)\n"
    if term in {"dumb", "", "unknown"}:
        return f"coldtui: TERM={term or '(empty)'} cannot show the console; use `coldtui status`\n"
    return ""


def wants_mouse(options: Options, environ: Any) -> bool:
    if options.mouse is not None:
        return options.mouse
    return not (environ.get("SSH_CONNECTION") or environ.get("SSH_TTY"))


def _mute() -> None:
    """The terminal is gone: what is still buffered for it must not fail at exit, of which Python would make exit code 120."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.__stdout__, sys.__stderr__):
        if stream is not None:
            os.dup2(nowhere, stream.fileno())


def run_console(site: Site, picture: Picture | None = None, options: Options | None = None) -> int:
    """Show the console until it is left; returns the exit code. The terminal is as before when this returns or raises."""
    chosen = options or Options()
    streams = (sys.__stdin__, sys.__stdout__, sys.__stderr__)
    why = refusal(os.environ, all(s is not None and s.isatty() for s in streams))
    if why:
        if picture is not None:
            picture.undo()
        sys.stderr.write(why)
        return 2
    QuietDriver.picture_drawn = picture is not None and picture.drawn
    app = ColdApp(site, chosen, picture)

    async def session() -> None:
        try:
            await app.run_async(mouse=wants_mouse(chosen, os.environ))
        finally:
            if chosen.end is not None:
                await asyncio.wait_for(chosen.end(), timeout=5.0)

    sys.setswitchinterval(SWITCH_S)
    try:
        asyncio.run(session())
    except TimeoutError:
        log.warning("the site's tasks did not end within 5 s")
    finally:
        if picture is not None:
            picture.restore()
    if app.return_code == HUNG_UP:
        _mute()
    if said := app.acting.last_words():
        sys.stdout.write(f"{said}\n")
    if app.painter_failed:
        log.warning("the screen differ was not used: %s", app.painter_failed)
    return app.return_code or 0
