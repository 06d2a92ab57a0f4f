"""Which labs run on this machine: a small file that ``coldtui demo fault`` and the like look into."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Running:
    """One running lab."""

    pid: int
    dir: str
    control: str
    """Its control socket."""
    config: str
    """The configuration file for the console."""


def registry() -> Path:
    """``lab.json`` in the user's runtime folder, else in the cache folder."""
    base = os.environ.get("XDG_RUNTIME_DIR") or os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "coldtui" / "lab.json"


def labs() -> list[Running]:
    """Labs whose process is there, oldest first; an unreadable file counts as none."""
    try:
        entries = json.loads(registry().read_text())
        found = [Running(**entry) for entry in entries]
    except (OSError, ValueError, TypeError):
        return []
    return [lab for lab in found if alive(lab.pid) and Path(lab.control).exists()]


def announce(lab: Running) -> None:
    """Write a lab down; entries of those that are gone are dropped on the way."""
    with _locked():
        _write([*(other for other in labs() if other.pid != lab.pid), lab])


def withdraw(pid: int) -> None:
    """Take a lab off the list."""
    with _locked():
        _write([lab for lab in labs() if lab.pid != pid])


def alive(pid: int) -> bool:
    """Whether there is a process with this number."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


@contextlib.contextmanager
def _locked() -> Iterator[None]:
    path = registry()
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _write(found: list[Running]) -> None:
    path = registry()
    fresh = path.with_suffix(f".{os.getpid()}")
    fresh.write_text(json.dumps([asdict(lab) for lab in found]))
    fresh.replace(path)
