"""Runs in rows, lines and JSON."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from coldtui.domain.progress import Progress, fold
from coldtui.domain.runboard import JOURNAL, RunBoard, Wait
from coldtui.domain.runs import Run, RunEvent, RunLine, RunState, What
from coldtui.domain.sources import KUBE
from coldtui.domain.world import World
from coldtui.present import run as one
from coldtui.present import runs
from coldtui.present.filters import matcher
from coldtui.present.lines import plain_text
from tests.journals import NOW, STEPS, a_run


def under_way(**changes: Any) -> Run:
    return replace(
        a_run(),
        **{"state": RunState.RUNNING, "started": NOW, "beat": NOW, "step": 1, "runner_host": "k3s-master", "runner_pid": 4711, **changes},
    )


def world(*made: Run, **changes: Any) -> World:
    return World(1, NOW, runs=replace(RunBoard(made, NOW), **changes))


def cells(run: Run, *, seconds: float = 10.0, **changes: Any) -> dict[str, str]:
    row = runs.RUNS.row(world(run, **changes), run, NOW + timedelta(seconds=seconds))
    return dict(zip((c.id for c in runs.RUNS.columns), (cell.text for cell in row.cells), strict=True))


def progress() -> Progress:
    told = (
        (1, What.STARTED, 0, "", ""), (1.3, What.FINISHED, 0, "", ""), (2, What.STARTED, 1, "", ""),
        (3, What.ITEM, 1, "pods/production/redis-0", "gone after 12 s"),
    )  # fmt: skip
    return fold(
        Progress(),
        [
            RunEvent(n, "r", NOW + timedelta(seconds=at), what, step, text, object)
            for n, (at, what, step, object, text) in enumerate(told, 1)
        ],
    )


@pytest.mark.parametrize(
    ("run", "changes", "state", "outcome"),
    [
        (under_way(), {}, "◐ running", "Evict 2 pods"),
        (a_run(), {}, "◐ starting", "its runner starts"),
        (under_way(beat=NOW - timedelta(minutes=1)), {}, "▲ runner lost", "runner lost at step 2 Evict 2 pods"),
        (under_way(state=RunState.WAITING, outcome="the API"), {}, "◐ waiting", "the API"),
        (under_way(), {"waits": {a_run().id: Wait("lock site", NOW)}}, "◐ waiting", "lock site (5s)"),
        (under_way(state=RunState.STOPPING, cancel_by="ben"), {}, "◐ stopping", "stops before its next act, asked by ben"),
        (under_way(beat=NOW - timedelta(minutes=1), after_boot="b"), {}, "○ after boot", "to be resumed after the boot"),
        (under_way(state=RunState.DONE, ended=NOW, outcome="all gone"), {}, "✓ done", "all gone"),
        (under_way(state=RunState.FAILED, ended=NOW, outcome="no answer"), {}, "✗ failed", "no answer"),
        (under_way(state=RunState.REFUSED, ended=NOW, outcome="worse"), {}, "✗ refused", "worse"),
        (under_way(state=RunState.CANCELLED, ended=NOW, outcome="stopped"), {}, "○ cancelled", "stopped"),
        (under_way(state=RunState.PARTIAL, ended=NOW, outcome="still cordoned"), {}, "▲ partial", "still cordoned"),
    ],
)
def test_each_state_has_a_word_a_glyph_and_a_sentence(run: Run, changes: dict[str, Any], state: str, outcome: str) -> None:
    """What the list says of a run in every state."""
    found = cells(run, seconds=5.0, **changes)
    assert (found["state"], found["outcome"]) == (state, outcome)


def test_a_row() -> None:
    """Who, when, how long, how far; of an older run the day."""
    found = cells(under_way(state=RunState.DONE, ended=NOW + timedelta(seconds=74), step=2))
    assert (found["title"], found["who"], found["started"], found["took"], found["step"]) == (
        "Drain k3s-worker-1",
        "anna",
        "14:02Z",
        "74s",
        "3/3",
    )
    assert cells(under_way(), seconds=90_000)["started"] == "11-24"


def test_the_time_of_a_lost_run_stands_still() -> None:
    """Nothing is known after its last beat, so nothing counts on."""
    run = under_way(beat=NOW + timedelta(seconds=30))
    assert runs.took(run, NOW + timedelta(seconds=31)) == timedelta(seconds=31)
    assert runs.took(run, NOW + timedelta(minutes=10)) == timedelta(seconds=30)


def test_what_is_under_way_comes_first() -> None:
    """Runs under way on top, then the ended ones, newest first."""
    old, new = under_way(id="a", created=NOW - timedelta(hours=2)), under_way(id="b", state=RunState.DONE, ended=NOW)
    newer = replace(new, id="c", created=NOW + timedelta(minutes=1))
    made = world(old, new, newer)
    key = runs.RUNS.sorts["started"]
    assert [r.id for r in sorted((new, old, newer), key=lambda r: key(made, r))] == ["a", "c", "b"]


def test_a_run_is_found_by_any_of_its_words() -> None:
    """Object, person, source, reason, outcome and id."""
    run = under_way(outcome="k3s-worker-1 is still cordoned")
    for words in ("worker-1", "anna", "10.0.0.5", "kernel", "still cordoned", "7f3a", "node.drain"):
        wanted = matcher(runs.RUNS, words)
        assert wanted is not None
        assert wanted(run)


def test_json_has_what_the_row_has_and_more() -> None:
    """Plain JSON, times in UTC, what is not there as null."""
    made = json.loads(json.dumps(runs.json_of(world(under_way()), under_way(), NOW + timedelta(seconds=9))))
    assert made["state"] == "running"
    assert made["who"] == {"login": "anna", "user": "anna", "source": "10.0.0.5", "host": "k3s-master", "face": "console"}
    assert (made["step"], made["ended"], made["took_s"], made["cancel"]) == (2, None, 9.0, None)
    assert made["params"] == {"node": "k3s-worker-1", "grace": 30}


# ------------------------------------------------------------ one run


def test_steps_with_marks_and_times() -> None:
    """Done, under way, ahead; the one that failed says why below it."""
    assert plain_text(one.step_lines(under_way(), progress(), NOW + timedelta(seconds=11))).splitlines() == [
        "✓ 1 Cordon k3s-worker-1        0.3 s", "◐ 2 Evict 2 pods               9s", "· 3 Verify that they are gone",
    ]  # fmt: skip
    failed = fold(progress(), [RunEvent(9, "r", NOW + timedelta(seconds=40), What.FAILED, 1, "Evict 2 pods: budget redis allows 0")])
    run = under_way(state=RunState.PARTIAL, ended=NOW + timedelta(seconds=41))
    assert plain_text(one.step_lines(run, failed, NOW)).splitlines() == [
        "✓ 1 Cordon k3s-worker-1        0.3 s", "✗ 2 Evict 2 pods               38.0 s", "    budget redis allows 0", "○ 3 Verify that they are gone  not begun",
    ]  # fmt: skip


def test_things_as_told_and_as_planned() -> None:
    """Pods that were told of come with their state and its age; the others as the plan has them."""
    assert plain_text(one.item_lines(under_way(), progress(), NOW + timedelta(seconds=23))).splitlines() == [
        " 15s    production/redis-0  gone after 12 s", "        production/redis-1  waits: for redis-0", "        kube-system/agent   stays: DaemonSet",
    ]  # fmt: skip
    assert one.item_summary(under_way(), progress()) == "1 of 2"
    assert one.item_lines(a_run(plan={}), Progress(), NOW) == ()


def test_the_report_of_a_run_is_whole() -> None:
    """Who, from where, why, with what, plan and digest, runner, steps, things, findings and premises."""
    text = plain_text(one.report(RunBoard((under_way(),)), under_way(), progress(), NOW + timedelta(seconds=9)))
    for words in (
        "◐ running  step 2 of 3", "node.drain on nodes/k3s-worker-1, rung 2", "anna from 10.0.0.5, console on k3s-master", "kernel update",
        "node k3s-worker-1, grace 30", "go after 1 wait · 9f9f9f9f9f9f", "process 4711 on k3s-master", "site", "✓ 1 Cordon", "redis-0  gone after 12 s",
        "▲ budget redis allows 1 of 3", "✓ quorum holds", "pods of k3s-worker-1", "read 14:02:09Z",
    ):  # fmt: skip
        assert words in text, words


def test_a_plan_of_another_version_is_still_shown() -> None:
    """What cannot be understood of an old plan is left out; nothing fails."""
    run = under_way(plan={"outlook": "go", "findings": [["x"]], "items": "odd", "premises": [7]})
    assert one.verdict_text(run) == "go"
    assert "go" in plain_text(one.report(RunBoard((run,)), run, Progress(), NOW))


def test_cancel_says_what_it_cannot_undo() -> None:
    """Wherever a run is asked to stop, it is said that what was accepted stands."""
    run = under_way(state=RunState.STOPPING, cancel_by="ben", cancel_at=NOW)
    assert "what was accepted cannot be recalled" in plain_text(one.facts(run, NOW))
    assert "what was accepted cannot be recalled" in plain_text([one.brief(run)])


def test_events_as_talk() -> None:
    """Steps are told beside the log; what the log says itself is not told twice."""

    def text(what: What, words: str = "") -> str:
        return one.event_text(RunEvent(1, "r", NOW, what, 1, words), 3)

    assert text(What.STARTED, STEPS[1]) == "step 2 of 3: Evict 2 pods"
    assert text(What.FINISHED, STEPS[1]) == "step 2 of 3: Evict 2 pods is done"
    assert text(What.ALREADY, STEPS[1]) == "step 2 of 3: Evict 2 pods is done already"
    assert text(What.FAILED, "Evict 2 pods: no") == "step 2 of 3 failed: Evict 2 pods: no"
    assert [text(what, "x") for what in (What.SAID, What.ITEM, What.WAITING, What.MEMO, What.PLAN)] == [""] * 5
    assert one.log_text(RunLine(NOW, 0, "err", "bad")) == "! bad"


def test_the_last_line_says_the_state_once() -> None:
    """An outcome that begins with the state is not introduced by it again."""
    ended = {"ended": NOW + timedelta(seconds=6.5), "state": RunState.DONE}
    assert one.end_text(under_way(**ended, outcome="done in 6.5 s"), NOW) == "Drain k3s-worker-1: done in 6.5 s"
    assert one.end_text(under_way(**ended, outcome="all gone"), NOW) == "Drain k3s-worker-1: done after 6.5 s: all gone"


# ------------------------------------------------------------ elsewhere


def test_the_title_names_the_run_in_the_worst_state() -> None:
    """One run with its step; of several the one that needs somebody, and how many more."""
    assert runs.title_cell(world(), NOW) is None
    good, bad = under_way(id="a"), under_way(id="b", title="Reboot k3s-worker-2", beat=NOW - timedelta(minutes=1))
    first = runs.title_cell(world(good), NOW)
    assert first is not None
    assert first.text == "◐ Drain k3s-worker-1 2/3"
    both = runs.title_cell(world(good, bad), NOW)
    assert both is not None
    assert both.text == "▲ Reboot k3s-worker-2 2/3 +1"


def test_recent_lines_leave_out_what_ended_long_ago() -> None:
    """Under way, and ended within the hour."""
    ended = under_way(id="b", state=RunState.DONE, ended=NOW - timedelta(minutes=5), outcome="done in 4 s")
    old = replace(ended, id="c", ended=NOW - timedelta(hours=3))
    text = plain_text(runs.recent_lines(world(under_way(), ended, old), NOW, 80, 5)).splitlines()
    assert len(text) == 2
    assert text[0].startswith("14:02Z ◐ Drain k3s-worker-1 2/3 Evict 2 pods")
    assert text[1].startswith("13:57Z ✓ Drain k3s-worker-1 done")


def test_the_journal_is_no_source_of_the_api() -> None:
    """Its name is not among the kinds that an API's loss makes old."""
    assert JOURNAL not in World(1, NOW).sources
    assert KUBE in World(1, NOW).sources
