"""What `coldtui doctor` says of the hosts behind the nodes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from coldtui.cli.doctor import FAIL, OK, WARN, Check
from coldtui.cli.doctor_hosts import SHOWN, _told
from tests.adapters.ssh.servers import NODE, LabHost, Place, public_words, write_key
from tests.cli.means import Cli, a_site


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Place]:
    """A host of the lab, and a client's means to reach it."""
    key = write_key(tmp_path / "id_site")
    server = LabHost(tmp_path, key)
    place = Place(tmp_path, server, key)
    server.start()
    try:
        place.know()
        yield place
    finally:
        server.close()


def said(cli: Cli, host: Place, *, node: str = NODE, site: bool = False, keys: str = "") -> list[tuple[str, str, str]]:
    """(state, words, remedy) of the SSH checks. Without `site` the API is dead, and only the configured node is known."""
    config = cli.folder / "config.yaml"
    config.write_text(
        f"ssh:\n  user: {host.server.user}\n  keys: [{keys or host.key}]\n  known_hosts: [{host.known_hosts}]\n  agent: false\n"
        f'nodes:\n  {node}:\n    ssh: "127.0.0.1:{host.server.port}"\n'
    )
    kube = a_site()
    if not site:
        kube.kill()
    found = cli("--config", str(config), "doctor", "--json", kube=kube)
    assert found.out, found.err
    checks = found.json["checks"]
    return [(c["state"], c["words"], c["remedy"] or "") for c in checks if c["name"] == "SSH"]


def test_a_host_that_is_well(cli: Cli, host: Place) -> None:
    """Where the key is known and accepted and sudo asks for nothing, one line says where and how, though the API is away."""
    assert said(cli, host) == [("ok", f"{NODE}: lab@127.0.0.1:{host.server.port}, root by sudo", "")]


def test_what_is_missing_is_told_with_its_remedy(cli: Cli, host: Place) -> None:
    """Unknown and changed host keys, refused keys, a silent port and a sudo that asks: each in words, with what to do."""
    assert isinstance(host.server, LabHost)
    host.server.machine.sudo_password = "x"
    [(state, words, remedy)] = said(cli, host)
    assert (state, words) == ("warn", f"sudo on {NODE} wants a password · user lab")
    assert "NOPASSWD" in remedy
    host.server.machine.sudo_password = ""

    [(state, words, remedy)] = said(cli, host, keys=str(write_key(host.folder / "other")))
    assert (state, words.startswith(f"{NODE} accepts none of our keys")) == ("warn", True)
    assert "authorized_keys" in remedy

    host.known_hosts.write_text("")
    [(state, words, remedy)] = said(cli, host)
    assert (state, "ED25519 SHA256:" in words) == ("warn", True)
    assert remedy.endswith(f"accept it: ssh -p {host.server.port} lab@127.0.0.1")

    host.known_hosts.write_text(f"{host.host} {public_words(write_key(host.folder / 'else'))}\n")
    [(state, words, remedy)] = said(cli, host)
    assert state == "fail"
    assert "has changed" in words

    host.know()
    host.server.stop()
    [(state, words, _)] = said(cli, host)
    assert (state, words) == ("warn", f"{NODE}: connection refused by 127.0.0.1:{host.server.port}")


def test_another_machine_is_seen(cli: Cli, host: Place) -> None:
    """A host that calls itself otherwise than the node is told: an address may lead to the wrong machine."""
    [(state, words, remedy)] = said(cli, host, node="k3s-worker-1")
    assert state == "warn"
    assert words.endswith(f"calls itself {NODE}")
    assert "nodes.k3s-worker-1.ssh" in remedy


def test_nothing_is_tried_that_nobody_set_up(cli: Cli) -> None:
    """Without a word about SSH in the configuration no host is reached: one line says what would be done."""
    checks = cli("doctor", "--json", connector=a_site).json["checks"]
    [found] = [c for c in checks if c["name"] == "SSH"]
    assert found["state"] == "ok"
    assert found["words"].startswith("not set up: 5 nodes")


def test_many_hosts_are_few_lines() -> None:
    """What is well is one line; of many troubles some have a line each, the worst of the rest decides."""
    well = [Check("SSH", OK, f"node-{n}") for n in range(40)]
    odd = [Check("SSH", WARN, f"bad-{n}") for n in range(SHOWN + 2)] + [Check("SSH", FAIL, "worst")]
    told = list(_told([*well, *odd]))
    assert [c.words for c in told] == [
        f"logged in to 40 of {40 + SHOWN + 3} hosts, root can be had", *(f"bad-{n}" for n in range(SHOWN)), "3 more hosts with trouble",
    ]  # fmt: skip
    assert told[-1].state == FAIL
