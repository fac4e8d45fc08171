"""The kinds of value a key may have. A reader takes what a flag, variable or JSON file gave and returns the value.

A reader raises ValueError with what to write instead; it never repeats the value, which may be a secret.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final, TypeAlias, TypeVar
from urllib.parse import urlsplit

from pydantic import BeforeValidator, ValidationInfo

from clusterodm_py.config.nodes import parse_node
from clusterodm_py.core.types import Node, Token

E = TypeVar("E", bound=StrEnum)

_NUMBER: Final = re.compile(r"[+-]?[0-9]{1,20}(\.[0-9]{0,20})?(e[+-]?[0-9]{1,2})?", re.IGNORECASE | re.ASCII)
"""Bounded, so that no exponent makes a number that fills the memory."""

_SIZE: Final = re.compile(
    r"(?P<number>[0-9.]+(?:e[0-9]+)?)\s*(?:(?P<prefix>[KMGT])i?B?|B)?", re.IGNORECASE | re.ASCII
)
_PREFIXES: Final = "KMGT"

_TRUE: Final = frozenset({"true", "yes", "on", "1"})
_FALSE: Final = frozenset({"false", "no", "off", "0"})


class QueueAt(StrEnum):
    """Where tasks wait that find no free slot."""

    CLUSTER = "cluster"
    NODE = "node"


class KeepUploads(StrEnum):
    """Until when the images of a task are kept here."""

    DONE = "done"
    DISPATCHED = "dispatched"


class LogLevel(StrEnum):
    """ClusterODM's names, quietest first."""

    ERROR = "error"
    WARN = "warn"
    INFO = "info"
    VERBOSE = "verbose"
    DEBUG = "debug"
    SILLY = "silly"

    @property
    def threshold(self) -> int:
        """The level of Python's logging from which on lines are shown."""
        return _THRESHOLDS.get(self, logging.DEBUG)


_THRESHOLDS: Final = {
    LogLevel.ERROR: logging.ERROR,
    LogLevel.WARN: logging.WARNING,
    LogLevel.INFO: logging.INFO,
}


def _decimal(value: object) -> Decimal | None:
    """The number that was written, be it `1e6` or `3.0`; None when it is no number, or one beyond all reason."""
    if not isinstance(value, int | float | str):
        return None
    if isinstance(value, int) and abs(value) >= 10**20:
        return None
    text = str(value).strip()
    return Decimal(text) if _NUMBER.fullmatch(text) else None


def whole(low: int, high: int) -> Callable[[object], int]:
    """Reads an integer. `1e6` is a million; `12abc` and `1.5` are refused (contract §12 D-38)."""

    def read(value: object) -> int:
        found = _decimal(value)
        if found is None or found != int(found) or not low <= found <= high:
            raise ValueError(f"give a whole number from {low} to {high}")
        return int(found)

    return read


def number(low: float, high: float) -> Callable[[object], float]:
    """Reads a number, fractions allowed."""

    def read(value: object) -> float:
        found = _decimal(value)
        if found is None or not low <= float(found) <= high:
            raise ValueError(f"give a number from {low:g} to {high:g}")
        return float(found)

    return read


_any_port: Final = whole(0, 65535)


def _port_or_none(value: object) -> int | None:
    return None if value is None else _any_port(value) or None


def _size(value: object) -> int:
    """Bytes, as a number or with a unit. `G` and `GiB` are 1024-based like df's, and so is `GB`."""
    found = _SIZE.fullmatch(str(value).strip()) if isinstance(value, int | float | str) else None
    amount = _decimal(found["number"]) if found else None
    if found is None or amount is None:
        raise ValueError("give a size in bytes, or with a unit: 500M, 20G, 1.5T (powers of 1024); 0 is none")
    power = _PREFIXES.index(found["prefix"].upper()) + 1 if found["prefix"] else 0
    size = int(amount * 1024**power)
    if size >= 2**63:
        raise ValueError("give a size below 8 EiB")
    return size


def _switch(value: object) -> bool:
    """`"false"` is false (contract §12 D-38)."""
    word = str(value).strip().lower() if isinstance(value, bool | int | str) else ""
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise ValueError("give true or false")


def read_text(value: object) -> str:
    """A text; JSON's whole numbers are taken as the text they were written as."""
    if isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise ValueError("give a text, in quotes")


def _secret(value: object) -> Token:
    return value if isinstance(value, Token) else Token(read_text(value))


def _one_of(kind: type[E]) -> Callable[[object], E]:
    """Reads one of the names in `kind`."""

    def read(value: object) -> E:
        try:
            return kind(read_text(value).strip().lower())
        except ValueError:
            raise ValueError(f"give one of {', '.join(kind)}") from None

    return read


def _path(value: object, info: ValidationInfo) -> Path:
    """A path, relative ones from the folder the program was started in (context key `cwd`)."""
    path = value if isinstance(value, Path) else Path(read_text(value))
    if "\0" in str(path):
        raise ValueError("give a path")
    cwd: Path = (info.context or {}).get("cwd", Path())
    return cwd / path


def _folder(value: object, info: ValidationInfo) -> Path:
    if value in ("", Path()):
        raise ValueError("give the path of a folder")
    return _path(value, info)


def _readable_file(value: object, info: ValidationInfo) -> Path | None:
    """A file that can be read now; empty is none."""
    if value in ("", None):
        return None
    path = _path(value, info)
    try:
        path.open("rb").close()
    except OSError as error:
        raise ValueError(f"cannot read the file: {error.strerror}") from None
    return path


def _host(value: object) -> str:
    """An address of this machine to listen on."""
    host = read_text(value).strip().removeprefix("[").removesuffix("]")
    if not host or re.search(r"[\s/?#@]", host):
        raise ValueError("give an address of this machine, such as 0.0.0.0, 127.0.0.1 or ::")
    return host


def web_address(text: str) -> str:
    """Checks `text` to be an http(s) address; without a trailing slash."""
    problem = "give an address such as http://cluster.example.org:3000, without credentials or query"
    try:
        parts = urlsplit(text)
        port_is_good = parts.port != 0
    except ValueError:
        raise ValueError(problem) from None
    if (
        parts.scheme not in ("http", "https")
        or not parts.hostname
        or not port_is_good
        or re.search(r"\s", text)
    ):
        raise ValueError(problem)
    if "@" in parts.netloc or "?" in text or "#" in text:
        raise ValueError(problem)
    return text.rstrip("/")


def _public_address(value: object) -> str:
    """Only its root is ever used (contract §3.5), so only that is kept; empty is none."""
    text = read_text(value).strip()
    if not text:
        return ""
    parts = urlsplit(web_address(text))
    return f"{parts.scheme}://{parts.netloc}/"


def _provider(value: object) -> str:
    text = read_text(value).strip()
    named = {name.lower(): name for name in ("local", "lightning", "lightningDev")}.get(text.lower())
    if named:
        return named
    try:
        return web_address(text)
    except ValueError:
        raise ValueError(
            "give local, lightning, lightningDev, or the http(s) address of such a service"
        ) from None


def _items(separator: str) -> Callable[[object], object]:
    """Reads a list: as such, or as one text whose items are separated by the pattern `separator`."""

    def read(value: object) -> object:
        if isinstance(value, str):
            return tuple(item for item in re.split(separator, value) if item)
        if isinstance(value, list | tuple):
            return tuple(value)
        raise ValueError("give a list of texts")

    return read


_BETWEEN_ORIGINS: Final = r"[\s,]+"
_BETWEEN_NODES: Final = r"\s+|,(?=\s|$|[^\s,?=]+:[0-9])"
"""A comma only where a node follows it, as tokens may hold commas."""


def _node(value: object) -> Node:
    return value if isinstance(value, Node) else parse_node(read_text(value))


def _origin(value: object) -> str:
    text = read_text(value).strip().lower()
    if text == "*":
        return text
    address = web_address(text)
    if urlsplit(address).path:
        raise ValueError("give * or origins such as https://app.example.org, without a path")
    return address


Port: TypeAlias = Annotated[int, BeforeValidator(_any_port)]
Connections: TypeAlias = Annotated[int, BeforeValidator(whole(1, 20))]
Retries: TypeAlias = Annotated[int, BeforeValidator(whole(0, 1000))]
Count: TypeAlias = Annotated[int, BeforeValidator(whole(0, 10**9))]
Seconds: TypeAlias = Annotated[float, BeforeValidator(number(0.1, 3600))]
Patience: TypeAlias = Annotated[float, BeforeValidator(number(0.1, 30 * 86400))]
Hours: TypeAlias = Annotated[float, BeforeValidator(number(0, 87600))]
Days: TypeAlias = Annotated[float, BeforeValidator(number(0.01, 36500))]
OptionalPort: TypeAlias = Annotated[int | None, BeforeValidator(_port_or_none)]
"""0 switches it off, and is None here."""
Size: TypeAlias = Annotated[int, BeforeValidator(_size)]
Switch: TypeAlias = Annotated[bool, BeforeValidator(_switch)]
Text: TypeAlias = Annotated[str, BeforeValidator(read_text)]
LogLevelName: TypeAlias = Annotated[LogLevel, BeforeValidator(_one_of(LogLevel))]
QueuePlace: TypeAlias = Annotated[QueueAt, BeforeValidator(_one_of(QueueAt))]
UploadsKept: TypeAlias = Annotated[KeepUploads, BeforeValidator(_one_of(KeepUploads))]
Secret: TypeAlias = Annotated[Token, BeforeValidator(_secret)]
Folder: TypeAlias = Annotated[Path, BeforeValidator(_folder)]
ReadableFile: TypeAlias = Annotated[Path | None, BeforeValidator(_readable_file)]
Host: TypeAlias = Annotated[str, BeforeValidator(_host)]
PublicAddress: TypeAlias = Annotated[str, BeforeValidator(_public_address)]
Provider: TypeAlias = Annotated[str, BeforeValidator(_provider)]
NodeList: TypeAlias = Annotated[
    tuple[Annotated[Node, BeforeValidator(_node)], ...], BeforeValidator(_items(_BETWEEN_NODES))
]
OriginList: TypeAlias = Annotated[
    tuple[Annotated[str, BeforeValidator(_origin)], ...], BeforeValidator(_items(_BETWEEN_ORIGINS))
]
