from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from coldtui.adapters.kube.kubeconfig import Places, choose, files
from coldtui.domain.errors import Misconfigured
from tests.adapters.kube.scripted import kubeconfig


def places(home: Path, environ: Mapping[str, str] | None = None) -> Places:
    return Places(environ or {}, home, home / "k3s.yaml", home / "account")


def put(path: Path, text: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_the_order_in_which_files_are_found(tmp_path: Path) -> None:
    """The flag beats the variable, which beats the home folder, which beats the file of K3s, which beats the pod's own account."""
    pod = {"KUBERNETES_SERVICE_HOST": "10.43.0.1"}
    put(tmp_path / "account" / "token", "t")
    assert files(None, places(tmp_path, pod)) == ()
    k3s = put(tmp_path / "k3s.yaml")
    assert files(None, places(tmp_path, pod)) == (k3s,)
    usual = put(tmp_path / ".kube" / "config")
    assert files(None, places(tmp_path, pod)) == (usual,)
    one, two = put(tmp_path / "one"), put(tmp_path / "two")
    listed = {**pod, "KUBECONFIG": os.pathsep.join([str(one), str(tmp_path / "missing"), "", str(two)])}
    assert files(None, places(tmp_path, listed)) == (one, two)
    assert files(k3s, places(tmp_path, listed)) == (k3s,)


def test_nothing_found_lists_what_was_tried(tmp_path: Path) -> None:
    """The error names each place and the remedy."""
    with pytest.raises(Misconfigured) as caught:
        files(None, places(tmp_path))
    told = str(caught.value)
    for part in ("--kubeconfig", "$KUBECONFIG", ".kube/config", "k3s.yaml", "in-cluster", "copy /etc/rancher/k3s/k3s.yaml"):
        assert part in told


def test_a_named_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    """Neither the flag nor the variable falls back to another cluster in silence."""
    put(tmp_path / ".kube" / "config")
    with pytest.raises(Misconfigured, match="does not exist"):
        files(tmp_path / "missing", places(tmp_path))
    with pytest.raises(Misconfigured, match=r"\$KUBECONFIG names no file that exists"):
        files(None, places(tmp_path, {"KUBECONFIG": str(tmp_path / "missing")}))


def test_the_first_definition_wins(tmp_path: Path) -> None:
    """Files are merged by name as kubectl does, and each entry knows the file that defines it."""
    one, two = kubeconfig(tmp_path / "one", "https://one:1"), kubeconfig(tmp_path / "two", "https://two:2")
    extra = put(
        tmp_path / "three",
        "clusters: [{name: far, cluster: {server: 'https://far'}}]\ncontexts: [{name: far, context: {cluster: far, user: it, namespace: web}}]\n",
    )
    chosen = choose((one, two), None)
    assert (chosen.context, chosen.cluster.text("server"), chosen.cluster.file) == ("it", "https://one:1", one)
    far = choose((two, extra), "far")
    assert (far.cluster.file, far.user.file, far.namespace) == (extra, two, "web")


def test_an_unknown_context_offers_the_nearest(tmp_path: Path) -> None:
    """A mistyped context is answered by the one that was meant."""
    path = put(
        tmp_path / "c",
        "clusters: [{name: c, cluster: {server: 'https://c'}}]\nusers: [{name: u, user: {}}]\n"
        "contexts: [{name: production, context: {cluster: c, user: u}}, {name: lab, context: {cluster: c, user: u}}]\n",
    )
    with pytest.raises(Misconfigured, match="did you mean production"):
        choose((path,), "prodution")
    with pytest.raises(Misconfigured, match="there are: lab, production"):
        choose((path,), "zzz")
    with pytest.raises(Misconfigured, match=r"no current context.*there are: lab, production"):
        choose((path,), None)


SECRET = "abcdefghijklmnopqrstuvwxyz0123456789"
PREFIX = "apiVersion: v1\nkind: Config\n"
CONTEXT = "contexts:\n- name: it\n  context: {cluster: it, user: it}\ncurrent-context: it\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (PREFIX + f"users:\n- name: it\n  user:\n    token: {SECRET}\n   bad: [\n", r"config:\d+ is not valid YAML"),
        (PREFIX + "clusters: 3\n" + CONTEXT, r"clusters must be a list.*config:3"),
        (PREFIX + "clusters:\n- name: a\n  cluster: {}\n- cluster: {}\n" + CONTEXT, r"entry 2 of clusters needs `name`.*config:6"),
        (PREFIX + CONTEXT, r"its cluster it is not defined.*config:5"),
        (PREFIX + "clusters:\n- name: it\n  cluster: {server: 'https://x'}\n" + CONTEXT, r"its user it is not defined.*config:8"),
        (PREFIX + "contexts:\n- name: it\n  context: {user: it}\ncurrent-context: it\n", r"it names no cluster.*config:4"),
        ("- a\n- b\n", r"config:1 must be a mapping"),
        ("", "no current context"),
        ("\tx: 1\n", r"config:1 is not valid YAML"),
        ("a: !!python/object:os.system {}\n", "is not valid YAML"),
    ],
    ids=["broken", "no list", "no name", "no cluster", "no user", "no cluster named", "a list", "empty", "tab", "a tag"],
)  # fmt: skip
def test_what_is_wrong_is_told_with_file_and_line(tmp_path: Path, text: str, words: str) -> None:
    """Each fault of a kubeconfig is one line with its place, and never quotes a secret."""
    path = put(tmp_path / "config", text)
    with pytest.raises(Misconfigured, match=words) as caught:
        choose((path,), None)
    assert SECRET not in str(caught.value)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    """k3s.yaml belongs to root: the error says what to do."""
    path = kubeconfig(tmp_path / "c", "https://x")
    path.chmod(0)
    with pytest.raises(Misconfigured, match=r"may not be read by this user.*sudo"):
        choose((path,), None)


def test_a_file_that_is_a_folder_or_no_text(tmp_path: Path) -> None:
    """Neither is a crash."""
    with pytest.raises(Misconfigured, match="cannot be read"):
        choose((tmp_path,), None)
    (tmp_path / "b").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(Misconfigured, match="it is not text"):
        choose((tmp_path / "b",), None)
