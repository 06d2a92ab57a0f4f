"""What is measured, one function a site."""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.journal import journal
from benchmarks.places import PYTHON, Site, console, home, k9s, lab, real, rival
from benchmarks.postgres import servers
from benchmarks.runs import runs
from benchmarks.table import HERE, Report
from benchmarks.terminal import Terminal

NODES_LIVE = r"\A(?!.* as saved )(?:.*\n)+?.*Nodes +● 5 ready"
"""On the home screen, and not in the saved picture: nodes of an earlier session are `○ 5 of 5 ready, as last read`."""
ALL_LIVE = r"\A.*● kube +● pg +● lh +● lb"
SAVED = r"as saved \d+ s ago"
POD_ROWS = r"^ \S+ +\S+ +\d+/\d+ +\S+ (Running|Pending|Completed)"
NODE_ROWS = r"k3s-worker-1\b"


def small(report: Report, root: Path, quick: bool) -> None:
    """Five nodes, simulated: starts and keys on a site where nothing moves, then the same that lives."""
    report.part("5 nodes, 65 pods, simulated")
    with lab(root, "still", "--still") as site:
        _starts(report, root, site, 3 if quick else 7)
        _keys(report, root, site, 20 if quick else 60)
        _faults(report, root, site, 8 if quick else 20)
        _idle(report, root, site, "idle, nothing changes", 15 if quick else 30, 1_000, "575 bytes (reference)")
    with lab(root, "living") as site:
        _idle(report, root, site, "idle, living site", 15 if quick else 30, 15_000, "0.6 to 59 kB (reference)")
        _rival_small(report, root, site)


def on_real(report: Report, root: Path, quick: bool) -> None:
    """The same on a real kube-apiserver, its machines played by the lab."""
    report.part("5 nodes, 65 pods, real API server")
    with real(root) as site:
        time.sleep(10)  # its controllers take in the site that was just created; they would be measured too
        _starts(report, root, site, 3 if quick else 7, who="real")
        _keys(report, root, site, 20 if quick else 60, who="real")
        _idle(report, root, site, "idle, living site", 15 if quick else 30, 15_000, "0.6 to 59 kB (reference)", who="real")
        _rival_small(report, root, site)


def _starts(report: Report, root: Path, site: Site, runs: int, who: str = "still") -> None:
    env = home(root, f"starts-{who}")
    saved: list[float] = []
    live: list[float] = []
    whole: list[float] = []
    cpu: list[float] = []
    first: list[float] = []
    for run in range(runs + 1):
        with console(site, env) as terminal:
            if run:  # the first start has nothing saved yet
                terminal.until(SAVED, 20)
                saved.append(terminal.since_start())
            terminal.until(NODES_LIVE, 20)
            (live if run else first).append(terminal.since_start())
            if run:
                cpu.append(terminal.cpu())
            terminal.until(ALL_LIVE, 20)
            if run:
                whole.append(terminal.since_start())
            terminal.settle(0.5)
    report.add("saved picture with its age", saved, "s", 0.1)
    report.add("live rows", live, "s", 0.45, "1.25 to 1.35 s (reference)")
    report.add("CPU until then", cpu, "s", 0.45, "0.24 s (reference)")
    report.add("every source live", whole, "s")
    report.add("live rows, first start ever", first, "s", None, "1.25 to 1.35 s (reference)")


def _keys(report: Report, root: Path, site: Site, presses: int, who: str = "still") -> None:
    with console(site, home(root, f"keys-{who}")) as terminal:
        terminal.until(ALL_LIVE, 20)
        terminal.press("9", POD_ROWS)
        terminal.settle(1.5)
        moved = terminal.repeat("jjkk", presses)
        report.add("key to paint, median", moved.median_ms, "ms", 8, "5.5 to 9 ms (reference)")
        report.add("key to paint, p95", moved.p95_ms, "ms", 20, "9 to 20 ms (reference)")
        report.add("bytes of a cursor move", moved.median_bytes, "bytes", 1_500, "840 to 1,515 (reference)")
        terminal.send("j" * 40)
        terminal.settle(1.0)
        scrolled = terminal.repeat("j", min(20, presses))
        report.add("bytes of a scrolled row", scrolled.median_bytes, "bytes", 1_500, "0.8 to 1.5 kB (reference)")
        report.add("a scrolled row, median", scrolled.median_ms, "ms", 20)
        opened = [_switch(terminal, key, shows) for key, shows in (("2", "k3s-worker-4"), ("9", POD_ROWS)) * 5]
        report.add("another screen, median", opened, "ms", None, "55 to 75 ms (reference)")


def _switch(terminal: Terminal, key: str, shows: str) -> float:
    terminal.settle(0.3)
    terminal.send("1")
    terminal.until("Recoverable", 5)
    return terminal.press(key, shows, 5) * 1000


def _idle(report: Report, root: Path, site: Site, what: str, seconds: float, bytes_budget: float, beside: str, who: str = "") -> None:
    with console(site, home(root, f"idle-{site.folder.name}{who}"), keys="") as terminal:
        terminal.until(ALL_LIVE, 20)
        terminal.press("9", POD_ROWS)
        terminal.settle(8)  # facts, polls and the first collection of rubbish
        found = terminal.idle(seconds)
        report.add(f"{what}: CPU", found.cpu_percent, "% of a core", 0.7, "0.35 to 0.7 % (reference)")
        report.add(f"{what}: to the terminal", found.bytes_a_minute, "bytes/min", bytes_budget, beside)
        report.add(f"{what}: memory", found.memory_mb, "MB PSS", 80, "109 to 134 MB (reference)")


def _faults(report: Report, root: Path, site: Site, presses: int) -> None:
    for fault in ("api-paused", "api-down"):
        with console(site, home(root, "faults")) as terminal:
            terminal.until(ALL_LIVE, 20)
            terminal.press("9", POD_ROWS)
            site.fault(fault, True)
            try:
                terminal.settle(1.0)
                moved = terminal.repeat("jjkk", presses)
            finally:
                site.fault(fault, False)
            report.add(f"cursor keys, {fault}: p95", moved.p95_ms, "ms", 100, "10 ms, and k9s ends after 13 to 93 s (reference)")
            terminal.settle(1.0)


def large(report: Report, root: Path, quick: bool) -> None:
    """1,000 nodes and 20,000 pods: starts without anything saved, a filter, then 500 changes a second."""
    report.part("1,000 nodes, 20,000 pods, simulated")
    runs = 1 if quick else 2
    with lab(root, "large", "--scale", "1000x20000") as site:
        first: list[float] = []
        whole: list[float] = []
        cpu: list[float] = []
        nodes: list[float] = []
        memory: list[float] = []
        filtered: list[float] = []
        for run in range(runs):
            with console(site, home(root, f"large-{run}"), keys="9") as terminal:
                terminal.until(POD_ROWS, 60)
                first.append(terminal.since_start())
                terminal.until(r"\[(19|20)\d{3}\](?!.*partial)", 90)
                whole.append(terminal.since_start())
                cpu.append(terminal.cpu())
                terminal.settle(3)
                terminal.press("/", r"^ ?/", 5)
                terminal.send("app-7-1")
                terminal.settle(1.0)
                filtered.append(_filter_time(terminal))
                memory.append(terminal.memory())
            with console(site, home(root, f"large-nodes-{run}"), keys="2") as terminal:
                terminal.until(NODE_ROWS, 60)
                nodes.append(terminal.since_start())
        beside = _kubectl(site) if rival("kubectl") and not quick else "17 to 22 s; kubectl 10.7 s (reference)"
        report.add("first pods", first, "s", 1.5, "17 to 22 s (reference)")
        report.add("all pods", whole, "s", 6, beside)
        report.add("CPU until then", cpu, "s", None, "14.7 s (reference)")
        report.add("nodes", nodes, "s", 1.5, "1.9 s (reference)")
        report.add("memory", memory, "MB PSS", 200, "2.6 to 3.0 GB (reference)")
        report.add("filter to a few rows", filtered, "ms", 200, "4.3 s (reference)")
    with lab(root, "churn", "--scale", "1000x20000", "--churn", "500") as site, console(site, home(root, "churn"), keys="9") as terminal:
        terminal.until(r"\[(19|20)\d{3}\](?!.*partial)", 90)
        terminal.settle(5)
        busy = terminal.idle(10 if quick else 30)
        report.add("500 changes a second: CPU", busy.cpu_percent, "% of a core", 10, "43 % at 93 a second (reference)")
        report.add("500 changes a second: memory", busy.memory_mb, "MB PSS", 200, "2.6 GB (reference)")
        moved = terminal.repeat("jjkk", 20 if quick else 60)
        report.add("500 changes a second: keys, p95", moved.p95_ms, "ms", 50, "500 ms at 93 a second (reference)")


def _filter_time(terminal: Terminal) -> float:
    """The last letter of a filter until the rows are those that it leaves, in ms."""
    before, begin = terminal.text(), time.perf_counter()
    terminal.send("1")
    while terminal.text() == before and time.perf_counter() - begin < 5:
        terminal.pump(0.002)
    return (time.perf_counter() - begin) * 1000


def _kubectl(site: Site) -> str:
    begin = time.perf_counter()
    program = rival("kubectl")
    assert program is not None
    command = [program, "--kubeconfig", str(site.kubeconfig), "--cache-dir", str(site.folder / "kube-cache"), "get", "pods", "-A"]
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=120, check=True)
    return f"17 to 22 s (reference); kubectl {time.perf_counter() - begin:.1f} s ({HERE})"


def _rival_small(report: Report, root: Path, site: Site) -> None:
    """k9s on the same site, when there is one: the same terminal, the same meaning of each figure."""
    if rival("k9s") is None:
        return
    for view, shows in (("nodes", "k3s-worker-1"), ("pods", "cold-backend")):
        with k9s(site, home(root, f"k9s-{site.folder.name}"), view) as terminal:
            terminal.until(shows, 60)
            report.add(f"k9s, {HERE}: {view}, rows", terminal.since_start(), "s")
            report.add(f"k9s, {HERE}: {view}, CPU until then", terminal.cpu(), "s")
            if view == "pods":
                terminal.settle(3)
                moved = terminal.repeat("jjkk", 20)
                report.add(f"k9s, {HERE}: key, median", moved.median_ms, "ms")
                report.add(f"k9s, {HERE}: key, p95", moved.p95_ms, "ms")
                found = terminal.idle(20)
                report.add(f"k9s, {HERE}: idle", found.cpu_percent, "% of a core")
                report.add(f"k9s, {HERE}: idle, to the terminal", found.bytes_a_minute, "bytes/min")
                report.add(f"k9s, {HERE}: memory", found.memory_mb, "MB PSS")


def help_(report: Report, root: Path, quick: bool) -> None:
    """What the command line costs before it does anything."""
    report.part("command line")
    runs, env = 5 if quick else 15, {**os.environ, **home(root, "help")}
    bare = statistics.median(_cpu_ms(["-c", "pass"], env, runs))
    for words in (["--help"], ["nodes", "--help"]):
        spent = [ms - bare for ms in _cpu_ms(["-m", "coldtui", *words], env, runs)]
        report.add(f"coldtui {' '.join(words)}: CPU above Python's", spent, "ms", 100)


def _cpu_ms(arguments: Sequence[str], env: dict[str, str], runs: int) -> list[float]:
    found = []
    for _ in range(runs):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([PYTHON, *arguments], env=env, stdout=subprocess.DEVNULL, check=True, timeout=30)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        found.append((after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) * 1000)
    return found


PARTS: dict[str, Callable[[Report, Path, bool], None]] = {
    "small": small,
    "real": on_real,
    "large": large,
    "help": help_,
    "journal": journal,
    "runs": runs,
    "servers": servers,
}
