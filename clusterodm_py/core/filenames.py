"""Names under which uploaded files are kept (contract §5.2). Texts only: nothing here looks at a disk."""

from __future__ import annotations

import unicodedata
from collections.abc import Container
from itertools import chain, count
from posixpath import splitext
from typing import Final

LONGEST: Final = 255
"""Bytes of UTF-8 that every common file system takes in a name."""

_LONGEST_EXTENSION: Final = 128
"""A longer one is not kept whole when a name must be cut."""

_MOST_UNDERSCORES: Final = 20


def safe_name(raw: str) -> str:
    """The name for a file that a client calls `raw`: never a path, never unusable. Idempotent."""
    name = raw.replace("\\", "/").rstrip("/").rpartition("/")[2]
    name = "".join("_" if unicodedata.category(char) in ("Cc", "Cs") else char for char in name)
    if name in ("", ".", ".."):
        return "_"
    if name.lower() == "body.json":  # ClusterODM's own record of the upload; clients may rely on the renaming
        return f"_{name}"
    stem, extension = _parts(name)
    return _fitted(stem, "", extension)


def unique_name(name: str, taken: Container[str]) -> str:
    """`name`, a safe one, or the first of `a_.jpg`, `a__.jpg`... that is not `taken`.

    After some of these the names are numbered, so that there is one for any number of files.
    """
    if name not in taken:
        return name
    stem, extension = _parts(name)
    marks = chain(("_" * length for length in range(1, _MOST_UNDERSCORES + 1)), (f"_{n}" for n in count(1)))
    return next(tried for mark in marks if (tried := _fitted(stem, mark, extension)) not in taken)


def _parts(name: str) -> tuple[str, str]:
    stem, extension = splitext(name)
    return (stem, extension) if len(extension.encode()) <= _LONGEST_EXTENSION else (name, "")


def _fitted(stem: str, mark: str, extension: str) -> str:
    """The three joined, the stem cut at a whole character so that they fit."""
    room = LONGEST - len(mark) - len(extension.encode())
    return stem.encode()[:room].decode(errors="ignore") + mark + extension
