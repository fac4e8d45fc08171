"""Tells webhooks that a task ended, again and again until one answers 200 (contract §10.7)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable

from aiohttp import ClientError, ClientSession, ClientTimeout

from clusterodm_py.core.types import Json

logger = logging.getLogger(__name__)

_POSTS = 6
_TIMEOUT = ClientTimeout(total=30)


async def call_webhooks(urls: Iterable[str], body: Json, pause: float) -> None:
    """POST `body` to each of `urls`, up to 6 times, waiting 0, 1, 2... `pause`s between."""
    async with ClientSession(timeout=_TIMEOUT) as session, asyncio.TaskGroup() as group:
        for url in urls:
            group.create_task(_call(session, url, body, pause))


async def _call(session: ClientSession, url: str, body: Json, pause: float) -> None:
    for tried in range(_POSTS):
        await asyncio.sleep(max(0, tried - 1) * pause)
        if await _delivered(session, url, body):
            return
    logger.warning("a webhook did not answer 200 in %s tries", _POSTS)


async def _delivered(session: ClientSession, url: str, body: Json) -> bool:
    try:
        async with session.post(url, json=body) as answer:
            return answer.status == 200
    except (ClientError, TimeoutError, ValueError) as error:
        logger.info("webhook failed: %s", type(error).__name__)
        return False
