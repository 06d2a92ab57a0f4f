"""Which kubeconfig, and which of its clusters and users. Files are merged as kubectl merges them: the first definition of a name wins."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from typing import Any

import yaml

from coldtui.domain.values import dataclass

from ...domain.errors import Misconfigured
from ...domain.text import one_of, plain

_Loader: type[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, slots=True)
class Places:
    """Where to look. Tests give their own."""

    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    home: Path = field(default_factory=Path.home)
    k3s: Path = Path("/etc/rancher/k3s/k3s.yaml")
    account: Path = Path("/var/run/secrets/kubernetes.io/serviceaccount")
    """Token, CA and namespace of the pod that we run in."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One named cluster, user or context, and the file that defines it (relative paths are relative to that)."""

    name: str
    value: Mapping[str, Any]
    file: Path
    section: str

    def text(self, key: str) -> str:
        """A field as text, empty when absent. Raises Misconfigured when it is something else."""
        found = self.value.get(key)
        if found is None:
            return ""
        if not isinstance(found, str):
            raise self.wrong(f"{key} must be text", key=key)
        return found

    def wrong(self, what: str, *, key: str = "", hint: str = "") -> Misconfigured:
        """What is wrong with this entry, with file and line; never with a value, which may be a secret."""
        where = f"{self.file}{_line(self.file, self.section, self.name, key)}"
        return Misconfigured(f"{self.section[:-1]} {plain(self.name)}: {what}", detail=where, hint=hint)


@dataclass(frozen=True, slots=True)
class Chosen:
    """The context to use, resolved."""

    context: str
    cluster: Entry
    user: Entry
    namespace: str


def files(kubeconfig: Path | None, places: Places) -> tuple[Path, ...]:
    """The kubeconfig files to read, in order; empty: none, but we run in a pod. Raises Misconfigured with everything that was tried."""
    if kubeconfig is not None:
        if not kubeconfig.expanduser().exists():
            raise Misconfigured(f"kubeconfig {kubeconfig} does not exist", hint="check --kubeconfig")
        return (kubeconfig.expanduser(),)
    if named := places.environ.get("KUBECONFIG", ""):
        listed = [Path(part).expanduser() for part in named.split(os.pathsep) if part]
        found = tuple(path for path in listed if path.exists())
        if not found:
            tried = ", ".join(map(str, listed))
            raise Misconfigured(f"$KUBECONFIG names no file that exists: {tried}", hint="correct or unset KUBECONFIG")
        return found
    usual = places.home / ".kube" / "config"
    for path in (usual, places.k3s):
        if _exists(path):
            return (path,)
    if places.environ.get("KUBERNETES_SERVICE_HOST") and (places.account / "token").exists():
        return ()
    raise Misconfigured(
        "no kubeconfig found",
        detail=f"tried --kubeconfig (not given), $KUBECONFIG (not set), {usual}, {places.k3s}, in-cluster credentials ({places.account})",
        hint="copy /etc/rancher/k3s/k3s.yaml from the K3s server to ~/.kube/config and replace 127.0.0.1 in it by the server's address",
    )


def _exists(path: Path) -> bool:
    """Also true for a file in a folder that we may not enter: reading it then says so, with a remedy."""
    try:
        return path.exists()
    except PermissionError:
        return True


def choose(paths: tuple[Path, ...], context: str | None) -> Chosen:
    """The context that was asked for, else the current one. Raises Misconfigured."""
    current, entries = "", {"clusters": dict[str, Entry](), "users": dict[str, Entry](), "contexts": dict[str, Entry]()}
    for path in paths:
        document = _read(path)
        current = current or str(document.get("current-context") or "")
        for section, found in entries.items():
            for name, value in _named(document, section, path):
                found.setdefault(name, Entry(name, value, path, section))
    where = ", ".join(map(str, paths))
    known = sorted(entries["contexts"])
    wanted = context or current or (known[0] if len(known) == 1 else "")
    if not wanted:
        raise Misconfigured(f"no current context in {where}", hint=_offer(known) or "the file names no context at all")
    chosen = entries["contexts"].get(wanted)
    if chosen is None:
        near = one_of(known, wanted)
        raise Misconfigured(
            f"context {plain(wanted)} is not in {where}",
            hint=f"did you mean {plain(near)}?" if near else _offer(known) or "it names no context",
        )
    cluster = _partner(chosen, "cluster", entries["clusters"])
    user = _partner(chosen, "user", entries["users"])
    return Chosen(plain(wanted), cluster, user, plain(chosen.text("namespace")))


def _offer(known: list[str]) -> str:
    return f"there are: {', '.join(map(plain, known[:8]))}" + (" …" if len(known) > 8 else "") if known else ""


def _partner(context: Entry, key: str, found: dict[str, Entry]) -> Entry:
    name = context.text(key)
    if not name:
        if key == "user":
            return Entry("", {}, context.file, "users")  # allowed: an API server without authentication
        raise context.wrong(f"it names no {key}", hint=f"add `{key}:` to the context")
    if name not in found:
        raise context.wrong(f"its {key} {plain(name)} is not defined", key=key, hint=_offer(sorted(found)))
    return found[name]


def _read(path: Path) -> Mapping[str, Any]:
    try:
        text = path.read_text()
    except PermissionError:
        raise Misconfigured(
            f"kubeconfig {path} may not be read by this user",
            hint="run with sudo, or copy it to ~/.kube/config and give yourself that copy (chmod 600)",
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror or "" if isinstance(error, OSError) else "it is not text"
        raise Misconfigured(f"kubeconfig {path} cannot be read", detail=reason) from None
    try:
        document = yaml.load(text, Loader=_Loader)  # a safe loader, in C if there is one
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f":{mark.line + 1}" if mark else ""
        # The exception's own text quotes the line, which may hold a key.
        raise Misconfigured(
            f"kubeconfig {path}{line} is not valid YAML", detail=plain(error.problem or ""), hint="correct that line"
        ) from None
    except (yaml.YAMLError, ValueError, RecursionError):
        raise Misconfigured(f"kubeconfig {path} is not valid YAML") from None
    if document is None:
        return {}  # kubectl writes empty files
    if not isinstance(document, dict):
        raise Misconfigured(f"kubeconfig {path}:1 must be a mapping with clusters, users and contexts")
    return document


def _named(document: Mapping[str, Any], section: str, path: Path) -> list[tuple[str, Mapping[str, Any]]]:
    listed = document.get(section) or []
    if not isinstance(listed, list):
        raise Misconfigured(f"{section} must be a list", detail=f"{path}{_line(path, section)}")
    found: list[tuple[str, Mapping[str, Any]]] = []
    for number, item in enumerate(listed, 1):
        name = item.get("name") if isinstance(item, dict) else None
        value = (item.get(section[:-1]) or {}) if isinstance(item, dict) else None
        if not isinstance(name, str) or not isinstance(value, dict):
            raise Misconfigured(
                f"entry {number} of {section} needs `name` and `{section[:-1]}`", detail=f"{path}{_line(path, section, index=number - 1)}"
            )
        found.append((name, value))
    return found


def _line(path: Path, section: str, name: str = "", key: str = "", *, index: int | None = None) -> str:
    """`:LINE` of an entry or its field; only on the way to an error, so the file is read again."""
    try:
        root = yaml.compose(path.read_text(), Loader=_Loader)
    except (OSError, ValueError, yaml.YAMLError):
        return ""
    found = _child(root, section)
    if not isinstance(found, yaml.SequenceNode):
        return f":{found.start_mark.line + 1}" if found else ""
    for number, item in enumerate(found.value):
        label = _child(item, "name")
        if number == index or (index is None and isinstance(label, yaml.ScalarNode) and label.value == name):
            inner = _child(item, section[:-1])
            precise = _child(inner, key) if key and inner is not None else None
            return f":{(precise or item).start_mark.line + 1}"
    return f":{found.start_mark.line + 1}"


def _child(node: Any, key: str) -> Any:
    if isinstance(node, yaml.MappingNode):
        return next((value for label, value in node.value if isinstance(label, yaml.ScalarNode) and label.value == key), None)
    return None
