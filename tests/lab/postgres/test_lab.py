"""A whole lab with servers, as the command line starts it: what it tells, that it can be used, and that nothing is left of it."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

import psutil
import psycopg
import pytest

from coldtui.config.load import load
from coldtui.lab import demo
from coldtui.lab.demo import DemoOptions

pytestmark = pytest.mark.timeout(120)


def connected(lab: demo.DemoLab, seconds: float = 30.0) -> tuple[object, ...]:
    """One row through the VIP, as soon as a server is there."""
    until = time.monotonic() + seconds
    while True:
        try:
            with psycopg.connect(lab.ready["postgres_dsn"], passfile=lab.ready["postgres_passfile"], connect_timeout=2) as connection:
                row = connection.execute("SELECT current_user, current_database(), pg_is_in_recovery()").fetchone()
                assert row is not None
                return row
        except psycopg.OperationalError:
            if time.monotonic() > until:
                raise
            time.sleep(0.1)


def servers(lab: demo.DemoLab) -> list[psutil.Process]:
    """Everything that the lab has started."""
    return psutil.Process(lab.pid).children(recursive=True)


def data(processes: list[psutil.Process]) -> set[Path]:
    """Data directories of the servers among them. A process of a server may have ended meanwhile."""
    found = set()
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            line = process.cmdline()
            if line[1:2] == ["-D"]:
                found.add(Path(line[-1]))
    return found


def gone(processes: list[psutil.Process], seconds: float = 10.0) -> bool:
    return not psutil.wait_procs(processes, seconds)[1]


def test_its_settings_lead_to_the_servers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The configuration is one that the console takes; the VIP answers to its user; after the stop no process, no data and no shared memory is left."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "runtime"))
    before = set(Path("/proc/sysvipc/shm").read_text().splitlines()[1:])
    with demo.start(DemoOptions(dir=tmp_path / "site", still=True, postgres=True)) as lab:
        config = load({}, {}, config_flag=str(lab.config))
        assert (config.postgres.user, config.postgres.database) == ("coldtui", "app")
        assert sorted(config.postgres.instances) == ["postgres-1", "postgres-2", "postgres-3"]
        assert lab.ready["postgres_dsn"].split()[1] == f"port={config.vip.probe.partition(':')[2]}"
        assert os.stat(config.postgres.password_file).st_mode & 0o777 == 0o600
        assert connected(lab) == ("coldtui", "app", False)
        password = Path(config.postgres.password_file).read_text().splitlines()[0]
        for place in config.postgres.instances.values():
            host, _, port = place.partition(":")
            with psycopg.connect(host=host, port=port, user="coldtui", dbname="app", password=password, connect_timeout=5) as connection:
                assert connection.execute(
                    "SELECT pg_has_role('pg_monitor', 'member'), pg_has_role('pg_maintain', 'member')"
                ).fetchone() == (True, True)
        processes = servers(lab)
        folders = data(processes)
        assert len(folders) == 3
        began = time.monotonic()
    assert time.monotonic() - began < 10
    assert gone(processes)
    assert not any(folder.exists() for folder in folders) or os.geteuid() != 0
    mine = {str(p.pid) for p in processes}
    assert not [line for line in set(Path("/proc/sysvipc/shm").read_text().splitlines()[1:]) - before if line.split()[4] in mine]


def test_a_killed_lab_leaves_no_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """kill -9 of the lab: its keeper ends the servers and removes their data."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "runtime"))
    lab = demo.start(DemoOptions(still=True, postgres=True))
    try:
        connected(lab)
        processes = servers(lab)
        folders = data(processes)
        psutil.Process(lab.pid).kill()
        assert gone(processes)
        assert not any(folder.exists() for folder in folders)
    finally:
        lab.stop()


def test_a_big_site_has_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With --scale there are no servers, and the line says so."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "runtime"))
    with demo.start(DemoOptions(dir=tmp_path / "site", scale="10x200", still=True, postgres=True)) as lab:
        assert (lab.ready["postgres_dsn"], lab.ready["postgres_passfile"]) == (None, None)
        assert data(servers(lab)) == set()
