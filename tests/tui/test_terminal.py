"""The console in a real terminal: what it leaves behind, how it survives, and what it never writes."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from coldtui.tui.picture import LEAVE, Picture, default_folder, fingerprint, folder_of, words_of
from tests.tui.terminal import Terminal, terminal

SGR = re.compile(rb"\x1b\[([0-9;]*)m")


def _clean(t: Terminal) -> None:
    """The terminal is as it was: settings, cursor, main screen."""
    assert t.settings == t.before
    assert t.raw.rfind(b"\x1b[?25h") > t.raw.rfind(b"\x1b[?25l")
    assert t.raw.rfind(b"\x1b[?1049l") > t.raw.rfind(b"\x1b[?1049h")


def test_keys_are_painted_as_differences_and_quitting_leaves_the_terminal_as_it_was() -> None:
    """A cursor move writes less than 1.5 kB and nothing blinks; :q ends with 0 and the terminal's own settings."""
    with terminal(cols=120, rows=40) as t:
        t.until("k3s-worker-4")
        t.quiet()
        before = len(t.raw)
        t.send("j")
        t.until(lambda: len(t.raw) > before)
        t.quiet()
        assert len(t.raw) - before < 2500
        t.send("\r")
        t.until("Pods on k3s-worker-1")
        t.quiet()
        t.send("\x1b")
        t.until(lambda: "Nodes [5]" in t.text and "Pods on" not in t.text)
        assert b"\x1b[5m" not in t.raw
        assert not any(b"5" in m.split(b";")[:1] for m in SGR.findall(t.raw))
        t.send(":q\r")
        assert t.wait() == 0
        _clean(t)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_end_it_with_a_clean_terminal(number: int) -> None:
    """SIGTERM ends with 143 and a clean terminal; a typed ctrl-c with 0."""
    with terminal() as t:
        t.until("k3s-worker-4")
        if number == signal.SIGINT:
            t.send("\x03")
            assert t.wait() == 0
        else:
            t.signal(number)
            assert t.wait() == 128 + number
        _clean(t)


def test_a_closed_terminal_ends_it_within_seconds() -> None:
    """When the terminal goes away the console ends by itself and leaves no busy process."""
    with terminal() as t:
        t.until("k3s-worker-4")
        t.hang_up()
        assert t.wait(10) in {129, -signal.SIGHUP}


def test_a_storm_of_sizes_ends_in_a_whole_screen() -> None:
    """Sizes down to 40x10 and back: the screen is whole at the end, tiny ones tell the worst problem, and COLUMNS does not matter."""
    with terminal(environ={"COLUMNS": "80", "LINES": "24"}) as t:
        t.until("k3s-worker-4")
        for cols, rows in ((40, 10), (100, 30), (61, 15), (40, 10)):
            t.resize(cols, rows)
            t.pump(0.01)
        t.until("needs 60x15")
        t.resize(80, 24)
        t.until(lambda: "Nodes [5]" in t.text and "k3s-worker-4" in t.text and "? Help" in t.screen.display[-1])
        t.send(":q\r")
        assert t.wait() == 0


def test_suspend_gives_the_terminal_back_and_resume_repaints() -> None:
    """:suspend stops the process with a clean terminal; SIGCONT paints the whole screen again, at the new size too."""
    with terminal() as t:
        t.until("k3s-worker-4")
        t.send(":suspend\r")
        t.until(lambda: bool(os.waitpid(t.pid, os.WUNTRACED | os.WNOHANG)[0]))
        t.quiet()
        _clean(t)
        t.screen.reset()
        t.resize(100, 30)
        t.signal(signal.SIGCONT)
        t.until(lambda: "k3s-worker-4" in t.text and "? Help" in t.screen.display[29])
        t.send("\x03")
        assert t.wait() == 0
        _clean(t)


def test_ctrl_r_paints_over_what_others_wrote() -> None:
    """Garbage that another program wrote over the screen is gone after ctrl-r."""
    with terminal() as t:
        t.until("k3s-worker-4")
        t.quiet()
        t.stream.feed(b"\x1b[5;1HBroadcast message from root")
        t.send("\x12")
        t.until(lambda: "Broadcast" not in t.text)
        assert "k3s-worker-4" in t.text


def test_no_color_means_not_one_colour() -> None:
    """With NO_COLOR set no colour parameter leaves the program, through tables, prompts, help and dialogs; the cursor row is reversed."""
    with terminal(environ={"NO_COLOR": "1"}) as t:
        t.until("k3s-worker-4")
        t.send("?")
        t.until("In this list")
        t.send("\x1b")
        t.until(lambda: "In this list" not in t.text)
        t.send(":th")
        t.until("theme")
        t.send("\x03")
        t.until(lambda: ":th" not in t.text)
        t.send("\x03")
        assert t.wait() == 0
        codes = {int(c) for m in SGR.findall(t.raw) for c in m.split(b";") if c}
        assert not codes & {*range(30, 39), *range(40, 49), *range(90, 98), *range(100, 108)}
        assert 7 in codes


def test_a_linux_console_gets_ascii() -> None:
    """TERM=linux gets letters only, and at most sixteen colours."""
    with terminal(environ={"TERM": "linux", "COLORTERM": ""}) as t:
        t.until("k3s-worker-4")
        t.quiet()
        assert all(ord(c) < 128 for c in t.text)
        assert "* Ready" in t.text
        codes = {int(c) for m in SGR.findall(t.raw) for c in m.split(b";") if c}
        assert not codes & {38, 48}


def test_dumb_terminals_and_pipes_are_refused_in_one_line() -> None:
    """TERM=dumb and a pipe: exit 2, one line that says what to use, no escape sequence."""
    with terminal(environ={"TERM": "dumb"}) as t:
        assert t.wait() == 2
        assert b"\x1b" not in t.raw
        assert b"coldtui status" in t.raw
    done = subprocess.run([sys.executable, "-m", "tests.tui.toy"], capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "coldtui status" in done.stderr


# ---------------------------------------------------------------- the picture


def test_the_saved_picture_comes_first_and_textual_takes_over_without_clearing(tmp_path: Path) -> None:
    """Second start: the rows are there before the libraries, with their age; one alternate screen; a key typed early counts; settings restored."""
    with terminal("--picture", str(tmp_path)) as t:
        t.until("k3s-worker-4")
        t.quiet()
        t.send("\x03")
        assert t.wait() == 0
    saved = list(tmp_path.glob("picture-80x24-*.ansi"))
    assert len(saved) == 1
    assert saved[0].stat().st_mode & 0o777 == 0o600
    with terminal("--picture", str(tmp_path)) as t:
        t.until(lambda: "k3s-worker-4" in t.text and "as saved" in t.text)
        t.send("jj\r")  # typed while the libraries load
        assert b"\x1b[?2004h" not in t.raw  # Textual has not begun
        t.until("Node k3s-worker-2")
        assert "as saved" not in t.text
        t.send("\x03")
        assert t.wait() == 0
        assert t.raw.count(b"\x1b[?1049h") == 1
        _clean(t)


def test_a_picture_is_never_drawn_where_it_does_not_belong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another size, other colours, another configuration: nothing is drawn; a broken file is passed over."""
    picture = Picture(str(tmp_path), "here")
    assert picture.save("\x1b[2;1Hrow", (80, 24), 1_000_000.0) == ""
    assert picture.path(80, 24) != picture.path(120, 40)
    assert picture.path(80, 24) != Picture(str(tmp_path), "there").path(80, 24)
    with terminal("--picture", str(tmp_path), cols=100) as t:
        t.until("k3s-worker-4")
        assert "as saved" not in t.text
        assert b"as saved" not in t.raw
    env = {"TERM": "xterm", "KUBECONFIG": str(tmp_path / "kube")}
    before = fingerprint([], env)
    (tmp_path / "kube").write_text("one")
    assert fingerprint([], env) != before
    assert fingerprint(["--context", "x"], env) != fingerprint([], env)
    assert fingerprint([], {**env, "NO_COLOR": "1"}) != fingerprint([], env)
    assert fingerprint([], {**env, "SHLVL": "2"}) == fingerprint([], env)
    assert default_folder({"COLDTUI_STATE": "/x"}) == "/x"
    assert not picture.draw()  # the tests' own descriptors are no terminal
    assert not picture.drawn
    assert Picture("/proc/nowhere", "x").save("f", (1, 1), 0.0) != ""


def test_a_picture_lies_in_the_sites_state_folder_and_is_found_there(tmp_path: Path) -> None:
    """Where only the configuration names the state folder, the picture is kept there and the next start of the same call finds it; other calls do not."""
    environ = {"XDG_STATE_HOME": str(tmp_path / "user")}
    site, ours = tmp_path / "site", tmp_path / "user" / "coldtui"
    picture = Picture(folder_of("this", environ), "this")
    assert picture.folder == default_folder(environ)
    picture.move(str(site), environ)
    assert picture.save("row", (80, 24), 1_000_000.0) == ""
    assert [path.parent for path in tmp_path.rglob("*.ansi")] == [site]
    assert folder_of("this", environ) == str(site)
    assert folder_of("that", environ) == default_folder(environ)
    for n in range(60):
        other = Picture("", f"other {n}")
        other.move(str(site), environ)
        assert other.save("row", (80, 24), 1_000_000.0) == ""
    assert len((ours / "pictures").read_text().splitlines()) == 50
    assert (ours / "pictures").stat().st_mode & 0o777 == 0o600
    plain = Picture(folder_of("plain", environ), "plain")
    plain.move(default_folder(environ), environ)
    assert plain.save("row", (80, 24), 1_000_000.0) == ""
    assert b" " + str(ours).encode() not in (ours / "pictures").read_bytes()


def test_an_import_that_fails_after_the_picture_leaves_a_clean_terminal(tmp_path: Path) -> None:
    """The picture is drawn, then a library is missing: the terminal is given back and the error is readable."""
    with terminal("--picture", str(tmp_path)) as t:
        t.until("k3s-worker-4")
        t.quiet()
        t.send("\x03")
        t.wait()
    with terminal("--picture", str(tmp_path), "--break-import") as t:
        assert t.wait() == 1
        assert b"as saved" in t.raw
        assert LEAVE in t.raw
        assert b"a broken install" in t.raw[t.raw.index(LEAVE) :]
        _clean(t)


def test_the_picture_module_loads_nothing() -> None:
    """Importing it and drawing brings in no library: neither Textual nor Rich nor asyncio nor re."""
    code = (
        "import sys; before = set(sys.modules); from coldtui.tui import picture; picture.start(); print(sorted(set(sys.modules) - before))"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", f"import sys; sys.path.insert(0, {os.getcwd()!r}); {code}"], capture_output=True, text=True, timeout=30
    )
    loaded = set(eval(done.stdout))
    assert not [name for name in loaded if not name.startswith(("coldtui", "binascii", "termios", "time"))], loaded
    assert words_of(90) == "90 s"
    assert words_of(400) == "6 min"
