from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coldtui.adapters.kube.quantity import amount, milli


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", 0), ("128Mi", 134_217_728), ("1Ki", 1024), ("1k", 1000), ("1.5Gi", 1_610_612_736), ("1e3", 1000), ("1E3", 1000), ("12E", 2**63 - 1),
        ("5E", 5 * 10**18), ("1Ei", 2**60), ("500m", 1), ("1.5", 2), ("+3", 3), ("-1", -1), (".5G", 500_000_000), ("110", 110), ("1e999", 2**63 - 1),
        (7, 7), ("3.", 3),
    ],
)  # fmt: skip
def test_amounts_are_whole_and_rounded_up(text: str | int, expected: int) -> None:
    """Every spelling that Kubernetes allows gives the bytes or the count that Kubernetes means, and none becomes a huge number."""
    assert amount(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [("156340000n", 157), ("250m", 250), ("2", 2000), ("0.1", 100), ("100u", 1), ("1k", 1_000_000), (4, 4000), (0.5, 500)],
)
def test_cpu_is_read_in_thousandths(text: str | float, expected: int) -> None:
    """Nanocores, millicores and cores all become millicores."""
    assert milli(text) == expected


@pytest.mark.parametrize("text", ["", "Mi", "1 Mi", "1Kib", "abc", "1e", "0x10", "١", "1.2.3", "--1", "1" * 65, "NaN", "Infinity"])
def test_what_is_no_quantity_is_refused(text: str) -> None:
    """A word that is no quantity raises, so that its object is counted as undecodable instead of being shown with a false number."""
    with pytest.raises(ValueError):
        amount(text)


@given(st.integers(0, 2**62))
def test_whole_numbers_return_themselves(number: int) -> None:
    """No precision is lost up to the largest quantity."""
    assert amount(str(number)) == number
