"""An error in a handler is shown and logged; the program goes on."""

from __future__ import annotations

from asyncio import CancelledError
from typing import Any

from textual.app import App
from textual.message import Message
from textual.message_pump import MessagePump


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
