"""df: the file systems of a host, in the kubelet's numbers."""

from __future__ import annotations

from coldtui.lab.hosts.programs.basic import PSEUDO
from coldtui.lab.hosts.programs.options import aligned, figure, split, unit_of
from coldtui.lab.hosts.shell import Call, Program

LONGHORN = "/var/lib/longhorn"
INODE_B = 16384
COLUMNS = {"source": "Filesystem", "fstype": "Type", "size": "1B-blocks", "used": "Used", "avail": "Avail", "pcent": "Use%", "itotal": "Inodes",
           "iused": "IUsed", "iavail": "IFree", "ipcent": "IUse%", "file": "File", "target": "Mounted on"}  # fmt: skip
PLAIN = ("source", "size", "used", "avail", "pcent", "target")


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
    unit = unit_of(options)
    columns = [c for c in (options.get("--output") or ",".join(PLAIN)).split(",") if c in COLUMNS]
    table = [[_heading(column, unit) for column in columns]]
    table += [[figure(row[column], unit if column in ("size", "used", "avail") else "1") for column in columns] for row in rows]
    for line in aligned(table):
        call.out(line)
    return status


def _within(path: str, folder: str) -> bool:
    return folder == "/" or path == folder or path.startswith(folder + "/")


def _heading(column: str, unit: str) -> str:
    if column != "size":
        return COLUMNS[column]
    return {"1": "1B-blocks", "h": "Size", "1K": "1K-blocks"}.get(unit, f"{unit}-blocks")


PROGRAMS: dict[str, Program] = {"df": df}
