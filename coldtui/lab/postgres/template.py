"""A data directory that every instance begins as a copy of, kept in the user's cache so that initdb is paid once.

Its system ID, timeline and WAL position are those that the seeded Cluster and its backups speak of: pg_resetwal writes a control file anew
around the ID that is put into it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import shutil
import struct
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import psycopg

from coldtui.domain.errors import ColdError
from coldtui.lab.postgres.programs import Programs, need_null_device
from coldtui.lab.postgres.server import Place, Server
from coldtui.lab.seeds.postgres import SYSTEM_ID, TIMELINE

FIRST_SEGMENT = 0x4B60
"""Of the WAL: just after the segments of the seeded backups."""
RECIPE = 2
"""Raise it when what is in the template changes."""
SETUP = (
    "CREATE ROLE streaming_replica LOGIN REPLICATION PASSWORD '{streaming_replica}'",
    "CREATE ROLE app LOGIN PASSWORD '{app}'",
    "CREATE ROLE coldtui LOGIN PASSWORD '{coldtui}'",
    "GRANT pg_monitor, pg_signal_backend TO coldtui",
    "CREATE DATABASE app OWNER app",
)
TABLES = (
    "CREATE TABLE customers (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL, since date NOT NULL)",
    "CREATE TABLE orders (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, customer bigint NOT NULL REFERENCES customers,"
    " placed timestamptz NOT NULL, cents integer NOT NULL, note text)",
    "INSERT INTO customers (name, since) SELECT 'customer ' || n, date '2024-01-01' + n FROM generate_series(1, 500) n",
    "INSERT INTO orders (customer, placed, cents, note) SELECT 1 + n % 500, timestamptz '2026-01-01' + n * interval '7 min', 100 + n % 9000,"
    " repeat('x', n % 60) FROM generate_series(1, 20000) n",
    "CREATE INDEX orders_customer ON orders (customer)",
)


@dataclass(frozen=True, slots=True)
class Passwords:
    """Of the four roles; drawn when the template is made."""

    postgres: str
    app: str
    coldtui: str
    streaming_replica: str

    @classmethod
    def draw(cls) -> Passwords:
        return cls(*(secrets.token_urlsafe(18) for _ in range(4)))

    def passfile(self) -> str:
        """The text of a libpq password file."""
        return "".join(f"127.0.0.1:*:*:{role}:{password}\n" for role, password in asdict(self).items())


@dataclass(frozen=True, slots=True)
class Template:
    """A folder with ``data`` and ``passwords.json``."""

    folder: Path
    passing: bool = False
    """It could not be kept, and is gone when the context ends."""

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def passwords(self) -> Passwords:
        return Passwords(**json.loads((self.folder / "passwords.json").read_text()))

    def copy(self, programs: Programs, target: Path) -> None:
        """A data directory of one's own."""
        shutil.copytree(self.data, target, symlinks=True)
        target.chmod(0o700)
        programs.own(target)


def cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "coldtui" / "lab-postgres"


@contextmanager
def template(programs: Programs) -> Iterator[Template]:
    """The template of this version, made if there is none; outside of the cache where that cannot be written. Raises ColdError."""
    recipe = repr((RECIPE, SETUP, TABLES, FIRST_SEGMENT, SYSTEM_ID, TIMELINE, str(programs.folder)))
    name = f"{programs.version()}-{hashlib.sha256(recipe.encode()).hexdigest()[:12]}"
    kept = cache() / name
    if (kept / "passwords.json").is_file():
        yield Template(kept)
        return
    with tempfile.TemporaryDirectory(prefix="coldtui-postgres-") as made:
        place = Path(made)
        place.chmod(0o711)
        build(programs, place)
        yield _keep(place, kept)


def _keep(made: Path, kept: Path) -> Template:
    """Put it into the cache; somebody else may have been faster, and a cache that cannot be written is no reason to fail."""
    try:
        kept.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryDirectory(prefix=".new-", dir=kept.parent) as near:
            copy = Path(near) / "it"
            shutil.copytree(made, copy, symlinks=True)
            (copy / "passwords.json").chmod(0o600)
            with contextlib.suppress(FileExistsError):
                copy.rename(kept)
    except OSError:
        return Template(made, passing=True)
    return Template(kept) if (kept / "passwords.json").is_file() else Template(made, passing=True)


def build(programs: Programs, folder: Path) -> None:
    """Make it in an empty folder. Raises ColdError."""
    programs.own(folder)
    passwords, data = Passwords.draw(), folder / "data"
    first = folder / "password"
    first.touch(mode=0o600)
    first.write_text(passwords.postgres + "\n")
    programs.own(first)
    need_null_device()
    programs.run(
        "initdb", "-D", str(data), "-U", "postgres", "-A", "scram-sha-256", f"--pwfile={first}", "-E", "UTF8", "--no-locale", "-N"
    )  # fmt: skip
    first.unlink()
    _rename(programs, data)
    server = Server("template", Place.free(data, folder), programs, passwords.postgres)
    server.configure()
    server.start()
    try:
        _fill(server, passwords)
    finally:
        server.stop()
    (folder / "template.log").unlink()
    made = folder / "passwords.json"
    made.touch(mode=0o600)
    made.write_text(json.dumps(asdict(passwords)))


def _rename(programs: Programs, data: Path) -> None:
    """Give it the system ID, timeline and WAL position of the seeded Cluster."""
    control = data / "global" / "pg_control"
    with control.open("r+b") as file:
        file.write(struct.pack("=Q", int(SYSTEM_ID)))
    segment = f"{TIMELINE:08X}{FIRST_SEGMENT >> 8:08X}{FIRST_SEGMENT & 255:08X}"
    programs.run("pg_resetwal", "-f", "-l", segment, "-D", str(data))  # -f: the checksum of the control file is wrong now; this mends it
    history = data / "pg_wal" / f"{TIMELINE:08X}.history"
    history.write_text(
        "".join(
            f"{n}\t{0x4A00 + n >> 8:X}/{(0x4A00 + n & 255) << 24 | 0x28:X}\tno recovery target specified\n\n" for n in range(1, TIMELINE)
        )
    )
    programs.own(history)


def _fill(server: Server, passwords: Passwords) -> None:
    try:
        with psycopg.connect(server.dsn("postgres"), autocommit=True) as connection:
            for statement in SETUP:
                connection.execute(statement.format(**asdict(passwords)).encode())
            if connection.info.server_version >= 170000:
                connection.execute("GRANT pg_maintain TO coldtui")
        with psycopg.connect(server.dsn("app"), autocommit=True) as connection:
            connection.execute("SET ROLE app")
            for statement in TABLES:
                connection.execute(statement.encode())
            connection.execute("RESET ROLE")
            connection.execute("VACUUM (FREEZE, ANALYZE)")
    except psycopg.Error as error:
        raise ColdError("the template of the database could not be filled", detail=str(error)) from error
