"""Seeing runs: a log that pours in, a hundred thousand entries of the audit, and what looking costs while nothing is under way."""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path

from benchmarks.journal import fill
from benchmarks.places import PYTHON, Site, console, home, lab, process
from benchmarks.table import Report
from benchmarks.terminal import Terminal
from coldtui.adapters.journal import open_journal
from coldtui.live.pace import SystemClock

RATE = 5_000
ENTRIES = 100_000
LIVE = r"\A.*● kube +● pg +● lh +● lb|\A.*● all live"


def runs(report: Report, root: Path, quick: bool) -> None:
    """The console on a small site that stands still, with a journal of its own."""
    report.part("runs and audit")
    with lab(root, "runs", "--still") as site:
        _idle(report, root, site, quick)
        _flood(report, root, site, quick)
        _audit(report, root, site, quick)


def _idle(report: Report, root: Path, site: Site, quick: bool) -> None:
    """What watching a journal in which nothing happens costs the console, beside the same without a journal."""
    seconds = 15 if quick else 40
    found = []
    for name, begun in (("without", False), ("with", True)):
        env = home(root, f"watch-{name}")
        if begun:
            folder = Path(env["COLDTUI_STATE"])
            folder.mkdir(parents=True)
            open_journal(str(folder / "journal.db"), clock=SystemClock()).close()
        with console(site, env) as terminal:
            terminal.until(LIVE, 20)
            terminal.press("7", "no runs")
            terminal.settle(8)
            found.append(terminal.idle(seconds).cpu_percent)
    report.add("idle on Runs, without a journal: CPU", found[0], "% of a core", 0.7)
    report.add("idle on Runs, with a journal: CPU", found[1], "% of a core", 1.0)


def _flood(report: Report, root: Path, site: Site, quick: bool) -> None:
    """Lines pour in while the log is followed, while it is read further up, and while the list is used."""
    env = home(root, "flood")
    seconds, presses = (25.0, 15) if quick else (60.0, 40)
    command = [PYTHON, "-m", "benchmarks.flood", env["COLDTUI_STATE"], str(RATE), str(seconds)]
    with process(command, root / "flood.log") as line, console(site, env) as terminal:
        id = line.decode().strip()
        terminal.until(LIVE, 20)
        terminal.press("7", "Drain k3s-worker-1")
        listed = terminal.repeat("jjkk", presses)
        terminal.press(f":runs {id}\r", "Things")
        lag = _lag(terminal, Path(env["COLDTUI_STATE"]) / "runs" / f"{id}.log")
        busy = terminal.idle(5)
        paused = _while_it_pours(terminal, presses)
        terminal.send("G")
        terminal.settle(1.0)
        followed = _screens(terminal, presses // 2)
        terminal.settle(1.0)
        memory = terminal.memory()
    report.add(f"{RATE:,} lines a second: a key of the list, p95", listed.p95_ms, "ms", 100, "freezes (k9s issue 776)")
    report.add(f"{RATE:,} lines a second: scroll back, p95", paused, "ms", 100, "freezes (k9s issue 776)")
    report.add(f"{RATE:,} lines a second: open a run, or leave it, median", followed, "ms", 200)
    report.add(f"{RATE:,} lines a second: newest line behind", lag, "ms", 600, "minutes (k9s issue 1019)")
    report.add(f"{RATE:,} lines a second: CPU", busy.cpu_percent, "% of a core")
    report.add(f"{RATE:,} lines a second: memory", memory, "MB PSS", 140)


def _p95(spent: list[float]) -> float:
    return sorted(spent)[int(len(spent) * 0.95)] * 1000


def _while_it_pours(terminal: Terminal, presses: int) -> float:
    """Up and down in the log: until the view says that it stands, then each key until its line is gone or there."""
    terminal.send("k")
    terminal.until("paused", 5)
    spent = []
    for n in range(presses):
        terminal.settle(0.1)
        before, begin = terminal.screen.display[20], time.perf_counter()
        terminal.send("k" if n % 3 else "j")
        while terminal.screen.display[20] == before and time.perf_counter() - begin < 3:
            terminal.pump(0.002)
        spent.append(time.perf_counter() - begin)
    return _p95(spent)


def _screens(terminal: Terminal, presses: int) -> list[float]:
    """From the list to the run and back, in ms."""
    spent = []
    for _ in range(max(4, presses // 2)):
        spent.append(terminal.press("7", r"STATE +WHAT", 5) * 1000)
        spent.append(terminal.press("\r", "Things", 5) * 1000)
    return spent


def _lag(terminal: Terminal, log: Path) -> list[float]:
    """How far the last line on the screen is behind the last in the file, in ms."""
    found = []
    for _ in range(10):
        terminal.settle(0.3)
        numbers = [
            int(row[row.index("line ") + 5 :][:7])
            for row in terminal.screen.display
            if "line 0" in row and row[row.index("line ") + 5 :][:7].isdigit()
        ]
        newest = log.read_bytes()[-400:].decode(errors="replace").strip().splitlines()[-1]
        if numbers:
            found.append((int(newest.split("line ")[1][:7]) - max(numbers)) / RATE * 1000)
    return found


def _audit(report: Report, root: Path, site: Site, quick: bool) -> None:
    env = home(root, "audit")
    path = Path(env["COLDTUI_STATE"]) / "journal.db"
    with closing(open_journal(str(path), clock=SystemClock())) as journal:
        fill(journal, path, ENTRIES // 10 if quick else ENTRIES, 0)
    with console(site, env) as terminal:
        terminal.until(LIVE, 20)
        terminal.send(":audit\r")
        report.add("audit: newest entries", terminal.until(r"^ .*confirmed", 10), "s", 1.0)
        report.add("audit: all entries", terminal.until(r"Audit \[\d{5,}\]", 30), "s", 3.0)
        terminal.settle(1)
        terminal.press("/", r"^ ?/", 5)
        terminal.send("20:1")
        terminal.settle(1.5)
        begin, before = time.perf_counter(), terminal.text()
        terminal.send("7")
        while terminal.text() == before and time.perf_counter() - begin < 5:
            terminal.pump(0.002)
        report.add("audit: filter", (time.perf_counter() - begin) * 1000, "ms", 300)
        terminal.send("\r")
        moved = terminal.repeat("jjkk", 12)
        report.add("audit: cursor keys, p95", moved.p95_ms, "ms", 50)
        report.add("audit: memory", terminal.memory(), "MB PSS", 200)
        terminal.send("V")
        report.add("audit: verify, on screen", terminal.until("the chain holds", 30), "s", 5.0)
