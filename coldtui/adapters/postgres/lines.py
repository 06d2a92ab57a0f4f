"""Connections: one kept for each target, used by one caller at a time, given up when it hangs."""

from __future__ import annotations

import asyncio
import ipaddress
import os
import socket
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg.adapt import Buffer, Loader
from psycopg.rows import dict_row

from ...config.settings import PostgresSection
from ...domain.errors import Misconfigured, NotFound, StepFailed
from ...domain.secret import Secret
from ...domain.text import plain
from ...domain.troubles import LineTrouble
from .failures import UNREADABLE, translate

CONNECT_S = 2.0
APPLICATION = "coldtui"
Connection = psycopg.AsyncConnection[dict[str, Any]]
_DEFAULTS = ("-c datestyle=ISO", "-c timezone=UTC", "-c lock_timeout=0")
"""Whatever the server or the login has as its own: moments are read in one form only."""


class _Lenient(Loader):
    """Text of any encoding: the query of another database's session comes as it was sent, and must not hide all the others."""

    def load(self, data: Buffer) -> str:
        return bytes(data).decode("utf-8", "replace")


@dataclass
class Place:
    """A target's address and its kept connection."""

    host: str
    port: int
    fixed: bool
    """Told by the configuration: a pod's address does not replace it."""
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    kept: Connection | None = None
    limit_s: float = 0.0
    """statement_timeout of the kept connection."""
    reached: str = ""
    """The address that answered last, of a name that has several."""

    @property
    def where(self) -> str:
        return f"{self.host}:{self.port}"


class Lines:
    """How the servers are reached."""

    def __init__(self, section: PostgresSection, secrets: Mapping[str, Secret], environ: Mapping[str, str] = os.environ) -> None:
        self.section, self._secrets, self._environ = section, secrets, environ
        self.places: dict[str, Place] = {}
        self.mistakes: dict[str, tuple[str, str, str]] = {}
        """Title, detail, hint, of targets whose address in the configuration is none."""
        self._left: list[Place] = []

    def put(self, target: str, host: str, port: int, *, fixed: bool) -> None:
        if target in self.mistakes:
            return
        known = self.places.get(target)
        if known is None:
            self.places[target] = Place(host, port, fixed)
        elif (known.host, known.port) != (host, port) and (fixed or not known.fixed):
            self.places[target] = Place(host, port, fixed)
            self._left.append(known)

    async def _let_go(self) -> None:
        """End the connections to where targets were before. One that is in use is left to who uses it: libpq does not survive the end of a
        connection under a query."""
        for place in [place for place in self._left if not place.lock.locked()]:
            self._left.remove(place)
            await self._drop(place)

    def place(self, target: str) -> Place:
        if mistake := self.mistakes.get(target):
            title, detail, hint = mistake
            raise Misconfigured(title, detail=detail, hint=hint)
        found = self.places.get(target)
        if found is None:
            raise NotFound(f"no address of {plain(target)} is known", hint=f"set postgres.instances.{plain(target)}: host:port")
        return found

    def _password(self) -> str | None:
        """None: libpq looks into the password file itself."""
        if (given := self._secrets.get("postgres")) is not None:
            return given.reveal()
        if given_env := self._environ.get("COLDTUI_POSTGRES_PASSWORD"):
            return given_env
        if not self.section.password_file:
            return None
        try:
            with open(self.section.password_file, encoding="utf-8") as file:
                return file.readline().rstrip("\n")
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "not UTF-8"
            raise Misconfigured(
                "the database's password file cannot be read",
                detail=f"{plain(self.section.password_file)}: {reason.lower()}",
                hint="mend postgres.password_file",
            ) from None

    async def open(
        self, target: str, *, read_only: bool, database: str = "", deadline_s: float = CONNECT_S, statement_s: float = 0.0
    ) -> Connection:
        """A new connection, autocommit. Raises Unreachable, Unauthorized, NotFound, Misconfigured."""
        place, within_s = self.place(target), min(deadline_s, CONNECT_S)
        options = [f"-c statement_timeout={int(statement_s * 1000)}", *_DEFAULTS]
        if read_only:
            options.append("-c default_transaction_read_only=on")
        password = self._password()
        try:
            async with asyncio.timeout(within_s):
                made = await self._first(place, password, database, " ".join(options), within_s)
                for kind in ("text", "varchar", "bpchar", "name"):
                    made.adapters.register_loader(kind, _Lenient)
                if made.info.parameter_status("server_encoding") == "SQL_ASCII":  # it keeps any bytes, and refuses to send them as UTF-8
                    await made.execute("SET client_encoding TO 'SQL_ASCII'")
        except TimeoutError:
            raise LineTrouble(f"{target} ({place.where}) did not answer within {within_s:.0f} s", kind="timeout") from None
        except (psycopg.Error, OSError, UnicodeError) as error:
            found = translate(error, target, place.where, self.section.user)
            if isinstance(found, NotFound) and not database:
                raise Misconfigured(found.title, hint="mend postgres.database") from None
            raise found from None
        made.prepare_threshold = None
        return made

    async def _first(self, place: Place, password: str | None, database: str, options: str, within_s: float) -> Connection:
        """To the first address of the name that lets us in: the one that did so last before the others. They share the time, so that a dead one
        leaves some to the next."""
        addresses = await _addresses(place.host, place.port)
        addresses.sort(key=lambda address: address != place.reached)
        end = asyncio.get_running_loop().time() + within_s
        while True:
            address, *addresses = addresses
            share = (end - asyncio.get_running_loop().time()) / (len(addresses) + 1)
            try:
                made = await asyncio.wait_for(self._connect(place, address, password, database, options), share if addresses else None)
                place.reached = address
                return made
            except (psycopg.OperationalError, TimeoutError):
                if not addresses:
                    raise

    async def _connect(self, place: Place, address: str, password: str | None, database: str, options: str) -> Connection:
        section = self.section
        return await psycopg.AsyncConnection.connect(
            host=place.host,
            hostaddr=address,  # said always: else libpq takes it from the environment
            port=place.port,
            user=section.user,
            dbname=database or section.database,
            password=password,
            passfile=self._environ.get("PGPASSFILE"),
            sslmode=section.sslmode,
            sslrootcert=section.sslrootcert or None,
            target_session_attrs="any",
            client_encoding="utf8",
            connect_timeout=2,
            application_name=APPLICATION,
            options=options,
            keepalives_idle=5,
            keepalives_interval=3,
            keepalives_count=3,
            tcp_user_timeout=10_000,
            autocommit=True,
            row_factory=dict_row,
        )

    async def ask(self, target: str, work: Callable[[Connection], Any], deadline_s: float) -> Any:
        """`work` on the kept connection of a target. A kept one that turns out dead is replaced once."""
        await self._let_go()
        place = self.place(target)
        try:
            async with asyncio.timeout(deadline_s), place.lock:
                try:
                    return await self._use(place, target, work, deadline_s)
                except asyncio.CancelledError:
                    await self._drop(place)  # what was under way would be the answer to the next question
                    raise
        except TimeoutError:
            raise LineTrouble(f"{target} ({place.where}) did not answer within {deadline_s:.0f} s", kind="timeout") from None

    async def _use(self, place: Place, target: str, work: Callable[[Connection], Any], deadline_s: float) -> Any:
        """By whoever holds the lock of the place."""
        for attempt in (1, 2):
            fresh = place.kept is None or place.kept.closed
            if fresh:
                place.kept, place.limit_s = (
                    await self.open(target, read_only=True, deadline_s=deadline_s, statement_s=deadline_s),
                    deadline_s,
                )
            assert place.kept is not None
            try:
                if place.limit_s != deadline_s:
                    await place.kept.execute(f"SET statement_timeout = {int(deadline_s * 1000)}".encode())
                    place.limit_s = deadline_s
                return await work(place.kept)
            except psycopg.OperationalError as error:
                dead = place.kept is None or place.kept.closed or place.kept.broken
                await self._drop(place)
                if fresh or attempt == 2 or not dead:
                    raise translate(error, target, place.where, self.section.user) from None
            except UNREADABLE as error:
                raise translate(error, target, place.where, self.section.user) from None
        raise AssertionError("unreachable")

    @staticmethod
    async def _drop(place: Place) -> None:
        if place.kept is not None:
            place.kept.pgconn.finish()  # without a goodbye: it may hang
            place.kept = None

    @asynccontextmanager
    async def own(
        self, target: str, *, read_only: bool, database: str = "", deadline_s: float = 5.0, statement_s: float = 0.0
    ) -> AsyncIterator[Connection]:
        """A connection for one use. Errors of psycopg inside become ours."""
        made = await self.open(target, read_only=read_only, database=database, deadline_s=deadline_s, statement_s=statement_s)
        try:
            yield made
        except UNREADABLE as error:
            raise translate(error, target, self.place(target).where, self.section.user) from None
        finally:
            made.pgconn.finish()

    async def aclose(self) -> None:
        for place in (*self.places.values(), *self._left):
            if not place.lock.locked():
                await self._drop(place)


async def _addresses(host: str, port: int) -> list[str]:
    """Of a name, in the system's order. Raises OSError."""
    try:
        return [str(ipaddress.ip_address(host))]
    except ValueError:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        return list(dict.fromkeys(str(address[0]) for *_, address in found))


async def all_of(connection: Connection, statement: str, values: Sequence[Any] = ()) -> list[dict[str, Any]]:
    cursor = await connection.execute(statement.encode(), tuple(values) or None)
    return await cursor.fetchall()


async def one_of(connection: Connection, statement: str) -> dict[str, Any]:
    rows = await all_of(connection, statement)
    if not rows:
        raise StepFailed("the server answered with nothing", detail=statement[:80])
    return rows[0]
