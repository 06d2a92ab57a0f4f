"""From bytes to domain values: what all kinds share.

A noun has one file here with its wire structs (only the fields that are used; msgspec skips the rest, which is most of a pod) and one
function from such a struct to the frozen domain value. `decoders.DECODERS` lists them.

    class _Wire(Wire):                       # camelCase on the wire, snake_case here
        metadata: Meta
        spec: _Spec = _Spec()

    def widget(item: _Wire, now: datetime) -> Widget: ...

    WIDGETS = Decoder(_Wire, widget)
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import cached_property
from threading import RLock
from typing import Annotated, Any, Generic, TypeVar

import msgspec

from coldtui.domain.values import dataclass

from ...domain.objects import Condition, Owner
from ...domain.text import plain

T = TypeVar("T")
W = TypeVar("W", bound=msgspec.Struct)

Time = Annotated[datetime, msgspec.Meta(tz=True)]
"""RFC 3339 with an offset; one without is refused, since it could not be compared with the others."""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
"""Stands for a creationTimestamp that is missing; the API server always sets one."""

UNDECODABLE = (msgspec.MsgspecError, ValueError, TypeError, LookupError, ArithmeticError, AttributeError, RecursionError)
"""What a hostile or broken object can make a decoder raise."""


class Wire(msgspec.Struct, rename="camel", gc=False):
    """Base of all wire structs. They hold no cycles, so the collector need not know them."""


class Present(Wire):
    """Any object: only that it is there counts. (`msgspec.Raw | None` refuses everything but null.)"""


class OwnerReference(Wire):
    kind: str = ""
    name: str = ""
    uid: str = ""
    controller: bool | None = None


class Meta(Wire):
    """metadata, without annotations: they are large, and few kinds need them."""

    name: str
    namespace: str = ""
    uid: str = ""
    generation: int = 0
    creation_timestamp: Time | None = None
    deletion_timestamp: Time | None = None
    deletion_grace_period_seconds: int | None = None
    labels: dict[str, str] | None = None
    owner_references: list[OwnerReference] | None = None

    @property
    def created(self) -> datetime:
        return self.creation_timestamp or EPOCH


class AnnotatedMeta(Meta):
    """metadata with all annotations. Better: a struct of your own that names the two you need."""

    annotations: dict[str, str] | None = None

    @property
    def annotation(self) -> dict[str, str]:
        """As sent: make plain what you take from it."""
        return self.annotations or NOTHING


class WireCondition(Wire):
    type: str = ""
    status: str = ""
    reason: str = ""
    message: str = ""
    last_transition_time: Time | None = None


# --- strings ---------------------------------------------------------------------------------------------------------------------------

NOTHING: dict[str, str] = {}
"""The one empty dict; never changed."""
_WORDS_KEPT, _SETS_KEPT = 32_768, 8_192
_words: dict[str, str] = {}
_word = _words.get
_sets: dict[tuple[tuple[str, str], ...], dict[str, str]] = {}


def word(text: str) -> str:
    """A plain string that many objects share (namespace, node, image, reason): one copy of it is kept. Cheaper than `plain` too."""
    found = _word(text)
    if found is None:
        if len(_words) >= _WORDS_KEPT:
            _words.clear()  # a cache: what is in use lives on, only the sharing starts anew
        found = _words[text] = plain(text)
    return found


def words(pairs: dict[str, str] | None) -> dict[str, str]:
    """Labels or a selector, plain; equal sets are one dict. Never change it."""
    if not pairs:
        return NOTHING
    key = tuple(pairs.items())
    found = _sets.get(key)
    if found is None:
        if len(_sets) >= _SETS_KEPT:
            _sets.clear()
        found = _sets[key] = {word(name): word(value) for name, value in key}
    return found


def number(text: str) -> int:
    """A number in an annotation, 0 when it is none (it is a note, not worth losing the object)."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else 0


def int_or_string(value: int | str | None) -> str:
    """Kubernetes' IntOrString as text, empty when absent."""
    return "" if value is None else word(str(value))


def owner(meta: Meta) -> Owner | None:
    """The controller among the owner references."""
    for reference in meta.owner_references or ():
        if reference.controller:
            return Owner(word(reference.kind), word(reference.name), word(reference.uid))
    return None


def condition(wire: WireCondition) -> Condition:
    return Condition(word(wire.type), word(wire.status), word(wire.reason), plain(wire.message), wire.last_transition_time)


def conditions(wires: list[WireCondition] | None) -> tuple[Condition, ...]:
    return tuple([condition(wire) for wire in wires]) if wires else ()


# --- lists and objects -----------------------------------------------------------------------------------------------------------------


class ListMeta(Wire):
    resource_version: str = ""
    continue_: str = msgspec.field(name="continue", default="")
    remaining_item_count: int | None = None


class _ListOf(Wire, Generic[T]):
    metadata: ListMeta = msgspec.field(default_factory=ListMeta)
    items: list[T] | None = None


@dataclass(frozen=True, slots=True)
class Listing(Generic[T]):
    """One page, decoded."""

    meta: ListMeta
    items: tuple[T, ...]
    skipped: int


_making = RLock()


def decoder(wire: Any) -> Callable[[Any], Any]:
    """What decodes JSON as a type. msgspec 0.22 crashes the process when two threads look at a type, or at one inside it, for the first time
    at once: one at a time."""
    with _making:
        return msgspec.json.Decoder(wire).decode


class Decoder(Generic[T]):
    """How one kind is read: `wire` is what is taken from the bytes, `value` makes the domain value of it; `now` is when it was read.

    `value` may raise any of UNDECODABLE: the object is then skipped and counted.
    """

    def __init__(self, wire: type[W], value: Callable[[W, datetime], T]) -> None:
        self.wire = wire
        self.value: Callable[[Any, datetime], T] = value

    @cached_property
    def _item(self) -> Callable[[Any], Any]:
        return decoder(self.wire)  # made at first use: thirty of them would delay the start

    @cached_property
    def _list(self) -> Callable[[Any], Any]:
        return decoder(_ListOf[self.wire])  # type: ignore[name-defined]  # a type made at run time

    def item(self, raw: bytes | msgspec.Raw, now: datetime) -> T:
        """One object. Raises UNDECODABLE."""
        return self.value(self._item(raw), now)

    def listing(self, raw: bytes, now: datetime) -> Listing[T]:
        """One page. Objects that cannot be decoded are counted; raises UNDECODABLE only when the page itself is not a list."""
        try:
            found = self._list(raw)
        except UNDECODABLE:
            return self._one_by_one(raw, now)
        items, skipped, value = [], 0, self.value
        for item in found.items or ():
            try:
                items.append(value(item, now))
            except UNDECODABLE:
                skipped += 1
        return Listing(found.metadata, tuple(items), skipped)

    def _one_by_one(self, raw: bytes, now: datetime) -> Listing[T]:
        found = _raw_list(raw)
        items, skipped = [], 0
        for item in found.items or ():
            try:
                items.append(self.item(item, now))
            except UNDECODABLE:
                skipped += 1
        return Listing(found.metadata, tuple(items), skipped)


_raw_list = decoder(_ListOf[msgspec.Raw])
