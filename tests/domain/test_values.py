"""Quickly made values behave as the standard library's frozen dataclasses do."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from dataclasses import FrozenInstanceError, field, replace
from typing import Any, Generic, TypeVar

import msgspec
import pytest

from coldtui.domain.values import dataclass

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Quick(Generic[T]):
    name: str
    item: T
    tags: dict[str, str] = field(default_factory=dict)
    seen: int = field(default=0, compare=False)
    secret: str = field(default="", repr=False)

    @property
    def key(self) -> str:
        return f"k/{self.name}"


@dataclasses.dataclass(frozen=True, slots=True)
class Standard(Generic[T]):
    name: str
    item: T
    tags: dict[str, str] = field(default_factory=dict)
    seen: int = field(default=0, compare=False)
    secret: str = field(default="", repr=False)


ARGUMENTS: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
    (("a", 1), {}), (("a", 1, {"x": "y"}, 3, "s"), {}), ((), {"name": "a", "item": None}), (("b",), {"item": (1, 2), "secret": "t"}),
]  # fmt: skip


@pytest.mark.parametrize(("args", "kwargs"), ARGUMENTS)
def test_a_value_is_made_and_shown_like_a_standard_one(args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """The same arguments give the same fields and the same text, defaults and factories included."""
    quick, standard = Quick(*args, **kwargs), Standard(*args, **kwargs)
    assert dataclasses.asdict(quick) == dataclasses.asdict(standard)
    assert repr(quick).replace("Quick", "Standard") == repr(standard)


def test_wrong_arguments_are_refused() -> None:
    """A missing, an unknown and a surplus argument are TypeErrors, on the first value and on later ones."""
    wrong: list[tuple[tuple[Any, ...], dict[str, Any]]] = [(("a",), {}), (("a", 1), {"nothing": 2}), (("a", 1, {}, 0, "", 6), {})]
    for args, kwargs in wrong:
        with pytest.raises(TypeError):
            Quick(*args, **kwargs)


def test_equality_and_hash_follow_the_compared_fields() -> None:
    """Values of one class with equal fields are equal and hash alike; fields with compare=False do not count, another class never equals."""

    @dataclass(frozen=True, slots=True)
    class Pair:
        left: int
        right: int = field(default=0, compare=False)

    assert Pair(1, 2) == Pair(1, 3)
    assert hash(Pair(1, 2)) == hash(Pair(1, 3))
    assert Pair(1) != Pair(2)
    other: object = Standard("a", 1)
    assert Quick("a", 1) != other


def test_a_value_cannot_be_changed() -> None:
    """Neither a field nor anything else can be set or deleted."""
    quick = Quick("a", 1)
    with pytest.raises(FrozenInstanceError):
        quick.name = "b"  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError):
        del quick.name
    with pytest.raises(FrozenInstanceError):
        quick.other = 1  # type: ignore[attr-defined]


def test_the_standard_tools_know_a_value() -> None:
    """`replace`, `fields` and `is_dataclass` work, and each value has a dictionary of its own from a factory."""
    quick = Quick("a", 1)
    assert replace(quick, name="b") == Quick("b", 1)
    assert [f.name for f in dataclasses.fields(Quick)] == ["name", "item", "tags", "seen", "secret"]
    assert dataclasses.is_dataclass(Quick)
    assert Quick("a", 1).tags is not Quick("a", 1).tags
    assert not hasattr(quick, "__dict__")
    assert quick.key == "k/a"


def test_msgpack_goes_and_comes() -> None:
    """The saved World encodes and decodes values; a class whose first value is decoded has no compiled `__init__` yet."""

    @dataclass(frozen=True, slots=True)
    class Fresh:
        name: str
        count: int = 3

    decoded = msgspec.msgpack.decode(msgspec.msgpack.encode({"name": "x"}), type=Fresh)
    assert decoded == Fresh("x", 3)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(decoded), type=Fresh) == decoded


def test_what_is_not_frozen_with_slots_is_refused() -> None:
    """The quick decorator does one thing only, and says so."""
    with pytest.raises(TypeError, match="frozen"):
        dataclass(frozen=False, slots=True)


def test_pickle_is_not_needed_but_does_no_harm() -> None:
    """A value of a module's class can be copied and pickled, as test tools do."""
    assert copy.deepcopy(Quick("a", 1)) == Quick("a", 1)
    assert pickle.loads(pickle.dumps(Quick("a", 1))) == Quick("a", 1)
