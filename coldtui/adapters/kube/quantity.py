"""Kubernetes quantities: `156340000n`, `128Mi`, `1.5`, `1e3`, `500m`."""

from __future__ import annotations

import re
from decimal import ROUND_CEILING, Decimal
from functools import lru_cache

_FORM = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+))(?:([eE][+-]?\d{1,3})|([numkMGTPE]|[KMGTPE]i)?)", re.ASCII)
_SCALE = {
    "": Decimal(1),
    **{
        unit: Decimal(10) ** power for unit, power in {"n": -9, "u": -6, "m": -3, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}.items()
    },
    **{f"{unit}i": Decimal(1024) ** power for power, unit in enumerate("KMGTPE", 1)},
}
_MOST = Decimal(2**63 - 1)
"""Where Kubernetes caps a quantity too."""


def _exact(text: str) -> Decimal:
    found = _FORM.fullmatch(text) if len(text) <= 64 else None
    if found is None:
        raise ValueError("not a quantity")
    digits, exponent, unit = found.groups()
    return Decimal(digits + (exponent or "")) * _SCALE[unit or ""]


def _whole(value: Decimal) -> int:
    """Rounded up as Kubernetes does, and within 64 bits (`1e999` must not become a number of 999 digits)."""
    return int(max(-_MOST, min(_MOST, value)).to_integral_value(ROUND_CEILING))


@lru_cache(8192)
def _amount(text: str) -> int:
    return _whole(_exact(text))


@lru_cache(8192)
def _milli(text: str) -> int:
    return _whole(_exact(text) * 1000)


def amount(quantity: str | int | float) -> int:
    """The whole number: bytes, pods. Raises ValueError."""
    return _amount(quantity if isinstance(quantity, str) else str(quantity))


def milli(quantity: str | int | float) -> int:
    """Thousandths: CPU in millicores. Raises ValueError."""
    return _milli(quantity if isinstance(quantity, str) else str(quantity))
