"""The three servers of the lab: begun from the template, replicating, stopped together. Everything here blocks; call it from a thread.

For tests and fixtures too: ``with running(tmp_path) as servers: servers["postgres-2"].dsn()``.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from coldtui.lab.postgres.programs import Programs
from coldtui.lab.postgres.server import ARCHIVE_CLOSED, ARCHIVE_FAILS, Place, Server
from coldtui.lab.postgres.template import Passwords, Template, template
from coldtui.lab.seeds.postgres import INSTANCES


def slot(name: str) -> str:
    """The replication slot of an instance, as CloudNativePG names it."""
    return "_cnpg_" + name.replace("-", "_")


@dataclass(slots=True)
class Servers(Mapping[str, Server]):
    """By instance name."""

    folder: Path
    """Files for clients: passwords."""
    work: Path
    """Data directories, logs, archive."""
    programs: Programs
    passwords: Passwords
    by_name: dict[str, Server]
    filled: bool = False
    """The data directories are there."""

    def __getitem__(self, name: str) -> Server:
        return self.by_name[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.by_name)

    def __len__(self) -> int:
        return len(self.by_name)

    @classmethod
    def prepare(cls, folder: Path, programs: Programs | None = None, names: Sequence[str] = INSTANCES) -> Servers:
        """Ports and passwords for all of them; the data comes with `fill`, and nothing runs yet. Raises ColdError."""
        programs = programs or Programs()
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        # Another user, who runs them when we are root, cannot pass through our own closed folders.
        work = Path(tempfile.mkdtemp(prefix="coldtui-postgres-")) if programs.user is not None else folder
        work.chmod(0o711)
        try:
            return cls._plan(folder, work, programs, names)
        except BaseException:
            if work != folder:
                shutil.rmtree(work, ignore_errors=True)
            raise

    @classmethod
    def _plan(cls, folder: Path, work: Path, programs: Programs, names: Sequence[str]) -> Servers:
        archive = work / "archive"
        with template(programs) as source:
            passwords = source.passwords()
            made = {n: Server(n, Place.free(work / n, work, archive), programs, passwords.postgres) for n in names}
            servers = cls(folder, work, programs, passwords, made)
            servers._write_passwords()
            if source.passing:
                servers.fill(source)
        return servers

    def fill(self, source: Template | None = None) -> None:
        """Make the data directories: copies of the template, the first a primary. Harmless when they are there."""
        if self.filled:
            return
        if source is None:
            with template(self.programs) as kept:
                self.fill(kept)
            return
        archive = self.work / "archive"
        shutil.rmtree(archive, ignore_errors=True)
        archive.mkdir()
        self.programs.own(archive)
        with ThreadPoolExecutor(len(self)) as pool:
            for done in [pool.submit(_copy, source, server) for server in self.by_name.values()]:
                done.result()
        first = next(iter(self.by_name.values()))
        for name, server in self.by_name.items():
            server.configure()
            if server is not first:
                server.follow(first.port, self.passwords.streaming_replica, slot(name))
        self.filled = True

    def _write_passwords(self) -> None:
        for path, text in ((self.passfile, self.passwords.passfile()), (self.password_file, self.passwords.coldtui + "\n"), (self.inner_passfile, self.passwords.passfile())):  # fmt: skip
            path.unlink(missing_ok=True)
            path.touch(mode=0o600)
            path.write_text(text)
        self.programs.own(self.inner_passfile)

    @property
    def passfile(self) -> Path:
        """For libpq (PGPASSFILE): all four roles."""
        return self.folder / "pgpass"

    @property
    def password_file(self) -> Path:
        """The password of role coldtui, alone."""
        return self.folder / "coldtui.password"

    @property
    def inner_passfile(self) -> Path:
        """The passwords once more, for programs that run as the servers' user."""
        return self.work / "inner-pgpass"

    def fail_archiving(self, fail: bool, name: str = "") -> None:
        """Let the archive refuse every segment (of one server), or take them again."""
        mark = self.work / "archive" / (f"{ARCHIVE_FAILS}-{name}" if name else ARCHIVE_FAILS)
        mark.touch() if fail else mark.unlink(missing_ok=True)

    def close_archive(self, closed: bool, name: str) -> None:
        """Let one server restore nothing from the archive, or let it again."""
        mark = self.work / "archive" / f"{ARCHIVE_CLOSED}-{name}"
        mark.touch() if closed else mark.unlink(missing_ok=True)

    def start(self) -> None:
        """Fill; primary first, with the slots of the others; then the standbys at once. Raises ColdError."""
        self.fill()
        first, *others = self.by_name.values()
        first.start()
        for other in others:
            first.sql(f"SELECT pg_create_physical_replication_slot('{slot(other.name)}', true)")
        if others:
            with ThreadPoolExecutor(len(others)) as pool:
                for done in [pool.submit(other.start) for other in others]:
                    done.result()

    def close(self) -> None:
        """Stop everything, in parallel, and remove what lies outside of our folder."""
        with ThreadPoolExecutor(len(self)) as pool:
            list(pool.map(Server.close, self.by_name.values()))
        if self.work != self.folder:
            shutil.rmtree(self.work, ignore_errors=True)


def _copy(source: Template, server: Server) -> None:
    if server.data.exists():
        shutil.rmtree(server.data)
    source.copy(server.programs, server.data)


@contextmanager
def running(folder: Path, programs: Programs | None = None, names: Sequence[str] = INSTANCES) -> Iterator[Servers]:
    """Servers that replicate while the context lasts. Raises ColdError."""
    servers = Servers.prepare(folder, programs, names)
    try:
        servers.start()
        yield servers
    finally:
        servers.close()
