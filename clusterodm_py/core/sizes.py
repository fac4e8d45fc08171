"""Sizes as people write and read them. Texts and bytes only: what a size is for is known elsewhere."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Final

_WRITTEN: Final = re.compile(
    r"(?P<number>[0-9]{1,20}(?:\.[0-9]{1,20})?)\s*(?:(?P<prefix>[KMGT])i?B?|B)?", re.IGNORECASE | re.ASCII
)
_PREFIXES: Final = "KMGT"

LARGEST: Final = 2**63 - 1
"""Bytes; no disk is larger, and no database has a place for more."""


def read_size(text: str) -> int | None:
    """The bytes that `500M`, `20 GiB` or `1.5T` mean, in powers of 1024 with or without the i; None: it is no size."""
    found = _WRITTEN.fullmatch(text.strip())
    if found is None:
        return None
    power = _PREFIXES.index(found["prefix"].upper()) + 1 if found["prefix"] else 0
    size = int(Decimal(found["number"]) * 1024**power)
    return size if size <= LARGEST else None


def size_text(count: int) -> str:
    """`count` bytes to one decimal, in the powers of 1000 that disks are sold by."""
    if count < 1000:
        return "1 byte" if count == 1 else f"{count} bytes"
    size, unit, units = float(count), "", ["kB", "MB", "GB", "TB"]
    while size >= 999.95 and units:
        size, unit = size / 1000, units.pop(0)
    return f"{size:.1f} {unit}"
