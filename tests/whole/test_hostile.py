"""Names, labels, messages, images and log lines of the worst kind go through every face: nothing ends, nothing leaks, nothing is crooked."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from coldtui.present.lines import width
from tests.whole.ground import Console, Embedded, Json, command, environment

NASTY = "\x1b]0;owned\x07"
"""Sets the title of a terminal that takes it."""
EVIL = {
    "markup": "[/x] [@click=app.exit]press[/] [b]bold",
    "escape": f"{NASTY}\x1b[31mred\x1b[2J\x1b[?1049l\x9b31m",
    "bidi": "abc\u202egnp.exe\u2066x\u2069",
    "emoji": "node-🔥👨‍👩‍👧‍👦-日本語-é",
    "long": "x" * 253,
    "lines": "one\ntwo\r\nthree\ttab\x00nul",
}
FORBIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u202a-\u202e\u2066-\u2069]")
"""What no face may pass on from data."""
STARTED = "2026-11-20T08:00:00Z"


def stamp() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def things() -> list[Json]:
    """A node, a pod in trouble, an event and a Deployment for each kind of evil; and a pod with a good name and an evil log."""
    found: list[Json] = []
    for n, (kind, evil) in enumerate(EVIL.items()):
        meta = {"name": f"evil-{kind}-{evil}", "creationTimestamp": STARTED, "labels": {"app": evil}, "annotations": {"note": evil}}
        condition = {"type": "Ready", "status": "False", "reason": evil, "message": evil, "lastTransitionTime": STARTED}
        info = {"kubeletVersion": evil, "osImage": evil, "kernelVersion": evil, "containerRuntimeVersion": evil, "architecture": "amd64"}
        size = {"cpu": "4", "memory": "8Gi", "pods": "110"}
        status: Json = {"conditions": [condition], "nodeInfo": info, "capacity": size, "allocatable": size}
        status["addresses"] = [{"type": "InternalIP", "address": evil}]
        found.append({"apiVersion": "v1", "kind": "Node", "metadata": {**meta, "uid": f"n{n}"}, "spec": {}, "status": status})
        waiting = {
            "state": {"waiting": {"reason": f"Evil {evil}", "message": evil}},
            "name": "app",
            "ready": False,
            "restartCount": 3,
            "image": evil,
        }
        pod = {
            "apiVersion": "v1", "kind": "Pod", "metadata": {**meta, "namespace": "production", "uid": f"p{n}"},
            "spec": {"nodeName": f"evil-{kind}-{evil}", "containers": [{"name": "app", "image": evil}]},
            "status": {"phase": "Pending", "message": evil, "containerStatuses": [{**waiting, "lastState": {}}], "startTime": STARTED},
        }  # fmt: skip
        found.append(pod)
        event = {
            "apiVersion": "v1", "kind": "Event", "metadata": {**meta, "namespace": "production", "uid": f"e{n}", "creationTimestamp": stamp()},
            "involvedObject": {"kind": "Pod", "name": f"evil-{kind}-{evil}", "namespace": "production"}, "reason": evil, "message": evil,
            "type": "Warning", "count": 3, "firstTimestamp": stamp(), "lastTimestamp": stamp(), "source": {"component": evil},
        }  # fmt: skip
        found.append(event)
        template = {"metadata": {"labels": {"app": evil}}, "spec": {"containers": [{"name": "app", "image": evil}]}}
        deployment = {
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {**meta, "namespace": "production", "uid": f"d{n}"},
            "spec": {"replicas": 1, "selector": {"matchLabels": {"app": evil}}, "template": template}, "status": {},
        }  # fmt: skip
        found.append(deployment)
    return found


@pytest.fixture(scope="module")
def evil(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Embedded]:
    folder = tmp_path_factory.mktemp("hostile")
    log = folder / "evil.log"
    log.write_text("\n".join(f"log {kind} {text}" for kind, text in EVIL.items()) + "\nthe last line\n")
    talker: Json = {
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "aa-talker", "namespace": "production", "uid": "t", "creationTimestamp": STARTED, "annotations": {"lab.coldtui/log-file": str(log)}},
        "spec": {"nodeName": "k3s-worker-1", "containers": [{"name": "app", "image": "r/app:1"}]},
        "status": {"phase": "Running", "startTime": STARTED, "containerStatuses": [
            {"name": "app", "ready": True, "restartCount": 0, "image": "r/app:1", "state": {"running": {"startedAt": STARTED}}, "lastState": {}}]},
    }  # fmt: skip
    made = Embedded(folder / "api", extra=[*things(), talker])
    yield made
    made.stop()


def harmless(text: str) -> None:
    found = FORBIDDEN.search(text)
    assert found is None, repr(text[max(0, found.start() - 80) : found.end() + 20]) if found else ""


@pytest.mark.parametrize("noun", ["nodes", "pods", "events", "deployments"])
def test_tables(evil: Embedded, tmp_path: Path, noun: str) -> None:
    """A table has one line for each object, its columns stand under their headings, and no harmful character is in it, on a terminal's width or in a pipe."""
    done = command(tmp_path / "home", noun, kubeconfig=evil.kubeconfig)
    assert done.code == 0, done.err
    harmless(done.out.replace("\n", ""))
    harmless(done.err.replace("\n", ""))
    lines = done.out.rstrip("\n").split("\n")
    there = len(command(tmp_path / "home", noun, "--json", kubeconfig=evil.kubeconfig).json[noun])
    assert len(lines) == there + 1
    if noun in ("nodes", "pods"):
        at = lines[0].index("STATUS")
        for line in lines[1:]:
            cells, position = 0, 0
            while cells < at:
                cells += width(line[position])
                position += 1
            assert cells == at, f"a wide letter stands across the column: {line[:200]}"
            assert line[position - 1] == " ", line[:400]
            assert line[position] != " ", line[:400]


@pytest.mark.parametrize("noun", ["nodes", "pods", "events", "deployments", "problems", "status"])
def test_json(evil: Embedded, tmp_path: Path, noun: str) -> None:
    """JSON is one valid document that holds no harmful character, raw or escaped, but all of the markup as it is."""
    done = command(tmp_path / "home", noun, "--json", kubeconfig=evil.kubeconfig)
    assert done.code == 0, done.err
    text = done.out
    assert done.json
    harmless(text.replace("\n", ""))
    assert "\\u001b" not in text
    assert "\\u202e" not in text
    if noun in ("nodes", "pods"):
        assert "[@click=app.exit]press[/]" in text


def test_a_coloured_table_has_only_our_own_escapes(evil: Embedded, tmp_path: Path) -> None:
    """On a terminal the only escape sequences are our colours."""
    home = tmp_path / "home"
    console = Console(home, "--kubeconfig", str(evil.kubeconfig), "pods", cols=200, rows=100)
    try:
        assert console.wait() == 0
        rest = re.sub(rb"\x1b\[[0-9;]*m", b"", console.raw)
        assert b"\x1b" not in rest
        assert b"owned\x07" not in rest
    finally:
        console.close()


def test_logs_on_the_command_line(evil: Embedded, tmp_path: Path) -> None:
    """`coldtui logs` prints every line, made harmless."""
    done = command(tmp_path / "home", "logs", "production/aa-talker", kubeconfig=evil.kubeconfig, environ=environment(tmp_path / "home"))
    assert done.code == 0, done.err
    harmless(done.out.replace("\n", ""))
    assert "[@click=app.exit]press[/]" in done.out
    assert "the last line" in done.out


@pytest.mark.parametrize(("cols", "rows"), [(80, 24), (120, 40)])
def test_console(evil: Embedded, tmp_path: Path, cols: int, rows: int) -> None:
    """Status, nodes, pods, events, alerts, describe, YAML and logs show it all: the console stays, borders stay in their columns, no byte of the data acts."""
    console = Console(tmp_path / "home", "--kubeconfig", str(evil.kubeconfig), cols=cols, rows=rows)
    try:
        console.until("11 nodes")
        console.quiet(0.5)
        straight(console)
        steps = (("2", "Nodes ["), ("6", "Alerts ["), (":events\r", "Events"), ("5", "Deployments ("), ("9", "Pods ("))
        for keys, shows in steps:
            console.send(keys)
            console.until(shows)
            for _ in range(4):
                console.send("j")
            console.quiet(0.2)
            straight(console)
            assert "internal error" not in console.text, console.text
        for kind in EVIL:
            console.send(f":pods /evil-{kind}\r")
            console.until(lambda kind=kind: f"/evil-{kind}" in console.text and "1 of" in console.text)  # type: ignore[misc]
            console.quiet(0.1)
            for key in ("d", "y"):
                console.send(key)
                console.until(lambda: "Pods (" not in console.text)
                console.quiet(0.1)
                assert "internal error" not in console.text, console.text
                console.send("\x1b")
                console.until("Pods (")
        console.send(":pods /aa-talker\r")
        console.until(lambda: "/aa-talker" in console.text and "1 of" in console.text)
        console.send("l")
        console.until("the last line")
        console.quiet(0.2)
        assert "internal error" not in console.text, console.text
        assert b"\0" not in console.raw
        console.send("\x03")
        assert console.wait() == 0
        assert NASTY.encode() not in console.raw
        assert b"\x1b[31mred" not in console.raw
        assert b"\x1b[2Jx" not in console.raw
        assert console.raw.count(b"\x1b[?1049l") == 1
        assert "\u202e".encode() not in console.raw
        assert "\u2066".encode() not in console.raw
    finally:
        console.close()


def straight(console: Console) -> None:
    """Right borders of cards stand in one column: counted in cells, since a wide letter takes two."""
    ends = set()
    for y, line in enumerate(console.screen.display):
        if line.startswith(("│", "╭", "╰")):
            row = console.screen.buffer[y]
            last = max(x for x in range(console.screen.columns) if row[x].data.strip())
            assert row[last].data in "│╮╯", console.text
            ends.add(last)
    assert len(ends) <= 1, console.text
