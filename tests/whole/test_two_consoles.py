"""Two people, two consoles, one state folder: each sees at once what the other does, and only one of them disrupts the site at a time."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from coldtui.domain.runs import Run, RunState, What
from tests.whole.acting import WHO, Place, Seat, answer, arm, cordoned, other_of, seated, show_plan, spin, type_word
from tests.whole.ground import Console, Done, until

SEEN_S = 10.0
"""2 s are promised and recorded."""
Record = Callable[[str, object], None]


@pytest.fixture
def anna(place: Place, tmp_path: Path) -> Iterator[Seat]:
    with seated(place, tmp_path) as made:
        yield made


@pytest.fixture
def home(place: Place) -> str:
    """The node of the yard that has the pods."""
    return place.yard.tidy()


def both(consoles: tuple[Console, Console], condition: Callable[[Console], bool], limit_s: float, what: str) -> float:
    return until(lambda: all(condition(c) for c in consoles), limit_s, what, *consoles)


@pytest.mark.timeout(180)
def test_the_second_drain_is_refused(anna: Seat, place: Place, home: str, record_property: Record) -> None:
    """Both have a plan on the screen and confirm: the second is told who holds the site with what since when; both show the one run, and its every turn, within 2 s."""
    place.yard.slow(home, 30.0)
    consoles = (anna.console(), anna.console())
    both(consoles, lambda c: "7/7 nodes" in c.text, 30, "both are up")
    for console, node in zip(consoles, (home, other_of(home)), strict=True):
        arm(console)
        show_plan(console, node)
        type_word(console, "drain")
        console.until("✓ enter")
    first, second = consoles
    answer(first, "\r", lambda: "Type the verb" not in first.text)
    run = anna.begun()
    answer(second, "\r", lambda: "site is held by" in second.text)
    words = " ".join(re.sub(r"[│╭╮╰╯]", " ", second.text).split())
    assert f"site is held by Drain {home}" in words, second.text
    assert f"run {run.id} of {WHO}, since {run.created:%H:%M:%S}Z" in words, second.text
    assert f"coldtui run follow {run.id}" in words, second.text
    second.take_in(0.4)
    second.send("\x1b")
    second.until(lambda: "site is held by" not in second.text)
    second.open("7", f"Drain {home}")
    first.until(f"Drain {home}")
    asked = anna.run("run", "cancel", run.id)
    assert asked.code == 0, asked.err
    record_property("end_seen_s", round(both(consoles, lambda c: "partial" in c.text, SEEN_S, "the end is on both"), 2))
    assert anna.now(run).state is RunState.PARTIAL
    assert not cordoned(place.ground, other_of(home))
    entries = [(e.what, e.object) for e in anna.journal.audit_entries() if e.what != "armed"]
    assert entries == [
        ("confirmed", f"nodes/{home}"),
        ("refused", f"nodes/{other_of(home)}"),
        ("cancel", f"nodes/{home}"),
        ("ended", f"nodes/{home}"),
    ]
    assert anna.run("audit", "verify").code == 0


def test_what_the_command_line_does_is_on_both(anna: Seat, place: Place, home: str, record_property: Record) -> None:
    """A run of the command line is on both consoles within 2 s of its beginning, and its end within 2 s of it; the title says that one is under way."""
    place.yard.slow(home, 2.0)
    consoles = (anna.console(), anna.console(cols=80, rows=24))
    both(consoles, lambda c: "7/7 nodes" in c.text, 30, "both are up")
    for console in consoles:
        console.open("7", "Runs")
    anna.start("node", "drain", home, "--yes", home, "--detach")
    run = begun(anna, consoles)
    record_property("begin_seen_s", round(both(consoles, lambda c: f"Drain {home}" in c.text, SEEN_S, "the run is on both"), 2))
    until(lambda: anna.now(run).state.ended, 30, "the run ends", *consoles)
    record_property("end_seen_s", round(both(consoles, lambda c: "✓ done" in c.text, SEEN_S, "its end is on both"), 2))


def begun(seat: Seat, consoles: tuple[Console, Console]) -> Run:
    """As `Seat.begun`, while the consoles are read."""
    until(lambda: seat.newest() is not None, 20, "a run is confirmed", *consoles)
    found = seat.newest()
    assert found is not None
    return found


def test_two_command_lines_race(anna: Seat, place: Place, home: str) -> None:
    """Started in the same moment: one drains, the other is refused with exit 3 and the words of the holder; no pod is evicted twice."""
    done: list[Done] = []
    threads = [threading.Thread(target=lambda: done.append(anna.run("node", "drain", home, "--yes", home))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    codes = sorted(each.code for each in done)
    refused = next((each for each in done if each.code == 3), None)
    if refused is not None:
        assert codes == [0, 3], [each.err for each in done]
        assert re.search(rf"site is held by Drain {home} · run \S+ of {WHO}, since \d\d:\d\d:\d\dZ", refused.err), refused.err
    else:
        assert codes == [0, 0], [each.err for each in done]  # the second came so late that nothing was left to do
    assert set(anna.evictions().values()) == {1}


@pytest.mark.controlplane
def test_another_machine_waits_for_the_site(anna: Seat, place: Place, home: str, tmp_path: Path) -> None:
    """Another state folder is another machine: its run waits for the lease, says whose it is since when, and begins when the holder has let go."""
    place.yard.slow(home, 4.0)
    with seated(place, tmp_path / "other") as ben:
        anna.start("node", "drain", home, "--yes", home, "--detach")
        run = anna.begun()
        spin(lambda: anna.items(run, "of 90 s"), 20, "the slow pod ends", lambda: anna.story(run))
        done = ben.run("node", "drain", other_of(home), "--yes", other_of(home), "--pod-selector", "app=none")
        assert done.code == 0, done.out + done.err
        assert re.search(rf"waiting: {WHO} on \S+ \(run {run.id}\) since \S+ \S+ holds lease coldtui-site", done.out), done.out
        theirs, ours = ben.newest(), anna.now(run)
        assert theirs is not None
        assert ours.ended is not None
        first = min(e.at for e in ben.events(theirs) if e.what is What.STARTED)
        released = [e.at for e in anna.events(run) if e.what is What.ENDED]
        assert first >= released[0] - timedelta(seconds=0.5), (ben.story(theirs), anna.story(run))


@pytest.mark.controlplane
def test_another_machine_is_refused(anna: Seat, place: Place, home: str, tmp_path: Path) -> None:
    """While the holder is seen to renew its lease the other machine's run ends as refused, with who holds it and where to look, and has sent nothing."""
    place.yard.slow(home, 40.0)
    with seated(place, tmp_path / "other") as ben:
        anna.start("node", "drain", home, "--yes", home, "--detach")
        run = anna.begun()
        spin(lambda: anna.items(run, "of 90 s"), 20, "the slow pod ends", lambda: anna.story(run))
        refused = ben.run("node", "drain", other_of(home), "--yes", other_of(home))
        assert refused.code == 3, refused.out + refused.err
        assert re.search(rf"site is held by {WHO} on \S+ \(run {run.id}\) since", refused.err), refused.err
        assert "nothing was changed" in refused.err
        assert ben.relay is not None
        assert ben.relay.mutating() == []
        assert not cordoned(place.ground, other_of(home))
        assert anna.run("run", "cancel", run.id).code == 0
