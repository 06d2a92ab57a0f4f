"""Addresses of hosts, and the paths that nothing may touch."""

from __future__ import annotations

import posixpath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coldtui.domain.hosts import NEVER, HostAddress, forbidden, host_address


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("10.0.0.1", HostAddress("10.0.0.1")),
        ("root@10.0.0.1", HostAddress("10.0.0.1", "root")),
        ("host.example:2222", HostAddress("host.example", "", 2222)),
        ("a.b@h-1:22", HostAddress("h-1", "a.b", 22)),
        ("[fe80::1]", HostAddress("fe80::1")),
        ("u@[fe80::1%eth0]:22", HostAddress("fe80::1%eth0", "u", 22)),
        (" h ", HostAddress("h")),
    ],
)
def test_addresses(text: str, found: HostAddress) -> None:
    """User and port may be left out; IPv6 stands in brackets."""
    assert host_address(text) == found


@pytest.mark.parametrize("text", ["", "a b", "h:0", "h:65536", "fe80::1", "@h", "h:", "ssh://h", "-oProxyCommand=x", "h/x", "a@b@c"])
def test_what_is_no_address(text: str) -> None:
    """Everything else is told as wrong, options of ssh above all."""
    with pytest.raises(ValueError):
        host_address(text)


REFUSED = """\
/var/lib/longhorn
/var/lib/longhorn/
/var/lib/longhorn/replicas/pvc-1
//var///lib/longhorn
/var/lib/./longhorn
/var/lib/rancher/../longhorn
/var/lib/rancher/k3s/storage
/var/lib/rancher/k3s/storage/pvc-1
/var/lib/rancher/k3s/server/db
/var/lib/rancher/k3s/server/db/state.db
/var/lib/rancher/k3s/data/../server/db
/var/lib/rancher/k3s/server
/var/lib/rancher/k3s
/var/lib/rancher/k3s/
/var/lib/rancher
/var/lib
/var
/
//
/.
/..
/proc/1/root/var/lib/longhorn
/proc/self/root/proc/1/root/var/lib
/proc/1/root
/proc/self/cwd
/var/lib/l*
/var/lib/*
/var/*/longhorn
/*
/v?r/lib/longhorn
/var/lib/[l]onghorn
/var/lib/{longhorn,x}
/var/lib/$X
/var/lib/`x`
/$ROOT/lib/longhorn
/var/lib/rancher/k3s/data/*/../../storage
../longhorn
../../var/lib
a/../../b
/mnt/big/k3s/storage
/mnt/big/server/db
/mnt/big/k3s/storage/x
k3s/storage
--target=/var/lib/longhorn
if=/var/lib/rancher/k3s/server/db/state.db
rm -rf /var/lib/longhorn
cd /;rm -r var
sh -c 'rm -rf "/var/lib/longhorn"'
x&&rm>/var/lib/longhorn/a
-C/var/lib/longhorn
-rf/
a:/var/lib/longhorn"""

ALLOWED = """\
/var/lib/rancher/k3s/data/0123
/var/lib/rancher/k3s/agent/images/k3s-airgap-images-amd64.tar.zst
/var/lib/rancher/k3s/server/token
/var/lib/kubelet
/var/lib/longhorn-old
/var/log/journal
/var/cache/apt/archives
/var/lib/rancher/k3s/storage-old
/etc/rancher/k3s/config.yaml
/tmp/*
/tmp/$X
systemctl
restart
k3s-agent
--vacuum-size=200M
-rf
--
.
https://get.k3s.io/
s/a/b/
1..3/4"""


@pytest.mark.parametrize("text", REFUSED.splitlines())
def test_what_leads_to_data_is_found(text: str) -> None:
    """The paths, what is inside, what is above, other spellings of them, and lines for a shell that name them."""
    assert forbidden(["rm", "-rf", text]) == text


@pytest.mark.parametrize("text", ALLOWED.splitlines())
def test_what_is_near_is_not(text: str) -> None:
    """Neighbours of the paths and ordinary words are not held up."""
    assert forbidden(["rm", text]) == ""


@given(
    st.sampled_from(NEVER),
    st.lists(st.sampled_from(["x", ".", "..", "", "*", "longhorn", "data"]), max_size=4),
    st.lists(st.sampled_from(["/", "//", "/./"]), min_size=8, max_size=8),
)
def test_every_spelling_of_a_forbidden_path_is_found(never: str, more: list[str], slashes: list[str]) -> None:
    """Whatever is put behind such a path, and however its slashes are written, is found unless it plainly leads elsewhere."""
    parts = [*never.strip("/").split("/"), *more]
    text = "".join(slash + part for slash, part in zip(slashes, parts, strict=False))
    plain = posixpath.normpath(text)
    leads = any(plain == n or plain.startswith(n + "/") or n.startswith(plain.rstrip("/") + "/") for n in NEVER)
    if leads and "*" not in more:
        assert forbidden([text]) == text
