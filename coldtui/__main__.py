"""The program's entrance: `coldtui`, `python -m coldtui`."""

from __future__ import annotations

import gc
import sys


def main() -> int:
    """Run one command, or the console. Returns the exit code."""
    gc.disable()  # imports make many objects and no rubbish; whoever runs for long switches it on again
    from .cli.run import main as run

    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
