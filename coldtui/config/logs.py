"""The structured log: one JSON object a line in a file of the state folder, rotated by size, never on the terminal.

`get("coldtui.live").info("relisted", {Key.SOURCE: "pods"})`. Before `start` (and when the file cannot be written) lines go nowhere.
"""

from __future__ import annotations

import json
import os
import re
import stat
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from ..domain.logkeys import Key
from ..domain.secret import Secret

if TYPE_CHECKING:
    import logging

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}
MODE = 0o640
Fields = Mapping[Key, object]

_SECRETS = re.compile(
    r"(?P<name>authorization[\"']?\s*[=:]\s*[\"']?(?:bearer|basic)\s+|bearer\s+"
    r"|(?:password|passwd|passphrase|secret|token|api[_-]?key|access[_-]?key(?:[_-]?id)?|authorization)[\"']?\s*[=:]\s*[\"']?)[^\s\"',;&@}]+"
    r"|(?P<login>://[^/\s:@]*:)[^/\s@]+(?=@)"
    r"|K10[0-9a-f]{20,}::\S+"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----.*?-----END [A-Z ]*PRIVATE KEY-----"
    r"|eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]*)?",
    re.IGNORECASE | re.DOTALL,
)
_BULLETS = "•••"


class LogFile:
    """Appends lines to a file that several processes may share; rotates it under a lock when it grows past `max_bytes`."""

    def __init__(self, path: str, *, max_bytes: int, backups: int) -> None:
        """Raises OSError when the file cannot be opened."""
        self.path = path
        self._max_bytes = max_bytes
        self._backups = backups
        self._lock = threading.Lock()
        self._fd = self._open()

    def _open(self) -> int:
        fd = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, MODE)
        found = os.fstat(fd)
        if stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid():  # never a device: as root that would close /dev/null to all others
            os.fchmod(fd, MODE)  # the umask may have taken more away or an older file given more
        return fd

    def write(self, line: bytes) -> None:
        """One whole line. A disk that is full loses the line, never the program."""
        with self._lock:
            try:
                self._follow()
                if os.fstat(self._fd).st_size + len(line) > self._max_bytes:
                    self._rotate(len(line))
                os.write(self._fd, line)
            except OSError:
                self.lost += 1

    lost: int = 0
    """Lines that could not be written."""

    def _follow(self) -> None:
        """Another process may have rotated the file away under us."""
        try:
            same = os.stat(self.path).st_ino == os.fstat(self._fd).st_ino
        except FileNotFoundError:
            same = False
        if not same:
            os.close(self._fd)
            self._fd = self._open()

    def _rotate(self, coming: int) -> None:
        import fcntl

        lock = os.open(f"{self.path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, MODE)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self._follow()
            if os.fstat(self._fd).st_size + coming <= self._max_bytes:
                return  # the other process was quicker
            for n in range(self._backups, 0, -1):
                older = f"{self.path}.{n - 1}" if n > 1 else self.path
                if os.path.exists(older):
                    os.replace(older, f"{self.path}.{n}")
            if self._backups == 0:
                os.unlink(self.path)
            os.close(self._fd)
            self._fd = self._open()
        finally:
            os.close(lock)

    def close(self) -> None:
        with self._lock:
            os.close(self._fd)


class _Sink:
    """Where lines go; one a process."""

    file: LogFile | None = None
    level: int = LEVELS["info"]
    hidden: tuple[str, ...] = ()


_sink = _Sink()


def start(path: str, *, level: str = "info", max_bytes: int = 5_000_000, backups: int = 3) -> str:
    """Begin to log into `path`. Returns empty, or why it cannot be written: the program goes on without a log.

    Python's own logging of every library goes there too, from warnings upward, and not to the terminal.
    """
    stop()
    try:
        _sink.file = LogFile(path, max_bytes=max_bytes, backups=backups)
    except OSError as error:
        return f"{path}: {(error.strerror or str(error)).lower()}"
    finally:
        _sink.level = LEVELS[level]
        _bridge(level)
    return ""


def stop() -> None:
    if _sink.file is not None:
        _sink.file.close()
        _sink.file = None


def path() -> str:
    """The file in use; empty when there is none."""
    return _sink.file.path if _sink.file is not None else ""


def hide(secret: Secret) -> None:
    """Never let this value through, wherever in a line it stands."""
    value = secret.reveal()
    if len(value) >= 4 and value not in _sink.hidden:
        _sink.hidden = (*_sink.hidden, value)


def scrub(text: str) -> str:
    """The text without what looks like a secret or is known to be one."""
    for value in _sink.hidden:
        text = text.replace(value, _BULLETS)
    return _SECRETS.sub(lambda found: (found.group("name") or found.group("login") or "") + _BULLETS, text)


class Logger:
    """Writes events under one name."""

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name

    def debug(self, event: str, fields: Fields | None = None) -> None:
        _emit("debug", self._name, event, fields)

    def info(self, event: str, fields: Fields | None = None) -> None:
        _emit("info", self._name, event, fields)

    def warning(self, event: str, fields: Fields | None = None) -> None:
        _emit("warning", self._name, event, fields)

    def error(self, event: str, fields: Fields | None = None) -> None:
        _emit("error", self._name, event, fields)

    def exception(self, event: str, error: BaseException, fields: Fields | None = None) -> None:
        """An unexpected exception with its traceback."""
        import traceback

        trace = "".join(traceback.format_exception(error))
        _emit("error", self._name, event, {**(fields or {}), Key.ERROR: f"{type(error).__name__}: {error}", Key.TRACEBACK: trace})


def get(name: str) -> Logger:
    return Logger(name)


def _emit(level: str, name: str, event: str, fields: Fields | None) -> None:
    if _sink.file is None or LEVELS[level] < _sink.level:
        return
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    line: dict[str, object] = {
        Key.TIME.value: now,
        Key.LEVEL.value: level,
        Key.LOGGER.value: name,
        Key.EVENT.value: scrub(event),
        Key.PID.value: os.getpid(),
    }
    for key, value in (fields or {}).items():
        line[key.value] = _plain_value(value)
    _sink.file.write(json.dumps(line, ensure_ascii=False).encode("utf-8", "replace") + b"\n")


def _plain_value(value: object) -> object:
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Secret):
        return _BULLETS
    if isinstance(value, Mapping):
        return {str(k): _plain_value(v) for k, v in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain_value(v) for v in value]
    return scrub(str(value))


def _bridge(level: str) -> None:
    """Send Python's own logging into the file: without a handler its last resort is the terminal.

    Ours from the configured level, the libraries' from warnings upward.
    """
    import logging

    root = logging.getLogger()
    for old in [h for h in root.handlers if getattr(h, "coldtui", False)]:
        root.removeHandler(old)
    root.addHandler(_handler())
    root.setLevel(logging.WARNING)
    logging.getLogger("coldtui").setLevel(LEVELS[level])
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)  # "pool is full" is how our pools are meant to breathe
    logging.captureWarnings(True)


def _handler() -> logging.Handler:
    import logging

    class Bridge(logging.Handler):
        coldtui = True

        def emit(self, record: logging.LogRecord) -> None:
            level = next((name for name, n in reversed(LEVELS.items()) if record.levelno >= n), "debug")
            fields: dict[Key, object] = {}
            if record.exc_info and record.exc_info[1] is not None:
                import traceback

                fields[Key.TRACEBACK] = "".join(traceback.format_exception(record.exc_info[1]))
            _emit(level, record.name, record.getMessage(), fields)

    return Bridge()
