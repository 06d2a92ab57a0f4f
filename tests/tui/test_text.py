"""Logs and texts: the ring, following, filters, wrapping, searching, taking away, and a flood."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

from textual.app import App, ComposeResult
from textual.message import Message
from textual.pilot import Pilot
from textual.widget import Widget

from coldtui.ports import LogLine
from coldtui.present.rows import Cell, Tone
from coldtui.tui.theme import DEFAULTS, palette
from coldtui.tui.widgets import take
from coldtui.tui.widgets.card import Card
from coldtui.tui.widgets.draw import fit, strip_of, width_of, wrap
from coldtui.tui.widgets.logview import LogView
from coldtui.tui.widgets.textview import TakeText, TextView
from tests.tui.worlds import HOSTILE, NOW


class Bench(App[None]):
    def __init__(self, widget: Widget) -> None:
        super().__init__()
        self.widget = widget

    def compose(self) -> ComposeResult:
        yield self.widget

    def get_theme_variable_defaults(self) -> dict[str, str]:
        return dict(DEFAULTS)


@asynccontextmanager
async def bench(widget: Widget, size: tuple[int, int] = (60, 12)) -> AsyncIterator[tuple[Pilot[None], list[Message]]]:
    seen: list[Message] = []

    def note(message: Message) -> None:
        if not any(message is other for other in seen):  # a message is dispatched once in each node that it bubbles through
            seen.append(message)

    async with Bench(widget).run_test(size=size, message_hook=note) as pilot:
        widget.focus()
        await pilot.pause()
        yield pilot, seen


def run(check: Coroutine[Any, Any, None]) -> None:
    asyncio.run(check)


def shown(widget: Widget) -> list[str]:
    return [widget.render_line(y).text.rstrip() for y in range(widget.size.height)]


def lines(start: int, end: int, text: str = "line") -> list[LogLine]:
    return [LogLine(NOW + timedelta(milliseconds=i), f"{text} {i}") for i in range(start, end)]


async def flushed(pilot: Pilot[None], view: LogView) -> None:
    for _ in range(100):
        if not view._pending and not view._flushing:
            return
        await pilot.pause(0.02)
    raise AssertionError("the lines never came in")


def test_a_log_follows_until_scrolled_and_follows_again_at_the_end() -> None:
    """The newest line is shown; k stays while lines come; s or G follow again."""

    async def check() -> None:
        view = LogView("pod x")
        async with bench(view) as (pilot, _):
            view.extend(lines(0, 30))
            await flushed(pilot, view)
            assert shown(view)[-1] == "line 29"
            await pilot.press("k")
            assert shown(view)[-1] == "line 28"
            assert "paused" in shown(view)[0]
            view.extend(lines(30, 60))
            await flushed(pilot, view)
            assert shown(view)[-1] == "line 28"
            await pilot.press("s")
            assert shown(view)[-1] == "line 59"
            await pilot.press("g")
            assert shown(view)[1] == "line 0"
            await pilot.press("pagedown", "pagedown", "pagedown", "pagedown", "pagedown", "pagedown")
            assert "follow" in shown(view)[0]
            await pilot.press("t")
            assert shown(view)[-1].startswith("2026-10-25T14:02:10.059Z line 59")
            await pilot.press("m")
            await flushed(pilot, view)
            assert set(shown(view)[-1]) == {"─"}

    run(check())


def test_the_ring_is_bounded_and_tells_what_it_dropped() -> None:
    """Memory stays bounded: old lines go, are counted, and a paused view keeps a sane place."""

    async def check() -> None:
        view = LogView(capacity=2_000)
        async with bench(view) as (pilot, _):
            view.extend(lines(0, 2_000))
            await flushed(pilot, view)
            await pilot.press("g")
            for start in range(2_000, 8_000, 1_000):
                view.extend(lines(start, start + 1_000))
                await flushed(pilot, view)
            assert len(view._lines) <= 3_000
            assert f"{view.dropped} older dropped" in shown(view)[0]
            assert view.dropped == 8_000 - len(view._lines)
            assert shown(view)[1] == f"line {8_000 - len(view._lines)}"
            view.extend(lines(0, 10_000))
            assert len(view._pending) <= 2_000

    run(check())


def test_a_log_filter_hides_and_n_steps() -> None:
    """`/` keeps only lines that match, also of those that come later; n and N step through them; esc shows all."""

    async def check() -> None:
        view = LogView()
        async with bench(view) as (pilot, _):
            view.extend([*lines(0, 100), *lines(0, 3, "error"), *lines(100, 200)])
            await flushed(pilot, view)
            assert view.set_filter("ERROR") == ""
            assert shown(view)[1:4] == ["error 0", "error 1", "error 2"]
            assert "3 of 203" in shown(view)[0]
            view.extend(lines(3, 4, "error") + lines(200, 300))
            await flushed(pilot, view)
            assert shown(view)[4] == "error 3"
            await pilot.press("n")
            assert view.match is not None
            first = view.match
            await pilot.press("n")
            assert view.match == first + 1
            await pilot.press("N")
            assert view.match == first
            assert "used as text" in view.set_filter("error[")
            assert "no line matches" in "\n".join(shown(view))
            assert view.clear_narrowing()
            assert shown(view)[-1] == "line 299"

    run(check())


def test_wrapping_shows_all_of_a_line_and_scrolls_by_screen_rows() -> None:
    """A wrapped line takes several rows, loses no letter, and k goes up one row, not one line."""

    async def check() -> None:
        view = LogView()
        async with bench(view, (20, 6)) as (pilot, _):
            view.extend([LogLine(None, "a" * 45), LogLine(None, "漢" * 15), LogLine(None, "end")])
            await flushed(pilot, view)
            await pilot.press("w")
            assert shown(view)[1:] == ["a" * 20, "aaaaa", "漢" * 10, "漢" * 5, "end"]
            await pilot.press("k")
            assert shown(view)[1:] == ["a" * 20, "a" * 20, "aaaaa", "漢" * 10, "漢" * 5]
            await pilot.press("w", "right")
            assert "end" not in shown(view)
            await pilot.press("left")
            assert shown(view)[1] == "a" * 19 + "…"

    run(check())


def test_ranges_are_asked_for_and_texts_are_taken() -> None:
    """0 to 6 ask for tail, head or a span and clear the view; ctrl-s and c hand over all lines with their times."""

    async def check() -> None:
        view = LogView(stem="pod-x")
        async with bench(view) as (pilot, seen):
            view.extend(lines(0, 5))
            await flushed(pilot, view)
            await pilot.press("ctrl+s", "c")
            await pilot.pause()
            taken = [m for m in seen if isinstance(m, TakeText)]
            assert [m.to_file for m in taken] == [True, False]
            assert taken[0].stem == "pod-x"
            assert taken[0].lines[0] == "2026-10-25T14:02:10.000Z line 0"
            await pilot.press("3", "1")
            await pilot.pause()
            asked = [(m.since_s, m.head) for m in seen if isinstance(m, LogView.RangeChosen)]
            assert asked == [(300, False), (None, True)]
            assert view.text == []
            assert "head" in shown(view)[0]

    run(check())


def test_five_thousand_lines_a_second_do_not_delay_a_key(record_property: Callable[[str, object], None]) -> None:
    """During a flood of 5,000 lines a second for a second, no key waits long for its effect: 100 ms is the promise, recorded."""

    async def check() -> None:
        view = LogView()
        async with bench(view, (120, 40)) as (pilot, _):
            stop = False

            async def flood() -> None:
                at = 0
                while not stop:
                    view.extend(lines(at, at + 50, "x" * 100))
                    at += 50
                    await asyncio.sleep(0.01)

            task = asyncio.create_task(flood())
            waits = []
            for _ in range(10):
                stamps = view.stamps
                began = time.perf_counter()
                pilot.app.post_message(_key("t"))
                while view.stamps == stamps and time.perf_counter() - began < 5:
                    await pilot.pause(0.001)
                waits.append(time.perf_counter() - began)
                await asyncio.sleep(0.05)
            stop = True
            await task
            record_property("median_ms", round(sorted(waits)[len(waits) // 2] * 1000))
            assert sorted(waits)[len(waits) // 2] < 0.8, waits
            assert len(view._lines) > 1_000

    run(check())


def _key(key: str) -> Any:
    from textual import events

    return events.Key(key, key)


def test_text_is_searched_wrapped_and_keeps_its_place() -> None:
    """`/` goes to the first match from here, n and N round the end; replacing the text keeps the place; wrap loses nothing."""

    async def check() -> None:
        view = TextView("describe", stem="pod-x")
        async with bench(view, (30, 8)) as (pilot, seen):
            view.show([(Cell(f"row {i} "), Cell("alpha" if i % 10 == 0 else "beta", Tone.MUTED)) for i in range(50)])
            await pilot.press("j", "j")
            assert shown(view)[1] == "row 2 beta"
            view.set_filter("ALPHA")
            assert view.match == 10
            await pilot.press("n")
            assert view.match == 20
            await pilot.press("N", "N", "N")
            assert view.match == 40
            top = shown(view)[1]
            view.show([(Cell(f"row {i} changed"),) for i in range(50)])
            assert shown(view)[1].split()[:2] == top.split()[:2]
            await pilot.press("g")
            view.show([(Cell("a" * 25), Cell("b" * 20))])
            await pilot.press("w")
            assert shown(view)[1:3] == ["a" * 25 + "b" * 5, "b" * 15]
            await pilot.press("c")
            await pilot.pause()
            assert [m.lines for m in seen if isinstance(m, TakeText)] == [["a" * 25 + "b" * 20]]

    run(check())


def test_cells_are_fitted_whatever_their_letters() -> None:
    """Fitting, wrapping and drawing give exactly the cells asked for, with wide, joined and combining letters."""
    colours = palette("cold")
    for text in (*HOSTILE, "", "a", "漢", "ab漢字cd"):
        for width in range(12):
            assert width_of(fit(text, width)) == width, (text, width)
            assert width_of(fit(text, width, right=True)) == width
            assert strip_of(((text, Tone.PLAIN), (text, Tone.BAD)), width, colours).cell_length == width
            assert sum(s.cell_length for s in strip_of(((text, Tone.PLAIN),), width, colours, left=3)) == width
        pieces = wrap(text, 7)
        assert "".join(pieces) == text
        assert all(width_of(piece) <= 7 for piece in pieces)


def test_a_card_paints_what_changed_and_says_what_does_not_fit() -> None:
    """A card's lines are cut at its border, the rest is counted, and the same lines again paint nothing."""

    async def check() -> None:
        card = Card("Cluster [/b]")
        async with bench(card, (30, 6)) as (pilot, _):
            card.show([(Cell(f"line {i}"),) for i in range(7)])
            await pilot.pause()
            screen = pilot.app.screen
            text = [strip.text for strip in screen._compositor.render_strips(screen.size)]
            assert "Cluster [/b]" in text[0]
            assert "3 more" in text[-1]
            assert not card.put(card.lines)
            assert card.put([*card.lines[:-1], (("new", Tone.BAD),)])

    run(check())


def test_file_names_are_harmless() -> None:
    """What a cluster calls its pods cannot climb out of the folder or need quoting."""
    name = take.file_name("../../etc/passwd; rm -rf\n[x]", NOW)
    assert name == "etc-passwd-rm-rf-x-20261025-1402.log"
    assert take.file_name("///", NOW, "txt") == "text-20261025-1402.txt"
