"""Access by a file of hashed tokens, each with a name and limits of its own; read again when it changes.

Tokens are hashed with plain SHA-256: they are checked at every request, and long random tokens cannot be guessed from
it. The documentation tells operators to make them so.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Annotated, Any, Final, Self, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from clusterodm_py.auth.base import NO_LOGIN, AuthInfo, fingerprint, raw
from clusterodm_py.core.errors import BadRequest, ClusterError
from clusterodm_py.core.limits import parse_limits
from clusterodm_py.core.types import Access, Limits, OwnerId, Token

logger = logging.getLogger(__name__)

LOOK_EVERY: Final = 1.0
"""Seconds between two looks whether the file changed."""

_LIMIT_KEYS: Final = frozenset({"maxImages", "maxConcurrentTasks", "maxUploadBytes", "priority", "options"})
_OPTION_KEYS: Final = frozenset({"remove", "domain", "value", "assure", "between"})
_BETWEEN_KEYS: Final = frozenset({"max_if_equal_to", "min", "max"})

_Stamp: TypeAlias = tuple[int, int, int, int]
"""What differs once a file was changed or replaced, even by a copy that keeps the time of its original."""


class TokensFileError(ClusterError):
    """The file cannot be used; the text says where and why."""


def hash_token(token: Token) -> str:
    """What stands for `token` in the file."""
    return hashlib.sha256(raw(token)).hexdigest()


def new_token(random_bytes: Callable[[int], bytes]) -> Token:
    """A token that cannot be guessed, in letters that a query takes as they are; give `secrets.token_bytes`."""
    return Token(random_bytes(24).hex())


def _known_limits(limits: dict[str, Any]) -> dict[str, Any]:
    """A misspelt limit would be no limit, so every key must be known."""
    try:
        parse_limits(limits)
    except BadRequest as error:
        raise ValueError(str(error)) from None
    _only(_LIMIT_KEYS, limits, "limits")
    for name, option in (limits.get("options") or {}).items():
        _only(_OPTION_KEYS, option or {}, f"options.{name}")
        _only(_BETWEEN_KEYS, (option or {}).get("between") or {}, f"options.{name}.between")
    return limits


def _only(known: frozenset[str], given: Mapping[str, Any], where: str) -> None:
    if unknown := given.keys() - known:
        raise ValueError(
            f"{where}: unknown {', '.join(sorted(unknown))}; there are {', '.join(sorted(known))}"
        )


class _Entry(BaseModel):
    """One token, as the file has it. Strict: a text in place of true makes nobody an admin."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True)

    name: Annotated[str, Field(max_length=100, pattern=r"^[^\x00-\x1f\x7f]+$")]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-fA-F]{64}$")]
    admin: bool = False
    limits: Annotated[dict[str, Any], AfterValidator(_known_limits)] = Field(default_factory=dict)


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True)

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
        self._stamp: _Stamp | None = None
        self._looked = 0.0
        self._trouble = ""

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
        if (read := await asyncio.to_thread(_read, self._path, None)) is not None:
            self._stamp, self._bearers = read
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
            changed = await asyncio.to_thread(_read, self._path, self._stamp)
        except TokensFileError as error:
            if str(error) != self._trouble:  # it is read again at every look until it is mended; told once
                logger.error("the new tokens file is not used, the one read before stays in force: %s", error)
            self._trouble = str(error)
            return
        self._trouble = ""
        if changed is not None:
            self._stamp, self._bearers = changed
            logger.info("tokens file %s read again: %d tokens", self._path, len(self._bearers))


def _read(path: Path, known: _Stamp | None) -> tuple[_Stamp, Mapping[str, _Bearer]] | None:
    """The file and its stamp, taken first so that a change meanwhile is seen next time; None: still as `known`."""
    try:
        status = path.stat()
        stamp = (status.st_ino, status.st_ctime_ns, status.st_mtime_ns, status.st_size)
        if stamp == known:
            return None
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise TokensFileError(f"tokens-file {path} cannot be read: {error}") from None
    bearers = _parsed(path, text)
    if status.st_mode & 0o004:
        logger.warning("tokens file %s can be read by every user of this machine: chmod o-r it", path)
    return stamp, bearers


def _parsed(path: Path, text: str) -> Mapping[str, _Bearer]:
    try:
        file = _File.model_validate_json(text)
    except ValidationError as error:
        faults = (
            ": ".join(filter(None, (".".join(map(str, fault["loc"])), fault["msg"])))
            for fault in error.errors(include_input=False)
        )
        raise TokensFileError(f"tokens-file {path}: {'; '.join(faults)}") from None
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
