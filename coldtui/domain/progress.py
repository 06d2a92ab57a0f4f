"""How far a run is: its events, folded into steps with times and things with their newest state."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import field, replace
from datetime import datetime
from enum import Enum

from .runs import Run, RunEvent, What
from .values import dataclass


class Mark(Enum):
    """How a step stands."""

    AHEAD = "ahead"
    UNDER_WAY = "under way"
    DONE = "done"
    ALREADY = "already done"
    """The world said so before anything was tried."""
    FAILED = "failed"
    LEFT = "not done"
    """The run ended before it, or in the middle of it."""


@dataclass(frozen=True, slots=True)
class StepState:
    """One planned step as far as the events tell."""

    mark: Mark = Mark.AHEAD
    began: datetime | None = None
    """Of the newest attempt."""
    ended: datetime | None = None
    attempts: int = 0
    text: str = ""
    """Why it failed."""


@dataclass(frozen=True, slots=True)
class ItemState:
    """One thing that a run works on, such as a pod of a drain."""

    object: str
    text: str
    at: datetime
    """Since when it is so."""
    first: datetime
    """When the run first told of it."""


@dataclass(frozen=True, slots=True)
class Progress:
    """All that the events of one run tell up to `seq`."""

    seq: int = 0
    """Of the newest event that is in it."""
    steps: Mapping[int, StepState] = field(default_factory=dict)
    """By index; a step that nothing was said of is not in it."""
    items: Mapping[str, ItemState] = field(default_factory=dict)
    """By object, in the order in which they were first told of."""
    waiting: str = ""
    """What it waits for; empty: for nothing."""
    waiting_since: datetime | None = None
    said: str = ""
    """Its newest sentence."""
    runners: int = 0

    def step(self, index: int) -> StepState:
        return self.steps.get(index, StepState())


def fold(progress: Progress, events: Iterable[RunEvent]) -> Progress:
    """The progress with newer events in it; those that are in it already change nothing."""
    steps, items = dict(progress.steps), dict(progress.items)
    made = progress
    for event in events:
        if event.seq <= made.seq:
            continue
        made = replace(made, seq=event.seq)
        match event.what:
            case What.STARTED | What.ALREADY | What.FINISHED | What.FAILED:
                steps[event.step] = _turned(steps.get(event.step, StepState()), event)
            case What.ITEM:
                known = items.get(event.object)
                items[event.object] = ItemState(event.object, event.text, event.at, known.first if known else event.at)
            case What.WAITING:
                since = (made.waiting_since if made.waiting else None) or event.at
                made = replace(made, waiting=event.text, waiting_since=since if event.text else None)
            case What.SAID:
                made = replace(made, said=event.text)
            case What.RUNNER:
                # Whatever the runner before it waited for, this one has not said it.
                made = replace(made, waiting="", waiting_since=None, runners=made.runners + 1)
            case What.ENDED:
                made = replace(made, waiting="", waiting_since=None)
            case What.MEMO | What.PLAN:
                pass
    return replace(made, steps=steps, items=items)


def _turned(step: StepState, event: RunEvent) -> StepState:
    match event.what:
        case What.STARTED:
            return StepState(Mark.UNDER_WAY, event.at, None, step.attempts + 1)
        case What.ALREADY:
            # A resumed run finds its own earlier work done: the times of that stay.
            mark = Mark.DONE if step.mark is Mark.DONE else Mark.ALREADY
            return replace(step, mark=mark, ended=step.ended or event.at, text="")
        case What.FINISHED:
            return replace(step, mark=Mark.DONE, ended=event.at, text="")
        case _:
            return replace(step, mark=Mark.FAILED, ended=event.at, text=event.text)


def step_at(run: Run, progress: Progress, index: int) -> StepState:
    """A step of a run, seen with how the run itself stands: what an ended run did not finish was left."""
    found = progress.step(index)
    if run.state.ended and found.mark in (Mark.AHEAD, Mark.UNDER_WAY):
        return replace(found, mark=Mark.LEFT, ended=found.ended or run.ended)
    return found
