"""What the programs share: options, sizes, columns."""

from __future__ import annotations

from collections.abc import Iterator


def split(arguments: tuple[str, ...], with_value: tuple[str, ...] = ()) -> tuple[dict[str, str], list[str]]:
    """Options (name -> value) and the other words; single letters are taken apart."""
    options: dict[str, str] = {}
    words: list[str] = []
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        if word == "--":
            words += rest
            break
        if word.startswith("--"):
            name, equal, value = word.partition("=")
            options[name] = value if equal else rest.pop(0) if name in with_value and rest else ""
        elif word.startswith("-") and len(word) > 1:
            letters = word[1:]
            while letters:
                name, letters = f"-{letters[0]}", letters[1:]
                if name in with_value:
                    options[name] = letters or (rest.pop(0) if rest else "")
                    break
                options[name] = ""
        else:
            words.append(word)
    return options, words


def unit_of(options: dict[str, str]) -> str:
    """The unit of sizes that options ask for: `1`, `1K`, `1M`, `h`."""
    if "-h" in options:
        return "h"
    if "-m" in options:
        return "1M"
    return (options.get("-B") or options.get("--block-size") or ("1" if "-b" in options else "1K")).upper().removesuffix("B") or "1"


def figure(value: str | int, unit: str) -> str:
    """A size in a unit, rounded up; a text as it is."""
    if isinstance(value, str):
        return value
    if unit == "h":
        return human(value)
    factor = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}.get(unit[-1], 1) * (
        int(unit.rstrip("KMG") or 1) if unit.rstrip("KMG").isdigit() else 1
    )
    return str(-(-value // factor))


def human(count: int) -> str:
    """``38G`` as coreutils write sizes."""
    value = float(count)
    for unit in ("", "K", "M", "G", "T"):
        if value < 1024 or unit == "T":
            return f"{value:.1f}{unit}" if 0 < value < 10 and unit else f"{value:.0f}{unit}"
        value /= 1024
    return str(count)


def aligned(table: list[list[str]]) -> Iterator[str]:
    """Columns as df sets them: texts to the left, numbers to the right."""
    widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
    left = [not (table[-1][i][:1].isdigit()) for i in range(len(table[0]))]
    for row in table:
        yield " ".join(cell.ljust(w) if to_left else cell.rjust(w) for cell, w, to_left in zip(row, widths, left, strict=True)).rstrip()
