"""The means by which the other tests wait hold what they promise."""

from __future__ import annotations

import asyncio
import time

from textual.css.stylesheet import Stylesheet

from tests.tui import harness

harness.install()


def test_what_was_begun_is_waited_for() -> None:
    """A chain of callbacks, a timer that is due at once, and a thread's short work are done when the wait is over."""

    async def check() -> None:
        done: list[str] = []
        loop = asyncio.get_running_loop()

        def chain(left: int) -> None:
            if left:
                loop.call_soon(chain, left - 1)
            else:
                loop.call_later(0.01, done.append, "timer")

        chain(30)
        thread = asyncio.ensure_future(asyncio.to_thread(time.sleep, 0.005))
        thread.add_done_callback(lambda _: done.append("thread"))
        await harness.wait_for_idle()
        assert sorted(done) == ["thread", "timer"]

    asyncio.run(check())


def test_what_never_rests_is_not_waited_for() -> None:
    """A timer that fires all the time, and a thread that works for long, end the wait long before its limit."""

    async def check() -> None:
        loop = asyncio.get_running_loop()
        timers: list[asyncio.TimerHandle] = []

        def tick() -> None:
            timers.append(loop.call_later(0.005, tick))

        tick()
        thread = asyncio.ensure_future(asyncio.to_thread(time.sleep, 0.3))
        await asyncio.wait_for(harness.wait_for_idle(max_sleep=30), 15)
        assert len(timers) > 1
        timers[-1].cancel()
        await thread

    asyncio.run(check())


def test_shared_rules_follow_their_variables() -> None:
    """Two sheets with one text share the rules where their variables are the same, and only there; so does one whose variables change."""
    text, where = "Label { color: $mine; }", ("here", "")

    def rules(sheet: Stylesheet) -> str:
        sheet.add_source(text, where)
        return sheet.css

    red, other = Stylesheet(variables={"mine": "red"}), Stylesheet(variables={"mine": "red"})
    assert rules(red) == rules(other)
    assert red.rules[0] is other.rules[0]
    blue = Stylesheet(variables={"mine": "blue"})
    assert rules(blue) != rules(red)
    other.set_variables({"mine": "blue"})
    other.reparse()
    assert (other.css, red.css) == (blue.css, rules(red))
    assert blue.css != red.css
