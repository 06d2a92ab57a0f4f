"""The lines around every screen: title, worst problem, hints."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from textual.app import App
from textual.binding import Binding
from textual.screen import Screen

from ...domain.problems import Problem, Severity
from ...domain.readings import Freshness
from ...domain.world import World
from ...present import problems as problem_words
from ...present import status as site_words
from ...present import words
from ...present.rows import Cell, Tone
from .draw import Span, Spans, ends, fit, spans_of, width_of
from .lines import Lines

GAP: Span = ("  ", Tone.PLAIN)


class TitleBar(Lines):
    """Site, version, nodes; how each source stands; READ-ONLY, or ARMED with what is left of it; the minute."""

    DEFAULT_CSS = "TitleBar { height: 1; background: $panel; }"
    GROUND = "panel"
    _last: tuple[World, datetime, str] | None = None

    def show(self, world: World, now: datetime, *, armed: str = "") -> None:
        """`armed`: what is left of it, `14:52`; empty: read-only."""
        self._last = (world, now, armed)
        self.put([title_spans(world, now, armed, self.size.width or self.app.size.width)])

    def on_resize(self) -> None:
        if self._last is not None:
            world, now, armed = self._last
            self.show(world, now, armed=armed)


def title_spans(world: World, now: datetime, armed: str, width: int) -> Spans:
    """What fits: the version goes first, then the names of sources that are well."""
    title = site_words.title(world, now)
    # Padded, so that a countdown moves nothing but its digits.
    tail: list[Span] = [(f" ARMED {armed:>5} ", "armed"), GAP] if armed else [(" READ-ONLY ", "badge"), GAP]
    tail += [(words.clock(now), Tone.MUTED), (" ", Tone.PLAIN)]
    site: Span = (f" {title.site.text}", "title")
    nodes = spans_of([title.nodes])
    version = spans_of([title.version])
    lefts: list[list[Span]] = [[site, GAP, *version, GAP, *nodes], [site, GAP, *nodes], [site]]
    full, fewer, fewest = title.sources, _fewer(title.sources), _fewest(title.sources)
    run: list[Span] = [*spans_of([title.run]), GAP] if title.run is not None else []
    for left, shown in (*((left, shown) for left in lefts[:2] for shown in (full, fewer)), *((left, fewest) for left in lefts)):
        right: list[Span] = []
        for cell in shown:
            right += [*spans_of([cell]), GAP]
        right += run
        if sum(width_of(t) for t, _ in (*left, *right, *tail)) + 1 <= width:
            return ends(left, [*right, *tail], width)
    return ends([site], [*run, *tail] if width_of(site[0]) + sum(width_of(t) for t, _ in (*run, *tail)) < width else tail, width)


def _fewer(cells: Sequence[Cell]) -> tuple[Cell, ...]:
    """Only what is not well; one word when all is."""
    unwell = tuple(cell for cell in cells if cell.tone is not Tone.GOOD)
    return unwell or (Cell(f"{words.GLYPHS['good']} all live", Tone.GOOD),)


def _fewest(cells: Sequence[Cell]) -> tuple[Cell, ...]:
    """One that is old or failed (the API itself comes first), and how many more are not well: 80 columns, too, say that what they show is old."""
    unwell = [cell for cell in cells if cell.tone is not Tone.GOOD]
    if len(unwell) < 2:
        return _fewer(cells)
    worst = next((cell for tones in ((Tone.STALE, Tone.BAD), (Tone.WARN,)) for cell in unwell if cell.tone in tones), unwell[0])
    return (Cell(f"{worst.text} +{len(unwell) - 1}", worst.tone),)


class WorstLine(Lines):
    """The worst problem in a sentence, on the second line of every screen."""

    DEFAULT_CSS = """
    WorstLine { height: 1; }
    """

    def show(self, world: World, found: Sequence[Problem], now: datetime, at: int = 0, key: str = "!") -> None:
        """`at`: which of the problems is shown, 0 the worst."""
        self._last = (world, found, now, at, key)
        width = self.size.width or self.app.size.width
        if found:
            problem = found[min(at, len(found) - 1)]
            ground = {Severity.CRITICAL: "worst-critical", Severity.WARNING: "worst"}.get(problem.severity, "")
            left: Spans = ((" ", Tone.PLAIN), *spans_of(problem_words.worst_line((problem,), now)))
            right: Spans = ((f"{key} open · {min(at, len(found) - 1) + 1} of {len(found)} ", Tone.MUTED),)
        else:
            ground, right = "", ()
            left = (("  ", Tone.PLAIN), (self._calm(world), Tone.MUTED))
        if ground != self.GROUND:
            self.GROUND = ground
            self.refresh()
        room = width - sum(width_of(text) for text, _ in right) - 1
        used = sum(width_of(text) for text, _ in left)
        if used > room > 20:
            left = tuple((cell.text, ink) for cell, ink in _cut(left, room, SENTENCE))
        self.put([ends(left, right, width)])

    @staticmethod
    def _calm(world: World) -> str:
        """No problem is known; that is no all-clear while what would tell is missing."""
        missing = [name for name in ("nodes", "pods") if world.sources[name].freshness is not Freshness.LIVE or world.sources[name].partial]
        return f"no problems known · {' and '.join(missing)} not read yet" if missing else "no problems known"

    def on_resize(self) -> None:
        if hasattr(self, "_last"):
            self.show(*self._last)


SENTENCE = 3
"""Parts of the worst line up to its sentence. What follows is shown whole or not at all: `hits no…` says the opposite of what it means."""


def _cut(spans: Spans, room: int, sentence: int = 99) -> list[tuple[Cell, Tone | str]]:
    """The spans in at most `room` cells, the last one cut with …; of those from `sentence` on one that does not fit is left out."""
    out: list[tuple[Cell, Tone | str]] = []
    for at, (text, ink) in enumerate(spans):
        size = width_of(text)
        if size > room:
            if room > 0 and at < sentence:
                out.append((Cell(fit(text, room)), ink))
            break
        out.append((Cell(text), ink))
        room -= size
    return out


class HintLine(Lines):
    """What the keys do here, made from the live bindings; or a notice, which stays until it is read."""

    DEFAULT_CSS = "HintLine { height: 1; background: $panel; }"
    GROUND = "panel"

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.notice: Spans = ()
        self.sticky = False

    def on_mount(self) -> None:
        self.screen.bindings_updated_signal.subscribe(self, self._bindings_changed)
        self.remake()

    def on_resize(self) -> None:
        self.remake()

    def _bindings_changed(self, screen: Screen[object]) -> None:
        self.remake()

    def say(self, text: str, tone: Tone = Tone.PLAIN, *, sticky: bool = False) -> None:
        """Show a notice instead of the hints: until the next key, or when `sticky` until esc."""
        if self.sticky and not sticky:
            return
        self.notice, self.sticky = ((f" {text}", tone),), sticky
        self.remake()

    def forget(self, text: str) -> None:
        """Take this notice away, if it still stands."""
        if self.notice and self.notice[0][0].strip() == text:
            self.hush(all=True)

    def hush(self, *, all: bool = False) -> bool:
        """Take the notice away; a sticky one only with `all`. True when there was one to take."""
        if not self.notice or (self.sticky and not all):
            return False
        self.notice, self.sticky = (), False
        self.remake()
        return True

    def remake(self) -> None:
        width = self.size.width or self.app.size.width
        if not self.notice:
            self.put([hint_spans(self.screen, width)])
            return
        esc: Spans = (("  esc", "key"), (" dismiss ", Tone.MUTED)) if self.sticky else ()
        room = width - sum(width_of(text) for text, _ in esc)
        self.put([(*((cell.text, ink) for cell, ink in _cut(self.notice, room)), *esc)])


def shown_key(app: App[object], binding: Binding) -> str:
    """The key as hints and help write it: `ctrl-z`, `?`, `G`."""
    return app.get_key_display(binding)


def ranges(keys: Sequence[str]) -> str:
    """Digits in a few letters, without those that do nothing: `1-6 9`."""
    runs: list[list[str]] = []
    for key in keys:
        if runs and key.isdigit() and runs[-1][-1].isdigit() and int(key) == int(runs[-1][-1]) + 1:
            runs[-1].append(key)
        else:
            runs.append([key])
    return " ".join(f"{run[0]}-{run[-1]}" if len(run) > 2 else " ".join(run) for run in runs)


def hint_spans(screen: Screen[object], width: int) -> Spans:
    """Hints of the focused widget and the screen, then the screens themselves: whole entries only."""
    app = screen.app
    found: list[tuple[tuple[int, int], bool, str, str]] = []
    ranks: dict[int, int] = {}
    seen: set[str] = set()
    for active in screen.active_bindings.values():
        binding, node = active.binding, active.node
        rank = ranks.setdefault(id(node), len(ranks))
        if not binding.show or not binding.description or not active.enabled or binding.action in seen:
            continue
        seen.add(binding.action)
        # A remapped key comes last among the live bindings: it is shown where its binding was declared.
        declared = next((at for at, (_, b) in enumerate(node._bindings) if b.id == binding.id and b.action == binding.action), 999)
        found.append(((rank, declared), (binding.id or "").startswith("screen."), shown_key(app, binding), binding.description))
    found.sort()
    here = [(key, text) for _, digit, key, text in found if not digit]
    digits = [(key, text) for _, digit, key, text in found if digit]

    def spans(entries: Sequence[tuple[str, str]]) -> list[Span]:
        out: list[Span] = []
        for key, text in entries:
            out += [(" " + key, "key"), (" " + text, Tone.MUTED), (" ", Tone.MUTED)]
        return out

    def size(entries: Sequence[Span]) -> int:
        return sum(width_of(text) for text, _ in entries)

    left, right = spans(here), spans(digits)
    if size(left) + size(right) > width and digits:
        right = spans([(ranges([key for key, _ in digits]), "screens")])
    while here and size(left) + size(right) > width:
        here.pop(max(0, len(here) - 3))  # command and help, the last two, stay
        left = spans(here)
    return (*right, *left)
