"""Access decided by a service over HTTP: Lightning's interface (contract §6.4), for any URL. Never logs a token."""

from __future__ import annotations

import asyncio
import json
import logging
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from types import MappingProxyType, TracebackType
from typing import Final, Self

import aiohttp

from clusterodm_py.auth.base import AuthInfo, fingerprint
from clusterodm_py.core.errors import BadRequest, ClusterError
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
    renewal: float = 3.0
    """For a new verdict about a token known to be good: WebODM gives `/info` 5 seconds (contract §11.1)."""
    away: float = 30.0
    """How long the old verdict is then used without waiting again."""
    cached: float = 15 * 60.0
    """How long a verdict about a token holds; 0 asks every time."""
    stale: float = 24 * 3600.0
    """How long a good verdict still holds while the service is away."""
    validate_pauses: tuple[float, ...] = tuple(2.0 * index for index in range(1, 10))
    """Between tries to have a token judged."""
    finish_pauses: tuple[float, ...] = tuple(10.0 * index for index in range(1, 10))
    """Between tries to tell that a task ended."""


class _NoAnswer(ClusterError):
    """The service did not answer as its interface says; the text tells how, without a secret."""


@dataclass(frozen=True, slots=True)
class _Verdict:
    valid: bool
    limits: Limits
    given: float
    until: float
    """When to ask again."""


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
        self._asking: dict[Token, asyncio.Task[_Verdict | None]] = {}
        self._group = asyncio.TaskGroup()
        self._session: aiohttp.ClientSession | None = None

    @property
    def info(self) -> AuthInfo:
        return self._info

    async def validate(self, token: Token | None) -> Access | None:
        """None also while the service is away and did not judge this token good of late."""
        if not token:
            return None
        verdict = self._memory.get(token)
        if verdict is None or not verdict.given <= self._clock() < verdict.until:  # or the clock was set back
            verdict = await self._renewed(token, verdict)
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
        except _NoAnswer as error:
            logger.warning("the access service neither approved nor refused a task: %s", error)
            return _AWAY
        if answer.get("approved") is True:
            return None
        return str(answer.get("error") or "The task was not approved.")

    async def finished(self, token: Token | None, task_json: str, s3_path: str | None) -> bool:
        told: dict[str, Json] = json.loads(task_json)
        told |= {"s3Path": s3_path} if s3_path else {}
        body: dict[str, Json] = {"token": token.value if token else None, "taskInfo": json.dumps(told)}
        for pause in (0.0, *self._policy.finish_pauses):
            await asyncio.sleep(pause)
            try:
                answer = await self._post("/tasks/finished", **body)
            except _NoAnswer as error:
                logger.warning(
                    "task=%s its end was not heard by the access service: %s", told.get("uuid"), error
                )
                continue
            if refusal := answer.get("error"):
                why = _covered(str(refusal), token)
                logger.error(
                    "task=%s the access service refused the report of its end: %s", told.get("uuid"), why
                )
            return True
        logger.error("task=%s its end could not be told to the access service", told.get("uuid"))
        return False

    async def clear(self, token: Token | None) -> None:
        if token:
            self._memory.verdicts.pop(token, None)

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=self._policy.answer))
        await self._group.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for asking in self._asking.values():
            asking.cancel()
        try:
            await self._group.__aexit__(None, None, None)  # what ended the program is not the group's to wrap
        finally:
            if self._session is not None:
                await self._session.close()

    async def _renewed(self, token: Token, old: _Verdict | None) -> _Verdict | None:
        """A new verdict; while there is none, the old one if it was good not long ago.

        Whoever asks about the same token shares one question, which goes on when a caller hangs up or stops waiting.
        """
        known = old if old is not None and self._still_good(old) else None
        asking = self._asking.get(token) or self._start_asking(token)
        await asyncio.wait({asking}, timeout=self._policy.renewal if known else None)
        if asking.done() and not asking.cancelled() and (verdict := asking.result()) is not None:
            return verdict
        if known is not None:
            self._memory.put(token, replace(known, until=self._clock() + self._policy.away))
        return known

    def _still_good(self, verdict: _Verdict) -> bool:
        return verdict.valid and self._clock() - verdict.given < self._policy.cached + self._policy.stale

    def _start_asking(self, token: Token) -> asyncio.Task[_Verdict | None]:
        asking = self._asking[token] = self._group.create_task(self._ask(token), name="judge a token")
        asking.add_done_callback(lambda _: self._asking.pop(token, None))
        return asking

    async def _ask(self, token: Token) -> _Verdict | None:
        """The service's verdict, kept; None: the service is away. Never raises, for the sake of its group."""
        try:
            async with asyncio.timeout(self._policy.patience):
                for pause in (0.0, *self._policy.validate_pauses):
                    await asyncio.sleep(pause)
                    if (verdict := await self._try(token)) is not None:
                        self._memory.put(token, verdict)
                        return verdict
        except TimeoutError:
            logger.warning("the access service took too long to judge a token")
        except Exception:
            logger.exception("a token could not be judged")
        return None

    async def _try(self, token: Token) -> _Verdict | None:
        try:
            return self._judged(await self._post("/tokens/validate", token=token.value))
        except _NoAnswer as error:
            logger.warning("the access service did not judge a token: %s", error)
            return None

    def _judged(self, answer: dict[str, Json]) -> _Verdict:
        """Raises _NoAnswer at an answer that is no verdict, such as an error told with status 200."""
        valid, now = answer.get("valid"), self._clock()
        if not isinstance(valid, bool):
            raise _NoAnswer("it said neither valid nor invalid")
        try:
            limits = parse_limits(answer.get("limits")) if valid else Limits()
        except BadRequest as error:
            raise _NoAnswer(f"the limits it gave make no sense: {error}") from None
        return _Verdict(valid, limits, now, now + self._policy.cached)

    async def _post(self, path: str, **body: Json) -> dict[str, Json]:
        """The service's answer. Follows no redirect: the token is for this address and no other (contract §12 D-09)."""
        if self._session is None:
            raise RuntimeError("used outside `async with`")
        try:
            async with self._session.post(
                f"{self._base}{path}", json=body, allow_redirects=False
            ) as response:
                status, content = response.status, await response.read()
        except TimeoutError:
            raise _NoAnswer(f"no answer within {self._policy.answer:g} s") from None
        except aiohttp.ClientError as error:
            raise _NoAnswer(str(error) or type(error).__name__) from None
        if status != 200:
            raise _NoAnswer(f"it answered with status {status}")
        return _object(content)


def _object(content: bytes) -> dict[str, Json]:
    try:
        answer = json.loads(content)
    except (ValueError, RecursionError):
        raise _NoAnswer("it did not answer with JSON") from None
    if not isinstance(answer, dict):
        raise _NoAnswer("it did not answer with a JSON object")
    return answer


def _covered(text: str, token: Token | None) -> str:
    return text.replace(token.value, "***") if token else text
