"""The part of a host's file system that operators look at: sizes, links, and what can be removed."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime

BLOCK_B = 4096


@dataclass(slots=True)
class Entry:
    """One file, link or folder."""

    kind: str
    """`f`, `l` or `d`."""
    size: int = 0
    """Bytes of a file."""
    target: str = ""
    """Of a link."""
    text: str = ""
    """What `cat` shows of a file that has words."""
    at: datetime | None = None


@dataclass(slots=True)
class Tree:
    """Absolute paths without a slash at the end -> what is there. Folders above a path are made with it."""

    entries: dict[str, Entry] = field(default_factory=lambda: {"/": Entry("d")})

    def folder(self, path: str, at: datetime | None = None) -> None:
        self._above(path)
        self.entries.setdefault(path, Entry("d", at=at))

    def file(self, path: str, size: int = 0, *, text: str = "", at: datetime | None = None) -> None:
        self._above(path)
        self.entries[path] = Entry("f", size or len(text.encode()), text=text, at=at)

    def link(self, path: str, target: str, at: datetime | None = None) -> None:
        self._above(path)
        self.entries[path] = Entry("l", target=target, at=at)

    def _above(self, path: str) -> None:
        parent = posixpath.dirname(path)
        if parent not in self.entries:
            self._above(parent)
            self.entries[parent] = Entry("d")

    def get(self, path: str) -> Entry | None:
        """What is at a path; links in its folders are followed, one at its end is not."""
        found = self.entries.get(path)
        if found is None:
            folder, name = posixpath.split(path)
            if folder != path and (real := self.resolve(folder)) is not None and real != folder:
                found = self.entries.get(posixpath.join(real, name))
        return found

    def resolve(self, path: str) -> str | None:
        """The path with every link followed; None when there is nothing. The last part need not be there, as for ``readlink -f``."""
        real = "/"
        parts = [part for part in posixpath.normpath(path).split("/") if part]
        for index, part in enumerate(parts):
            step = posixpath.join(real, part)
            entry = self.entries.get(step)
            if entry is None:
                return step if index == len(parts) - 1 else None
            if entry.kind == "l":
                followed = self.resolve(posixpath.join(real, entry.target))
                if followed is None:
                    return None
                step = followed
            real = step
        return real

    def children(self, path: str) -> list[str]:
        """Names in a folder, sorted."""
        start = path.rstrip("/") + "/"
        return sorted(p[len(start) :] for p in self.entries if p.startswith(start) and p != "/" and "/" not in p[len(start) :])

    def below(self, path: str) -> Iterator[tuple[str, Entry]]:
        """The path itself and everything in it."""
        start = path.rstrip("/") + "/"
        for name, entry in list(self.entries.items()):
            if name == path or name.startswith(start):
                yield name, entry

    def size(self, path: str) -> int:
        """Bytes of all files at and below a path."""
        return sum(entry.size for _, entry in self.below(path))

    def remove(self, path: str) -> None:
        """A file, or a folder with all that is in it."""
        for name, _ in self.below(path):
            if name != "/":
                del self.entries[name]
