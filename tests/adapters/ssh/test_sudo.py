"""Root through sudo: without and with a password, against the real sudo and the lab's."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from coldtui.adapters.ssh.sudo import as_root
from coldtui.domain.errors import SecretWanted, StepFailed
from coldtui.domain.secret import Secret
from coldtui.domain.troubles import LineTrouble
from coldtui.ports import Command, Finished, Output, ShellAddress
from tests.adapters.ssh.servers import NODE, SSHD, LabHost, Place, Sshd, may_unshare, sudo_namespace, until, write_key

PASSWORD = "open sesame"
WHO = Command(("id", "-u"), mutates=True, root=True)


def real_place(rule: str) -> Iterator[Place]:
    why = may_unshare() if Path(SSHD).exists() else "there is no OpenSSH server here: apt-get install openssh-server"
    if why:
        pytest.skip(why)
    with tempfile.TemporaryDirectory(
        prefix="coldtui-sudo-"
    ) as made:  # the user of the namespace must find its home: pytest's folders are closed
        folder = Path(made)
        folder.chmod(0o755)
        login = write_key(folder / "id_site")
        server = Sshd(folder, login, user="labop", namespace=sudo_namespace(folder, "labop", PASSWORD, rule=rule))
        place = Place(folder, server, login)
        server.start()
        try:
            place.know()
            yield place
        finally:
            server.stop()


def lab_place(folder: Path, password: str) -> Iterator[Place]:
    login = write_key(folder / "id_site")
    server = LabHost(folder, login)
    server.machine.sudo_password = password
    place = Place(folder, server, login)
    server.start()
    try:
        place.know()
        yield place
    finally:
        server.close()


@pytest.fixture(params=["real", "lab"])
def free(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """sudo asks for no password."""
    yield from real_place("labop ALL=(ALL) NOPASSWD: ALL") if request.param == "real" else lab_place(tmp_path, "")


@pytest.fixture(params=["real", "lab"])
def asking(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """sudo asks for a password."""
    yield from real_place("labop ALL=(ALL) ALL") if request.param == "real" else lab_place(tmp_path, PASSWORD)


def ran(place: Place, command: Command = WHO, told: list[Output] | None = None, deadline_s: float = 30.0) -> Finished:
    async def act() -> Finished:
        shell = place.shell()
        try:
            return await shell.run(NODE, command, on_line=told.append if told is not None else None, deadline_s=deadline_s)
        finally:
            await shell.aclose()

    return asyncio.run(asyncio.wait_for(act(), 40))


def test_without_a_password(free: Place) -> None:
    """An ordinary user's command is root's; without `root` it is not; exit codes, both streams and stdin are the command's own."""
    assert ran(free).out == ("0",)
    assert ran(free, Command(("id", "-u"), mutates=True)).out != ("0",)
    told: list[Output] = []
    done = ran(free, Command(("sh", "-c", "echo a; nonsense-word; exit 3"), mutates=True, root=True), told)
    assert done.exit == 3
    assert told[0] == Output("out", "a")
    assert [line.stream for line in told[1:]] == ["err"]
    assert ran(free, Command(("cat",), mutates=True, root=True, stdin=b"x\n")).out == ("x",)


def test_a_password_that_nobody_gave(asking: Place) -> None:
    """The error names the host, the user and the secret that is wanted; the command did not run."""
    with pytest.raises(SecretWanted, match="sudo on k3s-worker-3 wants a password") as caught:
        ran(asking)
    assert caught.value.secret == f"sudo/{NODE}"
    assert asking.server.user in caught.value.detail


@pytest.mark.parametrize("key", [f"sudo/{NODE}", "sudo"])
def test_with_a_password(asking: Place, key: str) -> None:
    """The node's password, or the one for all, opens sudo; it is no part of what the command reads or writes."""
    asking.secrets[key] = Secret(PASSWORD)
    told: list[Output] = []
    done = ran(asking, Command(("cat",), mutates=True, root=True, stdin=b"one\n"), told)
    assert done.out == ("one",)
    assert told == [Output("out", "one")]
    assert done.err == ()
    assert ran(asking).out == ("0",)


def test_a_wrong_password(asking: Place) -> None:
    """A wrong password is called wrong and is not in the error; the command did not run."""
    asking.secrets["sudo"] = Secret("guess-work")
    with pytest.raises(SecretWanted, match="does not take that password") as caught:
        ran(asking)
    assert caught.value.wrong
    assert "guess-work" not in str(caught.value)


def test_the_password_is_in_no_command_line(asking: Place) -> None:
    """While the command runs, no process on the host shows the password among its words."""
    asking.secrets["sudo"] = Secret(PASSWORD)
    seen: list[str] = []

    async def act() -> None:
        shell = asking.shell()
        try:
            begun = asyncio.Event()
            work = shell.run(NODE, Command(("sh", "-c", "echo up; sleep 1"), mutates=True, root=True), on_line=lambda line: begun.set())
            run = asyncio.ensure_future(work)
            await asyncio.wait_for(begun.wait(), 20)
            for process in psutil.process_iter():
                try:
                    seen.append(" ".join(process.cmdline()))
                except psutil.Error:
                    continue
            await run
        finally:
            await shell.aclose()

    asyncio.run(asyncio.wait_for(act(), 40))
    assert seen
    assert [line for line in seen if PASSWORD in line] == []


def test_a_user_that_may_not() -> None:
    """A user without rights is told as such, with the file to mend, not as a wrong password."""
    for place in real_place(""):
        place.secrets["sudo"] = Secret(PASSWORD)
        with pytest.raises(StepFailed, match="sudo on k3s-worker-3 refuses") as caught:
            ran(place)
        assert not isinstance(caught.value, SecretWanted)
        assert "labop" in caught.value.detail


def test_one_command_without_a_password() -> None:
    """Where the rules let only some commands through without a password, those need none."""
    for place in real_place("labop ALL=(ALL) ALL, NOPASSWD: /usr/bin/id -u"):
        assert ran(place).out == ("0",)
        with pytest.raises(SecretWanted):
            ran(place, Command(("id", "-g"), mutates=True, root=True))


@pytest.mark.parametrize("how", ["free", "asking", "pty"])
def test_a_deadline_ends_what_sudo_runs(how: str) -> None:
    """A signal of an ordinary user does not reach root's process: it is found and ended by root all the same."""
    rule = {
        "free": "labop ALL=(ALL) NOPASSWD: ALL",
        "asking": "labop ALL=(ALL) ALL",
        "pty": "Defaults use_pty\nlabop ALL=(ALL) NOPASSWD: ALL",
    }
    for place in real_place(rule[how]):
        if how == "asking":
            place.secrets["sudo"] = Secret(PASSWORD)
        told: list[Output] = []
        with pytest.raises(LineTrouble) as caught:
            ran(place, Command(("sh", "-c", "echo $$; exec sleep 300"), mutates=True, root=True), told, deadline_s=2.0)
        assert (caught.value.kind, caught.value.detail) == ("timeout", "it was ended")
        pid = int(told[0].text)
        until(lambda: not psutil.pid_exists(pid))  # noqa: B023 - waited for here


# ------------------------------------------------------------ sudo's words


@dataclass
class Scripted:
    """Answers by the beginning of the words; remembers them."""

    answers: dict[str, Finished]
    asked: list[tuple[str, bytes]]

    async def __call__(self, words: str, stdin: bytes, told: object, prefix: str, given: bytes) -> Finished:
        self.asked.append((words, stdin))
        return next(answer for start, answer in self.answers.items() if words.startswith(start))


def said(exit: int, *err: str) -> Finished:
    return Finished(exit, (), err)


def asked(
    answers: dict[str, Finished], secrets: dict[str, Secret] | None = None, user: str = "lab"
) -> tuple[Finished | Exception, list[tuple[str, bytes]]]:
    scripted = Scripted(answers, [])

    async def act() -> Finished:
        return await as_root(scripted, ShellAddress(NODE, "h", 22, user), WHO, secrets or {}, None)

    try:
        return asyncio.run(act()), scripted.asked
    except StepFailed as error:
        return error, scripted.asked


def test_root_needs_no_sudo() -> None:
    """Who logs in as root sends the command as it is."""
    found, words = asked({"id": said(0)}, user="root")
    assert words == [("id -u", b"")]
    assert found == said(0)


def test_another_language_is_asked_again_in_english() -> None:
    """A complaint that cannot be understood is had again in English before it is judged."""
    german = said(1, "sudo: Ein Passwort ist notwendig")
    found, words = asked({"sudo -n --": german, "env LC_ALL=C sudo -n true": said(1, "sudo: a password is required")})
    assert isinstance(found, SecretWanted)
    assert [w for w, _ in words] == ["sudo -n -- id -u", "env LC_ALL=C sudo -n true"]


def test_the_password_goes_only_where_it_was_asked_for() -> None:
    """It is on the standard input of the command that sudo refused without it, behind -k, and nowhere else."""
    found, words = asked(
        {"sudo -n": said(1, "sudo: a password is required"), "sudo -k -S": Finished(0, ("0",), ())}, {"sudo": Secret("pw")}
    )
    assert words == [("sudo -n -- id -u", b""), ("sudo -k -S -p '' -- id -u", b"pw\n")]
    assert isinstance(found, Finished)


def test_a_command_that_fails_is_not_called_sudo() -> None:
    """A command's own failure, even with words like sudo's, is its result."""
    for failed in (Finished(1, ("out",), ("sudo: hm",)), said(2, "sudo: hm"), said(1, "error: sudo: no"), said(1)):
        assert asked({"sudo -n --": failed})[0] == failed


def test_no_sudo_on_the_host() -> None:
    """A host without sudo is told as such, with the way out."""
    found, _ = asked({"sudo -n --": said(127, "bash: line 1: sudo: command not found")})
    assert isinstance(found, StepFailed)
    assert found.title == "there is no sudo on k3s-worker-3"
    assert "ssh.user: root" in found.hint


def test_a_rule_that_forbids() -> None:
    """A refusal that no password would change is no question for one."""
    found, words = asked(
        {
            "sudo -n --": said(1, "sudo: sorry, you must have a tty to run sudo"),
            "env LC_ALL=C": said(1, "sudo: sorry, you must have a tty to run sudo"),
        },
        {"sudo": Secret("pw")},
    )
    assert isinstance(found, StepFailed)
    assert not isinstance(found, SecretWanted)
    assert "must have a tty" in found.detail
    assert all(stdin == b"" for _, stdin in words)
