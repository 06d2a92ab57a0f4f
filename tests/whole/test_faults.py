"""The console in two terminals while its API is ill: it stays, says what is wrong, answers every key, and is well again by itself.

The bounds are promises of the program (named within 2 s when refused and 11 s when frozen, live within 5 s of the return). Those on keys leave
room for this machine: two cores hold the API server, the lab's machines, two consoles and their emulators, so a key that takes 10 to 20 ms
alone gets 100 ms as a median, and none 300 ms, still the time that a person feels as at once.
"""

from __future__ import annotations

import re
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.whole.conftest import BOTH
from tests.whole.ground import CORDONED, Console, Embedded, Ground, Json, Real, until

REFUSED_S, FROZEN_S, RETURN_S = 10.0, 20.0, 15.0
"""2, 11 and 5 s are promised, and what was measured is recorded: here other things may run beside it."""
MEDIAN_MS, WORST_MS = 500.0, 1_800.0
"""100 and 300 ms are promised. A key that waited for an API that does not answer would take 2 s and more."""
UNWELL = re.compile(
    r"stale|failed|loading|saved|not permitted|Kubernetes API|connection refused|could not be read|too old|read yet|restored"
)
Record = Callable[[str, object], None]


class Stage:
    """A server that lives, and two consoles that show its nodes."""

    def __init__(self, ground: Ground, folder: Path) -> None:
        self.ground = ground
        flags = ("--kubeconfig", str(ground.kubeconfig))
        self.wide = Console(folder / "wide", *flags, cols=120, rows=40)
        self.narrow = Console(folder / "narrow", *flags, cols=80, rows=24)
        self.consoles = (self.wide, self.narrow)
        self.memory: tuple[float, ...] = ()

    def close(self) -> None:
        for each in self.consoles:
            each.close()

    def until(self, condition: Callable[[Console], bool], limit_s: float, what: str) -> float:
        """Seconds until the condition holds for both."""
        return until(lambda: all(condition(c) for c in self.consoles), limit_s, what, *self.consoles)

    def says(self, pattern: str, limit_s: float) -> float:
        """Seconds until the wide one names it in its first two lines, and the narrow one too, or that many kinds are ill, where the rest is cut."""
        here = {self.wide: pattern, self.narrow: f"{pattern}|kinds of object cannot be read"}
        return self.until(lambda c: re.search(here[c], bars(c)) is not None, limit_s, f"/{pattern}/ in the bars")

    def calm(self, limit_s: float = 15.0) -> float:
        """Seconds until both say that everything is live."""
        return self.until(lambda c: UNWELL.search(bars(c)) is None and "5/5 nodes" in bars(c), limit_s, "all live")

    def marker(self, limit_s: float) -> float:
        """Cordon a node; seconds until both show it. Undone afterwards."""
        began = time.monotonic()
        self.ground.cordon(True)
        try:
            self.until(lambda c: "Ready," in line_of(c, CORDONED), limit_s, "the cordon is shown")
            spent = time.monotonic() - began
        finally:
            self.ground.cordon(False)
        self.until(lambda c: "Ready," not in line_of(c, CORDONED), 5, "the uncordon is shown")
        return spent

    def read(self, seconds: float) -> None:
        """Take in what both write."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for each in self.consoles:
                each.pump(0.02)

    def presses(self, seconds: float) -> list[float]:
        """Keys for so long, each on both consoles; ms from press to changed screen."""
        spent: list[float] = []
        end = time.monotonic() + seconds
        while time.monotonic() < end or len(spent) < 8:
            for keys in ("j", "k", "1", "2"):
                for each in self.consoles:
                    spent.append(each.press(keys))
                self.read(0.25)
        return spent

    def lives(self) -> None:
        for each in self.consoles:
            assert each.lives, f"it ended with {each.code}"


def bars(console: Console) -> str:
    """Title and worst problem."""
    return "\n".join(console.text.split("\n")[:2])


def line_of(console: Console, name: str) -> str:
    return next((line for line in console.text.split("\n") if line.startswith(f" {name}")), "")


def quick(spent: list[float], record: Record) -> None:
    """The promise on keys."""
    record("key_median_ms", round(statistics.median(spent), 1))
    record("key_worst_ms", round(max(spent), 1))
    record("keys", len(spent))
    assert statistics.median(spent) < MEDIAN_MS, sorted(spent)
    assert max(spent) < WORST_MS, sorted(spent)


@pytest.fixture(scope="module", params=BOTH)
def played(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    """Like `ground`, with machines that renew their leases."""
    if request.param == "real":
        real: Real = request.getfixturevalue("site_plane")
        real.live()
        yield real
        real.still()
        return
    made = Embedded(tmp_path_factory.mktemp("faulty"))
    made.live()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def acted(played: Ground, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """One pair of consoles for all faults: that neither of them ends is part of each test."""
    made = Stage(played, tmp_path_factory.mktemp("consoles"))
    try:
        made.until(lambda c: "5 ready" in c.text, 60 if isinstance(played, Real) else 20, "the site is up")
        for each in made.consoles:
            each.open("2", "Nodes [")
        made.read(1.0)
        made.memory = tuple(c.rss_mb for c in made.consoles)
        yield made
    finally:
        made.close()


@pytest.fixture
def stage(acted: Stage, record_property: Record) -> Iterator[Stage]:
    """Everything is live before, and the same two processes live afterwards, no more than 60 MB bigger than when they began.

    In that is what is loaded once (the certificate library at the first refusal takes 8 MB, each screen something when it is opened) and what
    the collector of cycles, which the console lets come seldom, has not taken yet: 80 KB a key. `test_memory_is_flat` has the narrow bound.
    """
    acted.calm(40)
    yield acted
    if isinstance(acted.ground, Embedded):
        for name in acted.ground.server.stats()["faults"]:
            acted.ground.server.control(name, False)
    acted.lives()
    for each, before in zip(acted.consoles, acted.memory, strict=True):
        record_property(f"grown_mb_{each.screen.columns}", round(each.rss_mb - before, 1))
        assert each.rss_mb - before < 60


# ---------------------------------------------------------------- the server goes away


@pytest.mark.timeout(180)
def test_frozen(stage: Stage, record_property: Record) -> None:
    """SIGSTOP, under which every connection stays open, is named within 11 s; keys answer throughout; all is live within 5 s of SIGCONT."""
    began = time.monotonic()
    stage.ground.pause()
    try:
        spent = stage.presses(2.0)
        record_property(
            "named_s", round(time.monotonic() - began + stage.says("timed out|did not answer", FROZEN_S - (time.monotonic() - began)), 2)
        )
        spent += stage.presses(2.0)
        for each in stage.consoles:
            assert re.search(r"stale \d+s", bars(each)), bars(each)
            assert "○ Ready" in line_of(each, CORDONED)
    finally:
        stage.ground.resume()
    until(stage.ground.ready, 20, "the server is ready", *stage.consoles)
    began = time.monotonic()
    stage.marker(RETURN_S)
    record_property("marker_s", round(time.monotonic() - began, 2))
    stage.calm(max(0.1, RETURN_S - (time.monotonic() - began)))
    record_property("live_again_s", round(time.monotonic() - began, 2))
    quick(spent, record_property)


def test_not_there_at_the_start(played: Ground, tmp_path: Path, record_property: Record) -> None:
    """Started while the API refuses, the console says so within 2 s, answers keys, and shows the site within 5 s of the API's coming."""
    if isinstance(played, Embedded):
        played.server.control("down")
    else:
        played.kill()
    console = Console(tmp_path / "home", "--kubeconfig", str(played.kubeconfig), cols=80, rows=24)
    try:
        record_property("named_s", round(console.timed(lambda: "connection refused" in bars(console), REFUSED_S), 2))
        console.quiet()
        assert console.press("2") < WORST_MS
        assert console.press("1") < WORST_MS
        if isinstance(played, Embedded):
            played.server.control("down", False)
        else:
            played.start()
        record_property("shown_s", round(console.timed("5 ready", RETURN_S), 2))
        assert console.lives
    finally:
        console.close()


@pytest.mark.controlplane
@pytest.mark.timeout(300)
def test_frozen_for_two_minutes(played: Ground, acted: Stage, record_property: Record) -> None:
    """A real API server that is silent for two minutes: named, aged in minutes, every key answered, neither console ends, all live 5 s after."""
    if not isinstance(played, Real):
        pytest.skip("the short one is enough for the embedded server")
    acted.calm(40)
    began = time.monotonic()
    played.pause()
    try:
        record_property("named_s", round(acted.says("timed out|did not answer", FROZEN_S), 2))
        spent: list[float] = []
        while time.monotonic() - began < 120:
            spent += acted.presses(3.0)
            acted.read(7.0)
        for each in acted.consoles:
            assert re.search(r"stale (1|2)m|stale 1\d\ds|stale 9\ds", bars(each)), bars(each)
    finally:
        played.resume()
    until(played.ready, 30, "the server is ready", *acted.consoles)
    began = time.monotonic()
    acted.marker(RETURN_S)
    record_property("marker_s", round(time.monotonic() - began, 2))
    acted.calm(max(0.1, RETURN_S - (time.monotonic() - began)))
    record_property("live_again_s", round(time.monotonic() - began, 2))
    acted.lives()
    quick(spent, record_property)


# ---------------------------------------------------------------- the server is there, but ill (faults of the embedded one)

# Back-off may have grown to its cap of 30 s before the server is well: how long the return takes is not a promise, that it comes is.
ILLNESSES = [
    pytest.param("cut", {}, "compact", r"bro?k|: the answer of", 45, id="cut in the middle of lists"),
    pytest.param("expired", {}, "", r"too old", 45, id="410 for every watch"),
    pytest.param("unauthorized", {}, "cut", r"credentials refused", 45, id="401 for all"),
    pytest.param("too-many", {"retry_after": 2}, "cut", r"asks to slow down", 45, id="429 with Retry-After"),
    pytest.param("garbage", {}, "cordon", r"could not be read", 45, id="lines that are no JSON"),
]


@pytest.mark.parametrize(("fault", "options", "then", "words", "well_s"), ILLNESSES)
@pytest.mark.timeout(120)
def test_ill(stage: Stage, fault: str, options: Json, then: str, words: str, well_s: float, record_property: Record) -> None:
    """An ill server is named in words on both consoles within 8 s, keys answer meanwhile, and without a key press all is live again afterwards."""
    ground = stage.ground
    if not isinstance(ground, Embedded):
        pytest.skip("a real server cannot be made to do this")
    ground.server.control(fault, **options)
    match then:
        case "cut":
            ground.server.control("cut", once=True)
        case "compact":
            ground.server.command({"compact": True})
        case "cordon":
            ground.cordon(True)
            ground.cordon(False)
    record_property("named_s", round(stage.says(words, 8), 2))
    spent = stage.presses(0)
    ground.server.control(fault, False)
    record_property("live_again_s", round(stage.calm(well_s), 2))
    record_property("marker_s", round(stage.marker(RETURN_S), 2))
    quick(spent, record_property)


def test_one_kind_is_forbidden(stage: Stage, record_property: Record) -> None:
    """403 on one kind takes that kind alone: verb and resource are named, nodes stay live and follow; ctrl-r reads it at once when it is allowed again."""
    ground = stage.ground
    if not isinstance(ground, Embedded):
        pytest.skip("the viewer of test_world.py is the real one's case")
    ground.server.control("forbidden", resources=["leases.coordination.k8s.io"], verbs=["list", "watch"])
    ground.server.control("cut", once=True)
    record_property("named_s", round(stage.says(r"needs \w+ on leases", 8), 2))
    stage.marker(RETURN_S)
    ground.server.control("forbidden", False)
    for each in stage.consoles:
        each.send("\x12")
    stage.until(lambda c: "needs" not in bars(c), 8, "leases are read again")


def test_a_clock_that_is_an_hour_ahead(stage: Stage) -> None:
    """With the server's clock an hour ahead nothing is called ill, and what it makes now is 0 s old, not minus an hour."""
    ground = stage.ground
    if not isinstance(ground, Embedded):
        pytest.skip("a real server cannot be made to do this")
    ground.server.control("clock-skew", skew_seconds=3600)
    pod = {"metadata": {"name": "aa-skewed"}, "spec": {"containers": [{"name": "app", "image": "r/app:1"}]}}
    ground.admin.post("/api/v1/namespaces/production/pods", pod)
    for each in stage.consoles:
        each.send(":pods /aa-skewed\r")
    stage.until(lambda c: "aa-skewed" in c.text, 5, "the pod is shown")
    for each in stage.consoles:
        each.until(lambda each=each: re.search(r"\b0s\b", each.text) is not None, 5)  # type: ignore[misc]
        assert not re.search(r"(?<![\w-])-\d+(s|m|h)\b", each.text), each.text
    ground.delete("/api/v1/namespaces/production/pods/aa-skewed")
    stage.until(lambda c: "0 of" in c.text or "aa-skewed" not in "\n".join(c.text.split("\n")[3:-1]), 5, "it is gone")
    for each in stage.consoles:
        each.send(":nodes\r")
        each.until("Nodes [")
    stage.calm(5)


@pytest.mark.controlplane
@pytest.mark.timeout(240)
def test_memory_is_flat(stage: Stage, record_property: Record) -> None:
    """The second to fifth time that streams break, versions expire, credentials are refused and the listener closes cost less than 16 MB in all: garbage not yet collected, no growth of what lives."""
    ground = stage.ground
    if not isinstance(ground, Embedded):
        pytest.skip("a real server cannot be made to do this")
    before: list[float] = []
    for _ in range(5):
        for fault, words in (("down", "connection refused"), ("unauthorized", "credentials refused"), ("expired", "")):
            ground.server.control(fault)
            if fault != "down":
                ground.server.control("cut", once=True)
            if words:
                stage.says(words, 8)
            else:
                stage.read(1.0)
            ground.server.control(fault, False)
            stage.calm(60)
        before = before or [c.rss_mb for c in stage.consoles]
    grown = [c.rss_mb - was for c, was in zip(stage.consoles, before, strict=True)]
    record_property("grown_by_repetition_mb", [round(g, 1) for g in grown])
    assert max(grown) < 16


@pytest.mark.controlplane
@pytest.mark.timeout(240)
def test_streams_that_fall_silent(stage: Stage, record_property: Record) -> None:
    """Streams that stay open and carry nothing, while the server answers: a change made then is shown by itself, and no node is called lost meanwhile."""
    ground = stage.ground
    if not isinstance(ground, Embedded):
        pytest.skip("a real server cannot be made to do this")
    ground.server.control("half-open")
    ground.server.control("half-open", False)
    began = time.monotonic()
    ground.cordon(True)
    seen: set[str] = set()

    def shown() -> bool:
        seen.update(bars(c) for c in stage.consoles)
        return all("Ready," in line_of(c, CORDONED) for c in stage.consoles)

    until(shown, 170, "the cordon is shown", *stage.consoles)
    record_property("shown_s", round(time.monotonic() - began, 1))
    ground.cordon(False)
    assert not [text for text in seen if "CRITICAL" in text]


# ---------------------------------------------------------------- the server dies; last, since the embedded one forgets with that


@pytest.mark.timeout(180)
def test_killed(stage: Stage, record_property: Record) -> None:
    """SIGKILL is named within 2 s; rows stay and say that they are old; keys answer; a cordon made after the return is shown within 5 s of it."""
    stage.ground.kill()
    record_property("named_s", round(stage.says("connection refused", REFUSED_S), 3))
    spent = stage.presses(3.0)
    for each in stage.consoles:
        assert re.search(r"stale \d+s", bars(each)), bars(each)
        assert "○ Ready" in line_of(each, CORDONED), "a row that is old does not look healthy"
        assert "5/5 nodes" in bars(each)
    stage.ground.start()
    began = time.monotonic()
    stage.marker(RETURN_S)
    record_property("marker_s", round(time.monotonic() - began, 2))
    if isinstance(stage.ground, Real):  # the embedded one has lost its past, which stays on the screen for a while
        stage.calm(max(0.1, RETURN_S - (time.monotonic() - began)))
        record_property("live_again_s", round(time.monotonic() - began, 2))
    quick(spent, record_property)
