"""What an operator may do wrong with the database, and what may be wrong with it: one clear line, the right exit code, never a traceback."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.adapters.postgres.servers import DEBIAN, PASSWORD, Server, running
from tests.cli.means import Cli
from tests.cli.pgsite import Json, PgCli, closed_port, one_line, pg_cli
from tests.lab.postgres.conftest import Place, Site, real

__all__ = ["real"]


@pytest.fixture
def pg(real: Site, cli: Cli) -> PgCli:
    made = pg_cli(real, cli)
    made.play(_whole)
    return made


async def _whole(place: Place) -> None:
    """The site is whole when this is called."""


def primary_of(pg: PgCli) -> str:
    async def ask(place: Place) -> str:
        return str((await place.status())["currentPrimary"])

    return str(pg.play(ask))


def standby_of(pg: PgCli) -> str:
    return next(name for name in ("postgres-1", "postgres-2", "postgres-3") if name != primary_of(pg))


# ------------------------------------------------------------ names


@pytest.mark.parametrize(
    ("argv", "code", "words"),
    [
        (("postgres", "swichover"), 2, ("unknown verb", "did you mean switchover?")),
        (("postgres", "sesions"), 2, ("unknown verb", "did you mean sessions?")),
        (("postgres", "fial"), 2, ("unknown verb",)),
        (("postgres", "switchover"), 2, ("--to is missing", "write --to NAME")),
        (("postgres", "switchover", "--to"), 2, ("--to needs TEXT",)),
        (("postgres", "switchover", "--to", "postgres-9"), 1, ("no instance postgres-9", "fit to lead: ")),
        (("postgres", "switchover", "--to", "postgres-2", "--cluster", "database/none"), 1, ("database/none",)),
        (("postgres", "restart"), 2, ("needs INSTANCE",)),
        (("postgres", "restart", "postgres-9"), 1, ("no instance postgres-9",)),
        (("postgres", "fence", "postgres-9", "--yes", "postgres-9"), 1, ("no instance postgres-9",)),
        (("postgres", "cancel"), 2, ("needs PID",)),
        (("postgres", "cancel", "abc"), 2, ("pid must be a whole number", "'abc'")),
        (("postgres", "cancel", "-5"), 2, ("pid",)),
        (("postgres", "terminate", "999999"), 1, ("no session 999999",)),
        (("postgres", "terminate", "999999", "--started", "yesterday"), 2, ("started cannot be 'yesterday'", "backend_start")),
        (("postgres", "cancel", "1", "--instance", "postgres-9"), 1, ("no instance postgres-9",)),
        (("postgres", "maintenance", "vacum", "app"), 2, ("kind cannot be 'vacum'", "did you mean vacuum?")),
        (("postgres", "maintenance", "vacuum", "ap"), 1, ("ap",)),
        (("postgres", "sessions", "--sort", "colour"), 2, ("cannot be sorted by",)),
    ],
    ids=lambda x: " ".join(x) if isinstance(x, tuple) and x and x[0] == "postgres" else "",
)
def test_a_wrong_name_is_one_line(pg: PgCli, argv: tuple[str, ...], code: int, words: tuple[str, ...]) -> None:
    """Unknown verbs, instances, sessions, databases: what, where, and what it may have been meant to be."""
    one_line(pg(*argv), code, *words)


def test_a_switchover_to_the_primary_is_refused(pg: PgCli) -> None:
    """The target is primary already: refused, exit 3, nothing was done."""
    primary = primary_of(pg)
    one_line(pg("postgres", "switchover", "--to", primary, "--yes", primary, "--reason", "x"), 3, f"{primary} is the primary already")
    assert primary_of(pg) == primary


def test_a_fenced_target_is_refused(pg: PgCli) -> None:
    """The target is fenced: refused, exit 3, with what lifts the fence."""
    target = standby_of(pg)

    async def fence(place: Place) -> None:
        await place.annotate(fencedInstances=f'["{target}"]')

    async def unfence() -> None:
        await pg.place.annotate(fencedInstances=None)

    pg.play(fence)
    try:
        one_line(pg("postgres", "switchover", "--to", target, "--yes", target, "--reason", "x"), 3, f"{target} is fenced")
    finally:
        asyncio.run_coroutine_threadsafe(unfence(), pg.site.loop).result(20)


def test_a_reason_that_is_missing_is_asked_for(pg: PgCli) -> None:
    """In a script, where nobody can be asked: refused, exit 3, with the flag to add."""
    target = standby_of(pg)
    one_line(pg("postgres", "switchover", "--to", target, "--yes", target), 3, "needs a reason", "--reason")
    one_line(pg("postgres", "switchover", "--to", target, "--yes", target, "--reason", "  "), 3, "needs a reason", "--reason")


def test_a_wrong_word_confirms_nothing(pg: PgCli) -> None:
    """--yes with another name does nothing and names the right one."""
    target = standby_of(pg)
    one_line(pg("postgres", "switchover", "--to", target, "--yes", "yes", "--reason", "x"), 3, f"the word is {target}")


def test_a_session_of_another_beginning_is_not_touched(pg: PgCli) -> None:
    """pids come again: the one that began at another time is left alone, and it is said which there is."""
    with pg.place.database.servers[primary_of(pg)].connect() as session:
        pid = session.info.backend_pid
        other = (datetime.now(UTC) - timedelta(days=1)).isoformat()
        found = pg("postgres", "terminate", str(pid), "--started", other, "--yes", str(pid), "--reason", "x")
        assert found.code == 0
        assert f"no session {pid} began at {other}" in found.err
        assert "the one of this pid began at" in found.err
        assert session.execute("SELECT 1").fetchall() == [(1,)]


# ------------------------------------------------------------ the way in


def _every(pg: PgCli, address: str) -> Json:
    return pg.changed(instances=dict.fromkeys(pg.config["postgres"]["instances"], address))


def test_a_server_that_cannot_be_reached_is_named(pg: PgCli) -> None:
    """No port, no name, nobody there: exit 2 for what cannot be right, 4 for what does not answer; with the address and the remedy."""
    primary = primary_of(pg)
    one_line(pg("postgres", "sessions", config=pg.at(primary, "127.0.0.1:54x2")), 2, f"postgres.instances.{primary}", "config-", "[:port]")
    refused = pg.at(primary, f"127.0.0.1:{closed_port()}")
    one_line(pg("postgres", "sessions", config=refused), 4, primary, "connection refused")
    one_line(pg("postgres", "cancel", "1", config=refused), 4, "no primary answers over SQL", "connection refused", "postgres.instances")
    unknown = pg.at(primary, "db.nowhere.invalid:5432")
    one_line(pg("postgres", "sessions", config=unknown), 4, "db.nowhere.invalid", "failed to resolve host", "DNS")
    gone = _every(pg, f"127.0.0.1:{closed_port()}")
    found = pg("postgres", "status", config=gone)
    assert (found.code, found.err.count("\n")) == (0, 1), "the same trouble of all is one line"
    assert "SQL of postgres-1 (127.0.0.1:" in found.err
    assert "● healthy" in found.out


def test_a_login_that_is_refused_is_named(pg: PgCli) -> None:
    """Wrong password, no such database, no password file: exit 5, 4 or 2, with what to mend, for listings and acts alike."""
    (pg.cli.folder / "wrong").write_text("wrong\n")
    (pg.cli.folder / "wrong").chmod(0o600)
    wrong = pg.changed(password_file=str(pg.cli.folder / "wrong"))
    one_line(pg("postgres", "sessions", config=wrong), 5, "password authentication failed", "postgres.password_file")
    said = one_line(pg("postgres", "cancel", "1", config=wrong), 5, "password authentication failed", "postgres.password_file")
    assert said.count("password authentication failed") == 1
    missing = pg.changed(password_file="/nonexistent")
    one_line(pg("postgres", "sessions", config=missing), 2, "/nonexistent", "postgres.password_file")
    one_line(pg("postgres", "cancel", "1", config=missing), 2, "/nonexistent", "postgres.password_file")
    nobody = pg.changed(user="nobody-here")
    one_line(pg("postgres", "databases", config=nobody), 5, "nobody-here", "postgres.user")
    other = pg.changed(database="ap")
    one_line(pg("postgres", "locks", config=other), 2, 'database "ap" does not exist', "mend postgres.database")


def test_tls_that_the_server_does_not_have_is_named(pg: PgCli) -> None:
    """sslmode=require against servers without TLS: exit 4, with the setting."""
    config = pg.changed(sslmode="require")
    one_line(pg("postgres", "sessions", config=config), 4, "does not support SSL", "postgres.sslmode")
    one_line(pg("postgres", "cancel", "1", config=config), 4, "does not support SSL", "postgres.sslmode")


@pytest.mark.parametrize(
    ("settings", "code", "words"),
    [
        ({"passwort_file": "x"}, 2, ("unknown key postgres.passwort_file", "did you mean postgres.password_file?")),
        ({"instance": {}}, 2, ("unknown key postgres.instance", "did you mean postgres.instances?")),
        ({"sslmode": "requird"}, 2, ("postgres.sslmode cannot be 'requird'", "did you mean require?")),
        ({"instances": {"postgres-1": 5432}}, 2, ("postgres.instances.postgres-1",)),
        ({"instances": ["127.0.0.1:5432"]}, 2, ("postgres.instances",)),
        ({"cluster": 7}, 2, ("postgres.cluster",)),
    ],
    ids=["key", "singular", "choice", "number", "list", "cluster"],
)
def test_a_setting_that_is_misspelt_is_named(pg: PgCli, settings: Json, code: int, words: tuple[str, ...]) -> None:
    """A wrong key or value under `postgres:` is named with file and line, and what it may have been meant to be."""
    one_line(pg("postgres", "sessions", config=pg.changed(**settings)), code, *words)


# ------------------------------------------------------------ TLS


def _certificate(folder: Path, name: str) -> Path:
    """A certificate that signs itself, and its key beside it."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime.now(UTC) - timedelta(hours=1))
        .not_valid_after(datetime.now(UTC) + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    (folder / f"{name}.crt").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / f"{name}.key").write_bytes(pem)
    return folder / f"{name}.crt"


@pytest.fixture
def tls(tmp_path: Path) -> Iterator[tuple[Server, Path]]:
    """Debian's PostgreSQL with a certificate, and a folder with that and another."""
    if not DEBIAN.exists():
        pytest.skip("no PostgreSQL of Debian's")
    import tempfile

    with tempfile.TemporaryDirectory(prefix="coldtui-tls-") as root, running(DEBIAN, Path(root) / "server") as server:
        data = Path(root) / "server" / "d"
        _certificate(tmp_path, "server")
        _certificate(tmp_path, "other")
        for kind in ("crt", "key"):
            target = data / f"server.{kind}"
            target.write_bytes((tmp_path / f"server.{kind}").read_bytes())
            target.chmod(0o600)
            os.chown(target, data.stat().st_uid, -1)
        server.super("ALTER SYSTEM SET ssl = on")
        server.super("SELECT pg_reload_conf()")
        end = time.monotonic() + 10
        while server.super("SHOW ssl") != [("on",)]:
            assert time.monotonic() < end
        yield server, tmp_path


def test_a_certificate_of_another_authority_is_named(tls: tuple[Server, Path], pg: PgCli) -> None:
    """sslmode=verify-full with a wrong CA, none, or another host name: exit 4 (2 without a file), with the setting; with the right one it works."""
    server, folder = tls
    (folder / "pw").write_text(PASSWORD + "\n")
    (folder / "pw").chmod(0o600)

    def listed(ca: str, host: str = "localhost") -> Json:
        return pg.without_api(
            pg.changed(
                sslmode="verify-full",
                sslrootcert=str(folder / ca),
                instances={"postgres-1": f"{host}:{server.port}"},
                password_file=str(folder / "pw"),
                database="postgres",
            )
        )

    one_line(pg("postgres", "sessions", config=listed("other.crt")), 4, "certificate verify failed", "postgres.sslrootcert")
    one_line(pg("postgres", "sessions", config=listed("none.crt")), 2, "root certificate file", "postgres.sslrootcert")
    one_line(pg("postgres", "sessions", config=listed("server.crt", "127.0.0.1")), 4, "does not match host name", "postgres.instances")
    assert pg("postgres", "databases", config=listed("server.crt")).code == 0


# ------------------------------------------------------------ gone in the middle


def test_a_database_that_goes_in_the_middle_ends_the_run(pg: PgCli) -> None:
    """The server is killed while a run waits for a lock: the run fails, exit 1, and names the instance; it does not wait for ever."""
    primary = primary_of(pg)
    server = pg.place.database.servers[primary]
    pg.place.sql(primary, "CREATE TABLE IF NOT EXISTS held (n int)", "app")

    def kill_when_it_waits() -> None:
        waits = "SELECT 1 FROM pg_locks WHERE relation = 'held'::regclass AND NOT granted"
        holder = server.connect("app")
        holder.autocommit = False
        holder.execute("LOCK TABLE held IN SHARE UPDATE EXCLUSIVE MODE")
        ready.set()
        end = time.monotonic() + 30
        while time.monotonic() < end and not pg.place.sql(primary, waits, "app"):
            time.sleep(0.05)  # a condition of the server's, which tells nobody
        server.kill()  # with its backends: the holder's would end first, and the vacuum have its lock
        holder.close()

    ready = threading.Event()
    killer = threading.Thread(target=kill_when_it_waits)
    killer.start()
    assert ready.wait(10)
    found = pg("postgres", "maintenance", "vacuum", "app", "--table", "public.held", "--yes", "app", "--reason", "test")
    killer.join(40)
    assert found.code == 1, found.err
    assert primary in found.err
    assert "fault of this program" not in found.err
    assert "Traceback" not in found.err + found.out
