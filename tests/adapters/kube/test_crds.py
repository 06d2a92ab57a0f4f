"""Every field that is decoded exists in the real CRDs: a misspelt name would silently read as absent for ever."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from coldtui.adapters.kube.decoders import DECODERS
from coldtui.domain.kinds import KINDS, WATCHED
from tests.sample import decode, meta

CRDS = Path(__file__).parents[3] / "coldtui" / "lab" / "crds"
CUSTOM = [k for k in WATCHED if k.custom and list(CRDS.glob(f"*/{k.group}_{k.plural}.yaml"))]


def schema_of(kind: str) -> dict[str, Any]:
    k = KINDS[kind]
    (path,) = CRDS.glob(f"*/{k.group}_{k.plural}.yaml")
    crd = yaml.load(path.read_text(), yaml.CSafeLoader)
    (found,) = [v for v in crd["spec"]["versions"] if v["name"] == k.version]
    schema: dict[str, Any] = found["schema"]["openAPIV3Schema"]
    return schema


def inner(kind: msgspec.inspect.Type) -> msgspec.inspect.Type:
    """The type without `| None`."""
    if isinstance(kind, msgspec.inspect.UnionType):
        return next((t for t in kind.types if not isinstance(t, msgspec.inspect.NoneType)), kind)
    return kind


def missing(kind: msgspec.inspect.Type, schema: dict[str, Any], path: str) -> Iterator[str]:
    kind = inner(kind)
    if isinstance(kind, msgspec.inspect.StructType):
        known = schema.get("properties")
        if known is None:
            return  # the schema leaves this object open
        for field in kind.fields:
            here = f"{path}.{field.encode_name}"
            if field.encode_name not in known:
                yield here
            else:
                yield from missing(field.type, known[field.encode_name], here)
    elif isinstance(kind, msgspec.inspect.ListType):
        yield from missing(kind.item_type, schema.get("items", {}), f"{path}[]")
    elif isinstance(kind, msgspec.inspect.DictType) and isinstance(schema.get("additionalProperties"), dict):
        yield from missing(kind.value_type, schema["additionalProperties"], f"{path}{{}}")


@pytest.mark.parametrize("kind", [k.name for k in CUSTOM])
def test_decoded_fields_exist_in_the_crd(kind: str) -> None:
    """No wire struct asks for a field that the CRD does not have."""
    schema = schema_of(kind)
    found = msgspec.inspect.type_info(DECODERS[kind].wire)
    assert isinstance(found, msgspec.inspect.StructType)
    wrong = [
        text
        for field in found.fields
        if field.encode_name != "metadata"
        for text in (
            [f".{field.encode_name}"]
            if field.encode_name not in schema["properties"]
            else missing(field.type, schema["properties"][field.encode_name], f".{field.encode_name}")
        )
    ]
    assert wrong == []


def test_the_crds_are_there() -> None:
    """The test above looks at the kinds that matter: each custom kind has its CRD here."""
    assert {k.name for k in WATCHED if k.custom} - {k.name for k in CUSTOM} == set()


@pytest.mark.parametrize("kind", [k.name for k in WATCHED if k.custom])
def test_an_object_without_spec_and_status_is_read(kind: str) -> None:
    """An object that its controller has not touched yet is a value, not garbage."""
    assert decode(kind, {"metadata": meta("bare", "x")}).name == "bare"
