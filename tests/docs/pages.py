"""The pages of the documentation, taken apart: fenced blocks, the command lines in them, links and headings."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = (ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")))

_FENCE = re.compile(r"^(?P<indent> *)```(?P<info>[^`\n]*)\n(?P<body>.*?)^(?P=indent)```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"!?\[[^\]]*\]\((?P<target>[^)\s]+)\)")
_HEADING = re.compile(r"^#{1,6} (.+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block. What stands behind its language says how it is tested: nothing, `not-run`, or `fault=NAME`."""

    page: str
    line: int
    info: tuple[str, ...]
    text: str

    @property
    def shell(self) -> bool:
        return self.info[:1] == ("sh",)

    @property
    def run(self) -> bool:
        return self.shell and "not-run" not in self.info

    @property
    def fault(self) -> str:
        """The fault under which its lines are run."""
        return next((word.partition("=")[2] for word in self.info if word.startswith("fault=")), "")


@dataclass(frozen=True, slots=True)
class Line:
    """One command line of coldtui, as documented."""

    where: str
    text: str
    words: tuple[str, ...]
    """Behind `coldtui`, up to a pipe."""
    exit: int
    endless: bool
    """Ends with ctrl-c only."""
    fault: str


def blocks(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    return [
        Block(page.name, text[: found.start()].count("\n") + 1, tuple(found["info"].split()), found["body"])
        for found in _FENCE.finditer(text)
    ]


def understand(block: Block, written: str) -> Line:
    """Comments say what is expected: `# exit 2`, `# until ctrl-c`. Raises ValueError for a line that is no coldtui command."""
    words = shlex.split(written, comments=True)
    comment = written.rpartition("#")[2] if "#" in written else ""
    if words[:1] != ["coldtui"]:
        raise ValueError(f"{block.page}:{block.line}: {written!r} is no coldtui command: mark the block `sh not-run`")
    own = words[1 : words.index("|")] if "|" in words else words[1:]
    code = re.search(r"\bexit (\d)\b", comment)
    return Line(f"{block.page}:{block.line}", written, tuple(own), int(code[1]) if code else 0, "until ctrl-c" in comment, block.fault)


def command_lines(block: Block) -> list[Line]:
    return [understand(block, line.strip()) for line in block.text.splitlines() if line.strip() and not line.strip().startswith("#")]


def links(page: Path) -> list[str]:
    """Targets within the project, outside of code."""
    text = re.sub(r"`[^`\n]*`", "", _FENCE.sub("", page.read_text(encoding="utf-8")))
    return [found["target"] for found in _LINK.finditer(text) if "://" not in found["target"]]


def anchors(page: Path) -> set[str]:
    """What a link may name behind `#`, as GitHub makes it of headings."""
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in _HEADING.findall(text)}


def rows(page: Path, heading: str) -> list[tuple[str, ...]]:
    """Rows of the first table below a heading; cells as written."""
    part = page.read_text(encoding="utf-8").partition(f"\n{heading}\n")[2]
    found: list[tuple[str, ...]] = []
    for line in part.splitlines():
        if line.startswith("|"):
            found.append(tuple(cell.strip() for cell in line.strip("|").split("|")))
        elif found:
            break
    return found[2:]  # without heading and rule


def codes(cell: str) -> list[str]:
    """What stands in backticks."""
    return re.findall(r"`([^`]+)`", cell)
