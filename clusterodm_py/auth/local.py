"""Access decided here: open to everybody, or to the bearer of one token (contract §6.1)."""

from __future__ import annotations

import hmac
from types import TracebackType
from typing import Self

from clusterodm_py.auth.base import NO_LOGIN, AuthInfo, fingerprint, raw
from clusterodm_py.core.types import Access, OwnerId, Token


class LocalAccess:
    """ClusterODM's `local` provider.

    Without a required token anybody may call. A token sent all the same only files the caller's tasks under it: PyODM
    leaks a token of another node into such calls, so nothing may depend on it but `/task/list` (contract §11.1).
    With one token there is nobody to hide a task from, so tasks made before it was set or changed stay in reach.
    """

    keeps_tokens = False

    def __init__(self, required: Token = Token("")) -> None:  # noqa: B008 - a frozen constant
        self._required = required

    @property
    def info(self) -> AuthInfo:
        return NO_LOGIN

    async def validate(self, token: Token | None) -> Access | None:
        given = token or Token("")
        if not self._required:
            return Access(owner=fingerprint(given), token=given)
        if not hmac.compare_digest(raw(given), raw(self._required)):
            return None
        return Access(owner=fingerprint(given), token=given)

    def owner_of(self, token: Token | None) -> OwnerId:
        return fingerprint(token)

    async def approve(self, access: Access, images: int) -> str | None:
        return None

    async def finished(self, token: Token | None, task_json: str, s3_path: str | None) -> bool:
        return True

    async def clear(self, token: Token | None) -> None:
        return None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None
