"""What can go wrong around a drain: wrong names, nodes and servers that go away, budgets, slow pods, signals, and journals that cannot be written."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from coldtui.domain.runs import Run, RunState, What
from tests.whole.acting import WHO, Lab, Place, Seat, cordoned, other_of, ready, seated, spin
from tests.whole.ground import Done, until

SLOW = pytest.mark.controlplane


@pytest.fixture
def anna(place: Place, tmp_path: Path) -> Iterator[Seat]:
    with seated(place, tmp_path) as made:
        yield made


@pytest.fixture
def direct(place: Place, tmp_path: Path) -> Iterator[Seat]:
    """Without a relay: what is read on the screen is said of the server itself."""
    with seated(place, tmp_path, relayed=False) as made:
        yield made


@pytest.fixture
def home(place: Place) -> str:
    """The node of the yard that has the pods."""
    return place.yard.tidy()


def began(seat: Seat, home: str, *more: str) -> Run:
    """A drain from the command line, left to itself."""
    before = seat.newest()
    seat.start("node", "drain", home, "--yes", home, "--detach", *more)
    return seat.begun(before.id if before else "")


def slow_pod_ends(seat: Seat, run: Run) -> None:
    spin(lambda: seat.items(run, "of 90 s"), 20, "the slow pod ends", lambda: seat.story(run))


def untouched(seat: Seat, home: str) -> None:
    """Nothing was sent that could change anything, and there is no run."""
    assert seat.relay is not None
    assert seat.relay.mutating() == []
    assert not cordoned(seat.place.ground, home)
    assert seat.newest() is None


# ---------------------------------------------------------------- names, flags


def test_a_name_that_is_none(anna: Seat, place: Place, home: str) -> None:
    """Exit 1 and the nearest names for a node that is not there, plan or act; the console says the same."""
    for more in (["--plan"], ["--yes", "yard-3"]):
        done = anna.run("node", "drain", "yard-3", *more)
        assert (done.code, done.out) == (1, ""), done.out
        assert re.search(r"no node yard-3 · did you mean .*yard-1.* or yard-2|did you mean .*yard-2.* or yard-1", done.err), done.err
    console = anna.console()
    console.until("7/7 nodes", 20)
    console.send(":drain yard-3\r")
    console.until(lambda: "no node yard-3" in console.text and "yard-1" in console.text)
    untouched(anna, home)


def test_read_only(anna: Seat, place: Place, home: str) -> None:
    """Started with --read-only a plan is shown, and an act is refused with exit 3, in the audit too; a console cannot be armed."""
    assert anna.run("--read-only", "node", "drain", home, "--plan").code == 3
    refused = anna.run("--read-only", "node", "drain", home, "--yes", home)
    assert (refused.code, "--read-only" in refused.err) == (3, True), refused.err
    console = anna.console("--read-only")
    console.until("7/7 nodes", 20)
    console.send("A")
    console.until("nothing can be changed from here")
    assert "Arm this console?" not in console.text
    untouched(anna, home)
    assert [(e.what, e.object) for e in anna.journal.audit_entries()] == [("refused", f"nodes/{home}")]


# ---------------------------------------------------------------- budgets


def test_a_budget_for_ever(anna: Seat, place: Place, home: str) -> None:
    """Would hang: refused with exit 3 and the remedy, nothing sent. With --anyway the others go and the run ends out of time, as partial, with the way back."""
    place.yard.budget(minAvailable=2, allowed=0)
    place.yard.slow(home, 0.2)
    innocent = {p["metadata"]["uid"] for p in place.yard.pods("kiln")}
    held = {p["metadata"]["uid"] for p in place.yard.pods("mill")}
    plan = anna.run("node", "drain", home, "--plan")
    assert plan.code == 3
    assert "WOULD HANG" in plan.out
    assert "needs 2 of 2 pods healthy: it can never spare one" in plan.out
    assert "maxUnavailable: 1" in plan.out
    refused = anna.run("node", "drain", home, "--yes", home)
    assert (refused.code, "--anyway" in refused.err) == (3, True), refused.err
    untouched(anna, home)
    done = anna.run("node", "drain", home, "--yes", home, "--anyway", "--timeout", "10", "--reason", "disk")
    assert done.code == 1, done.err
    assert f"{home} is still cordoned: coldtui node uncordon {home}" in done.err
    assert "out of time with 2 pods still on" in done.err
    run = anna.newest()
    assert run is not None
    assert run.state is RunState.PARTIAL
    assert {p["metadata"]["uid"] for p in place.yard.pods("mill")} == held
    assert not innocent & {p["metadata"]["uid"] for p in place.yard.pods("kiln")}
    assert cordoned(place.ground, home)
    assert anna.run("node", "uncordon", home).code == 0
    assert not cordoned(place.ground, home)
    assert [e.what for e in anna.journal.audit_entries()] == ["refused", "confirmed", "ended", "confirmed", "ended"]


@SLOW
def test_what_never_goes_is_not_waited_for_in_vain(anna: Seat, place: Place, home: str) -> None:
    """With --anyway and no limit of time the run ends by itself once only pods are left that can never go."""
    place.yard.budget(minAvailable=2, allowed=0)
    done = anna.run("node", "drain", home, "--yes", home, "--anyway", "--timeout", "0", "--reason", "disk")
    assert done.code == 1, done.err
    assert "2 of 2 pods not evicted" in done.err
    assert f"coldtui node uncordon {home}" in done.err


def test_two_budgets_on_one_pod(anna: Seat, place: Place, home: str) -> None:
    """Both are named with the remedy, and it is refused; with --anyway the server's 500 ends the run as partial, without a second request."""
    place.yard.budget(maxUnavailable=1)
    place.yard.budget(name="other", minAvailable=1)
    refused = anna.run("node", "drain", home, "--yes", home)
    assert refused.code == 3
    plan = anna.run("node", "drain", home, "--plan")
    assert "budgets mill, other select it" in plan.out or "budgets mill and other select it" in plan.out, plan.out
    untouched(anna, home)
    done = anna.run("node", "drain", home, "--yes", home, "--anyway", "--reason", "disk")
    assert done.code == 1
    assert "more than one disruption budget" in done.err
    assert f"coldtui node uncordon {home}" in done.err
    assert set(anna.evictions().values()) == {1}
    assert len(place.yard.pods("mill")) == 2


@SLOW
def test_a_budget_that_refills(anna: Seat, place: Place, home: str) -> None:
    """A pod that another, unwell one holds: the plan says so and begins; the run waits by name and goes on when the other is well again."""
    place.yard.apply("pair", 2, apart=True)
    here = next(p for p in place.yard.pods("pair") if p["spec"]["nodeName"] == home)
    there = next(p for p in place.yard.pods("pair") if p["spec"]["nodeName"] != home)
    place.yard.budget("pair", "pair", minAvailable=1)
    place.yard.unwell(there)
    until(lambda: place.yard.allowed("pair") == 0, 20, "the budget has nothing to spare")
    plan = anna.run("node", "drain", home, "--plan")
    assert plan.code == 0, plan.out + plan.err
    assert f"until {there['metadata']['name']} is Ready" in plan.out, plan.out
    run = began(anna, home)
    spin(lambda: anna.now(run).state is RunState.WAITING, 20, "it waits", lambda: anna.story(run))
    assert here["metadata"]["name"] in anna.now(run).outcome
    assert "budget" in anna.run("runs").out
    place.yard.unwell(there, False)
    assert anna.ended(run).state is RunState.DONE, anna.story(run)
    assert here["metadata"]["uid"] not in {p["metadata"]["uid"] for p in place.yard.pods("pair")}


# ---------------------------------------------------------------- slow pods, cancel, signals


def test_cancel_in_the_middle(anna: Seat, place: Place, home: str) -> None:
    """A pod that takes 40 s: cancel ends the run at once as partial, names what cannot be recalled and what was not asked for, and the way back."""
    place.yard.slow(home, 40.0)
    place.yard.budget(maxUnavailable=1)
    run = began(anna, home)
    slow_pod_ends(anna, run)
    cancelled = anna.run("run", "cancel", run.id)
    assert (cancelled.code, "cannot be recalled" in cancelled.err) == (0, True), cancelled.err
    done = anna.ended(run, 8)
    assert done.state is RunState.PARTIAL, anna.story(run)
    assert f"{home} is still cordoned: coldtui node uncordon {home}" in done.outcome
    followed = anna.run("run", "follow", run.id)
    assert followed.code == 6, followed.err
    assert re.search(r"terminating and not to be recalled: .*yard/kiln", followed.out), followed.out
    assert re.search(r"not evicted: yard/mill-\S+", followed.out), followed.out
    kiln = next(p for p in place.pods(home) if p["metadata"]["labels"].get("app") == "kiln")
    assert "deletionTimestamp" in kiln["metadata"]
    assert anna.run("run", "cancel", run.id).code == 3
    assert anna.run("run", "resume", run.id).code == 3


def followed_drain(seat: Seat, home: str) -> tuple[subprocess.Popen[str], Run]:
    process = seat.start("node", "drain", home, "--yes", home)
    run = seat.begun()
    slow_pod_ends(seat, run)
    return process, run


def test_ctrl_c_asks_for_cancel(anna: Seat, place: Place, home: str) -> None:
    """The first SIGINT of a followed run asks it to stop and goes on following to its end: exit 6."""
    place.yard.slow(home, 40.0)
    process, run = followed_drain(anna, home)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 6, err
    assert "asked to stop before its next act" in err
    assert f"coldtui node uncordon {home}" in err
    assert anna.now(run).state is RunState.PARTIAL
    assert anna.now(run).cancel_by == WHO


def test_ctrl_c_twice(anna: Seat, place: Place, home: str) -> None:
    """The second SIGINT stops following although the run has not ended yet (it still wants to give its lease back): how to follow on is said, exit 6."""
    place.yard.slow(home, 40.0)
    process, run = followed_drain(anna, home)
    place.ground.pause()
    try:
        process.send_signal(signal.SIGINT)
        until(lambda: anna.now(run).cancel_by != "", 10, "cancel was asked for")
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=20)
        assert (process.returncode, f"the run goes on: coldtui run follow {run.id}" in err) == (6, True), err
        assert not anna.now(run).state.ended
    finally:
        place.ground.resume()
    assert anna.ended(run).state is RunState.PARTIAL, anna.story(run)


@SLOW
def test_who_looks_on_ends_nothing(anna: Seat, place: Place, home: str) -> None:
    """SIGHUP only stops following, and so does SIGINT of somebody who only follows, with how to follow on: the run goes on to its end."""
    place.yard.slow(home, 3.0)
    process, run = followed_drain(anna, home)
    onlooker = anna.start("run", "follow", run.id)
    assert onlooker.stdout is not None
    assert "evicting" in onlooker.stdout.readline()
    process.send_signal(signal.SIGHUP)
    process.communicate(timeout=20)
    onlooker.send_signal(signal.SIGINT)
    _, err = onlooker.communicate(timeout=20)
    assert (onlooker.returncode, f"the run goes on: coldtui run follow {run.id}" in err) == (0, True), err
    assert anna.now(run).cancel_by == ""
    assert anna.ended(run).state is RunState.DONE, anna.story(run)


# ---------------------------------------------------------------- what goes away in the middle


@pytest.mark.timeout(180)
def test_the_node_is_deleted_in_the_middle(direct: Seat, place: Place, home: str) -> None:
    """The run says that the node is no longer there, sees its pods go with it, and ends as done."""
    place.yard.slow(home, 8.0)
    run = began(direct, home)
    slow_pod_ends(direct, run)
    place.ground.delete(f"/api/v1/nodes/{home}")
    try:
        done = direct.ended(run, 120)
        assert done.state is RunState.DONE, direct.story(run)
        said = " ".join(e.text for e in direct.told(run, What.SAID))
        assert "removed from the cluster" in said or "no longer in the cluster" in said, direct.story(run)
    finally:
        place.yard.remake(home)


@pytest.mark.timeout(240)
@pytest.mark.parametrize("how", ["killed", pytest.param("paused", marks=SLOW)])
def test_the_api_goes_away_in_the_middle(direct: Seat, place: Place, home: str, how: str) -> None:
    """The run waits for it and says so, on both faces; it goes on when the API is back, evicts nobody twice, and ends as done."""
    ground = place.ground
    place.yard.slow(home, 4.0)
    console = direct.console()
    console.until("7/7 nodes", 20)
    console.open("7", "no runs") if "no runs" in console.text else console.send("7")
    run = began(direct, home)
    slow_pod_ends(direct, run)
    (ground.kill if how == "killed" else ground.pause)()
    try:
        spin(lambda: direct.now(run).state is RunState.WAITING, 40, "it waits", lambda: direct.story(run))
        assert direct.now(run).outcome.startswith("the Kubernetes API:"), direct.now(run).outcome
        listed = direct.run("runs")
        assert "waiting" in listed.out, listed.out
        assert "the Kubernetes API" in listed.out, listed.out
        console.until(lambda: "waiting" in console.text and "the Kubernetes API" in console.text, 10)
        assert direct.run("node", "drain", other_of(home), "--plan").code == 4
    finally:
        (ground.start if how == "killed" else ground.resume)()
    done = direct.ended(run, 60)
    assert done.state is RunState.DONE, direct.story(run)
    until(ground.ready, 30, "the server is ready", console)
    until(lambda: all(map(ready, place.yard.pods())), 30, "all are up elsewhere", console)
    assert {p["spec"]["nodeName"] for p in place.yard.pods()} == {other_of(home)}


# ---------------------------------------------------------------- journals


@pytest.fixture
def tmpfs(place: Place, tmp_path: Path) -> Iterator[Path]:
    """A small disk of its own."""
    if not isinstance(place.ground, Lab):
        pytest.skip("the journal does not care which server it is")
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("a small disk needs root")
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(folder)], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip(f"no tmpfs here: {mounted.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture
def cramped(place: Place, tmp_path: Path, tmpfs: Path) -> Iterator[Seat]:
    """A person whose state folder is on the small disk."""
    with seated(place, tmp_path) as made:
        made.home.mkdir(parents=True, exist_ok=True)
        made.state.symlink_to(tmpfs)
        yield made


def fill(folder: Path) -> None:
    """To the last byte."""
    with (folder / "filler").open("ab", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(65536))
    with (folder / "filler").open("ab", buffering=0) as file, suppress(OSError):
        while True:
            file.write(b"\0")


def test_a_full_disk(cramped: Seat, place: Place, home: str, tmpfs: Path) -> None:
    """The journal lives on its reserve, and a drain goes; when that is spent too a drain is refused and told where another journal can be,
    while a cordon is done and says that it stands nowhere. With the other journal the drain goes, and nothing was written over."""
    assert cramped.run("node", "cordon", home).code == 0
    assert cramped.run("node", "uncordon", home).code == 0
    fill(tmpfs)
    done = cramped.run("node", "drain", home, "--yes", home)
    assert done.code == 0, done.err
    assert cramped.run("node", "uncordon", home).code == 0
    home = place.yard.tidy()
    fill(tmpfs)
    sent = len(cramped.relay.mutating()) if cramped.relay is not None else 0
    refused = cramped.run("node", "drain", home, "--yes", home)
    assert refused.code == 1, refused.err
    assert "no space left" in refused.err
    assert "--journal" in refused.err
    assert cramped.relay is not None
    assert len(cramped.relay.mutating()) == sent
    small = cramped.run("node", "cordon", home)
    assert (small.code, "not recorded" in small.err) == (0, True), small.err
    assert cordoned(place.ground, home)
    elsewhere = cramped.home / "elsewhere" / "journal.db"
    moved = cramped.run("--journal", str(elsewhere), "node", "drain", home, "--yes", home)
    assert moved.code == 0, moved.err
    (tmpfs / "filler").unlink()
    assert [(r.operation, r.state) for r in cramped.journal.runs(limit=10)][-3:] == [
        ("node.drain", RunState.DONE), ("node.uncordon", RunState.DONE), ("node.cordon", RunState.DONE),
    ]  # fmt: skip
    assert cramped.run("audit", "verify").code == 0


@SLOW
@pytest.mark.timeout(180)
def test_the_disk_fills_in_the_middle(cramped: Seat, place: Place, home: str, tmpfs: Path) -> None:
    """A run whose events find no room any more holds, and goes on when there is room again: no event is lost, no pod evicted twice."""
    place.yard.budget(maxUnavailable=1)
    run = began(cramped, home)
    spin(lambda: cramped.items(run, "budget mill refuses"), 20, "a budget blocks", lambda: cramped.story(run))
    fill(tmpfs)
    fill_for = time.monotonic() + 8
    while time.monotonic() < fill_for:
        with suppress(FileNotFoundError):
            next(tmpfs.glob("*reserve*")).unlink() if list(tmpfs.glob("*reserve*")) else None
        fill(tmpfs)
        time.sleep(0.05)
    (tmpfs / "filler").unlink()
    done = cramped.ended(run, 60)
    assert done.state is RunState.DONE, cramped.story(run)
    assert min(cramped.evictions().values()) == 1
    assert cramped.run("audit", "verify").code == 0


def test_a_folder_that_cannot_be_written(cramped: Seat, place: Place, home: str, tmpfs: Path) -> None:
    """On a disk that became read-only a drain is refused with the place and the remedy, listings and plans go on, and the smallest acts are done unrecorded."""
    assert cramped.run("node", "cordon", home).code == 0
    assert cramped.run("node", "uncordon", home).code == 0
    subprocess.run(["mount", "-o", "remount,ro", str(tmpfs)], check=True)
    sent = len(cramped.relay.mutating()) if cramped.relay is not None else 0
    assert cramped.run("node", "drain", home, "--plan").code == 0
    refused = cramped.run("node", "drain", home, "--yes", home)
    assert refused.code == 1, refused.err
    assert "the journal cannot be written" in refused.err, refused.err
    assert cramped.relay is not None
    assert len(cramped.relay.mutating()) == sent
    assert "Traceback" not in refused.err
    small = cramped.run("node", "cordon", home)
    assert (small.code, "not recorded" in small.err) == (0, True), small.err
    assert cordoned(place.ground, home)
    console = cramped.console()
    console.until("7/7 nodes", 20)
    console.open("2", home)


def refusal(seat: Seat, home: str) -> Done:
    done = seat.run("node", "drain", home, "--yes", home)
    assert "Traceback" not in done.err
    return done


def test_a_journal_of_a_newer_version(anna: Seat, place: Place, home: str) -> None:
    """Refused on both faces with both versions and the remedy; the file is as it was, to the last byte."""
    if not isinstance(place.ground, Lab):
        pytest.skip("the journal does not care which server it is")
    assert anna.run("node", "cordon", home).code == 0
    assert anna.run("node", "uncordon", home).code == 0
    anna.journal.close()
    anna._journal = None
    with sqlite3.connect(anna.journal_path) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        db.execute("PRAGMA user_version = 99")
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()
    before = hashlib.sha256(anna.journal_path.read_bytes()).hexdigest()
    sent = len(anna.relay.mutating()) if anna.relay is not None else 0
    done = refusal(anna, home)
    assert done.code == 1
    assert re.search(r"newer coldtui .* version 99", done.err), done.err
    listed = anna.run("runs")
    assert (listed.code, "newer coldtui" in listed.err) == (1, True), listed.err
    console = anna.console()
    console.until("7/7 nodes", 20)
    console.until("newer coldtui")
    console.send("A")
    console.until("Arm this console?")
    console.take_in(0.4)
    console.send("y")
    console.until("not armed, as the audit cannot be written")
    assert hashlib.sha256(anna.journal_path.read_bytes()).hexdigest() == before
    assert anna.relay is not None
    assert len(anna.relay.mutating()) == sent
    shutil.rmtree(anna.state)  # nobody of this seat can read it


def test_a_corrupt_journal(anna: Seat, place: Place, home: str) -> None:
    """It is kept aside as it was and a new one begins, which says so first; both faces tell of it, and a drain goes and is on record."""
    if not isinstance(place.ground, Lab):
        pytest.skip("the journal does not care which server it is")
    assert anna.run("node", "cordon", home).code == 0
    assert anna.run("node", "uncordon", home).code == 0
    anna.journal.close()
    anna._journal = None
    for end in ("-wal", "-shm"):
        anna.journal_path.with_name(f"journal.db{end}").unlink(missing_ok=True)
    broken = bytearray(anna.journal_path.read_bytes())
    broken[4096 : 4096 + 8192] = os.urandom(8192)
    anna.journal_path.write_bytes(broken)
    done = anna.run("node", "drain", home, "--yes", home)
    assert done.code == 0, done.err
    aside = [path for path in anna.state.glob("journal.db.corrupt-*") if re.fullmatch(r"journal\.db\.corrupt-\w+", path.name)]
    assert [path.read_bytes() for path in aside] == [bytes(broken)]
    entries = anna.journal.audit_entries()
    assert entries[0].what == "journal"
    assert aside[0].name in entries[0].outcome
    assert [e.what for e in entries[1:]] == ["confirmed", "ended"]
    listed = anna.run("runs")
    assert listed.code == 0
    assert aside[0].name in listed.err
    console = anna.console()
    console.until(lambda: "the journal was damaged" in "\n".join(console.text.split("\n")[:3]), 20)
    assert anna.run("audit", "verify").code == 0
