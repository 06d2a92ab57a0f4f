"""What an operator may do wrong: always one line, the right exit code, never a traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.means import Cli

MISTAKES = [
    (["nodse"], 2, "unknown command"),
    (["--kubeconfig"], 2, "needs FILE"),
    (["--config", "/nonexistent.yaml", "nodes"], 2, "does not exist"),
    (["--config", "{folder}/bad.yaml", "nodes"], 2, "bad.yaml:2"),
    (["--kubeconfig", "/nonexistent", "nodes"], 2, "does not exist"),
    (["--kubeconfig", "{folder}/broken", "pods"], 2, "broken"),
    (["--context", "cald", "nodes"], 2, "did you mean cold?"),
    (["pods", "-A", "-n", "x"], 2, "exclude each other"),
    (["pods", "--sort", "colour"], 2, "cannot be sorted by"),
    (["logs", "x", "--since", "yesterday"], 2, "--since cannot be"),
    (["demo", "falt"], 2, "demo"),
    (["events", "--theme"], 2, "needs NAME"),
    ([], 2, "needs a terminal"),
]


@pytest.mark.parametrize(("argv", "code", "words"), MISTAKES)
def test_a_mistake_is_one_line(cli: Cli, argv: list[str], code: int, words: str) -> None:
    """One printable line on stderr, nothing on stdout, the exit code of its kind."""
    (cli.folder / "bad.yaml").write_text("theme: x\nthme: y\n")
    (cli.folder / "broken").write_text("clusters: [\n")
    found = cli(*(word.replace("{folder}", str(cli.folder)) for word in argv))
    assert found.out == ""
    assert found.err.count("\n") == 1, found.err
    assert found.err.startswith("coldtui: ")
    assert found.err[:-1].isprintable()
    assert words in found.err
    assert found.code == code


def test_an_unreadable_state_folder_is_no_end(cli: Cli) -> None:
    """Without a place for its state the listing still tries, and says nothing wrong about it."""
    (cli.folder / "state").write_text("a file in the way")
    found = cli("nodes")
    assert found.code == 4
    assert "Traceback" not in found.err


def _run(*argv: str, tmp_path: Path, **environ: str) -> subprocess.CompletedProcess[bytes]:
    clean = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "COLDTUI_STATE": str(tmp_path / "state"), **environ}
    return subprocess.run(
        [sys.executable, "-m", "coldtui", *argv], capture_output=True, timeout=30, env=clean, check=False, stdin=subprocess.DEVNULL
    )


def test_a_reader_that_goes_away_is_quiet(tmp_path: Path) -> None:
    """`coldtui --help | true` says nothing about the broken pipe."""
    clean = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    command = f"for i in 1 2 3; do {sys.executable} -m coldtui --help | true; done"
    done = subprocess.run(["sh", "-c", command], capture_output=True, timeout=30, env=clean, check=False)
    assert done.stderr == b""


def test_plain_ascii_output_has_no_foreign_letter(tmp_path: Path) -> None:
    """Where the locale has no UTF-8, what is printed is ASCII, and nothing fails."""
    done = _run("settings", tmp_path=tmp_path, PYTHONIOENCODING="ascii", COLDTUI_SITE_NAME="kühl–haus ●")
    assert done.returncode == 0
    assert done.stdout.isascii()
    assert b"site.name" in done.stdout


def test_without_a_terminal_the_console_refuses_with_words(tmp_path: Path) -> None:
    """Started in a pipe it says what to use instead, and exits 2."""
    done = _run(tmp_path=tmp_path)
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"coldtui status" in done.stderr
