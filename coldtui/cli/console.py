"""No command: the console on the configured site."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ..domain.errors import UsageError

if TYPE_CHECKING:
    from ..config.settings import Config
    from ..ports import Kube
    from ..tui.picture import Picture
    from ..wiring import Site
    from .args import Parsed


def run(parsed: Parsed, environ: Mapping[str, str], connector: Callable[[], Kube] | None, picture: Picture | None) -> int:
    """Returns the console's exit code. The terminal is as before, whatever happens."""
    need_terminal(environ)
    from .run import configure

    config = configure(parsed, environ)
    from ..wiring import open_site

    return show(config, open_site(config, environ, connector), picture)


def need_terminal(environ: Mapping[str, str]) -> None:
    """Raises UsageError where the console cannot be drawn, before anything else is done."""
    listings = "use the commands, such as coldtui status"
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError("the console needs a terminal", detail="stdin or stdout is none", hint=listings)
    if environ.get("TERM", "") in ("", "dumb"):
        raise UsageError(
            "the console cannot be drawn on this terminal", detail=f"TERM is {environ.get('TERM') or 'not set'}", hint=listings
        )


def show(config: Config, site: Site, picture: Picture | None) -> int:
    from ..tui.app import run_console  # Textual: paid for by the console alone
    from ..tui.site import Options

    if picture is not None and site.state_dir.writable:
        picture.move(site.state_dir.path, os.environ)
    return run_console(
        site,
        picture,
        Options(
            theme=config.theme,
            keymap=config.keymap,
            mouse=config.mouse,
            read_only=config.read_only,
            log=site.log,
            state_dir=Path(site.state_dir.path) if site.state_dir.writable else None,
            begin=site.live.start,
            end=site.live.close,
        ),
    )
