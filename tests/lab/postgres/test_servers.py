"""The servers by themselves, as fixtures of other rooms use them."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from coldtui.domain.errors import ColdError
from coldtui.lab.postgres.programs import Programs
from coldtui.lab.postgres.servers import running
from coldtui.lab.seeds.postgres import SYSTEM_ID

DEBIAN = Path("/usr/lib/postgresql/15/bin")
pytestmark = pytest.mark.timeout(120)


def programs(folder: Path | None) -> Programs:
    if folder is not None and not folder.is_dir():
        pytest.skip(f"Debian's PostgreSQL 15 is not installed ({folder})")
    try:
        return Programs(folder) if folder is not None else Programs()
    except ColdError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("folder", [None, DEBIAN], ids=["wheel", "debian-15"])
def test_three_that_replicate(folder: Path | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fresh template and a kept one give the seeded system ID, timeline 7 and two standbys that stream; passwords are the owner's alone."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("fresh", "kept"):
        with running(tmp_path / name, programs(folder)) as servers:
            primary = servers["postgres-1"]
            row = primary.sql(
                "SELECT substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8), system_identifier::text FROM pg_control_system()"
            )
            assert row == [("00000007", SYSTEM_ID)]
            assert primary.sql("SELECT count(*) FROM orders", "app") == [(20000,)]
            assert servers["postgres-3"].sql("SELECT pg_is_in_recovery()") == [(True,)]
            assert primary.sql("SELECT slot_name FROM pg_replication_slots ORDER BY 1") == [("_cnpg_postgres_2",), ("_cnpg_postgres_3",)]
            for file in (servers.passfile, servers.password_file):
                assert stat.S_IMODE(file.stat().st_mode) == 0o600
            work = servers.work
        assert not any(server.running for server in servers.values())
        assert work == tmp_path / name or not work.exists()
    kept = list((tmp_path / "cache" / "coldtui" / "lab-postgres").iterdir())
    assert [path.name.split(".")[0] for path in kept] == ["15" if folder else "18"]
    assert kept[0].parent.stat().st_mode & 0o077 == 0


def test_a_cache_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The servers run all the same, from a template that is made for them alone."""
    blocked = tmp_path / "cache"
    blocked.write_text("a file, no folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(blocked))
    with running(tmp_path / "site", programs(None), ("postgres-1",)) as servers:
        assert servers["postgres-1"].sql("SELECT 1") == [(1,)]
    assert os.listdir(tmp_path) != []


def test_a_server_that_cannot_start_says_why(tmp_path: Path) -> None:
    """The error has the last words of its log."""
    with running(tmp_path / "site", programs(None), ("postgres-1",)) as servers:
        server = servers["postgres-1"]
        server.stop()
        with (server.data / "postgresql.conf").open("a") as file:
            file.write("max_connections = many\n")
        with pytest.raises(ColdError) as refused:
            server.start()
        assert "max_connections" in str(refused.value)
