"""How keys reach the console: in order, each after the one before has done its work; none that is older than the dialog it would answer."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from textual import events
from textual.app import App
from textual.binding import Binding
from textual.dom import DOMNode
from textual.keys import key_to_character
from textual.screen import Screen

from .dialogs.base import Fresh
from .hand import Hand
from .widgets.bars import HintLine

if TYPE_CHECKING:
    from .screens.base import WorldScreen

STUCK_S = 2.0
"""A key that takes longer no longer holds back the ones behind it."""


class KeyedApp(App[int]):
    """Type-ahead, and the times at which keys came."""

    def __init__(self, **rest: Any) -> None:
        super().__init__(**rest)
        self.hand = Hand()
        self._typing = False
        self._typed: deque[events.Key | events.Paste] = deque()
        self._typed_at = 0.0
        self._typed_on: Screen[Any] | None = None
        self._took_keys: WeakSet[Screen[Any]] = WeakSet()
        """Screens that could take keys once."""

    @property
    def top_or_none(self) -> WorldScreen | None:
        """The topmost screen that shows the World, under whatever dialogs there are."""
        raise NotImplementedError

    # ------------------------------------------------------------ names of keys

    def get_key_display(self, binding: Binding) -> str:
        """`ctrl-z`, `esc`, `?`, `G`."""
        if binding.key_display:
            return binding.key_display
        *modifiers, key = binding.key.split("+")
        names = {
            "escape": "esc",
            "pagedown": "pgdn",
            "pageup": "pgup",
            "backslash": "\\",
            "@": "space",
            "down": "↓",
            "up": "↑",
            "left": "←",
        }
        names |= {"right": "→"}
        letter = key_to_character(key)
        shown = names.get(key) or (letter if letter is not None and letter.isprintable() and letter != " " else key)
        return "-".join((*modifiers, shown))

    def key_of(self, id: str, node: DOMNode | None = None) -> str:
        """The key that a binding of the app (or of `node`) has now."""
        if id in self._keymap:
            return self.get_key_display(Binding(self._keymap[id].split(",")[0], ""))
        found = next((b for _, b in (node or self)._bindings if b.id == id), None)
        return self.get_key_display(found) if found is not None else ""

    # ------------------------------------------------------------ type-ahead

    async def on_event(self, event: events.Event) -> None:
        if isinstance(event, (events.Key, events.Paste)) and not event.is_forwarded:
            self.hand.saw(event.key if isinstance(event, events.Key) else "", event.time)
        typed = isinstance(event, (events.InputEvent, events.Paste))
        if typed and isinstance(self.screen, Fresh) and not self.screen.fresh(event.time):
            return  # meant for what was there before the dialog
        if not isinstance(event, (events.Key, events.Paste)) or event.is_forwarded:
            await super().on_event(event)
            return
        # Type-ahead: Textual would hand the next key to whatever has focus now, before the last one has moved it, so that of a quick
        # ":d" the d would be read as a key of the table. Each key waits until the one before has done its work.
        stuck = time.monotonic() - self._typed_at > STUCK_S
        if self._typing and not stuck and getattr(event, "key", "") != "ctrl+c":
            self._typed.append(event)
        else:
            await self._take_key(event)

    async def _take_key(self, event: events.Key | events.Paste) -> None:
        self._typing, self._typed_at, self._typed_on = True, time.monotonic(), self.screen
        if isinstance(self.screen, Fresh) and not self.screen.fresh(event.time):
            self.call_later(self._next_key)
            return
        target: Any = self.focused or self.screen
        try:
            screen = self.top_or_none
            if isinstance(event, events.Key) and screen is not None and screen.is_mounted:
                for hints in screen.query(HintLine):
                    hints.hush()
            await super().on_event(event)
        finally:
            self._after_key(target)

    def _after_key(self, target: Any) -> None:
        """Follow the key up the tree, and then what it caused: queues are in order, so that what comes back here comes after all of that.

        Twice up: the key may bubble here and act here, and the act may send a message to the widget, which bubbles in turn.
        """
        self._climb(target, lambda: self._climb(target, lambda: self._later(self, self._next_key)))

    def _climb(self, node: Any, done: Callable[[], Any]) -> None:
        if node is None or node is self:
            self._later(self, done)
        else:
            self._later(node, lambda: self._climb(node.parent, done))

    def _later(self, node: Any, act: Callable[[], Any]) -> None:
        """After all that lies in a node's queue, and after what that puts there."""
        if not node.call_later(lambda: node.call_later(act) or self.call_later(act)):
            self.call_later(act)

    async def _next_key(self) -> None:
        waited = time.monotonic() - self._typed_at
        if waited < STUCK_S and not self._takes_keys():
            self.set_timer(0.02, self._next_key)
        elif self._typed:
            await self._take_key(self._typed.popleft())
        else:
            self._typing = False

    def _takes_keys(self) -> bool:
        """Whether what shall have the focus of a new screen has it. Later nothing may have it, as after esc on the home screen."""
        screen = self.screen
        if screen not in self._took_keys:
            wanted = self.AUTO_FOCUS if screen.AUTO_FOCUS is None else screen.AUTO_FOCUS
            if not screen.is_mounted or (wanted and self.focused is None and screen.focus_chain):
                return False
            self._took_keys.add(screen)
        return True
