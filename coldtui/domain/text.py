"""Text from outside is made harmless here, once, where it enters."""

from __future__ import annotations

import re
from collections.abc import Mapping

_HARMFUL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # C0 (tab and newline are handled below), DEL, C1
    "\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff"  # bidi controls, zero width, separators
    "\ud800-\udfff\ufff9-\ufffb\U000e0000-\U000e007f]"  # lone surrogates, interlinear marks, tags
)
_BREAKS = re.compile("[\t\n]")
_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\^_]|[ -/][0-~])|\x9b[0-?]*[ -/]*[@-~]")


def plain(text: str) -> str:
    """One line of text that can neither move a cursor, recolour a screen nor reorder its neighbours.

    Control, bidi and invisible characters become U+FFFD, so that their presence stays visible; tab and newline become a space.
    Markup such as `[/x]` is left as it is: no face parses outside text as markup.
    """
    if text.isascii() and text.isprintable():
        return text
    return _HARMFUL.sub("\ufffd", _BREAKS.sub(" ", text))


def plain_lines(text: str) -> tuple[str, ...]:
    """The lines of a longer text, each made plain; tabs become four spaces."""
    return tuple(_HARMFUL.sub("\ufffd", line.replace("\t", "    ").rstrip("\r")) for line in text.split("\n"))


def without_ansi(text: str) -> str:
    """Without the sequences by which programs colour their output and move the cursor."""
    return _ANSI.sub("", text) if "\x1b" in text or "\x9b" in text else text


def counted(n: int, one: str, many: str = "") -> str:
    """`1 line`, `3 lines`; `many` where it is not `one` with an s."""
    return f"{n:,} {one if n == 1 else many or one + 's'}"


def size(octets: float) -> str:
    """Bytes in binary units as Kubernetes uses them: `0 B`, `48 MiB`, `1.5 GiB`."""
    value = float(octets)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if abs(value) < 1024 or unit == "TiB":
            text = f"{value:.0f}" if unit == "B" or abs(value) >= 10 else f"{value:.1f}".removesuffix(".0")
            return f"{text} {unit}"
        value /= 1024
    raise AssertionError("unreachable")


def times(n: int) -> str:
    """`once`, `twice`, `3 times`."""
    return {1: "once", 2: "twice"}.get(n, f"{n:,} times")


def one_of(words: list[str] | tuple[str, ...], word: str) -> str | None:
    """The entry of `words` nearest to a mistyped `word`, or None when nothing is near."""
    import difflib  # only on the way to an error message

    found = difflib.get_close_matches(word, list(words), n=1, cutoff=0.5)
    return found[0] if found else None


_PLACE = re.compile(r" \(([^()]+:\d+)\)")


def alike(reasons: Mapping[str, str]) -> tuple[str, ...]:
    """Why servers do not answer, by name, as few sentences: `postgres-1 (10.42.1.7:5432), postgres-2 (…): did not answer within 2 s`."""
    same: dict[str, list[str]] = {}
    for name, reason in reasons.items():
        place = _PLACE.search(reason)
        rest = _PLACE.sub("", reason).removeprefix(name).removeprefix("vip").removeprefix(":").strip()
        same.setdefault(rest.replace(name, "it"), []).append(name + (place[0] if place else ""))
    return tuple(f"{', '.join(names)}: {rest}" for rest, names in same.items())
