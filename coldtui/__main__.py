"""The program's entrance: `coldtui`, `python -m coldtui`."""

from __future__ import annotations

import gc
import sys

TAKES_A_VALUE = frozenset({"--config", "--kubeconfig", "--context", "--namespace", "-n", "--theme", "--journal"})
"""Global flags whose next word is their value; `cli.catalogue` says the same and a test compares them."""


def wants_console(argv: list[str]) -> bool:
    """Whether no command is named: as far as one can tell before anything is imported."""
    words = iter(argv)
    for word in words:
        if word in ("-h", "--help", "--version"):
            return False
        if word in TAKES_A_VALUE:
            next(words, None)
        elif not word.startswith("-"):
            return False
    return True


def main() -> int:
    """Run one command, or the console. Returns the exit code."""
    gc.disable()  # imports make many objects and no rubbish; whoever runs for long switches it on again
    picture = None
    if wants_console(sys.argv[1:]):
        from .tui.picture import start  # imports nothing: something true is on the screen before the libraries are loaded

        picture = start()
    from .cli.run import main as run

    return run(sys.argv[1:], picture=picture)


if __name__ == "__main__":
    sys.exit(main())
