"""The structured log."""

from __future__ import annotations

import json
import logging
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from coldtui.config import logs
from coldtui.domain.logkeys import Key
from coldtui.domain.secret import Secret


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    """No test leaves a log open, nor a handler on Python's root logger."""
    level, ours = logging.getLogger().level, logging.getLogger("coldtui").level
    yield
    logs.stop()
    root = logging.getLogger()
    for handler in [h for h in root.handlers if getattr(h, "coldtui", False)]:
        root.removeHandler(handler)
    root.setLevel(level)
    logging.getLogger("coldtui").setLevel(ours)
    logging.captureWarnings(False)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_line_is_json_with_known_keys(tmp_path: Path) -> None:
    """Time, level, logger, event and the fields, one object a line, in a file of mode 0640."""
    path = tmp_path / "log"
    assert logs.start(str(path)) == ""
    logs.get("coldtui.live").info("relisted", {Key.SOURCE: "pods", Key.ITEMS: 12})
    logs.get("coldtui.live").debug("not at this level")
    (line,) = lines(path)
    assert (line["event"], line["logger"], line["level"], line["source"], line["items"]) == ("relisted", "coldtui.live", "info", "pods", 12)
    assert set(line) <= {key.value for key in Key}
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


@pytest.mark.parametrize(
    "text",
    [
        "Authorization: Bearer abcdefgh123",
        "password=abcdefgh123 host=x",
        '{"token": "abcdefgh123"}',
        "postgres://user:abcdefgh123@host/db",
        "K10" + "a" * 64 + "::server:abcdefgh123",
        "aws_secret_access_key = abcdefgh123",
        "-----BEGIN PRIVATE KEY-----\nabcdefgh123\n-----END PRIVATE KEY-----",
        "eyJhbGciOiJSUzI1NiIsImtpZCI6.abcdefgh123.sig",
    ],
)
def test_secrets_never_reach_the_file(tmp_path: Path, text: str) -> None:
    """What looks like a secret is bullets, in the event, in a field and in a traceback."""
    path = tmp_path / "log"
    logs.start(str(path))
    log = logs.get("coldtui")
    log.info(text, {Key.WORDS: text, Key.DETAIL: Secret("abcdefgh123")})
    log.exception("fault", ValueError(text))
    logging.getLogger("urllib3").warning("%s", text)
    assert "abcdefgh123" not in path.read_text()
    assert "•••" in path.read_text()


def test_what_is_no_secret_stays(tmp_path: Path) -> None:
    """Addresses with ports, versions and sentences are not mistaken for secrets."""
    path = tmp_path / "log"
    logs.start(str(path))
    text = "https://127.0.0.1:6443 answers, resource version 105871, the token was refused"
    logs.get("coldtui").info(text)
    assert lines(path)[0]["event"] == text


def test_a_known_secret_is_hidden_wherever_it_stands(tmp_path: Path) -> None:
    """A value that was registered is cut out of the middle of any text."""
    path = tmp_path / "log"
    logs.start(str(path))
    logs.hide(Secret("s3cr3t-value"))
    logs.get("coldtui").info("argv was xs3cr3t-valuex")
    assert "s3cr3t" not in path.read_text()


def test_rotation_keeps_the_newest_files(tmp_path: Path) -> None:
    """Past its size the log moves on, and only so many old ones stay; no line is torn."""
    path = tmp_path / "log"
    logs.start(str(path), max_bytes=10_000, backups=2)
    for n in range(400):
        logs.get("coldtui").info("x" * 80, {Key.ITEMS: n})
    logs.stop()
    names = sorted(p.name for p in tmp_path.iterdir())
    assert names == ["log", "log.1", "log.2", "log.lock"]
    assert all((tmp_path / n).stat().st_size <= 10_000 for n in names)
    numbers = [line["items"] for name in ("log.2", "log.1", "log") for line in lines(tmp_path / name)]
    assert numbers == list(range(numbers[0], 400))


def test_two_processes_share_a_file_through_rotation(tmp_path: Path) -> None:
    """When the other one rotated the file away, lines go to the new one."""
    path = tmp_path / "log"
    one = logs.LogFile(str(path), max_bytes=1000, backups=3)
    two = logs.LogFile(str(path), max_bytes=1000, backups=3)
    for n in range(40):
        (one if n % 2 else two).write(f"{n:060d}\n".encode())
    one.close()
    two.close()
    kept = "".join(p.read_text() for p in (path.with_suffix(".3"), path.with_suffix(".2"), path.with_suffix(".1"), path) if p.exists())
    numbers = [int(line) for line in kept.splitlines()]
    assert numbers == list(range(numbers[0], 40))


def test_python_logging_goes_to_the_file_and_not_to_the_terminal(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Ours from the configured level, the libraries' from warnings; nothing on stderr, a log or not."""
    path = tmp_path / "log"
    logs.start(str(path), level="info")
    logging.getLogger("coldtui.live").info("ours %d", 1)
    logging.getLogger("urllib3").info("theirs, quiet")
    logging.getLogger("urllib3").warning("theirs, loud")
    logging.getLogger("urllib3.connectionpool").warning("Connection pool is full")
    said = [line["event"] for line in lines(path)]
    told = ("ours 1", "theirs, quiet", "theirs, loud", "Connection pool is full")
    assert [event for event in said if event in told] == ["ours 1", "theirs, loud"]  # other tests' threads may log too
    logs.start(os.devnull)
    logging.getLogger("asyncio").error("nowhere")
    assert capfd.readouterr().err == ""


def test_only_files_are_given_a_mode(tmp_path: Path) -> None:
    """What is no regular file keeps its mode: as root, a log to the null device would otherwise close that device to every other user."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    path.chmod(0o622)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        assert logs.start(str(path)) == ""
        assert path.stat().st_mode & 0o777 == 0o622
    finally:
        logs.start(os.devnull)
        os.close(reader)


def test_a_log_that_cannot_be_opened_is_said_and_harmless(tmp_path: Path) -> None:
    """The program goes on without a log and knows why."""
    trouble = logs.start(str(tmp_path / "none/log"))
    assert trouble == f"{tmp_path}/none/log: no such file or directory"
    logs.get("coldtui").error("goes nowhere")
    assert logs.path() == ""
