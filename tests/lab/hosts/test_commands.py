"""The commands of a host: what they print, how they end, what they change."""

from __future__ import annotations

import asyncio
import json
import re
import shlex
from datetime import UTC, datetime

import pytest

from coldtui.adapters.ssh.table import is_read
from coldtui.lab.apiserver.simulated import disk_share, image_bytes
from coldtui.lab.hosts.machine import Hooks
from coldtui.lab.hosts.programs.files import APT
from tests.lab.hosts.conftest import NODES, Said, machine, pods_of, ran, run, soon

K3S = "/var/lib/rancher/k3s"


def test_who_and_where_it_is() -> None:
    """A host says its name, its boot as its Node has it, and since when it runs, in the forms of a real one."""
    on = machine()
    assert run("hostname", on=on).out == "k3s-worker-3\n"
    assert run("cat /proc/sys/kernel/random/boot_id", on=on).out.strip() == NODES["k3s-worker-3"]["status"]["nodeInfo"]["bootID"]
    since = datetime.strptime(run("uptime -s", on=on).out.strip(), "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
    up = float(run("cat /proc/uptime", on=on).out.split()[0])
    assert abs((datetime.now(UTC) - since).total_seconds() - up) < 2
    assert run("id -u").out == "1000\n"
    assert run("id -u", user="root").out == "0\n"
    assert run("uname -r").out.strip() == NODES["k3s-worker-3"]["status"]["nodeInfo"]["kernelVersion"]


@pytest.mark.parametrize(
    ("line", "exit", "out", "err"),
    [
        ("nonsense -x", 127, "", "bash: line 1: nonsense: command not found\n"),
        ("/opt/thing", 127, "", "bash: line 1: /opt/thing: No such file or directory\n"),
        ("/usr/bin/hostname", 0, "k3s-worker-3\n", ""),
        ("true && echo 'a  b'", 0, "a  b\n", ""),
        ("false && echo no; echo yes", 0, "yes\n", ""),
        ("false || echo other", 0, "other\n", ""),
        ("LC_ALL=C hostname", 0, "k3s-worker-3\n", ""),
        ("env LC_ALL=C hostname", 0, "k3s-worker-3\n", ""),
        ("sh -c 'echo in; exit 7'", 7, "in\n", ""),
        ("echo a | cat", 2, "", "bash: line 1: this host's shell does not do `|'\n"),
        ("echo 'open", 2, "", "bash: line 1: syntax error: No closing quotation\n"),
        ("timeout 0.05 sleep 60", 124, "", ""),
        ("sudo -n -- nonsense", 1, "", "sudo: nonsense: command not found\n"),
        ("cat /var/lib/rancher/k3s/server/token", 1, "", "cat: /var/lib/rancher/k3s/server/token: Permission denied\n"),
        ("cat /nowhere", 1, "", "cat: /nowhere: No such file or directory\n"),
        ("test -e /run/reboot-required", 1, "", ""),
        ("systemctl nonsense", 1, "", "Unknown command verb nonsense.\n"),
    ],
)
def test_the_shell(line: str, exit: int, out: str, err: str) -> None:
    """Words, links between commands, assignments, and the exit codes of what is not there."""
    said = run(line)
    assert (said.exit, said.out, said.err) == (exit, out, err)


def test_words_come_through_as_they_were_sent() -> None:
    """What shlex.join makes of a list of words is that list on the host again, whatever characters are in it."""
    words = ["a b", "*", "$HOME", "quote'd", 'double"d', "semi;colon", "umläut", "", "-n"]
    assert run(shlex.join(["echo", "x", *words])).out == " ".join(["x", *words]) + "\n"


class TestSudo:
    """sudo with and without a password."""

    def test_without(self) -> None:
        """Without a password set, -n is enough and the command has root's rights."""
        assert run("sudo -n true").exit == 0
        assert run("sudo -n -- id -un").out == "root\n"
        assert run("sudo -S -p '' -- id -un").out == "root\n"

    @pytest.mark.parametrize(
        ("line", "stdin", "exit", "said"),
        [
            ("sudo -n true", "", 1, "sudo: a password is required"),
            ("sudo true", "", 1, "sudo: a terminal is required to read the password"),
            ("sudo -S -p '' true", "secret\n", 0, ""),
            ("sudo -S -p '' true", "wrong\n", 1, "sudo: 1 incorrect password attempt"),
            ("sudo -S -p '' true", "wrong\nsecret\n", 0, "Sorry, try again."),
            ("sudo -S -p '' true", "a\nb\nc\nsecret\n", 1, "sudo: 3 incorrect password attempts"),
            ("sudo -S true", "", 1, "sudo: no password was provided"),
            ("sudo -S true", "secret\n", 0, "[sudo] password for lab: "),
        ],
    )
    def test_with(self, line: str, stdin: str, exit: int, said: str) -> None:
        """Every answer of a sudo that wants a password, in its words."""
        on = machine()
        on.sudo_password = "secret"
        found = run(line, on=on, stdin=stdin)
        assert found.exit == exit
        assert said in found.err
        assert "secret" not in found.out + found.err

    def test_what_follows_the_password_is_for_the_command(self) -> None:
        """The rest of stdin goes to the program, as through a real sudo."""
        on = machine()
        on.sudo_password = "secret"
        assert run("sudo -S -p '' cat", on=on, stdin="secret\none\ntwo\n").out == "one\ntwo\n"

    def test_root_is_never_asked(self) -> None:
        """A login as root needs no sudo, and sudo asks it nothing."""
        on = machine()
        on.sudo_password = "secret"
        assert run("sudo -n id -un", on=on, user="root").out == "root\n"


class TestServices:
    """systemctl and the journal."""

    def test_what_is_asked_of_a_unit(self) -> None:
        """State and properties in systemd's own order; a unit that is not there is not an error of `show`."""
        on = machine()
        assert (run("systemctl is-active k3s-agent", on=on).out, run("systemctl is-active k3s", on=on).exit) == ("active\n", 3)
        shown = run("systemctl show k3s-agent -p InvocationID -p ActiveState --property=MainPID,Id", on=on).lines
        assert [line.partition("=")[0] for line in shown] == ["MainPID", "Id", "ActiveState", "InvocationID"]
        assert run("systemctl show k3s-agent -p ActiveState --value", on=on).out == "active\n"
        assert run("systemctl show nowhere -p LoadState", on=on).out == "LoadState=not-found\n"
        assert run("systemctl is-system-running", on=on).out == "running\n"

    def test_only_root_changes_anything(self) -> None:
        """Without root a restart and a reboot are refused, and nothing happens."""
        rebooted: list[str] = []
        on = machine(hooks=Hooks(reboot=lambda: rebooted.append("now")))
        before = on.k3s.invocation
        assert run("systemctl restart k3s-agent", on=on).exit == 1
        assert run("systemctl reboot", on=on).exit == 1
        assert (on.k3s.invocation, rebooted) == (before, [])
        assert run("sudo systemctl reboot", on=on).exit == 0
        assert rebooted == ["now"]

    def test_a_restart(self) -> None:
        """The unit gets another InvocationID and process, its kubelet stops and runs again, and the journal tells of both lives."""

        async def scene() -> None:
            kubelet: list[bool] = []

            async def told(running: bool) -> None:
                kubelet.append(running)

            on = machine(hooks=Hooks(kubelet=told))
            old = on.k3s.invocation
            assert (await ran(on, "sudo -n systemctl restart k3s-agent")).exit == 0
            assert kubelet == [False, True]
            assert on.k3s.invocation != old
            assert on.k3s.active == "active"
            written = (await ran(on, "journalctl -u k3s-agent -o cat --since -30s")).out
            assert "Stopping k3s-agent.service" in written
            assert "Started k3s-agent.service" in written
            assert "containerd is now running" in written
            mine = (await ran(on, f"journalctl _SYSTEMD_INVOCATION_ID={on.k3s.invocation} -o json -n 1")).lines
            assert json.loads(mine[0])["_HOSTNAME"] == "k3s-worker-3"

        asyncio.run(scene())

    def test_no_block_returns_at_once_and_an_agent_waits_for_its_server(self) -> None:
        """With --no-block the answer does not wait; while the API server is away the unit stays activating and says why, without limit."""

        async def scene() -> None:
            answers = asyncio.Event()

            async def api() -> bool:
                return answers.is_set()

            on = machine(hooks=Hooks(api_answers=api))
            assert (await ran(on, "sudo systemctl restart --no-block k3s-agent")).exit == 0
            await soon(lambda: any("Failed to validate connection to cluster" in e.message for e in on.journal.entries))
            assert (await ran(on, "systemctl is-active k3s-agent")).out == "activating\n"
            assert (await ran(on, "systemctl is-system-running")).out == "starting\n"
            assert (await ran(on, "sudo k3s crictl ps")).exit == 1
            answers.set()
            await soon(lambda: on.k3s.active == "active")
            await on.aclose()

        asyncio.run(scene())

    def test_reading_the_journal(self) -> None:
        """Unit, number, forms, boots and times choose what is shown."""
        on = machine()
        assert len(run("journalctl -u k3s-agent -n 5 --no-pager", on=on).lines) == 5
        line = run("journalctl -u k3s-agent -n 1 -o short-iso --utc", on=on).out
        assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+0000 k3s-worker-3 k3s\[\d+\]: ", line)
        fields = json.loads(run("journalctl -n 1 -o json", on=on).out)
        assert fields["_BOOT_ID"] == on.boot_id.replace("-", "")
        assert run("journalctl --since now", on=on).out == "-- No entries --\n"
        assert run("journalctl --list-boots", on=on).out.split()[:2] == ["0", on.boot_id.replace("-", "")]
        assert run("journalctl -n 0", on=on).out == "-- No entries --\n"

    def test_following_it(self) -> None:
        """-f shows what is written later, and of one unit only that unit's."""

        async def scene() -> None:
            on, said = machine(), Said()
            task = asyncio.create_task(ran(on, "journalctl -u k3s-agent -n 0 -f -o cat", said=said))
            await asyncio.sleep(0)
            on.say("kernel", "not this")
            on.say("k3s", "but this", unit=on.k3s)
            await soon(lambda: said.out == "but this\n")
            task.cancel()

        asyncio.run(scene())


class TestDisk:
    """df, du and what makes room."""

    def test_df_agrees_with_the_kubelet(self) -> None:
        """Size and use are those that the stats summary tells for the node's file system; Longhorn's disk is another one."""
        on = machine()
        row = run(f"df -B1 --output=size,used,avail,pcent,target {K3S}", on=on).lines[1].split()
        share = disk_share("k3s-worker-3", {}, datetime.now(UTC).timestamp())
        assert int(row[0]) == on.capacity
        assert int(row[1]) == pytest.approx(on.capacity * share, rel=0.01)
        assert int(row[2]) == int(on.capacity * 0.95) - int(row[1])
        assert row[4] == "/"
        on.storage_disk = lambda: (100 << 30, 40 << 30)
        assert run("df -B1 --output=used,target /var/lib/longhorn", on=on).lines[1].split() == [str(40 << 30), "/var/lib/longhorn"]
        assert run("df /nowhere", on=on).exit == 1

    def test_images(self) -> None:
        """crictl lists what pods use and what is left behind, in all as much as the kubelet's image file system tells; prune frees the rest."""
        told: list[str] = []
        on = machine(hooks=Hooks(cleaned=lambda: told.append("cleaned")))
        on.hooks.pods = lambda: pods_of("k3s-worker-3")
        found = json.loads(run("sudo k3s crictl images -o json", on=on).out)["images"]
        total = sum(int(image["size"]) for image in found)
        assert total == pytest.approx(image_bytes("k3s-worker-3", {}, on.capacity), rel=0.05)
        info = json.loads(run("sudo k3s crictl imagefsinfo -o json", on=on).out)
        assert int(info["status"]["imageFilesystems"][0]["usedBytes"]["value"]) == total
        used = on.used()
        gone = [line.removeprefix("Deleted: ") for line in run("sudo k3s crictl rmi --prune", on=on).lines]
        freed = sum(int(image["size"]) for image in found if image["repoTags"][0] in gone)
        assert gone
        assert used - on.used() == freed == on.freed_images()
        needed = {c["image"] for pod in pods_of("k3s-worker-3") for c in pod["spec"]["containers"]}
        assert needed == {image.reference for image in on.images}
        assert told == ["cleaned"]
        assert run("sudo k3s crictl rmi --prune", on=on).out == ""

    def test_containers(self) -> None:
        """crictl ps lists the containers of the node's pods by the IDs that the API has."""
        found = json.loads(run("sudo k3s crictl ps -a -o json").out)["containers"]
        ids = {c["containerID"].removeprefix("containerd://") for p in pods_of("k3s-worker-3") for c in p["status"]["containerStatuses"]}
        assert {c["id"] for c in found} == ids

    def test_the_journal_is_vacuumed(self) -> None:
        """Old files go until the size fits, the active ones stay, and what went is counted in df."""
        on = machine()
        before = int(run("sudo du -x -s -B1 /var/log/journal", on=on).out.split()[0])
        used = on.used()
        assert run("journalctl --vacuum-size=200M", on=on).exit == 1
        said = run("sudo journalctl --vacuum-size=200M", on=on)
        after = int(run("sudo du -x -s -B1 /var/log/journal", on=on).out.split()[0])
        assert after <= 200 << 20 < before
        assert used - on.used() == before - after
        assert "Vacuuming done, freed" in said.err
        assert run("journalctl --disk-usage", on=on).out.startswith("Archived and active journals take up ")

    def test_apt_and_old_releases(self) -> None:
        """apt-get clean empties the archive; a stale release goes by rm; current and previous are links to two that stay."""
        on = machine()
        assert run("apt-get clean", on=on).exit == 100
        assert run("sudo apt-get clean", on=on).exit == 0
        assert run(f"ls -1 {APT}", on=on).lines == ["lock", "partial"]
        names = run(f"sudo ls -1A {K3S}/data", on=on).lines
        kept = {run(f"sudo readlink -f {K3S}/data/{link}", on=on).out.strip().rpartition("/")[2] for link in ("current", "previous")}
        stale = [name for name in names if len(name) == 64 and name not in kept]
        assert len(kept) == 2
        assert stale
        size = int(run(f"sudo du -x -s -B1 {K3S}/data/{stale[0]}", on=on).out.split()[0])
        used = on.used()
        assert run(f"rm -rf -- {K3S}/data/{stale[0]}", on=on).exit == 1
        assert run(f"sudo rm -rf -- {K3S}/data/{stale[0]}", on=on).exit == 0
        assert used - on.used() == size > 0
        assert run(f"ls {K3S}/data", on=on).exit == 2

    def test_data_is_there_to_be_spared(self) -> None:
        """What must never be touched lies on the disk, so that a test can see that it is still there."""
        assert run("sudo test -e /var/lib/longhorn/longhorn-disk.cfg").exit == 0
        assert run(f"sudo test -d {K3S}/storage").exit == 0
        assert run(f"sudo test -f {K3S}/server/db/etcd/member/snap/db", on=machine("k3s-master")).exit == 0


READS = (
    ("hostname",), ("who",), ("uptime", "-s"), ("id", "-u"), ("uname", "-r"), ("sudo", "-n", "true"), ("k3s", "--version"),
    ("systemctl", "is-system-running"), ("systemd-inhibit", "--list", "--no-legend", "--no-pager"), ("cat", "/proc/sys/kernel/random/boot_id"),
    ("cat", "/proc/uptime"), ("cat", "/proc/loadavg"), ("cat", "/etc/os-release"), ("systemctl", "is-active", "k3s-agent"),
    ("systemctl", "show", "k3s-agent.service", "--property=ActiveState,InvocationID", "--no-pager"),
    ("journalctl", "--unit=k3s-agent", "--lines=5", "--output=short-iso", "--no-pager", "--utc"), ("journalctl", "--disk-usage"),
    ("journalctl", "--list-boots"), ("journalctl", "-u", "k3s-agent", "-n", "3", "-o", "cat", "--since", "2026-01-01 00:00:00"),
    ("df", "-B1", "--output=size,used,avail,target", "/var/lib/rancher", "/var/lib/longhorn", "/"),
    ("du", "-x", "-s", "-B1", "/var/log/journal", APT, f"{K3S}/data", f"{K3S}/agent/images", f"{K3S}/agent/containerd"),
    ("ls", "-1A", f"{K3S}/data"), ("readlink", "-f", f"{K3S}/data/current", f"{K3S}/data/previous"), ("k3s", "crictl", "images", "-o", "json"),
    ("k3s", "crictl", "imagefsinfo", "-o", "json"), ("k3s", "crictl", "ps", "-a", "-o", "json"), ("env", "LC_ALL=C", "uptime", "-s"),
)  # fmt: skip


@pytest.mark.parametrize("argv", READS, ids=" ".join)
def test_every_reading_command_of_the_console_is_answered(argv: tuple[str, ...]) -> None:
    """What the console may read from a host, as it sends it, a host of the lab answers, for root through sudo and for a login as root."""
    assert is_read(argv)
    on = machine()
    for line, user in ((f"sudo -n -- {shlex.join(argv)}", "lab"), (shlex.join(argv), "root")):
        said = run(line, on=on, user=user)
        assert (said.exit, said.err) == (0, ""), said
