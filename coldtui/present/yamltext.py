"""One object as YAML, with tones: keys, values and comments can be told apart with and without colour."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from .rows import Cell, Tone

_KEY = re.compile(r"^(\s*(?:- )*)((?:\"[^\"]*\"|'[^']*'|[^\s:#][^:]*?)):(?= |$)(.*)$")

Line = tuple[Cell, ...]


def yaml_text(obj: Mapping[str, Any]) -> str:
    """The object as kubectl prints it with `-o yaml`: block style, the API's key order, two spaces."""
    import yaml  # 33 ms; only when somebody asks for YAML

    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    return str(yaml.dump(dict(obj), Dumper=dumper, sort_keys=False, allow_unicode=True, default_flow_style=False, width=10_000))


def yaml_lines(obj: Mapping[str, Any]) -> tuple[Line, ...]:
    return tuple(_line(text) for text in yaml_text(obj).splitlines())


def _line(text: str) -> Line:
    match = _KEY.match(text)
    if match is None:
        return (Cell(text),)
    indent, key, value = match.groups()
    return (Cell(indent, Tone.MUTED), Cell(key, Tone.ACCENT), Cell(":", Tone.MUTED), Cell(value))
