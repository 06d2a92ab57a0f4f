"""A drain from beginning to end by command line and console, on both grounds, with plain clients as a second opinion of what was done."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from coldtui.domain.runs import RunState
from tests.whole.acting import NODE, Place, Seat, answer, arm, confirm_drain, cordoned, other_of, ready, seated, show_plan, spin
from tests.whole.ground import Console, Json, until

STEPS = ("Cordon {}", "Evict the pods of {}", "See that the pods of {} are gone")
LISTED = re.compile(r"^evicting pod (\S+) \(dry run\)$", re.MULTILINE)


@pytest.fixture
def anna(place: Place, tmp_path: Path) -> Iterator[Seat]:
    with seated(place, tmp_path) as made:
        yield made


@pytest.fixture
def home(place: Place) -> str:
    """The node of the yard that has the pods."""
    return place.yard.tidy()


def key_of(pod: Json) -> str:
    return f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"


def owner_kind(pod: Json) -> str:
    return next((o["kind"] for o in pod["metadata"].get("ownerReferences") or () if o.get("controller")), "")


@pytest.mark.timeout(240)
def test_a_worker_is_emptied_by_command_line(anna: Seat, place: Place) -> None:
    """Everything that runs on a worker of the site, databases and volumes too: gone, up again elsewhere, the node cordoned; and it is all on record."""
    ground = place.ground
    until(lambda: all(map(ready, ground.get("/api/v1/pods")["items"])), 90, "the site is well")
    before = place.pods(NODE)
    stay = {pod["metadata"]["uid"] for pod in before if owner_kind(pod) == "DaemonSet"}
    go = {pod["metadata"]["uid"]: key_of(pod) for pod in before if owner_kind(pod) != "DaemonSet"}
    try:
        plan = anna.run("node", "drain", NODE, "--delete-emptydir", "--plan", "--json")
        assert plan.code == 0, plan.out + plan.err
        planned = {item["object"].removeprefix("pods/") for item in plan.json["items"] if item["fate"] != "stays"}
        assert planned == set(go.values())
        if ground.program is not None:
            said = ground.kubectl("drain", NODE, "--dry-run=client", "--ignore-daemonsets", "--delete-emptydir-data")
            assert set(LISTED.findall(said)) == planned
        assert anna.relay is not None
        assert anna.relay.mutating() == []
        done = anna.run("node", "drain", NODE, "--delete-emptydir", "--yes", NODE, "--reason", "new disk")
        assert done.code == 0, done.out + done.err
        told = [f"step {n + 1} of 3: {title.format(NODE)}{end}" for n, title in enumerate(STEPS) for end in ("", " is done")]
        assert [line.removeprefix("coldtui: ") for line in done.err.splitlines()][:-1] == told
        assert re.search(rf"Drain {NODE}: done in [\d.]+ s", done.err)
        assert f"{len(go)} pods gone from {NODE}" in done.out
        now = place.pods(NODE)
        assert {pod["metadata"]["uid"] for pod in now} == stay, [key_of(pod) for pod in now]
        assert cordoned(ground, NODE)
        every = ground.get("/api/v1/pods")["items"]
        assert not go.keys() & {pod["metadata"]["uid"] for pod in every}
        until(lambda: all(map(ready, ground.get("/api/v1/pods")["items"])), 60, "all are up elsewhere")
        assert all(n == 1 or "instance-manager" in go[uid] for uid, n in anna.evictions().items()), anna.evictions()
        assert set(anna.evictions()) == set(go)
        on_record(anna, NODE, reason="new disk", face="command line")
    finally:
        ground.cordon(False, NODE)


def on_record(seat: Seat, node: str, *, reason: str, face: str) -> None:
    """One run, done, with its steps and its log; two entries in a whole audit; nothing is held any more."""
    run = seat.newest()
    assert run is not None
    listed = seat.run("run", "list", "--json").json
    assert [(row["id"], row["state"]) for row in listed["runs"]] == [(run.id, "done")]
    shown = seat.run("run", "show", run.id, "--json").json
    assert [(step["title"], step["state"]) for step in shown["progress"]] == [(title.format(node), "done") for title in STEPS]
    assert {item["object"] for item in shown["items"]} == {item[0] for item in shown["plan"]["items"] if item[1] != "stays"}
    assert all(item["text"].startswith("gone after") for item in shown["items"])
    followed = seat.run("run", "follow", run.id)
    assert followed.code == 0
    assert followed.out.splitlines() == [f"{line.at:%H:%M:%S}Z {line.text}" for line in seat.journal.read_log(run.id).lines]
    entries = [entry for entry in seat.journal.audit_entries() if entry.run]
    assert [entry.what for entry in entries] == ["confirmed", "ended"]
    for entry in entries:
        assert (entry.operation, entry.object, entry.reason, entry.digest, entry.who.face) == (
            "node.drain",
            f"nodes/{node}",
            reason,
            run.digest,
            face,
        )
    assert entries[0].premises
    assert entries[1].outcome.startswith("done in ")
    verified = seat.run("audit", "verify", "--json")
    assert (verified.code, verified.json["whole"]) == (0, True), verified.out
    assert seat.journal.holder("site") is None
    lease = seat.place.ground.get("/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/coldtui-site")
    assert not lease["spec"].get("holderIdentity")


def line_of(console: Console, name: str) -> str:
    return next((line for line in console.text.split("\n") if line.startswith(f" {name}")), "")


@pytest.mark.parametrize(("cols", "rows"), [(120, 40), pytest.param(80, 24, marks=pytest.mark.controlplane)])
def test_a_node_is_emptied_at_the_console(anna: Seat, place: Place, home: str, cols: int, rows: int) -> None:
    """Nodes, the cursor on the node, the menu, the plan, `drain` and enter: the run is shown to its end, and the node's row says that it is cordoned."""
    before = {pod["metadata"]["uid"] for pod in place.yard.pods()}
    console = anna.console(cols=cols, rows=rows)
    console.until("7/7 nodes", 20)
    arm(console)
    show_plan(console, home)
    assert anna.relay is not None
    assert anna.relay.mutating() == []
    confirm_drain(console)
    console.until("✓ ended", 20)
    assert all(f"✓ {number + 1} {title.format(home)}" in console.text for number, title in enumerate(STEPS)), console.text
    run = anna.newest()
    assert run is not None
    assert anna.ended(run).state is RunState.DONE, anna.story(run)
    until(lambda: all(map(ready, place.yard.pods())), 20, "all are up elsewhere", console)
    pods = place.yard.pods()
    assert not before & {pod["metadata"]["uid"] for pod in pods}
    assert {pod["spec"]["nodeName"] for pod in pods} == {other_of(home)}
    assert set(anna.evictions().values()) == {1}
    assert set(anna.evictions()) == before
    console.send("2")
    console.until(
        lambda: "SchedulingDisabled" in line_of(console, home) or "cordoned" in line_of(console, home) or "Ready," in line_of(console, home)
    )
    assert cordoned(place.ground, home)
    on_record(anna, home, reason="", face="console")


def test_undone_from_the_console(anna: Seat, place: Place, home: str) -> None:
    """A cordon at the console acts at once and is taken back with its undo; both are runs and stand in the audit."""
    console = anna.console()
    console.until("7/7 nodes", 20)
    arm(console)
    console.open("2", "Nodes [")
    console.send(f"/{home}\r")
    console.until("1 of")
    console.send("x")
    console.until(f"What can be done to {home}")
    answer(console, "c", lambda: "What can be done" not in console.text)
    until(lambda: cordoned(place.ground, home), 10, "the node is cordoned", console)
    console.until("undoes it")
    console.send("\x15")
    until(lambda: not cordoned(place.ground, home), 10, "it is undone", console)
    console.until("undone")
    spin(lambda: all(run.state.ended for run in anna.journal.runs()), 10, "both have ended")
    assert [run.operation for run in anna.journal.runs()] == ["node.uncordon", "node.cordon"]
    assert [e.outcome[:4] for e in anna.journal.audit_entries() if e.what == "ended"] == ["done", "done"]


def test_nothing_is_done_without_its_word(anna: Seat, place: Place, home: str) -> None:
    """No word, a wrong word, and a plan: exit 3, 3 and 0, nothing was sent, and the command names the word; with --json the result is the last line."""
    unconfirmed = anna.run("node", "drain", home)
    assert (unconfirmed.code, f"--yes {home}" in unconfirmed.err) == (3, True), unconfirmed.err
    wrong = anna.run("node", "drain", home, "--yes", other_of(home))
    assert (wrong.code, f"the word is {home}" in wrong.err) == (3, True), wrong.err
    planned = anna.run("node", "drain", home, "--plan")
    assert (planned.code, planned.out.splitlines()[-1]) == (0, home), planned.out
    assert anna.relay is not None
    assert anna.relay.mutating() == []
    done = anna.run("node", "drain", home, "--yes", home, "--json")
    lines = [json.loads(line) for line in done.out.splitlines()]
    assert (done.code, lines[-1]["event"], lines[-1]["state"], lines[-1]["exit"]) == (0, "result", "done", 0), done.out
    assert [line["event"] for line in lines if line["event"] == "finished"] == ["finished"] * 3
    again = anna.run("node", "drain", home, "--yes", home)
    assert (again.code, again.err) == (0, f"coldtui: {home} is cordoned and has nothing to evict\n")
    assert len(anna.journal.runs()) == 1
