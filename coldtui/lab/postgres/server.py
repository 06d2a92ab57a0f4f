"""One PostgreSQL server: its data directory, its process, and what is done to it. Everything here blocks; call it from a thread."""

from __future__ import annotations

import contextlib
import ctypes
import os
import random
import shutil
import signal
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import psycopg

from coldtui.domain.errors import ColdError
from coldtui.lab.postgres.programs import Programs

HOST = "127.0.0.1"
START_S, STOP_S = 30.0, 60.0
SETTINGS = """\
listen_addresses = '{host}'
port = {port}
unix_socket_directories = ''
cluster_name = '{name}'
max_connections = 200
shared_buffers = 16MB
dynamic_shared_memory_type = mmap
fsync = off
wal_level = replica
wal_log_hints = on
hot_standby = on
max_wal_senders = 12
max_replication_slots = 16
wal_keep_size = 128MB
max_wal_size = 256MB
wal_sender_timeout = 5s
wal_receiver_timeout = 5s
wal_receiver_status_interval = 1s
wal_retrieve_retry_interval = 200ms
archive_mode = {mode}
archive_timeout = 5min
archive_command = '{archive}'
restore_command = '{restore}'
recovery_target_timeline = latest
track_io_timing = on
log_line_prefix = '%m [%p] '
logging_collector = off
"""
"""fsync is off: the folder does not outlive the lab, and a killed process loses nothing that it wrote."""
ARCHIVE_FAILS = "failing"
"""A file of this name in the archive makes archiving fail; with ``-NAME`` only that of one server."""

ARCHIVE_CLOSED = "closed"
"""A file of this name with ``-NAME`` in the archive keeps that server from restoring anything."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a server has its data and listens."""

    data: Path
    logs: Path
    """The folder of its log."""
    port: int
    archive: Path | None = None
    """Where its WAL is archived; None: nowhere."""

    @classmethod
    def free(cls, data: Path, logs: Path, archive: Path | None = None) -> Self:
        """At a port that is free now."""
        return cls(data, logs, _free_port(), archive)


_PORTS = range(15_000, 30_000)
"""Below those from which the kernel takes ports for outgoing connections: a server that is started again later finds its own still free."""
_given: set[int] = set()


def _free_port() -> int:
    for port in random.sample(_PORTS, 500):
        if port in _given:
            continue
        with socket.socket() as line:
            try:
                line.bind((HOST, port))
            except OSError:
                continue
        _given.add(port)
        return port
    raise ColdError(f"no port between {_PORTS.start} and {_PORTS.stop} is free", hint="end other labs")


class Server:
    """One instance. Methods raise ColdError."""

    def __init__(self, name: str, place: Place, programs: Programs, password: str) -> None:
        self.name, self.place, self.programs = name, place, programs
        self._password = password
        """Of the superuser."""
        self.process: subprocess.Popen[bytes] | None = None
        self.dirty = False
        """The last process was killed."""
        self._frozen: list[int] = []

    # --- ways in

    @property
    def port(self) -> int:
        return self.place.port

    @property
    def data(self) -> Path:
        return self.place.data

    @property
    def log(self) -> Path:
        return self.place.logs / f"{self.name}.log"

    def dsn(
        self, database: str = "postgres", user: str = "postgres", password: str | None = None, application: str = "instance-manager"
    ) -> str:
        """For libpq. Holds the password: never print it."""
        return (
            f"host={HOST} port={self.port} dbname={database} user={user} password={self._password if password is None else password}"
            f" application_name={application} connect_timeout=2"
        )

    def connect(self, database: str = "postgres") -> psycopg.Connection[tuple[object, ...]]:
        """As the superuser, autocommit. Raises psycopg.Error."""
        return psycopg.connect(self.dsn(database), autocommit=True)

    # --- files

    def configure(self) -> None:
        """Write our settings and who may log in: a copy of another server's directory is then its own."""
        archive = self.place.archive
        gate = f"test ! -e {archive}/{ARCHIVE_FAILS} && test ! -e {archive}/{ARCHIVE_FAILS}-{self.name}"
        archiving = f"{gate} && cp %p {archive}/.%f.new && mv {archive}/.%f.new {archive}/%f" if archive else "true"
        restoring = (
            f"test ! -e {archive}/{ARCHIVE_CLOSED}-{self.name} && test -e {archive}/%f && cp {archive}/%f %p" if archive else "false"
        )
        self._write(
            "lab.conf",
            SETTINGS.format(
                host=HOST, port=self.port, name=self.name, mode="on" if archive else "off", archive=archiving, restore=restoring
            ),
        )
        self._write("pg_hba.conf", f"host all all {HOST}/32 scram-sha-256\nhost replication streaming_replica {HOST}/32 scram-sha-256\n")
        main = self.data / "postgresql.conf"
        text = main.read_text()
        if "include 'lab.conf'" not in text:
            main.write_text(text + "\ninclude 'lab.conf'\ninclude_if_exists 'lab-standby.conf'\n")

    def follow(self, port: int, password: str, slot: str) -> bool:
        """Be a standby of the server at ``port`` from the next start or reload on; returns whether that is news."""
        said = (
            f"primary_conninfo = 'host={HOST} port={port} user=streaming_replica password={password} application_name={self.name}'\n"
            f"primary_slot_name = '{slot}'\n"
        )
        file, mark = self.data / "lab-standby.conf", self.data / "standby.signal"
        if mark.exists() and file.exists() and file.read_text() == said:
            return False
        self._write("lab-standby.conf", said)
        self._write("standby.signal", "")
        return True

    @property
    def is_standby(self) -> bool:
        """Whether it starts, or has started, as a standby; promotion takes the mark away."""
        return (self.data / "standby.signal").exists()

    def _write(self, name: str, text: str) -> None:
        path = self.data / name
        new = self.data / f"{name}.new"
        new.touch(mode=0o600)
        new.write_text(text)
        self.programs.own(new)
        new.replace(path)

    # --- process

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def start(self, deadline_s: float = START_S) -> None:
        """Run, and wait until it answers."""
        if self.running:
            return
        self._reap()
        (self.data / "postmaster.pid").unlink(missing_ok=True)  # of a killed one: its pid may be somebody else's by now
        self.process = self.programs.spawn("postgres", "-D", str(self.data), log=self.log)
        self.dirty = False
        until = time.monotonic() + deadline_s
        while True:
            try:
                self.connect().close()
                return
            except psycopg.OperationalError as error:
                if not self.running:
                    raise ColdError(f"{self.name} does not start", detail=self.last_words()) from error
                if time.monotonic() > until:
                    raise ColdError(f"{self.name} does not answer within {deadline_s:.0f} s", detail=self.last_words()) from error
            time.sleep(0.02)

    def last_words(self) -> str:
        try:
            return " | ".join(self.log.read_text(errors="replace").strip().splitlines()[-3:])
        except OSError:
            return ""

    def stop(self, *, immediate: bool = False, deadline_s: float = STOP_S) -> None:
        """Fast shutdown (with a checkpoint), or an immediate one; killed when it takes too long. Harmless when it does not run."""
        process = self.process
        if process is None or process.poll() is not None:
            self._reap()
            return
        self.thaw()
        process.send_signal(signal.SIGQUIT if immediate else signal.SIGINT)
        try:
            process.wait(deadline_s)
        except subprocess.TimeoutExpired:
            self.kill()
        self._reap()

    def kill(self) -> None:
        """SIGKILL to it and to all its backends, as when the power goes."""
        process = self.process
        if process is None or process.poll() is not None:
            self._reap()
            return
        process.send_signal(signal.SIGSTOP)  # no new backends
        for pid in self.children():
            self._signal(pid, signal.SIGKILL)
        process.kill()
        process.wait()
        self.thaw()
        self.dirty = True
        self._reap()

    def freeze(self) -> None:
        """SIGSTOP to it and to all its backends: it holds its connections and takes new ones, and answers nobody."""
        if self.process is None or not self.running:
            raise ColdError(f"{self.name} does not run")
        self.process.send_signal(signal.SIGSTOP)
        for pid in self.children():
            self.programs.watch(pid)  # they do not notice when their postmaster dies
            self._signal(pid, signal.SIGSTOP)
            self._frozen.append(pid)

    def thaw(self) -> None:
        """Let it go on. Harmless when it was not frozen."""
        frozen, self._frozen = self._frozen, []
        for pid in frozen:
            self._signal(pid, signal.SIGCONT)
            self.programs.unwatch(pid)
        if frozen and self.process is not None and self.running:
            self.process.send_signal(signal.SIGCONT)

    @staticmethod
    def _signal(pid: int, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)

    def children(self) -> list[int]:
        """Its backends and helpers, where the kernel tells."""
        pid = self.process.pid if self.process is not None else 0
        try:
            return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        except OSError:
            return []

    def _reap(self) -> None:
        if self.process is not None and self.process.poll() is not None:
            self.programs.unwatch(self.process.pid)
            self.dirty = self.dirty or self.process.returncode < 0
            self.process = None

    def close(self) -> None:
        """Stop for good, leaving nothing in the kernel."""
        self.stop(deadline_s=10.0)
        if self.dirty:
            self._free_memory()

    def _free_memory(self) -> None:
        """The small System V segment that guards a data directory; a killed server leaves it."""
        try:
            words = (self.data / "postmaster.pid").read_text().splitlines()[6].split()
            ctypes.CDLL(None).shmctl(int(words[1]), 0, None)  # 0: IPC_RMID
        except (OSError, IndexError, ValueError, AttributeError):
            return  # nothing to free, or not here: the segment is of 56 bytes

    # --- acts

    def sql(self, statement: str, database: str = "postgres") -> list[tuple[object, ...]]:
        """One statement as the superuser; its rows, if it has any."""
        try:
            with self.connect(database) as connection:
                cursor = connection.execute(statement.encode())
                return cursor.fetchall() if cursor.description else []
        except psycopg.Error as error:
            raise ColdError(f"{self.name}: {statement.split()[0]} failed", detail=str(error)) from error

    def wait_for(self, standbys: str) -> None:
        """Set ``synchronous_standby_names``."""
        if self.sql("SHOW synchronous_standby_names") != [(standbys,)]:
            self.sql(f"ALTER SYSTEM SET synchronous_standby_names = '{standbys}'")
            self.reload()

    def checkpoint(self) -> None:
        """Write out what is in memory; a server that does not answer is none the worse for it."""
        with contextlib.suppress(ColdError):
            self.sql("CHECKPOINT")

    def reload(self) -> None:
        if self.running and self.process is not None:
            self.process.send_signal(signal.SIGHUP)

    def promote(self, deadline_s: float = 60.0) -> None:
        """End recovery and wait for it."""
        if self.sql(f"SELECT pg_promote(true, {deadline_s:.0f})") != [(True,)]:
            raise ColdError(f"{self.name} was not promoted within {deadline_s:.0f} s", detail=self.last_words())

    def rewind(self, source: Self, passfile: Path) -> str:
        """Undo what this stopped server has and ``source`` has not; configuration files come along and are written anew."""
        out = self.programs.run(
            "pg_rewind", "-D", str(self.data), f"--source-server=host={HOST} port={source.port} user=postgres dbname=postgres", "--no-sync", passfile=passfile
        )  # fmt: skip
        self.configure()
        return out

    def clone(self, source: Self, passfile: Path) -> None:
        """Take a base backup of another server in place of what is there."""
        if self.data.exists():
            self.erase()
        self.data.mkdir(mode=0o700)
        self.programs.own(self.data)
        self.programs.run(
            "pg_basebackup", "-D", str(self.data), "-d", f"host={HOST} port={source.port} user=streaming_replica application_name={self.name}-join",
            "-X", "stream", "-c", "fast", "--no-sync", passfile=passfile,
        )  # fmt: skip
        self.configure()

    def erase(self) -> None:
        """Remove its data."""
        self.stop(immediate=True, deadline_s=5.0)
        shutil.rmtree(self.data)
