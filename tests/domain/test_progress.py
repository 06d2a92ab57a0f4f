"""Events folded into steps and things."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from coldtui.domain.progress import Mark, Progress, fold, step_at
from coldtui.domain.runs import RunEvent, RunState, What
from tests.journals import NOW, a_run


def told(*events: tuple[What, dict[str, Any]]) -> list[RunEvent]:
    """One a second."""
    return [RunEvent(n, "r", NOW + timedelta(seconds=n), what, **rest) for n, (what, rest) in enumerate(events, 1)]


def test_steps_have_marks_and_times() -> None:
    """Begun, finished, found done, failed with its reason; what nothing was said of lies ahead."""
    events = told(
        (What.STARTED, {"step": 0, "text": "Cordon"}), (What.FINISHED, {"step": 0}), (What.ALREADY, {"step": 1}),
        (What.STARTED, {"step": 2}), (What.FAILED, {"step": 2, "text": "Evict: no answer"}),
    )  # fmt: skip
    made = fold(Progress(), events)
    assert [made.step(i).mark for i in range(4)] == [Mark.DONE, Mark.ALREADY, Mark.FAILED, Mark.AHEAD]
    assert made.step(0).began == NOW + timedelta(seconds=1)
    assert made.step(0).ended == NOW + timedelta(seconds=2)
    assert made.step(2).text == "Evict: no answer"
    assert made.seq == 5


def test_folding_in_pieces_is_folding_at_once() -> None:
    """Whoever follows gets the same picture as who comes later; an event that comes twice changes nothing."""
    events = told(
        (What.RUNNER, {}), (What.STARTED, {"step": 0}), (What.ITEM, {"object": "a", "text": "evicting"}), (What.WAITING, {"text": "API"}),
        (What.ITEM, {"object": "b", "text": "gone"}), (What.WAITING, {"text": ""}), (What.ITEM, {"object": "a", "text": "gone"}),
    )  # fmt: skip
    whole, pieces = fold(Progress(), events), Progress()
    for event in events:
        pieces = fold(fold(pieces, [event]), [event])
    assert pieces == whole


def test_things_keep_their_order_and_their_newest_state() -> None:
    """In the order in which they were first told of; since when it is so, and since when it is known."""
    made = fold(
        Progress(),
        told(
            (What.ITEM, {"object": "b", "text": "evicting"}),
            (What.ITEM, {"object": "a", "text": "x"}),
            (What.ITEM, {"object": "b", "text": "gone"}),
        ),
    )
    assert list(made.items) == ["b", "a"]
    assert (made.items["b"].text, made.items["b"].at, made.items["b"].first) == (
        "gone",
        NOW + timedelta(seconds=3),
        NOW + timedelta(seconds=1),
    )


def test_a_wait_lasts_from_its_first_word_to_its_end() -> None:
    """Another sentence about the same wait does not begin it anew; a new runner, and the end, end it."""
    events = told((What.WAITING, {"text": "API: refused"}), (What.WAITING, {"text": "API: timeout"}))
    made = fold(Progress(), events)
    assert (made.waiting, made.waiting_since) == ("API: timeout", NOW + timedelta(seconds=1))
    for what in (What.RUNNER, What.ENDED):
        over = fold(made, [RunEvent(9, "r", NOW, what)])
        assert (over.waiting, over.waiting_since) == ("", None)
    assert fold(made, [RunEvent(9, "r", NOW, What.WAITING)]).waiting == ""


def test_a_resumed_step_counts_its_attempts_and_keeps_its_own_work() -> None:
    """A second attempt begins anew; a step that the first runner finished stays done with its times when the second finds it so."""
    made = fold(Progress(), told((What.STARTED, {"step": 0}), (What.FINISHED, {"step": 0}), (What.STARTED, {"step": 1}), (What.RUNNER, {}),
                                 (What.ALREADY, {"step": 0}), (What.STARTED, {"step": 1})))  # fmt: skip
    assert (made.step(0).mark, made.step(0).ended) == (Mark.DONE, NOW + timedelta(seconds=2))
    assert (made.step(1).attempts, made.step(1).began) == (2, NOW + timedelta(seconds=6))


def test_what_an_ended_run_did_not_finish_was_left() -> None:
    """After the end no step is under way or ahead any more."""
    run = a_run(state=RunState.CANCELLED, ended=NOW + timedelta(seconds=9))
    made = fold(Progress(), told((What.STARTED, {"step": 0}), (What.FINISHED, {"step": 0}), (What.STARTED, {"step": 1})))
    assert [step_at(run, made, i).mark for i in range(3)] == [Mark.DONE, Mark.LEFT, Mark.LEFT]
    assert step_at(run, made, 1).ended == run.ended
