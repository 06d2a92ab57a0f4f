"""``python -m coldtui.lab``: a whole simulated site until SIGTERM; what ``coldtui demo --headless`` runs."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from coldtui.lab.demo import DemoOptions, headless


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m coldtui.lab", description="A simulated site. One JSON line on stdout when all is ready."
    )
    parser.add_argument("--dir", type=Path, help="where it lives (a temporary folder, removed at the end)")
    parser.add_argument("--scale", default="", help="NODESxPODS, for instance 1000x20000")
    parser.add_argument("--churn", type=float, default=0.0, help="pod changes a second")
    parser.add_argument("--still", action="store_true", help="values do not move")
    parser.add_argument("--scenario", default="", help="what is wrong from the start")
    parser.add_argument("--version", default="", help="K3s version of the site")
    parser.add_argument("--reboot", type=float, default=0.0, help="seconds that a machine is away when it reboots")
    parser.add_argument("--postgres", action="store_true", help="real PostgreSQL servers behind the Cluster")
    parser.add_argument("--tether", action="store_true", help="end when stdin ends")
    given = parser.parse_args(arguments)
    options = DemoOptions(given.dir, given.scale, given.churn, given.still, given.scenario, given.version, given.reboot, given.postgres)
    return headless(options, tether=given.tether)


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    sys.exit(main())
