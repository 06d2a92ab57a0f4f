"""df, du, ls, readlink, rm and what else looks at or makes room on a disk."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from datetime import UTC, datetime

from coldtui.lab.hosts.files import BLOCK_B, Entry, Tree
from coldtui.lab.hosts.machine import CONTAINERD
from coldtui.lab.hosts.programs.basic import PSEUDO, ROOT_ONLY
from coldtui.lab.hosts.shell import Call, Program

LONGHORN = "/var/lib/longhorn"
INODE_B = 16384
COLUMNS = {"source": "Filesystem", "fstype": "Type", "size": "1B-blocks", "used": "Used", "avail": "Avail", "pcent": "Use%", "itotal": "Inodes",
           "iused": "IUsed", "iavail": "IFree", "ipcent": "IUse%", "file": "File", "target": "Mounted on"}  # fmt: skip
PLAIN = ("source", "size", "used", "avail", "pcent", "target")
APT = "/var/cache/apt/archives"


def split(arguments: tuple[str, ...], with_value: tuple[str, ...] = ()) -> tuple[dict[str, str], list[str]]:
    """Options (name -> value) and the other words; single letters are taken apart."""
    options: dict[str, str] = {}
    words: list[str] = []
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        if word == "--":
            words += rest
            break
        if word.startswith("--"):
            name, equal, value = word.partition("=")
            options[name] = value if equal else rest.pop(0) if name in with_value and rest else ""
        elif word.startswith("-") and len(word) > 1:
            letters = word[1:]
            while letters:
                name, letters = f"-{letters[0]}", letters[1:]
                if name in with_value:
                    options[name] = letters or (rest.pop(0) if rest else "")
                    break
                options[name] = ""
        else:
            words.append(word)
    return options, words


# --- df


def _systems(call: Call) -> list[dict[str, str | int]]:
    machine = call.machine
    found: list[dict[str, str | int]] = [_system("/dev/vda1", "ext4", "/", machine.capacity, machine.used())]
    size, used = machine.storage_disk()
    if size:
        found.append(_system("/dev/vdb1", "ext4", LONGHORN, size, used))
    found.append(_system("tmpfs", "tmpfs", "/run", 832_706_560, 3_227_648))
    return found


def _system(source: str, kind: str, target: str, size: int, used: int) -> dict[str, str | int]:
    """Figures of one file system; a twentieth is kept for root, as the kubelet's numbers have it too."""
    avail = max(0, int(size * 0.95) - used)
    inodes = size // INODE_B
    inodes_used = int(inodes * (used / size) * 0.4)
    return {
        "source": source, "fstype": kind, "size": size, "used": used, "avail": avail, "pcent": f"{-(-100 * used // max(1, used + avail))}%",
        "itotal": inodes, "iused": inodes_used, "iavail": inodes - inodes_used, "ipcent": f"{-(-100 * inodes_used // inodes)}%", "target": target,
    }  # fmt: skip


async def df(call: Call) -> int:
    options, paths = split(call.arguments, ("-B", "--block-size", "-t", "-x"))
    systems, status, rows = _systems(call), 0, list[dict[str, str | int]]()
    for path in paths:
        if call.machine.tree.get(path) is None and path not in PSEUDO and path != "/":
            call.err(f"df: {path}: No such file or directory")
            status = 1
            continue
        real = call.machine.tree.resolve(path) or path
        held = max((s for s in systems if _within(real, str(s["target"]))), key=lambda s: len(str(s["target"])))
        rows.append({**held, "file": path})
    if not paths:
        rows = [{**system, "file": "-"} for system in systems]
    if not rows:
        return status
    unit = _unit(options)
    columns = [c for c in (options.get("--output") or ",".join(PLAIN)).split(",") if c in COLUMNS]
    table = [[_heading(column, unit) for column in columns]]
    table += [[_figure(row[column], unit if column in ("size", "used", "avail") else "1") for column in columns] for row in rows]
    for line in aligned(table):
        call.out(line)
    return status


def _within(path: str, folder: str) -> bool:
    return folder == "/" or path == folder or path.startswith(folder + "/")


def _unit(options: dict[str, str]) -> str:
    if "-h" in options:
        return "h"
    if "-m" in options:
        return "1M"
    return (options.get("-B") or options.get("--block-size") or ("1" if "-b" in options else "1K")).upper().removesuffix("B") or "1"


def _heading(column: str, unit: str) -> str:
    if column != "size":
        return COLUMNS[column]
    return {"1": "1B-blocks", "h": "Size", "1K": "1K-blocks"}.get(unit, f"{unit}-blocks")


def _figure(value: str | int, unit: str) -> str:
    if isinstance(value, str):
        return value
    if unit == "h":
        return human(value)
    factor = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}.get(unit[-1], 1) * (
        int(unit.rstrip("KMG") or 1) if unit.rstrip("KMG").isdigit() else 1
    )
    return str(-(-value // factor))


def human(count: int) -> str:
    """``38G`` as coreutils write sizes."""
    value = float(count)
    for unit in ("", "K", "M", "G", "T"):
        if value < 1024 or unit == "T":
            return f"{value:.1f}{unit}" if 0 < value < 10 and unit else f"{value:.0f}{unit}"
        value /= 1024
    return str(count)


def aligned(table: list[list[str]]) -> Iterator[str]:
    """Columns as df sets them: texts to the left, numbers to the right."""
    widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
    left = [not (table[-1][i][:1].isdigit()) for i in range(len(table[0]))]
    for row in table:
        yield " ".join(cell.ljust(w) if to_left else cell.rjust(w) for cell, w, to_left in zip(row, widths, left, strict=True)).rstrip()


# --- files


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
            call.out(f"{_figure(_size(call, below), _unit(options))}\t{shown + below[len(real) :]}")
        total += _size(call, real)
    if "-c" in options:
        call.out(f"{_figure(total, _unit(options))}\ttotal")
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
    "df": df, "du": du, "ls": ls, "readlink": readlink, "rm": rm, "stat": stat, "test": test, "[": test, "find": find, "apt-get": apt_get, "apt": apt_get,
}  # fmt: skip
