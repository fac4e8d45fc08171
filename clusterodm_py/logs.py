"""The program's log lines: `level: message` on standard error, as ClusterODM prints them, with secrets covered."""

from __future__ import annotations

import logging
import re
from typing import Final

_SECRETS: Final = (
    (re.compile(r"(?i)(\btoken=)[^&\s\"'\\]+"), r"\1***"),
    (re.compile(r"(//)[^/\s@]+@"), r"\1***@"),
)
"""Tokens in queries, and names and passwords in addresses."""

_NAMES: Final = {logging.WARNING: "warn", logging.CRITICAL: "error"}
"""Levels that ClusterODM calls otherwise (contract §9.1)."""


def redact(text: str) -> str:
    """`text` with stars for every token of a query and every credential of an address."""
    for pattern, stars in _SECRETS:
        text = pattern.sub(stars, text)
    return text


class _Lines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        level = _NAMES.get(record.levelno, record.levelname.lower())
        return f"{level}: {redact(super().format(record))}"


def start_logging(level: int) -> None:
    """Send log lines of `level` and above to standard error; replaces what an earlier call set up."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Lines())
    logging.basicConfig(level=level, handlers=[handler], force=True)
