"""Themes: one TOML file each. A `Palette` is a theme as Rich styles, for everything that draws lines by itself."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from rich.color import Color as RichColor
from rich.style import Style
from textual.color import Color
from textual.theme import Theme
from textual.widget import Widget

from ..present.rows import Tone

DEFAULT = "cold"
Ink = Tone | str
"""A tone, or one of the extra names of `Palette`: `title`, `rule`, `key`, `badge`, `armed`, `match`."""

DEFAULTS = {
    "healthy": "#73c991",
    "degraded": "#e5b567",
    "critical": "#f58a91",
    "stale": "#8494a8",
    "muted": "#8494a8",
    "strong": "#f0f4fa",
    "rule": "#2a3644",
    "title": "#8fb7e8",
    "cursor": "#1b3350",
    "cursor-idle": "#18222e",
    "worst": "#2a2318",
    "worst-critical": "#331a1f",
}
"""What `$healthy` and the like mean while no theme of ours is active."""

_ANSI = {
    "background": "ansi_default",
    "ansi-background": "ansi_black",
    "ansi-foreground": "ansi_white",
    "block-cursor-foreground": "ansi_black",
    "block-cursor-background": "ansi_white",
    "input-cursor-background": "ansi_white",
    "input-cursor-foreground": "ansi_black",
    "input-selection-background": "ansi_bright_blue",
    "input-selection-foreground": "ansi_black",
}


def folder() -> Path:
    """Where the theme files are: beside the package when installed, at the top of a checkout otherwise."""
    package = Path(__file__).resolve().parents[1]
    inside = package / "themes"
    return inside if inside.is_dir() else package.parent / "themes"


def names() -> tuple[str, ...]:
    """All themes, the default first."""
    found = sorted(path.stem for path in folder().glob("*.toml"))
    return tuple(sorted(found, key=lambda name: name != DEFAULT))


@dataclass(frozen=True, slots=True)
class ThemeFile:
    title: str
    theme: Theme
    colours: Mapping[str, str]
    """As written in the file, by name."""


@cache
def load(name: str) -> ThemeFile:
    """Raises KeyError for an unknown name."""
    try:
        data = tomllib.loads((folder() / f"{name}.toml").read_text("utf-8"))
    except FileNotFoundError:
        raise KeyError(name) from None
    ansi = bool(data.get("ansi", False))
    variables = {**(_ANSI if ansi else {}), **DEFAULTS, **data["variables"]}
    css = {key: ("ansi_default" if value in {"reverse", "underline"} else value) for key, value in variables.items()}
    theme = Theme(name=name, dark=data["dark"], ansi=ansi, variables=css, **data["colours"])
    return ThemeFile(data["title"], theme, {**DEFAULTS, **data["colours"], **data["variables"]})


@dataclass(slots=True)
class Palette:
    """The theme's colours as Rich styles. `style` is called for every drawn part and remembers."""

    colours: Mapping[str, str]
    """Tone value or extra name -> colour; `foreground` and `ground` besides."""
    mono: bool = False
    """No colour at all: what lies on a cursor is reversed, meaning is in words, glyphs and bold."""
    _made: dict[tuple[Ink, str], Style] = field(default_factory=dict)

    def style(self, ink: Ink, ground: str = "") -> Style:
        """`ground`: empty for the widget's own, or `cursor`, `cursor-idle`, `panel`, `worst`, `worst-critical`, `match`."""
        found = self._made.get((ink, ground))
        if found is None:
            found = self._made[ink, ground] = self._make(ink.value if isinstance(ink, Tone) else ink, ground)
        return found

    def _make(self, ink: str, ground: str) -> Style:
        bold = ink in {"strong", "title", "key", "badge", "armed", "critical"} or ground == "cursor"
        reverse = ink in {"badge", "armed"}
        name = {"plain": "foreground", "key": "title", "badge": "foreground", "armed": "degraded", "match": "accent"}.get(ink, ink)
        word = self.colours.get(ground, "") if ground else ""
        colour = None if self.mono else _rich(self.colours.get(name, ""))
        under = _rich(self.colours.get(ground, "")) if ground and not self.mono else None
        if ground in {"cursor", "match"} and (self.mono or word == "reverse"):
            reverse, colour = not reverse, None  # one bar, not a patchwork of reversed colours
        underline = ground == "cursor-idle" and (self.mono or word == "underline")
        return Style(color=colour, bgcolor=under, bold=bold or None, reverse=reverse or None, underline=underline or None)


def _rich(value: str) -> RichColor | None:
    """A colour of a theme file for Rich; None for the terminal's default and for what is not a colour."""
    if not value or value in {"ansi_default", "reverse", "underline"}:
        return None
    if value.startswith("ansi_"):
        return RichColor.parse(value.removeprefix("ansi_"))
    return Color.parse(value).rich_color


def palette(name: str, *, mono: bool = False) -> Palette:
    found = load(name)
    return Palette({**found.colours, "match": "reverse" if found.theme.ansi else found.colours["worst"]}, mono)


_FALLBACK = Palette({**DEFAULTS, "foreground": "#c8d3e0", "accent": "#7dcfff", "panel": "#1a232e", "match": "#33291a"})


def palette_of(widget: Widget) -> Palette:
    """The palette of the app that shows the widget."""
    found = getattr(widget.app, "palette", None)
    return found if isinstance(found, Palette) else _FALLBACK
