"""Access decided by a service over HTTP: Lightning's interface (contract §6.4), for any URL. Never logs a token."""

from __future__ import annotations

import asyncio
import json
import logging
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from types import MappingProxyType, TracebackType
from typing import Final, Self

import aiohttp

from clusterodm_py.auth.base import AuthInfo, fingerprint
from clusterodm_py.core.errors import BadRequest
from clusterodm_py.core.limits import parse_limits
from clusterodm_py.core.types import Access, Json, Limits, OwnerId, Token

logger = logging.getLogger(__name__)

NAMED: Final = MappingProxyType(
    {"lightning": "https://webodm.net/r", "lightningDev": "http://localhost:5000/r"}
)
"""Services that go by a name (contract §6.4)."""

_AWAY: Final = "The service that decides about tasks cannot be reached. Try again later, or contact support."
_MOST_KEPT: Final = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class RemotePolicy:
    """Patience with the service, in seconds."""

    answer: float = 15.0
    """For one call."""
    patience: float = 20.0
    """For a verdict, tries and pauses included: clients give up after 30 themselves (contract §11.1)."""
    cached: float = 15 * 60.0
    """How long a verdict about a token holds; 0 asks every time."""
    stale: float = 24 * 3600.0
    """How long a good verdict still holds while the service is away."""
    validate_pauses: tuple[float, ...] = (1.0, 2.0)
    """Between tries to have a token judged."""
    finish_pauses: tuple[float, ...] = tuple(10.0 * index for index in range(1, 10))
    """Between tries to tell that a task ended."""


@dataclass(frozen=True, slots=True)
class _Verdict:
    valid: bool
    limits: Limits
    given: float


@dataclass(slots=True)
class _Memory:
    """Verdicts by token, the one used last at the end."""

    verdicts: OrderedDict[Token, _Verdict] = field(default_factory=OrderedDict)

    def get(self, token: Token) -> _Verdict | None:
        if token in self.verdicts:
            self.verdicts.move_to_end(token)
        return self.verdicts.get(token)

    def put(self, token: Token, verdict: _Verdict) -> None:
        self.verdicts[token] = verdict
        self.verdicts.move_to_end(token)
        if len(self.verdicts) > _MOST_KEPT:
            self.verdicts.popitem(last=False)


class RemoteAccess:
    """Asks `base`/tokens/validate, /tasks/approve and /tasks/finished; owns its HTTP session while entered."""

    keeps_tokens = True

    def __init__(self, base: str, clock: Callable[[], float], policy: RemotePolicy, info: AuthInfo) -> None:
        self._base = base.rstrip("/")
        self._clock = clock
        self._policy = policy
        self._info = info
        self._memory = _Memory()
        self._asking: dict[Token, asyncio.Future[_Verdict | None]] = {}
        self._session: aiohttp.ClientSession | None = None

    @property
    def info(self) -> AuthInfo:
        return self._info

    async def validate(self, token: Token | None) -> Access | None:
        """None also while the service is away and never judged this token good."""
        if not token:
            return None
        verdict = self._memory.get(token)
        if verdict is None or self._clock() - verdict.given >= self._policy.cached:
            verdict = await self._asked_once(token) or self._still_good(verdict)
        if verdict is None or not verdict.valid:
            return None
        return Access(owner=fingerprint(token), token=token, limits=verdict.limits, divides=True)

    def owner_of(self, token: Token | None) -> OwnerId:
        return fingerprint(token)

    async def approve(self, access: Access, images: int) -> str | None:
        if not access.token or images < 1:
            return "A task needs a token and at least one image."
        try:
            answer = await self._post("/tasks/approve", token=access.token.value, imagesCount=images)
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            logger.warning("the access service did not approve a task: %s", type(error).__name__)
            return _AWAY
        if answer.get("approved") is True:
            return None
        return str(answer.get("error") or "The task was not approved.")

    async def finished(self, token: Token | None, task_json: str, s3_path: str | None) -> bool:
        told = json.loads(task_json) | ({"s3Path": s3_path} if s3_path else {})
        body: dict[str, Json] = {"token": token.value if token else None, "taskInfo": json.dumps(told)}
        for pause in (*self._policy.finish_pauses, None):
            try:
                answer = await self._post("/tasks/finished", **body)
            except (aiohttp.ClientError, TimeoutError, ValueError) as error:
                logger.warning("the access service was not told of an ended task: %s", type(error).__name__)
            else:
                if answer.get("error"):
                    logger.error(
                        "the access service refused the report of an ended task: %s", answer["error"]
                    )
                return True
            if pause is not None:
                await asyncio.sleep(pause)
        logger.error("the access service could not be told that task %s ended", told.get("uuid"))
        return False

    async def clear(self, token: Token | None) -> None:
        if token:
            self._memory.verdicts.pop(token, None)

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=self._policy.answer))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def _asked_once(self, token: Token) -> _Verdict | None:
        """The service's verdict; whoever asks the same meanwhile shares it. None: the service is away."""
        if (under_way := self._asking.get(token)) is not None:
            return await asyncio.shield(under_way)
        future = self._asking[token] = asyncio.get_running_loop().create_future()
        verdict = None
        try:
            verdict = await self._ask(token)
        finally:
            del self._asking[token]
            future.set_result(verdict)
        if verdict is not None:
            self._memory.put(token, verdict)
        return verdict

    async def _ask(self, token: Token) -> _Verdict | None:
        try:
            async with asyncio.timeout(self._policy.patience):
                for pause in (*self._policy.validate_pauses, None):
                    if (verdict := await self._try(token)) is not None or pause is None:
                        return verdict
                    await asyncio.sleep(pause)
        except TimeoutError:
            logger.warning("the access service took too long to judge a token")
        return None

    async def _try(self, token: Token) -> _Verdict | None:
        try:
            answer = await self._post("/tokens/validate", token=token.value)
            valid = answer.get("valid") is True
            limits = parse_limits(answer.get("limits")) if valid else Limits()
        except (aiohttp.ClientError, ValueError, BadRequest) as error:
            logger.warning("the access service did not judge a token: %s", type(error).__name__)
            return None
        return _Verdict(valid, limits, self._clock())

    def _still_good(self, verdict: _Verdict | None) -> _Verdict | None:
        """The service is away, so a token that it found good not long ago stays good."""
        if verdict is None or self._clock() - verdict.given >= self._policy.cached + self._policy.stale:
            return None
        return verdict

    async def _post(self, path: str, **body: Json) -> dict[str, Json]:
        if self._session is None:
            raise RuntimeError("used outside `async with`")
        async with self._session.post(f"{self._base}{path}", json=body) as response:
            if response.status != 200:
                raise ValueError(f"status {response.status}")
            answer = await response.json(content_type=None)
        if not isinstance(answer, dict):
            raise ValueError("no object")  # noqa: TRY004 - a fault of the service, like the others here
        return answer
