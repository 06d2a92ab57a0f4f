"""An answer is found once for the same object, and anew for another that is equal."""

from __future__ import annotations

from coldtui.domain.memo import Last


def test_the_same_object_is_asked_once_and_an_equal_one_again() -> None:
    """Only identity counts: an equal list that may have changed since is asked again."""
    asked: list[list[int]] = []

    def total(numbers: list[int]) -> int:
        asked.append(numbers)
        return sum(numbers)

    last, first, second = Last(total), [1, 2], [1, 2]
    assert [last(first), last(first), last(second), last(first)] == [3, 3, 3, 3]
    assert len(asked) == 3
