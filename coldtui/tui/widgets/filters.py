"""What `/` understands: text or a regular expression, `!` for the opposite, `-l` for labels."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from coldtui.domain.values import dataclass

_META = re.compile(r"[.^$*+?{}\[\]|()\\]")


@dataclass(frozen=True, slots=True)
class Filter:
    """A filter as typed, ready to use."""

    typed: str
    text: Callable[[str], bool] | None = None
    labels: Callable[[Mapping[str, str]], bool] | None = None
    note: str = ""
    """What is wrong with what was typed; it is used as plain text then."""

    def __bool__(self) -> bool:
        return self.text is not None or self.labels is not None


NO_FILTER = Filter("")


def parse(typed: str) -> Filter:
    """`backend`, `^cold-.*`, `!running`, `-l app=x,tier!=y`. Case does not matter. Never raises."""
    stripped = typed.strip()
    if not stripped:
        return Filter(typed)
    if stripped.startswith("-l"):
        return _labels(typed, stripped[2:].strip())
    inverse = stripped.startswith("!")
    wanted = stripped[1:].strip() if inverse else stripped
    if not wanted:
        return Filter(typed)
    found, note = text_test(wanted)
    return Filter(typed, (lambda text: not found(text)) if inverse else found, note=note)


def text_test(wanted: str) -> tuple[Callable[[str], bool], str]:
    """(test, note): a regular expression where it looks like one and is valid, else plain text."""
    lowered, note = wanted.lower(), ""
    if _META.search(wanted):
        try:
            pattern = re.compile(wanted, re.IGNORECASE)
        except re.error as error:
            note = f"not a regular expression ({error.msg}); used as text"
        else:
            return (lambda text: pattern.search(text) is not None), ""
    return (lambda text: lowered in text.lower()), note


def _labels(typed: str, selector: str) -> Filter:
    wants: list[tuple[str, str, str]] = []
    for part in selector.split(","):
        term = part.strip()
        if not term:
            continue
        if "!=" in term:
            key, value = term.split("!=", 1)
            wants.append((key.strip(), "!=", value.strip()))
        elif "=" in term:
            key, value = term.replace("==", "=").split("=", 1)
            wants.append((key.strip(), "=", value.strip()))
        elif term.startswith("!"):
            wants.append((term[1:].strip(), "absent", ""))
        else:
            wants.append((term, "present", ""))
    if any(not key for key, _, _ in wants):
        return Filter(typed, note="a label is written key=value, key!=value, key or !key")
    if not wants:
        return Filter(typed, note="-l wants key=value, key!=value, key or !key")

    def test(labels: Mapping[str, str]) -> bool:
        for key, how, value in wants:
            have = labels.get(key)
            if how == "=" and have != value:
                return False
            if how == "!=" and have == value:
                return False
            if (how == "present" and have is None) or (how == "absent" and have is not None):
                return False
        return True

    return Filter(typed, labels=test)
