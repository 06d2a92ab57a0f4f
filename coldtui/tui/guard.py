"""An error in a handler is shown and logged; the program goes on."""

from __future__ import annotations

from asyncio import CancelledError
from typing import Any

from rich.segment import Segment
from rich.style import Style
from textual.app import App
from textual.geometry import Region
from textual.message import Message
from textual.message_pump import MessagePump
from textual.strip import Strip
from textual.widget import Widget


class Guarded(MessagePump):
    """Mixed into the app, its screens and widgets: Textual would end the message loop of whoever raised."""

    async def _dispatch_message(self, message: Message) -> None:
        try:
            await super()._dispatch_message(message)
        except CancelledError:
            raise
        except Exception as error:  # noqa: BLE001 - the boundary: it becomes a line that stays on the screen and a traceback in the log
            app: App[Any] = self if isinstance(self, App) else self.app
            app._handle_exception(error)


class GuardedWidget(Guarded, Widget):
    """A widget that draws lines by itself (`draw_line`), and whose drawing may fail without taking the rest of the screen with it."""

    _ground: Style | None = None

    def draw_line(self, y: int) -> Strip:
        """One line of content; cells without a background of their own get the widget's."""
        raise NotImplementedError

    def render_line(self, y: int) -> Strip:
        strip = self.draw_line(y)
        return strip.apply_style(self._ground) if self._ground is not None else strip

    def render_lines(self, crop: Region) -> list[Strip]:
        base, own = self.background_colors
        under = base + own
        # Left alone, such a cell shows the terminal's own background, not the theme's. (The ANSI theme wants just that.)
        self._ground = None if under.ansi is not None else Style(bgcolor=under.rich_color)
        try:
            return super().render_lines(crop)
        except Exception as error:  # noqa: BLE001 - the boundary, as above
            self.app._handle_exception(error)
            text = f" cannot be drawn: {type(error).__name__}"
            blank = [Strip([Segment(text)]).adjust_cell_length(crop.width)] + [Strip.blank(crop.width)] * (crop.height - 1)
            return blank[: crop.height]
