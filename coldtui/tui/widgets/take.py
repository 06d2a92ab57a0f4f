"""Taking text out of the console: to the clipboard through the terminal (OSC 52), or to a file."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

CLIPBOARD_CAP_B = 56_244
"""Bytes before base64; more than 74,994 encoded bytes are refused by common terminals and by tmux."""


def file_name(stem: str, at: datetime, ending: str = "log") -> str:
    """`cold-backend-7d9f-20261025-1402.log`; nothing in it that a shell or a file system minds."""
    return f"{re.sub(r'[^A-Za-z0-9._]+', '-', stem).strip('-.')[:120] or 'text'}-{at:%Y%m%d-%H%M}.{ending}"


def write(path: Path, lines: Iterable[str]) -> int:
    """Write lines, readable by the owner only; returns bytes. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        return sum(file.write(line + "\n") for line in lines)
