"""Whether a key was pressed by a hand, told from the times at which keys came."""

from __future__ import annotations

from coldtui.tui.hand import BURST_S, HELD_S, Hand, typed_at_once


def saw(*keys: tuple[str, float]) -> Hand:
    hand = Hand()
    for key, at in keys:
        hand.saw(key, at)
    return hand


def test_a_first_press_counts() -> None:
    """A key that was not pressed before, with nothing near it, decides."""
    assert saw(("j", 1.0), ("y", 2.0)).doubt("y", 2.0) == ""


def test_the_first_repeat_of_a_held_key_does_not_count() -> None:
    """A key held down since before repeats itself after up to a second, and then ever again: none of that decides."""
    hand = saw(("enter", 1.0), ("enter", 1.0 + HELD_S - 0.1), *(("enter", 2.0 + i / 30) for i in range(20)))
    assert "held down" in hand.doubt("enter", 1.0 + HELD_S - 0.1)
    assert "held down" in hand.doubt("enter", 2.0 + 19 / 30)


def test_a_key_within_a_burst_does_not_count() -> None:
    """Enter that came right behind a letter, as in a paste, does not decide; nor does a letter that others follow at once."""
    hand = saw(("n", 1.0), ("enter", 1.0 + BURST_S / 3))
    assert "together with other keys" in hand.doubt("enter", 1.0 + BURST_S / 3)
    assert saw(("y", 1.0), ("e", 1.001)).followed("y", 1.0)
    assert not saw(("y", 1.0), ("e", 1.2)).followed("y", 1.0)


def test_a_typed_word_and_one_that_came_at_once() -> None:
    """Letters of a hand pass, also when a slow line brought some of them together; a whole word in a moment does not."""
    assert not typed_at_once([0.0, 0.1, 0.2, 0.3, 0.4])
    assert not typed_at_once([0.0, 0.0, 0.1, 0.1, 0.1])
    assert typed_at_once([0.0, 0.001, 0.002, 0.003, 0.004])
    assert not typed_at_once([0.0])
