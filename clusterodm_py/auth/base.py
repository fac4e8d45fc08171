"""Who may call, and what for: the promise every access service keeps (contract §6)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Protocol, Self

from clusterodm_py.core.types import NOBODY, Access, OwnerId, Token


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthInfo:
    """What `/auth/info` tells clients that have no token (contract §1.5)."""

    message: str
    login_url: str | None = None
    register_url: str | None = None


NO_LOGIN: Final = AuthInfo(message="Authentication not available on this node")


class AccessService(Protocol):
    """Finds out who a token is. An async context manager; calls are safe to make at the same time."""

    @property
    def info(self) -> AuthInfo: ...

    @property
    def keeps_tokens(self) -> bool:
        """Whether a task's raw token must be kept, because its end is told to somebody under that token."""

    async def validate(self, token: Token | None) -> Access | None:
        """What the bearer may do; None: nothing, answer 401."""

    def owner_of(self, token: Token | None) -> OwnerId:
        """Under whose name tasks are filed that were made with `token`, whether or not it is good now."""

    async def approve(self, access: Access, images: int) -> str | None:
        """Asked at each commit: None to go on, or the error to show the client."""

    async def finished(self, token: Token | None, task_json: str, s3_path: str | None) -> bool:
        """Tell that a task ended; `task_json` is the node's task JSON. False when it could not be told."""

    async def clear(self, token: Token | None) -> None:
        """Forget what is cached about a token."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def fingerprint(token: Token | None) -> OwnerId:
    """A stable name for a token that does not give it away; NOBODY for none.

    Kept with every task, so it never changes: 128 bits of SHA-256.
    """
    if not token:
        return NOBODY
    return OwnerId(hashlib.sha256(raw(token)).hexdigest()[:32])


def raw(token: Token) -> bytes:
    """The token's bytes; of any text, since a query can hold any."""
    return token.value.encode("utf-8", "surrogatepass")
