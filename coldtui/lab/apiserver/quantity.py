"""Kubernetes quantities as numbers."""

from __future__ import annotations

_SUFFIX = {
    "n": 1e-9,
    "u": 1e-6,
    "m": 1e-3,
    "": 1.0,
    "k": 1e3,
    "M": 1e6,
    "G": 1e9,
    "T": 1e12,
    "P": 1e15,
    "E": 1e18,
    "Ki": 2.0**10,
    "Mi": 2.0**20,
    "Gi": 2.0**30,
    "Ti": 2.0**40,
    "Pi": 2.0**50,
    "Ei": 2.0**60,
}


def parse_quantity(value: object) -> float:
    """``250m`` -> 0.25, ``1Gi`` -> 2**30. ValueError when it is no quantity."""
    text = str(value).strip()
    number = text.rstrip("numkKMGTPEi")
    factor = _SUFFIX.get(text[len(number) :])
    if factor is None:
        raise ValueError(f"not a quantity: {value!r}")
    return float(number) * factor
