"""The part of kubectl's JSONPath that printer columns of CRDs use: fields, quoted keys, indexes, ``[*]`` and equality filters."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

_TOKEN = re.compile(
    r"""\.?\[\?\(\s*@\.(?P<fkey>[\w./\\-]+)\s*==\s*(?P<fvalue>"[^"]*"|'[^']*'|[\w.-]+)\s*\)\]"""
    r"""|\[(?P<index>-?\d+)\]|\[(?P<all>\*)\]|\[(?P<quoted>'[^']*'|"[^"]*")\]|\.(?P<key>(?:\\.|[^.\[\\])+)"""
)
Step = tuple[str, str, str]


@lru_cache(maxsize=1024)
def _compiled(path: str) -> tuple[Step, ...]:
    steps: list[Step] = []
    at = 0
    text = path.strip().removeprefix("{").removesuffix("}")
    if not text.startswith((".", "[")):
        text = "." + text
    while at < len(text):
        found = _TOKEN.match(text, at)
        if not found:
            return ()
        if found["key"] is not None:
            steps.append(("key", re.sub(r"\\(.)", r"\1", found["key"]), ""))
        elif found["quoted"] is not None:
            steps.append(("key", found["quoted"][1:-1].replace("\\", ""), ""))
        elif found["index"] is not None:
            steps.append(("index", found["index"], ""))
        elif found["all"] is not None:
            steps.append(("all", "", ""))
        else:
            steps.append(("filter", found["fkey"], found["fvalue"].strip("\"'")))
        at = found.end()
    return tuple(steps)


def find(obj: Any, path: str) -> list[Any]:
    """Every value at a path; empty when there is none or the path cannot be read."""
    nodes = [obj]
    steps = _compiled(path)
    if not steps:
        return []
    for kind, text, wanted in steps:
        following: list[Any] = []
        for node in nodes:
            following += _step(node, kind, text, wanted)
        nodes = following
    return nodes


def _step(node: Any, kind: str, text: str, wanted: str) -> list[Any]:
    match kind:
        case "key":
            return [node[text]] if isinstance(node, dict) and text in node else []
        case "index":
            return [node[int(text)]] if isinstance(node, list) and -len(node) <= int(text) < len(node) else []
        case "all":
            return list(node) if isinstance(node, list) else list(node.values()) if isinstance(node, dict) else []
        case _:
            entries = node if isinstance(node, list) else []
            return [e for e in entries if isinstance(e, dict) and _plain(e.get(text)) == wanted]


def _plain(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
