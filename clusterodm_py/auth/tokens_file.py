"""Access by a file of hashed tokens, each with a name and limits of its own; read again when it changes.

Tokens are hashed with plain SHA-256: they are checked at every request, and long random tokens cannot be guessed from
it. The documentation tells operators to make them so.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Annotated, Any, Final, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from clusterodm_py.auth.base import NO_LOGIN, AuthInfo, fingerprint, raw
from clusterodm_py.core.errors import BadRequest, ClusterError
from clusterodm_py.core.limits import parse_limits
from clusterodm_py.core.types import Access, Limits, OwnerId, Token

logger = logging.getLogger(__name__)

LOOK_EVERY: Final = 1.0
"""Seconds between two looks whether the file changed."""

_LIMIT_KEYS: Final = frozenset({"maxImages", "maxConcurrentTasks", "options"})


class TokensFileError(ClusterError):
    """The file cannot be used; the text says where and why."""


def hash_token(token: Token) -> str:
    """What stands for `token` in the file."""
    return hashlib.sha256(raw(token)).hexdigest()


def _known_limits(limits: dict[str, Any]) -> dict[str, Any]:
    if unknown := limits.keys() - _LIMIT_KEYS:
        raise ValueError(f"unknown {', '.join(sorted(unknown))}; there are {', '.join(sorted(_LIMIT_KEYS))}")
    try:
        parse_limits(limits)
    except BadRequest as error:
        raise ValueError(str(error)) from None
    return limits


class _Entry(BaseModel):
    """One token, as the file has it."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    name: Annotated[str, Field(min_length=1, max_length=100)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-fA-F]{64}$")]
    admin: bool = False
    limits: Annotated[dict[str, Any], AfterValidator(_known_limits)] = Field(default_factory=dict)


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    tokens: tuple[_Entry, ...]


@dataclass(frozen=True, slots=True)
class _Bearer:
    name: str
    admin: bool
    limits: Limits


class TokensFileAccess:
    """Tokens of several people. Entering raises TokensFileError when the file cannot be used; later, a broken new
    version is reported and the last good one stays in force."""

    keeps_tokens = False

    def __init__(self, path: Path, clock: Callable[[], float]) -> None:
        self._path = path
        self._clock = clock
        self._bearers: Mapping[str, _Bearer] = MappingProxyType({})
        self._stamp: tuple[int, int] | None = None
        self._looked = 0.0

    @property
    def info(self) -> AuthInfo:
        return NO_LOGIN

    async def validate(self, token: Token | None) -> Access | None:
        await self._look()
        if not token:
            return None
        bearer = self._bearers.get(hash_token(token))
        if bearer is None:
            return None
        return Access(
            owner=OwnerId(bearer.name), token=token, limits=bearer.limits, divides=True, admin=bearer.admin
        )

    def owner_of(self, token: Token | None) -> OwnerId:
        bearer = self._bearers.get(hash_token(token)) if token else None
        return OwnerId(bearer.name) if bearer else fingerprint(token)

    async def approve(self, access: Access, images: int) -> str | None:
        return None

    async def finished(self, token: Token | None, task_json: str, s3_path: str | None) -> bool:
        return True

    async def clear(self, token: Token | None) -> None:
        self._looked = 0.0

    async def __aenter__(self) -> Self:
        self._stamp, self._bearers = await asyncio.to_thread(_read, self._path)
        self._looked = self._clock()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    async def _look(self) -> None:
        """Read the file again if it changed since the last look."""
        now = self._clock()
        if 0 <= now - self._looked < LOOK_EVERY:
            return
        self._looked = now
        try:
            if await asyncio.to_thread(_stamp, self._path) != self._stamp:
                self._stamp, self._bearers = await asyncio.to_thread(_read, self._path)
                logger.info("tokens file %s read again: %d tokens", self._path, len(self._bearers))
        except (OSError, TokensFileError) as error:
            logger.error("the new tokens file is not used, the one read before stays in force: %s", error)
            self._stamp = await asyncio.to_thread(_stamp_or_none, self._path)


def _stamp(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_mtime_ns, status.st_size


def _stamp_or_none(path: Path) -> tuple[int, int] | None:
    try:
        return _stamp(path)
    except OSError:
        return None


def _read(path: Path) -> tuple[tuple[int, int], Mapping[str, _Bearer]]:
    try:
        stamp = _stamp(path)
        if path.stat().st_mode & 0o004:
            logger.warning("tokens file %s can be read by every user of this machine: chmod o-r it", path)
        return stamp, _parsed(path, path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise TokensFileError(f"tokens-file {path} cannot be read: {error}") from None


def _parsed(path: Path, text: str) -> Mapping[str, _Bearer]:
    try:
        file = _File.model_validate(json.loads(text))
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}"
            for fault in error.errors(include_input=False)
        )
        raise TokensFileError(f"tokens-file {path}: {faults}") from None
    except ValueError as error:
        raise TokensFileError(f"tokens-file {path} is not JSON: {error}") from None
    _refuse_twins(path, "name", [entry.name for entry in file.tokens])
    _refuse_twins(path, "sha256", [entry.sha256.lower() for entry in file.tokens])
    return MappingProxyType(
        {
            entry.sha256.lower(): _Bearer(entry.name, entry.admin, parse_limits(entry.limits))
            for entry in file.tokens
        }
    )


def _refuse_twins(path: Path, key: str, values: list[str]) -> None:
    seen: set[str] = set()
    for number, value in enumerate(values):
        if value in seen:
            raise TokensFileError(f"tokens-file {path}: tokens.{number}.{key} stands there twice")
        seen.add(value)
