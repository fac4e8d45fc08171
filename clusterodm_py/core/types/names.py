"""Names, secrets and addresses: what every other noun is made of."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final, NewType, TypeAlias

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"

TaskId = NewType("TaskId", str)
"""The uuid a client knows; its case is kept as given and lookups are case-sensitive (contract §5.1)."""

NodeId = NewType("NodeId", str)
"""`host:port`: two nodes never share one, so it is also what operators read."""

OwnerId = NewType("OwnerId", str)
"""Who a task belongs to: a fingerprint or a name, never a usable token."""

NOBODY: Final = OwnerId("")
"""Owner of tasks made without any token."""


class Unset(Enum):
    """Tells "not given" from a given null, which option limits must keep apart (contract §6.2)."""

    UNSET = "unset"


UNSET: Final = Unset.UNSET


@dataclass(frozen=True, slots=True)
class Token:
    """A secret. It prints as stars; `value` is read only where it goes on the wire."""

    value: str

    def __repr__(self) -> str:
        return "Token(***)"

    __str__ = __repr__

    def __bool__(self) -> bool:
        return bool(self.value)


@dataclass(frozen=True, slots=True)
class Address:
    """Where a node listens. Port 443 speaks TLS, whatever type the port was written in (contract §12 D-07)."""

    host: str
    port: int

    @property
    def tls(self) -> bool:
        return self.port == 443

    @property
    def url(self) -> str:
        """Scheme, host and port, without a trailing slash."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.tls else 'http'}://{host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"
