"""`coldtui settings`: each value and where it came from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..config.load import origin_lines
from ..config.settings import SETTINGS, SITE_VARIABLES, value_of
from ..domain.errors import Exit
from . import out

if TYPE_CHECKING:
    from .run import Call


def rows(call: Call) -> list[tuple[str, Any, str]]:
    """(key, value, origin). Secrets are bullets."""
    config = call.config
    origins = origin_lines(config)
    found: list[tuple[str, Any, str]] = [("config", config.file or None, _config_origin(call))]
    for setting in SETTINGS:
        value = value_of(config, setting.key)
        origin = str(origins[setting.key])
        if setting.key == "state_dir" and not value:
            value = call.state_path
        elif setting.key == "journal":
            value = call.journal_path
        elif setting.key == "log.file" and not value:
            value = call.log_path
        elif setting.unset and value in (None, "", ()):
            value = setting.unset
        plain_value = dict(value) if setting.kind is dict else list(value) if isinstance(value, tuple) else value
        found.append((setting.key, plain_value, origin))
    for name in SITE_VARIABLES:
        if name in config.site_variables:
            found.append((name, str(config.site_variables[name]), f"environment {name}"))
    return found


def _config_origin(call: Call) -> str:
    if not call.config.file:
        return "default (no file)"
    if call.parsed.flags.get("config"):
        return "flag --config"
    return "environment COLDTUI_CONFIG" if call.environ.get("COLDTUI_CONFIG") else "found"


def run(call: Call) -> Exit:
    found = rows(call)
    for note in call.config.notes:
        out.say(note)
    if call.parsed.flags.get("json"):
        out.dump({key: {"value": value, "origin": origin} for key, value, origin in found})
        return Exit.DONE
    from ..domain.text import plain
    from ..present.rows import Cell, Tone

    def shown(value: Any) -> Cell:
        if value is None or value in ("", {}, []):
            return Cell("–", Tone.MUTED)
        if isinstance(value, bool):
            return Cell("true" if value else "false")
        if isinstance(value, dict):
            return Cell(plain(", ".join(f"{k}={v}" for k, v in value.items())))
        return Cell(plain(", ".join(value) if isinstance(value, list) else str(value)))

    lines = [(Cell(key), shown(value), Cell(plain(origin))) for key, value, origin in found]
    table = out.table(("SETTING", "VALUE", "FROM"), lines)
    out.data(table)
    return Exit.DONE
