"""du, ls, readlink, rm and what else looks at files or removes them."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from datetime import UTC, datetime

from coldtui.lab.hosts.files import BLOCK_B, Entry, Tree
from coldtui.lab.hosts.machine import CONTAINERD
from coldtui.lab.hosts.programs.basic import PSEUDO, ROOT_ONLY
from coldtui.lab.hosts.programs.options import figure, split, unit_of
from coldtui.lab.hosts.shell import Call, Program

APT = "/var/cache/apt/archives"


def _denied(call: Call, path: str) -> bool:
    """Whether `lab` may not look in there."""
    real = call.machine.tree.resolve(path) or path
    return not call.root and any(real.startswith(folder + "/") for folder in ROOT_ONLY)


def _size(call: Call, path: str) -> int:
    """With the images, which are not in the tree."""
    total = call.machine.tree.size(path)
    if path in ("/", CONTAINERD) or CONTAINERD.startswith(path.rstrip("/") + "/"):
        total += sum(image.size for image in call.machine.images)
    return total


async def du(call: Call) -> int:
    options, paths = split(call.arguments, ("-d", "--max-depth", "-B", "--block-size"))
    status, total = 0, 0
    for path in paths or ["."]:
        real = call.machine.tree.resolve(path)
        if _denied(call, path):
            call.err(f"du: cannot read directory '{path}': Permission denied")
            status = 1
            continue
        if real is None or call.machine.tree.get(real) is None:
            call.err(f"du: cannot access '{path}': No such file or directory")
            status = 1
            continue
        depth = options.get("-d") or options.get("--max-depth") or ("0" if "-s" in options or "--summarize" in options else "9")
        shown = path.rstrip("/") or "/"
        for below in _folders(call.machine.tree, real, int(depth)):
            call.out(f"{figure(_size(call, below), unit_of(options))}\t{shown + below[len(real) :]}")
        total += _size(call, real)
    if "-c" in options:
        call.out(f"{figure(total, unit_of(options))}\ttotal")
    return status


def _folders(tree: Tree, path: str, depth: int) -> Iterator[str]:
    """Folders below a path, deepest first, then the path itself."""
    if depth > 0:
        for name in tree.children(path):
            below = posixpath.join(path, name)
            if tree.entries[below].kind == "d":
                yield from _folders(tree, below, depth - 1)
    yield path


async def ls(call: Call) -> int:
    options, paths = split(call.arguments, ("-I", "--color"))
    tree, status = call.machine.tree, 0
    for index, path in enumerate(paths or ["."]):
        entry = tree.get(path.rstrip("/") or "/")
        if _denied(call, path):
            call.err(f"ls: cannot open directory '{path}': Permission denied")
            status = 2
            continue
        if entry is None and path not in (".", *PSEUDO):
            call.err(f"ls: cannot access '{path}': No such file or directory")
            status = 2
            continue
        real = tree.resolve(path) or path
        folder = entry is not None and (tree.get(real) or entry).kind == "d" and "-d" not in options
        if len(paths) > 1 and folder:
            call.out(("\n" if index else "") + f"{path}:")
        names = tree.children(real) if folder else [path]
        for name in names if "-a" in options or "-A" in options else [n for n in names if not n.startswith(".")]:
            call.out(_listed(call, posixpath.join(real, name) if folder else path, name) if "-l" in options else name)
    return status


def _listed(call: Call, path: str, name: str) -> str:
    entry = call.machine.tree.get(path) or Entry("f")
    kind = {"d": "drwxr-xr-x", "l": "lrwxrwxrwx", "f": "-rw-r--r--"}[entry.kind]
    at = (entry.at or call.machine.booted).astimezone(UTC)
    size = entry.size if entry.kind == "f" else BLOCK_B if entry.kind == "d" else len(entry.target)
    return f"{kind} 1 root root {size:>12} {at:%b %e %H:%M} {name}" + (f" -> {entry.target}" if entry.kind == "l" else "")


async def readlink(call: Call) -> int:
    options, paths = split(call.arguments)
    status = 0
    for path in paths:
        entry = call.machine.tree.get(path)
        if any(o in options for o in ("-f", "-e", "-m", "--canonicalize", "--canonicalize-existing")):
            real = call.machine.tree.resolve(path)
            if real is None or _denied(call, path) or ("-e" in options and call.machine.tree.get(real) is None):
                status = 1
            else:
                call.out(real)
        elif entry is not None and entry.kind == "l":
            call.out(entry.target)
        else:
            status = 1
    return status


async def rm(call: Call) -> int:
    options, paths = split(call.arguments)
    deep = any(o in options for o in ("-r", "-R", "--recursive"))
    quiet = "-f" in options or "--force" in options
    tree, status = call.machine.tree, 0
    before = call.machine.tracked()
    for path in paths:
        where = posixpath.normpath(path)
        entry = tree.get(where)
        if where == "/":
            call.err("rm: it is dangerous to operate recursively on '/'\nrm: use --no-preserve-root to override this failsafe")
            status = 1
        elif entry is None:
            if not quiet:
                call.err(f"rm: cannot remove '{path}': No such file or directory")
                status = 1
        elif not call.root:
            call.err(f"rm: cannot remove '{path}': Permission denied")
            status = 1
        elif entry.kind == "d" and not deep:
            call.err(f"rm: cannot remove '{path}': Is a directory")
            status = 1
        else:
            parent = tree.resolve(posixpath.dirname(where)) or posixpath.dirname(where)
            tree.remove(posixpath.join(parent, posixpath.basename(where)))
            if "-v" in options:
                call.out(f"removed '{path}'")
    if call.machine.tracked() != before:
        call.machine.hooks.cleaned()
    return status


async def stat(call: Call) -> int:
    options, paths = split(call.arguments, ("-c", "--format", "--printf"))
    form = options.get("-c") or options.get("--format") or options.get("--printf") or "%n %s"
    status = 0
    for path in paths:
        entry = call.machine.tree.get(path)
        if entry is None or _denied(call, path):
            call.err(f"stat: cannot statx '{path}': {'No such file or directory' if entry is None else 'Permission denied'}")
            status = 1
            continue
        kind = {"d": "directory", "l": "symbolic link", "f": "regular file"}[entry.kind]
        at = entry.at or call.machine.booted
        size = entry.size if entry.kind == "f" else BLOCK_B
        values = {
            "%n": path,
            "%s": str(size),
            "%F": kind,
            "%Y": str(int(at.timestamp())),
            "%U": "root",
            "%a": "755" if entry.kind == "d" else "644",
        }
        line = form.replace("\\n", "\n").replace("\\t", "\t")
        for key, value in values.items():
            line = line.replace(key, value)
        call.io.out(line if "--printf" in options else line + "\n")
    return status


async def test(call: Call) -> int:
    """``test -e|-d|-f|-L PATH``; also ``[``."""
    words = [word for word in call.arguments if word != "]"]
    if len(words) == 1:
        return 0 if words[0] else 1
    if len(words) != 2:
        call.err("bash: test: this host's shell does not do that")
        return 2
    flag, path = words
    entry = call.machine.tree.get(path) or (Entry("f") if path in PSEUDO else None)
    if flag in ("-z", "-n"):
        return 0 if bool(path) == (flag == "-n") else 1
    if entry is not None and entry.kind == "l" and flag not in ("-L", "-h"):
        entry = call.machine.tree.get(call.machine.tree.resolve(path) or "")
    kinds = {"-e": "dfl", "-r": "dfl", "-d": "d", "-f": "f", "-L": "l", "-h": "l", "-s": "df", "-w": "dfl", "-x": "d"}
    return 0 if entry is not None and entry.kind in kinds.get(flag, "") else 1


async def find(call: Call) -> int:
    """With -mindepth, -maxdepth, -type, -name and -printf; nothing else."""
    paths = []
    rest = list(call.arguments)
    while rest and not rest[0].startswith("-"):
        paths.append(rest.pop(0))
    rules = dict(zip(rest[::2], rest[1::2], strict=False))
    unknown = set(rules) - {"-mindepth", "-maxdepth", "-type", "-name", "-printf"}
    if unknown:
        call.err(f"find: this host's find does not do `{min(unknown)}'")
        return 1
    status = 0
    for path in paths or ["."]:
        if _denied(call, path + "/x"):
            call.err(f"find: ‘{path}’: Permission denied")
            status = 1
            continue
        real = call.machine.tree.resolve(path)
        if real is None or call.machine.tree.get(real) is None:
            call.err(f"find: ‘{path}’: No such file or directory")
            status = 1
            continue
        for name, entry in sorted(call.machine.tree.below(real)):
            if _matches(name[len(real) :], entry, rules):
                shown = path.rstrip("/") + name[len(real) :]
                call.io.out(_printed(rules.get("-printf", "%p\\n"), shown, entry, call.machine.booted))
    return status


def _matches(below: str, entry: Entry, rules: dict[str, str]) -> bool:
    import fnmatch

    depth = below.count("/")
    return (
        int(rules.get("-mindepth", 0)) <= depth <= int(rules.get("-maxdepth", 99))
        and rules.get("-type", entry.kind) == entry.kind
        and fnmatch.fnmatchcase(posixpath.basename(below), rules.get("-name", "*"))
    )


def _printed(form: str, path: str, entry: Entry, booted: datetime) -> str:
    text = form.replace("\\n", "\n").replace("\\t", "\t").replace("\\0", "\0")
    size = entry.size if entry.kind == "f" else BLOCK_B
    stamp = (entry.at or booted).timestamp()
    for key, value in {
        "%p": path,
        "%f": posixpath.basename(path),
        "%s": str(size),
        "%y": entry.kind,
        "%l": entry.target,
        "%T@": f"{stamp:.10f}",
    }.items():
        text = text.replace(key, value)
    return text


async def apt_get(call: Call) -> int:
    words = [word for word in call.arguments if not word.startswith("-")]
    if words[:1] not in (["clean"], ["autoclean"]):
        call.err(f"E: Invalid operation {words[0] if words else ''}".rstrip() + " (this host only cleans)")
        return 100
    if not call.root:
        call.err(f"E: Could not open lock file {APT}/lock - open (13: Permission denied)\nE: Unable to lock directory {APT}/")
        return 100
    tree, before = call.machine.tree, call.machine.tracked()
    for name in tree.children(APT):
        if name.endswith(".deb"):
            tree.remove(f"{APT}/{name}")
    if call.machine.tracked() != before:
        call.machine.hooks.cleaned()
    return 0


PROGRAMS: dict[str, Program] = {
    "du": du, "ls": ls, "readlink": readlink, "rm": rm, "stat": stat, "test": test, "[": test, "find": find, "apt-get": apt_get, "apt": apt_get,
}  # fmt: skip
