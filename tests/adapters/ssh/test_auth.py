"""Which keys are offered, in which order, and what is said of those that cannot be."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from coldtui.adapters.ssh.auth import is_forwarded
from coldtui.domain.errors import SecretWanted, Unauthorized
from coldtui.domain.secret import Secret
from coldtui.ports import Command, Finished
from tests.adapters.ssh.servers import NODE, Place, until, write_key

need_agent = pytest.mark.skipif(shutil.which("ssh-agent") is None, reason="there is no ssh-agent here")
HELLO = Command(("echo", "in"), mutates=True)


def login(place: Place, **more: Any) -> tuple[Finished, str, str]:
    """(the answer, the key that let us in, why it goes with the operator)."""

    async def act() -> tuple[Finished, str, str]:
        shell = place.shell(**more)
        try:
            done = await shell.run(NODE, HELLO)
            return done, shell.login(NODE), shell.agent_only(NODE)
        finally:
            await shell.aclose()

    return asyncio.run(asyncio.wait_for(act(), 30))


@contextlib.contextmanager
def agent(*keys: Path) -> Iterator[str]:
    """A real ssh-agent that holds keys; its socket."""
    with tempfile.TemporaryDirectory(prefix="agent") as short:  # a socket's path has 107 characters at most
        path = f"{short}/sock"
        process = subprocess.Popen(["ssh-agent", "-D", "-a", path], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            until(lambda: os.path.exists(path))
            for key in keys:
                subprocess.run(["ssh-add", "-q", str(key)], env={**os.environ, "SSH_AUTH_SOCK": path}, check=True, capture_output=True)
            yield path
        finally:
            process.terminate()
            process.wait(10)


# ------------------------------------------------------------ files


def test_a_key_with_a_passphrase(one: Place) -> None:
    """Without its passphrase the key is named with the secret that would help; with it we are in; a wrong one is called wrong."""
    locked = write_locked(one)
    with pytest.raises(SecretWanted, match="has a passphrase") as caught:
        login(one)
    assert caught.value.secret == f"key/{locked}"
    assert f"ssh-add {locked}" in caught.value.hint
    one.secrets[f"key/{locked}"] = Secret("not it")
    with pytest.raises(SecretWanted, match="passphrase is wrong") as caught:
        login(one)
    assert caught.value.wrong
    one.secrets[f"key/{locked}"] = Secret("correct horse")
    assert login(one)[0].out == ("in",)


def write_locked(place: Place) -> Path:
    """Put a passphrase on the site's key: the public half stays."""
    import asyncssh

    key = asyncssh.read_private_key(place.key)
    place.key.write_bytes(key.export_private_key(passphrase="correct horse", rounds=50))
    return place.key


def test_a_locked_key_does_not_stand_in_the_way(one: Place) -> None:
    """A key that wants a passphrase is passed over when another one is let in."""
    locked = write_key(one.folder / "locked", passphrase="x")
    done, key, _ = login(one, keys=(str(locked), str(one.key)))
    assert done.out == ("in",)
    assert str(one.key) in key


def test_key_files_that_are_none_are_named(one: Place) -> None:
    """A missing file and a file that holds no key are told, each with its path, when nothing else lets us in."""
    junk, gone = one.folder / "junk", one.folder / "gone"
    junk.write_text("not a key\n")
    with pytest.raises(Unauthorized, match="there is no key to log in to k3s-worker-3") as caught:
        login(one, keys=(str(junk), str(gone)))
    assert f"{junk}: is no private key" in caught.value.detail
    assert f"{gone}: no such file" in caught.value.detail


def test_the_usual_keys_are_tried_where_none_is_named(one: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without ssh.keys those in ~/.ssh are used, if they are there."""
    home = one.folder / "home"
    (home / ".ssh").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    with pytest.raises(Unauthorized, match="there is no key"):
        login(one, keys=())
    shutil.copy(one.key, home / ".ssh" / "id_ed25519")
    done, key, _ = login(one, keys=())
    assert done.ok
    assert str(home / ".ssh/id_ed25519") in key


def test_no_password_is_ever_offered(sshd: Place) -> None:
    """A server that would take passwords is not given one: keys or nothing."""
    other = write_key(sshd.folder / "other")
    sshd.server.stop()
    config = sshd.folder / "sshd_config"
    config.write_text(config.read_text().replace("PasswordAuthentication no", "PasswordAuthentication yes"))
    sshd.server.start()
    sshd.secrets["sudo"] = Secret("hush")
    with pytest.raises(Unauthorized):
        login(sshd, keys=(str(other),))
    assert "password" not in (sshd.folder / "sshd.log").read_text().lower().replace("passwordauthentication", "")


# ------------------------------------------------------------ agent


@need_agent
def test_a_key_of_the_agent(one: Place) -> None:
    """A key that only an agent has lets us in, and is called the agent's; a local agent does not go with the session."""
    with agent(one.key) as path:
        one.environ["SSH_AUTH_SOCK"] = path
        done, key, only = login(one, keys=(), agent=True)
    assert done.out == ("in",)
    assert key.endswith("(agent)")
    assert only == ""


@need_agent
def test_the_agent_opens_a_locked_file(one: Place) -> None:
    """A key file with a passphrase is no obstacle when the agent has that key."""
    with agent(one.key) as path:
        write_locked(one)
        one.environ["SSH_AUTH_SOCK"] = path
        done, key, _ = login(one, agent=True)
    assert done.ok
    assert key.endswith("(agent)")


@need_agent
def test_a_full_agent_does_not_use_up_the_tries(sshd: Place) -> None:
    """With ten strange keys in the agent the configured key is offered first; without one the error says that the server stopped listening."""
    strange = [write_key(sshd.folder / f"strange{n}") for n in range(10)]
    with agent(*strange) as path:
        sshd.environ["SSH_AUTH_SOCK"] = path
        assert login(sshd, agent=True)[0].ok
        with pytest.raises(Unauthorized) as caught:
            login(sshd, agent=True, keys=(str(strange[9]),))
    assert "of 10 keys: name the right one in ssh.keys" in caught.value.hint


def test_an_agent_that_is_not_there(one: Place) -> None:
    """A stale SSH_AUTH_SOCK is no failure: the files still let us in; it is named when nothing does."""
    one.environ["SSH_AUTH_SOCK"] = str(one.folder / "gone.sock")
    assert login(one, agent=True)[0].ok
    other = write_key(one.folder / "other")
    with pytest.raises(Unauthorized) as caught:
        login(one, agent=True, keys=(str(other),))
    assert "gone.sock cannot be used" in caught.value.detail


@need_agent
@pytest.mark.skipif(shutil.which("ssh") is None, reason="there is no ssh here")
def test_a_forwarded_agent_is_known_by_who_listens(sshd: Place) -> None:
    """An agent that an SSH session forwards is told from a local one; a key that only it has would go with the operator."""
    port = sshd.server.port
    with agent(sshd.key) as local:
        assert not is_forwarded(local)
        words = [
            "ssh", "-F", "none", "-A", "-p", str(port), "-o", f"UserKnownHostsFile={sshd.known_hosts}", "-o", "BatchMode=yes",
            f"{sshd.server.user}@127.0.0.1", "echo $SSH_AUTH_SOCK; exec sleep 60",
        ]  # fmt: skip
        with subprocess.Popen(words, env={**os.environ, "SSH_AUTH_SOCK": local}, stdout=subprocess.PIPE) as session:
            assert session.stdout is not None
            try:
                forwarded = session.stdout.readline().decode().strip()
                assert is_forwarded(forwarded)
                sshd.environ["SSH_AUTH_SOCK"] = forwarded
                done, _, only = login(sshd, keys=(), agent=True)
                assert done.ok
                assert "gone when you log out" in only
                assert login(sshd, agent=True)[2] == ""  # the same key lies in a file, too
            finally:
                session.terminate()


def test_secrets_reach_no_text(one: Place) -> None:
    """Passphrases stand in no error."""
    locked = write_locked(one)
    one.secrets[f"key/{locked}"] = Secret("wrong-and-secret")
    with pytest.raises(SecretWanted) as caught:
        login(one)
    assert "wrong-and-secret" not in str(caught.value) + repr(caught.value.__dict__)
