"""The fixed table of reading commands: every form that is meant, and nothing that only looks like one."""

from __future__ import annotations

import pytest

from coldtui.adapters.ssh.table import check, is_read
from coldtui.domain.errors import Refused
from coldtui.ports import Command

HASH = "0123456789abcdef" * 4
READS = """\
hostname
cat /proc/sys/kernel/random/boot_id
cat /proc/uptime
uptime -s
who
id -u
pgrep -x -c postgres
sudo -n true
env LC_ALL=C uptime -s
systemctl is-active k3s
systemctl is-active k3s-agent.service
systemctl is-system-running
systemctl show --no-pager --property=LoadState,ActiveState,InvocationID k3s k3s-agent
systemd-inhibit --list --no-legend --no-pager
journalctl -u k3s-agent -n 200 --no-pager -o short-iso
journalctl -f -n 0 -u k3s -o cat
journalctl --disk-usage
journalctl -b -1 -u k3s --since=2026-05-04T12:00:00Z --no-pager
df -B1 --output=size,used,avail /
df -B1 --output=avail / /var/lib/longhorn
du -x -s -B1 /var/log/journal /var/cache/apt/archives
k3s crictl images -o json
k3s crictl ps -a -o json
k3s crictl imagefsinfo -o json
ls -1A /var/lib/rancher/k3s/data
readlink -f /var/lib/rancher/k3s/data/current /var/lib/longhorn"""

NOT_READS = """\
reboot
systemctl reboot
systemctl restart k3s
systemctl show
systemctl show ssh
systemctl is-active k3s; reboot
systemctl is-active k3s --kill
systemctl --force is-active k3s
hostname evil
pgrep -x -c sshd
pgrep -f -c postgres
hostname -F /etc/x
cat /etc/shadow
cat /proc/uptime /etc/shadow
sudo -n reboot
sudo true
env LC_ALL=C reboot
env LC_ALL=de uptime -s
env PATH=/tmp uptime -s
journalctl --vacuum-size=1M
journalctl --rotate
journalctl -u k3s --vacuum-time=1s
journalctl -u ssh
journalctl -u
journalctl --file=/etc/shadow
journalctl -n ten
journalctl
df
df -B1 --output=size
df -B1 --output=size /etc
du -x -s -B1 /etc
du -x -s -B1
du -s /var/log/journal
k3s crictl rmi --prune
k3s crictl images
k3s kubectl get secrets
ls -1A /root
ls -1A --color /
readlink /etc/shadow
readlink -f /var/lib/rancher/k3s/data/../../..
k3s-killall.sh
id
sh -c id"""


@pytest.mark.parametrize("line", READS.splitlines())
def test_a_reading_command_passes(line: str) -> None:
    """With a closed gate each form of the table is sent, as root or not."""
    check(Command(tuple(line.split()), mutates=False, root=True), writable=False)


def test_places_that_are_found_on_the_host_pass() -> None:
    """An unpacked release and a file with images may be measured and followed, by exact shape."""
    for path in (f"/var/lib/rancher/k3s/data/{HASH}", "/var/lib/rancher/k3s/agent/images/k3s-airgap-images-amd64.tar.zst"):
        assert is_read(("du", "-x", "-s", "-B1", path))
        assert is_read(("readlink", "-f", path))
    for path in (
        f"/var/lib/rancher/k3s/data/{HASH}/../../x",
        "/var/lib/rancher/k3s/agent/images/../x",
        "/var/lib/rancher/k3s/agent/images/.x",
    ):
        assert not is_read(("du", "-x", "-s", "-B1", path))


@pytest.mark.parametrize("line", NOT_READS.splitlines())
def test_everything_else_is_refused(line: str) -> None:
    """With a closed gate nothing else is sent, however near it is, and whatever it says of itself."""
    for mutates in (False, True):
        with pytest.raises(Refused, match="not sent to the host"):
            check(Command(tuple(line.split()), mutates=mutates), writable=False)


def test_a_read_with_stdin_or_without_words_is_none() -> None:
    """What is fed into a command may change what it does; no words are no command."""
    with pytest.raises(Refused):
        check(Command(("hostname",), mutates=False, stdin=b"x"), writable=False)
    with pytest.raises(Refused):
        check(Command((), mutates=False), writable=True)


def test_words_are_shown_harmless() -> None:
    """The refusal shows what was asked for, without control characters."""
    with pytest.raises(Refused) as caught:
        check(Command(("rm", "\x1b[31m"), mutates=True), writable=False)
    assert "\x1b" not in str(caught.value)


def test_an_open_gate_sends_what_was_confirmed() -> None:
    """A confirmed run may reboot, restart and clean."""
    for line in (
        "systemctl reboot",
        "systemctl restart --no-block k3s",
        "k3s crictl rmi --prune",
        f"rm -rf -- /var/lib/rancher/k3s/data/{HASH}",
    ):
        check(Command(tuple(line.split()), mutates=True, root=True), writable=True)
