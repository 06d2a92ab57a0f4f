"""Starts a runner so that neither a closed terminal nor a killed console reaches it, and hands it its secrets through a pipe."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from pathlib import Path
from typing import BinaryIO

from ...domain.errors import ColdError, StepFailed
from ...domain.runs import Run, RunSite
from ...domain.secret import Secret
from ...domain.text import plain
from ...ports import Journal
from .scope import Scope

FD = "COLDTUI_SECRETS_FD"
"""Number of the inherited pipe from which a runner reads its secrets, once."""
LOOK_S = 0.05
PROC = Path("/proc")
NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT})
_SECRET_NAMES = re.compile(r"COLDTUI_\w*(PASS|SECRET|TOKEN|KEY)")
_SECRETS_LIMIT = 1 << 20


class ProcessLauncher:
    """`ports.Launcher`. `argv` is the program (`python -m coldtui`), to which the site's flags and `run exec ID` are added."""

    def __init__(
        self,
        state_dir: str,
        journal: Callable[[], Journal],
        journal_path: str,
        *,
        argv: Sequence[str] = (sys.executable, "-m", "coldtui"),
        environ: Mapping[str, str] | None = None,
        hidden: Sequence[str] = (),
        scope: Scope | None = None,
    ) -> None:
        """`journal` is the one at `journal_path`, opened at first use. `hidden`: variables that hold secrets and are not passed on. `environ` None: this process's."""
        self._state_dir, self._journal, self._journal_path, self._argv = state_dir, journal, journal_path, tuple(argv)
        self._environ, self._hidden = environ, frozenset(hidden)
        self._scope = scope if scope is not None else Scope()

    def launch(
        self, run: Run, *, secrets: Mapping[str, Secret], deadline_s: float = 15.0, confirm: Callable[[], object] | None = None
    ) -> int:
        words = _error_file(self._journal().log_path(run.id))
        process, gate = self._start(run, secrets, words)
        # A console that stays open would else keep a zombie.
        threading.Thread(target=_reap, args=(process, words), name=f"reap-{run.id}", daemon=True).start()
        gate.filled.wait(deadline_s)
        try:
            if confirm is not None:
                confirm()
        finally:
            gate.opened.set()  # a runner that finds no such run in the journal ends
        return self._wait(run, process, words, deadline_s)

    def lives(self, run: Run) -> bool | None:
        return lives(run)

    # --- starting

    def _start(self, run: Run, secrets: Mapping[str, Secret], words: Path) -> tuple[subprocess.Popen[bytes], Gate]:
        read, write = os.pipe()
        try:
            with _opened(words) as err:
                process = subprocess.Popen(
                    [
                        *self._scope.prefix(run.id),
                        *self._argv,
                        *site_flags(run.site),
                        "--journal",
                        self._journal_path,
                        "run",
                        "exec",
                        run.id,
                    ],
                    stdin=subprocess.DEVNULL,
                    stdout=err,
                    stderr=err,
                    cwd="/",
                    start_new_session=True,
                    close_fds=True,
                    pass_fds=(read,),
                    env=self._environment(run.site, read),
                )
        except OSError as error:
            os.close(write)
            raise StepFailed("the runner cannot be started", detail=plain(str(error)), hint="coldtui doctor") from None
        finally:
            os.close(read)
        return process, Gate(write, secrets)

    def _environment(self, site: RunSite, fd: int) -> dict[str, str]:
        """Ours, without secrets: those of the site's document and our own. Others stay: a credential plugin may live by them."""
        ours = os.environ if self._environ is None else self._environ
        kept = {name: value for name, value in ours.items() if name not in self._hidden and not _SECRET_NAMES.match(name)}
        kept[FD] = str(fd)
        kept["COLDTUI_STATE"] = self._state_dir
        if site.kubeconfig:
            kept["KUBECONFIG"] = site.kubeconfig
            kept.pop("COLDTUI_KUBECONFIG", None)
        package = str(Path(__file__).parents[3])
        kept["PYTHONPATH"] = os.pathsep.join(dict.fromkeys([package, *kept.get("PYTHONPATH", "").split(os.pathsep)])).rstrip(os.pathsep)
        return kept

    # --- waiting

    def _wait(self, run: Run, process: subprocess.Popen[bytes], words: Path, deadline_s: float) -> int:
        """Until the journal shows that the runner took the run up."""
        end = time.monotonic() + deadline_s
        journal = self._journal()
        while True:
            now = journal.run(run.id)
            if now.attempts > run.attempts or now.state.ended:
                return now.runner_pid or process.pid
            if process.poll() is not None:
                now = journal.run(run.id)  # it may have come and gone between the two looks
                if now.attempts > run.attempts or now.state.ended:
                    return now.runner_pid or process.pid
                raise StepFailed(
                    "the runner ended before it began", detail=_last_words(words) or f"exit {process.returncode}", hint=str(words)
                )
            if time.monotonic() >= end:
                process.terminate()
                raise StepFailed(f"the runner was not up within {deadline_s:.0f} s", detail=_last_words(words), hint=str(words))
            time.sleep(LOOK_S)


def lives(run: Run, proc: Path = PROC) -> bool | None:
    """`ports.Launcher.lives`. By the command line, since a pid may be given to another process."""
    if not run.runner_pid or run.runner_host != plain(socket.gethostname()) or not proc.is_dir():
        return None
    try:
        words = (proc / str(run.runner_pid) / "cmdline").read_bytes().split(b"\0")
    except (FileNotFoundError, ProcessLookupError):
        return False
    except OSError:
        return None  # another user's, and hidden from us
    if run.id.encode() in words:
        return True
    return None if any(b"coldtui" in word for word in words) else False  # a console performs its small runs itself


def _error_file(log: str) -> Path:
    """Beside the run's log: what its process says on stderr. Raises StepFailed."""
    path = Path(log).with_suffix(".err")
    try:
        path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
    except OSError as error:
        if error.errno in NO_SPACE:
            return path
        raise StepFailed(f"{path.parent} cannot be made", detail=plain(str(error)), hint="mend its permissions or set state_dir") from None
    return path


def _opened(path: Path) -> BinaryIO:
    """A full disk takes the words of a runner, but does not keep it from running: the journal has its reserve."""
    try:
        return os.fdopen(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640), "ab")
    except OSError:
        return Path(os.devnull).open("ab")


def _reap(process: subprocess.Popen[bytes], words: Path) -> None:
    """Wait for its end. A runner that said nothing leaves no empty file."""
    process.wait()
    with contextlib.suppress(OSError):
        if words.stat().st_size == 0:
            words.unlink()


def site_flags(site: RunSite) -> list[str]:
    """The site that was meant when the run was confirmed, whatever the configuration says elsewhere."""
    flags = []
    for name, value in (("--config", site.config), ("--context", site.context), ("--namespace", site.namespace)):
        if value:
            flags += [name, value]
    return flags


class Gate:
    """The pipe that brings a runner its secrets. It reads to the end before it does anything: the end is `opened`, or ours.

    In a thread: a pipe holds 64 KiB, and a runner that does not read must not hold us.
    """

    def __init__(self, fd: int, secrets: Mapping[str, Secret]) -> None:
        self.filled, self.opened = threading.Event(), threading.Event()
        self._fd, self._data = fd, json.dumps({name: secret.reveal() for name, secret in secrets.items()}).encode()
        threading.Thread(target=self._write, name="secrets", daemon=True).start()

    def _write(self) -> None:
        try:
            with os.fdopen(self._fd, "wb") as pipe:
                pipe.write(self._data)
                pipe.flush()
                self.filled.set()
                self.opened.wait()
        except BrokenPipeError:
            self.filled.set()  # the runner is gone: `_wait` tells it


def take_secrets(environ: MutableMapping[str, str]) -> dict[str, Secret]:
    """In the runner: read the pipe once, close it, and forget its number. Raises ColdError when it holds no secrets."""
    number = environ.pop(FD, "")
    if not number:
        return {}
    try:
        with os.fdopen(int(number), "rb") as pipe:
            found = json.loads(pipe.read(_SECRETS_LIMIT))
        return {str(name): Secret(str(value)) for name, value in found.items()}
    except (OSError, ValueError, AttributeError):  # a launcher that was killed in mid-write among others
        raise ColdError("the secrets of this run did not arrive", hint="resume the run: it asks for them again") from None


def _last_words(path: Path) -> str:
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    except OSError:
        return ""
    return plain(lines[-1])[:300] if lines else ""
