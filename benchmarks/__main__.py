"""`python -m benchmarks`: everything that has a budget, measured as a person at a terminal feels it. Prints one table; asserts nothing."""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
from pathlib import Path
from types import FrameType

from benchmarks.measures import PARTS
from benchmarks.places import machine
from benchmarks.table import Report


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", choices=tuple(PARTS), action="append", help="this part (may be repeated)")
    parser.add_argument("--quick", action="store_true", help="fewer runs, shorter looks")
    given = parser.parse_args()

    def leave(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, leave)  # so that what was started is ended
    report, begin, before = Report(), time.monotonic(), machine()
    with tempfile.TemporaryDirectory(prefix="coldtui-bench-", ignore_cleanup_errors=True) as folder:
        for name in given.only or PARTS:
            print(f"measuring: {name}", file=sys.stderr, flush=True)
            (root := Path(folder) / name).mkdir()
            try:
                PARTS[name](report, root, given.quick)
            except Exception as error:  # noqa: BLE001 - the other parts are still worth having
                report.failed.append(f"{name}: {type(error).__name__}: {error}")
    print(f"120x40 in a pty; before: {before}; after {time.monotonic() - begin:.0f} s: {machine()}\n")
    print("\n".join(report.lines()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
