"""Small kernel files, read quickly: `/proc` and `/sys` under a root that a test may choose.

Every reader answers `None` where a file is missing, forbidden or not what was expected. Nothing raises.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

_CHUNK: Final = 1 << 16


class Files:
    """The files below one root; paths are relative to it, without a leading slash."""

    def __init__(self, root: Path = Path("/")) -> None:
        self._prefix = str(root).rstrip("/") + "/"

    def path(self, path: str) -> str:
        """The path as the system wants it."""
        return self._prefix + path.lstrip("/")

    def load(self, path: str, limit: int = 1 << 20) -> str:
        """A file's text, at most about `limit` bytes of it. Raises `OSError`."""
        fd = os.open(self.path(path), os.O_RDONLY | os.O_CLOEXEC)
        try:
            parts = [os.read(fd, min(limit, _CHUNK))]
            size = len(parts[0])
            # The kernel hands out most such files a page at a time: only an empty read says that it was all.
            while parts[-1] and size < limit:
                parts.append(os.read(fd, _CHUNK))
                size += len(parts[-1])
        finally:
            os.close(fd)
        return b"".join(parts).decode("utf-8", "replace")

    def text(self, path: str, limit: int = 1 << 20) -> str | None:
        """A file's text, or `None`."""
        try:
            return self.load(path, limit)
        except OSError:
            return None

    def word(self, path: str) -> str | None:
        """A one-line file without its newline; `None` where missing or empty."""
        text = self.text(path, 4096)
        return text.strip() or None if text else None

    def number(self, path: str) -> int | None:
        """A file that holds one integer."""
        return integer(self.word(path))

    def names(self, path: str) -> list[str]:
        """The entries of a folder, unsorted; empty where it can't be listed."""
        try:
            return os.listdir(self.path(path))  # noqa: PTH208 - four times as fast as Path.iterdir
        except OSError:
            return []

    def numbered(self, path: str, stem: str) -> list[int]:
        """The numbers N of the entries `stemN` of a folder, in order."""
        tails = (name[len(stem) :] for name in self.names(path) if name.startswith(stem))
        return sorted(int(tail) for tail in tails if tail.isdecimal())

    def exists(self, path: str) -> bool:
        """Whether there is such a file or folder."""
        return os.path.exists(self.path(path))  # noqa: PTH110 - no Path object wanted in a loop


def integer(text: str | None) -> int | None:
    """A decimal integer, or `None`."""
    try:
        return int(text) if text is not None else None
    except ValueError:
        return None


def kilobytes(text: str, key: str) -> int | None:
    """Bytes of the line `KEY:  N kB` of a `/proc` file such as `meminfo` or `status`; `None` where it has none."""
    start = 0 if text.startswith(key + ":") else text.find(f"\n{key}:") + 1
    if start == 0 and not text.startswith(key + ":"):
        return None
    end = text.find("\n", start)
    words = text[start + len(key) + 1 : end if end >= 0 else len(text)].split()
    value = integer(words[0]) if words else None
    return None if value is None else value * 1024


def cpu_list(text: str | None) -> frozenset[int]:
    """The CPUs of a kernel list: `0-3,8` is {0, 1, 2, 3, 8}."""
    cpus: set[int] = set()
    for part in (text or "").strip().split(","):
        first, _, last = part.partition("-")
        if first.isdecimal() and (last or first).isdecimal():
            cpus.update(range(int(first), int(last or first) + 1))
    return frozenset(cpus)
