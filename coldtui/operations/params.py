"""Parameters of operations: from the fields of one frozen dataclass come the form in the console, the arguments of the command line and the
schema of the API.

A field is declared with `param`. Kinds are `str`, `int`, `bool` and `tuple[str, ...]`. The first field without a default is the object that
is acted on: a positional word on the command line.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any, TypeVar, get_type_hints

from ..domain.errors import UsageError
from ..domain.text import one_of, plain

P = TypeVar("P")
NOTHING = dataclasses.MISSING
_ITEM = re.compile(r'(?:"(?:[^"]|"")*"|[^,])+')
"""Between commas; one in double quotes, as SQL writes names, parts nothing."""


def param(
    about: str,
    default: Any = NOTHING,
    *,
    unit: str = "",
    choices: tuple[str, ...] = (),
    least: int | None = None,
    most: int | None = None,
    grave: bool = False,
    named: bool = False,
) -> Any:
    """Declare a field. `grave`: raises what must be confirmed, so that forms set it apart. `unit`: what a number counts, such as `s`.

    `named`: must be given, and reads better with its name (`--to postgres-2`) than as a bare word; the command line takes both.
    """
    meta = {"about": about, "unit": unit, "choices": choices, "least": least, "most": most, "grave": grave, "named": named}
    return dataclasses.field(metadata=meta) if default is NOTHING else dataclasses.field(default=default, metadata=meta)


@dataclasses.dataclass(frozen=True, slots=True)
class Param:
    """One field, as faces see it."""

    name: str
    kind: type
    """str, int, bool or tuple (of texts)."""
    about: str
    default: Any
    """NOTHING: must be given."""
    unit: str = ""
    choices: tuple[str, ...] = ()
    least: int | None = None
    most: int | None = None
    grave: bool = False
    named: bool = False

    @property
    def required(self) -> bool:
        return self.default is NOTHING

    @property
    def flag(self) -> str:
        """`--disable-eviction`."""
        return "--" + self.name.replace("_", "-")


def params_of(cls: type[Any]) -> tuple[Param, ...]:
    """In the order of declaration."""
    hints = get_type_hints(cls)
    made = []
    for f in dataclasses.fields(cls):
        hint = hints[f.name]
        kind = tuple if getattr(hint, "__origin__", None) is tuple else hint
        made.append(Param(f.name, kind, default=f.default, **f.metadata))
    return tuple(made)


def make(cls: type[P], values: Mapping[str, Any]) -> P:
    """The parameters from plain values (texts of a form, JSON of the journal). Raises UsageError: which field, what is wrong, what fits."""
    fields = {p.name: p for p in params_of(cls)}
    for name in values:
        if name not in fields:
            near = one_of(tuple(fields), name)
            raise UsageError(f"unknown parameter {plain(name)}", hint=f"did you mean {near}?" if near else f"known: {', '.join(fields)}")
    given = {}
    for name, p in fields.items():
        if name in values and values[name] is not None:
            given[name] = _value(p, values[name])
        elif p.required:
            raise UsageError(f"{name} is missing", detail=p.about, hint=f"give {name}")
    return cls(**given)


def _value(p: Param, value: Any) -> Any:
    if p.kind is bool:
        if isinstance(value, bool):
            return value
        raise UsageError(f"{p.name} is yes or no", detail=f"not {plain(str(value))!r}", hint="true or false")
    if p.kind is int:
        return _number(p, value)
    if p.kind is tuple:
        items = value if isinstance(value, (list, tuple)) else _ITEM.findall(str(value))
        return tuple(str(item).strip() for item in items if str(item).strip())
    text = str(value)
    if p.choices and text not in p.choices:
        near = one_of(p.choices, text)
        raise UsageError(f"{p.name} cannot be {plain(text)!r}", hint=f"did you mean {near}?" if near else f"one of {', '.join(p.choices)}")
    if p.required and not text:
        raise UsageError(f"{p.name} is empty", detail=p.about, hint=f"give {p.name}")
    return text


def _number(p: Param, value: Any) -> int:
    text = str(value).strip()
    if isinstance(value, bool) or not text.removeprefix("-").isdecimal() or not text.isascii():
        raise UsageError(f"{p.name} must be a whole number", detail=f"not {plain(text)!r}", hint=p.about)
    number = int(text)
    if p.least is not None and number < p.least:
        raise UsageError(f"{p.name} is at least {p.least}", detail=f"not {number}", hint=p.about)
    if p.most is not None and number > p.most:
        raise UsageError(f"{p.name} is at most {p.most}", detail=f"not {number}", hint=p.about)
    return number


def plain_values(params: Any) -> dict[str, Any]:
    """As plain JSON values, for the journal."""
    return {f.name: list(v) if isinstance(v := getattr(params, f.name), tuple) else v for f in dataclasses.fields(params)}
