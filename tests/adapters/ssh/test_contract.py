"""What `ports.Shell` promises, against OpenSSH's sshd, a server of asyncssh and the lab's hosts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

import psutil
import pytest

from coldtui.adapters.ssh import SshShell
from coldtui.domain.errors import HostKeyChanged, HostKeyUnknown, NotFound, Refused, Unauthorized
from coldtui.domain.troubles import LineTrouble
from coldtui.ports import Command, Finished, Output
from tests.adapters.ssh.servers import NODE, Place, public_words, until, write_key

T = TypeVar("T")


def sh(line: str, *, stdin: bytes = b"") -> Command:
    return Command(("sh", "-c", line), mutates=True, stdin=stdin)


def scene(shell: SshShell, act: Callable[[SshShell], Coroutine[Any, Any, T]]) -> T:
    """Do something with a shell and close it."""

    async def whole() -> T:
        try:
            return await asyncio.wait_for(act(shell), 40)
        finally:
            await shell.aclose()

    return asyncio.run(whole())


def ran(place: Place, command: Command, **more: Any) -> Finished:
    return scene(place.shell(), lambda shell: shell.run(NODE, command, **more))


# ------------------------------------------------------------ ends and output


def test_a_command_and_how_it_ends(place: Place) -> None:
    """stdout and stderr come apart, and the exit status is the command's own."""
    done = ran(place, sh("echo one; echo two; nonsense-command; exit 7"))
    assert done.out == ("one", "two")
    assert "nonsense-command" in done.err[-1]
    assert (done.exit, done.ok) == (7, False)


def test_words_arrive_as_they_were_given(place: Place) -> None:
    """No shell takes a word apart: blanks, quotes, dollars, globs and semicolons stay what they are."""
    odd = "a b  'c' \"d\" $HOME `id` * ; echo broken"
    assert ran(place, Command(("echo", odd), mutates=True)).out == (odd,)


def test_lines_are_told_while_the_command_runs(place: Place) -> None:
    """The first line is there long before the command ends; both streams are told by name."""

    async def act(shell: SshShell) -> tuple[bool, list[Output]]:
        told: list[Output] = []
        first = asyncio.Event()

        def on_line(line: Output) -> None:
            told.append(line)
            first.set()

        run = asyncio.ensure_future(shell.run(NODE, sh("echo one; nonsense-command; sleep 30"), on_line=on_line))
        await asyncio.wait_for(first.wait(), 15)
        early = not run.done()
        run.cancel()
        with suppress(asyncio.CancelledError):
            await run
        return early, told

    early, told = scene(place.shell(), act)
    assert early
    assert told[0] == Output("out", "one")
    assert all(line.stream == "err" for line in told[1:])


def test_stdin_reaches_the_command_and_ends(place: Place) -> None:
    """What is given is read by the command, and its input ends: `cat` returns by itself."""
    assert ran(place, Command(("cat",), mutates=True, stdin=b"one\ntwo\n")).out == ("one", "two")
    assert ran(place, Command(("cat",), mutates=True)).out == ()


def test_commands_run_side_by_side_on_one_connection(place: Place) -> None:
    """Twelve commands at once are answered each with its own output, over one login."""

    async def act(shell: SshShell) -> tuple[list[tuple[str, ...]], int]:
        done = await asyncio.gather(*(shell.run(NODE, Command(("echo", str(n)), mutates=True)) for n in range(12)))
        return [d.out for d in done], len(shell._links)

    outs, links = scene(place.shell(), act)
    assert outs == [(str(n),) for n in range(12)]
    assert links == 1


def test_a_connection_is_used_again(place: Place) -> None:
    """The second command needs no new login."""

    async def act(shell: SshShell) -> bool:
        await shell.run(NODE, sh("exit 0"))
        first = shell._links[NODE]
        await shell.run(NODE, sh("exit 0"))
        return shell._links[NODE] is first

    assert scene(place.shell(), act)


def test_a_kept_connection_that_died_is_made_anew(place: Place) -> None:
    """A connection that was cut while nobody used it costs nobody a command."""

    async def act(shell: SshShell) -> tuple[str, ...]:
        await shell.run(NODE, sh("exit 0"))
        await asyncio.to_thread(place.server.drop)
        return (await shell.run(NODE, Command(("echo", "again"), mutates=True))).out

    assert scene(place.shell(), act) == ("again",)


# ------------------------------------------------------------ who is there, who are we


def test_an_unknown_host_is_shown_and_not_used(place: Place) -> None:
    """A host in no known_hosts file is refused with its fingerprint; nothing is written; once its line is accepted it is used."""
    place.known_hosts.unlink()
    with pytest.raises(HostKeyUnknown) as caught:
        ran(place, sh("exit 0"))
    assert caught.value.fingerprint.startswith("ED25519 SHA256:")
    assert caught.value.line == f"{place.host} {public_words(place.server.host_key)}"
    assert not place.known_hosts.exists()

    async def accept(shell: SshShell) -> Finished:
        assert shell.trust(caught.value.line) == str(place.known_hosts)
        return await shell.run(NODE, sh("exit 0"))

    assert scene(place.shell(), accept).ok
    assert oct(place.known_hosts.stat().st_mode & 0o777) == "0o600"


def test_a_changed_host_key_is_refused_with_file_and_line(place: Place) -> None:
    """A host that shows another key than the known one is never used; file, line and both fingerprints are told."""
    place.known_hosts.write_text("# mine\n\n" + place.known_hosts.read_text())
    place.new_host_key()
    with pytest.raises(HostKeyChanged) as caught:
        ran(place, sh("exit 0"))
    said = str(caught.value)
    assert f"{place.known_hosts}:3" in said
    assert said.count("ED25519 SHA256:") == 2
    assert "ssh-keygen -R" in caught.value.hint


def test_a_key_that_is_not_accepted_is_named(place: Place) -> None:
    """When no key is let in, the error says which were tried, by fingerprint and file, and for which user."""
    other = write_key(place.folder / "other")
    with pytest.raises(Unauthorized) as caught:
        scene(place.shell(keys=(str(other),)), lambda shell: shell.run(NODE, sh("exit 0")))
    said = str(caught.value)
    assert "SHA256:" in said
    assert str(other) in said
    assert f"{place.server.user} at 127.0.0.1:{place.server.port}" in said
    assert "authorized_keys" in caught.value.hint


def test_another_user_is_not_let_in(place: Place) -> None:
    """The user that is configured is the one that logs in."""
    with pytest.raises(Unauthorized, match="accepts none of our keys"):
        scene(place.shell(user="nobody-of-ours"), lambda shell: shell.run(NODE, sh("exit 0")))


def test_refused(place: Place) -> None:
    """A port on which nobody listens is told as refused, at once."""
    place.server.stop()
    with pytest.raises(LineTrouble) as caught:
        ran(place, sh("exit 0"))
    assert caught.value.kind == "refused"
    assert f"127.0.0.1:{place.server.port}" in caught.value.title


def test_a_node_without_an_address(place: Place) -> None:
    """A node that neither the configuration nor the API has an address of is named, with the setting that helps."""
    with pytest.raises(NotFound, match="no address is known for node k3s-worker-9") as caught:
        scene(place.shell(), lambda shell: shell.run("k3s-worker-9", sh("exit 0")))
    assert "nodes.k3s-worker-9.ssh" in caught.value.hint


def test_the_address_of_the_api_serves_where_none_is_set(place: Place) -> None:
    """Without a setting the node's own address is used, with the configured user and port."""
    shell = place.shell(port=place.server.port)
    place.know()
    done = scene(shell, lambda s: s.run("another", Command(("echo", "there"), mutates=True), ip="127.0.0.1"))
    assert done.out == ("there",)
    assert str(shell.address("another", "10.0.0.1")) == f"{place.server.user}@10.0.0.1:{place.server.port}"


# ------------------------------------------------------------ what goes wrong under way


def test_dropped_in_mid_output(place: Place) -> None:
    """A connection that is cut while a command runs is told as lost: whether the command ended is not known."""

    async def act(shell: SshShell) -> None:
        begun = asyncio.Event()
        run = asyncio.ensure_future(shell.run(NODE, sh("echo one; sleep 60"), on_line=lambda line: begun.set()))
        await asyncio.wait_for(begun.wait(), 15)
        await asyncio.to_thread(place.server.drop)
        await run

    with pytest.raises(LineTrouble, match="was lost while sh -c ran") as caught:
        scene(place.shell(), act)
    assert caught.value.kind == "lost"


def test_a_deadline_ends_the_wait(place: Place) -> None:
    """A command that takes too long is given up with its name and the limit, as a timeout."""
    with pytest.raises(LineTrouble, match=r"sh -c on k3s-worker-3 did not end within 0 s|within 1 s") as caught:
        ran(place, sh("sleep 60"), deadline_s=0.5)
    assert (caught.value.kind, caught.value.detail) == ("timeout", "it was ended")


def test_a_receiver_that_fails_ends_the_command(place: Place) -> None:
    """An error of whoever takes the lines comes out of `run`, and the connection serves the next command."""

    def on_line(line: Output) -> None:
        raise RuntimeError("the journal is full")

    async def act(shell: SshShell) -> Finished:
        with pytest.raises(RuntimeError, match="the journal is full"):
            await shell.run(NODE, sh("echo one; sleep 60"), on_line=on_line)
        return await shell.run(NODE, Command(("echo", "next"), mutates=True))

    assert scene(place.shell(), act).out == ("next",)


def test_hang_up_forgets_the_connection(place: Place) -> None:
    """After `hang_up` the next command logs in anew; for a node that was never reached it does nothing."""

    async def act(shell: SshShell) -> bool:
        await shell.hang_up(NODE)
        await shell.run(NODE, sh("exit 0"))
        first = shell._links[NODE]
        await shell.hang_up(NODE)
        await shell.run(NODE, sh("exit 0"))
        return shell._links[NODE] is not first and first.conn.is_closed()

    assert scene(place.shell(), act)


# ------------------------------------------------------------ the gate


def test_a_closed_gate_sends_only_what_the_table_has(place: Place) -> None:
    """In read-only nothing but the reading commands reaches a host: the others are refused before a connection is made."""

    async def act(shell: SshShell) -> tuple[int, Finished]:
        for command in (
            sh("exit 0"),
            Command(("systemctl", "reboot"), mutates=True, root=True),
            Command(("systemctl", "reboot"), mutates=False, root=True),
            Command(("hostname", "evil"), mutates=False),
            Command(("hostname",), mutates=True),
        ):
            with pytest.raises(Refused):
                await shell.run(NODE, command)
        before = len(shell._links)
        return before, await shell.run(NODE, Command(("hostname",), mutates=False))

    before, done = scene(place.shell(writable=False), act)
    assert before == 0
    assert done.ok
    assert len(done.out) == 1


@pytest.mark.parametrize(
    "path", ["/var/lib/longhorn", "/var/lib/rancher/k3s/server/db/state.db", "/var/lib/rancher/k3s/data/../storage", "/var"]
)
def test_an_open_gate_never_names_the_forbidden(place: Place, path: str) -> None:
    """Data of volumes and the datastore can be no argument, whoever asks."""

    async def act(shell: SshShell) -> int:
        with pytest.raises(Refused, match="not sent to the host"):
            await shell.run(NODE, Command(("rm", "-rf", path), mutates=True, root=True))
        with pytest.raises(Refused, match="not sent to the host"):
            await shell.run(NODE, sh(f"cd / && rm -rf {path}"))
        return len(shell._links)

    assert scene(place.shell(), act) == 0


# ------------------------------------------------------------ real processes


def test_signals(real: Place) -> None:
    """A command that a signal ended has 128 and its number."""
    assert ran(real, sh("kill -TERM $$")).exit == 143
    assert ran(real, sh("kill -KILL $$")).exit == 137


@pytest.mark.parametrize("words", ["exec sleep 300", "trap '' TERM HUP; while :; do sleep 1; done"])
def test_a_deadline_ends_the_remote_process(real: Place, words: str) -> None:
    """At the deadline the process on the host is gone, also one that does not mind being asked; the connection serves on."""

    async def act(shell: SshShell) -> tuple[int, Finished]:
        told: list[str] = []
        with pytest.raises(LineTrouble) as caught:
            await shell.run(NODE, sh(f"echo $$; {words}"), on_line=lambda line: told.append(line.text), deadline_s=5.0)
        assert (caught.value.kind, caught.value.detail) == ("timeout", "it was ended")
        return int(told[0]), await shell.run(NODE, Command(("echo", "on"), mutates=True))

    pid, after = scene(real.shell(), act)
    until(lambda: not psutil.pid_exists(pid))
    assert after.out == ("on",)


def test_a_cancelled_run_ends_the_remote_process(real: Place) -> None:
    """Who gives up waiting leaves nothing behind on the host."""

    async def act(shell: SshShell) -> int:
        pid: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        run = asyncio.ensure_future(
            shell.run(NODE, sh("echo $$; exec sleep 300"), on_line=lambda line: None if pid.done() else pid.set_result(int(line.text)))
        )
        number = await asyncio.wait_for(pid, 15)
        run.cancel()
        with suppress(asyncio.CancelledError):
            await run
        await asyncio.to_thread(until, lambda: not psutil.pid_exists(number))
        return number

    assert scene(real.shell(), act) > 0


def test_big_output_is_bounded(real: Place) -> None:
    """A flood of two million lines ends well: the last 2,000 are kept, what is too much at once is counted, memory stays where it was."""
    import resource

    told: list[Output] = []
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    done = ran(real, sh("yes | head -n 2000000; echo end"), on_line=told.append, deadline_s=60)
    grown_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert done.out[-1] == "end"
    assert len(done.out) == 2000
    left_out = [line.text for line in told if "left out: too many at once" in line.text]
    lost = sum(int(text.strip("[").split()[0].replace(",", "")) for text in left_out)
    assert lost + len(told) - len(left_out) == 2_000_001
    assert grown_kb < 100_000


def test_long_lines_and_odd_bytes(real: Place) -> None:
    """A line is cut at 4,096 characters, bytes that are no text and control characters cannot reach a screen, colours are taken off."""
    done = ran(real, sh(r"head -c 100000 /dev/zero | tr '\0' x; echo; printf '\033[31mred\033[0m \377 \002 a\tb\r\nlast'"))
    assert (len(done.out[0]), done.out[0][-1]) == (4096, "…")
    assert done.out[1:] == ("red � � a    b", "last")


def test_progress_is_told_as_it_is_drawn(real: Place) -> None:
    """A bar that draws over itself with carriage returns is told step by step."""
    assert ran(real, sh(r"printf '10 %%\r50 %%\r100 %%\n'")).out == ("10 %", "50 %", "100 %")


def test_two_shells_do_not_disturb_each_other(real: Place) -> None:
    """Closing one shell does not end what runs in another."""

    async def whole() -> tuple[str, ...]:
        one, two = real.shell(), real.shell()
        try:
            begun = asyncio.Event()
            run = asyncio.ensure_future(one.run(NODE, sh("echo a; read x; echo b"), on_line=lambda line: begun.set(), deadline_s=20))
            await two.run(NODE, sh("exit 0"))
            await two.aclose()
            return (await run).out
        finally:
            await one.aclose()

    assert asyncio.run(whole()) == ("a", "b")
