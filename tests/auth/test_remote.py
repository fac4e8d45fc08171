"""The remote service's interface, against a real server that misbehaves on demand."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from aiohttp import web

from clusterodm_py.auth.base import AuthInfo
from clusterodm_py.auth.remote import RemoteAccess, RemotePolicy
from clusterodm_py.core.types import Token

TOKEN = Token("very-secret-token")
QUICK = RemotePolicy(answer=1.0, patience=2.0, validate_pauses=(0.0,), finish_pauses=(0.0, 0.0))


@dataclass
class Service:
    """The other side."""

    port: int = 0
    asked: list[tuple[str, Any]] = field(default_factory=list)
    answers: dict[str, Any] = field(default_factory=dict)
    faults: int = 0
    redirects: bool = False
    held: asyncio.Event = field(default_factory=asyncio.Event)

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        self.asked.append((request.path, await request.json()))
        await self.held.wait()
        if self.faults > 0:
            self.faults -= 1
            return web.Response(status=500)
        if self.redirects and request.path != "/r/elsewhere":
            return web.Response(status=307, headers={"Location": "/r/elsewhere"})
        said = self.answers.get(request.path.removeprefix("/r"))
        return web.Response(text=said) if isinstance(said, str) else web.json_response(said)

    def count(self, path: str) -> int:
        return sum(1 for asked, _ in self.asked if asked == f"/r{path}")


@pytest.fixture
async def other() -> AsyncIterator[Service]:
    service = Service(answers={"/tokens/validate": {"valid": True, "limits": {"maxImages": 7}}})
    service.held.set()
    runner = web.ServerRunner(web.Server(service.answer))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    service.port = runner.addresses[0][1]
    yield service
    await runner.cleanup()


@dataclass
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


def remote(other: Service, clock: Clock, policy: RemotePolicy = QUICK) -> RemoteAccess:
    return RemoteAccess(f"http://127.0.0.1:{other.port}/r", clock, policy, AuthInfo(message=""))


async def test_a_verdict_is_asked_once_and_kept_a_quarter_of_an_hour(other: Service) -> None:
    clock = Clock()
    async with remote(other, clock) as access:
        found = await access.validate(TOKEN)
        assert found is not None
        assert (found.limits.max_images, found.divides) == (7, True)
        await access.validate(TOKEN)
        assert other.count("/tokens/validate") == 1
        clock.now += QUICK.cached
        await access.validate(TOKEN)
        assert other.count("/tokens/validate") == 2
        await access.clear(TOKEN)
        await access.validate(TOKEN)
        assert other.count("/tokens/validate") == 3
    assert other.asked[0] == ("/r/tokens/validate", {"token": TOKEN.value})


async def test_a_bad_verdict_is_kept_too(other: Service) -> None:
    other.answers["/tokens/validate"] = {"valid": False}
    async with remote(other, Clock()) as access:
        assert await access.validate(TOKEN) is None
        assert await access.validate(TOKEN) is None
    assert other.count("/tokens/validate") == 1


async def test_without_a_cache_every_call_asks(other: Service) -> None:
    async with remote(other, Clock(), replace(QUICK, cached=0.0)) as access:
        await access.validate(TOKEN)
        await access.validate(TOKEN)
    assert other.count("/tokens/validate") == 2


async def test_questions_at_the_same_time_are_one(other: Service) -> None:
    other.held.clear()
    async with remote(other, Clock()) as access:
        asking = asyncio.gather(*(access.validate(TOKEN) for _ in range(10)))
        while not other.asked:
            await asyncio.sleep(0)
        other.held.set()
        assert all(await asking)
    assert other.count("/tokens/validate") == 1


async def test_one_fault_of_the_service_is_outlived(other: Service) -> None:
    other.faults = 1
    async with remote(other, Clock()) as access:
        assert await access.validate(TOKEN) is not None


async def test_a_service_that_is_away_lets_in_whom_it_knew_and_nobody_else(other: Service) -> None:
    clock = Clock()
    async with remote(other, clock) as access:
        await access.validate(TOKEN)
        clock.now += QUICK.cached
        other.faults = 100
        assert await access.validate(TOKEN) is not None
        assert await access.validate(Token("new")) is None
        clock.now += QUICK.stale
        assert await access.validate(TOKEN) is None


async def test_a_client_that_hangs_up_does_not_spoil_the_answer_of_another(other: Service) -> None:
    other.held.clear()
    async with remote(other, Clock()) as access:
        first = asyncio.create_task(access.validate(TOKEN))
        while not other.asked:
            await asyncio.sleep(0)
        second = asyncio.create_task(access.validate(TOKEN))
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.wait({first})
        other.held.set()
        assert await second is not None
    assert other.count("/tokens/validate") == 1


async def test_a_known_token_waits_for_a_hanging_service_once_and_shortly(other: Service) -> None:
    clock, patient = Clock(), replace(QUICK, answer=60.0, patience=60.0, renewal=0.05)
    async with remote(other, clock, patient) as access:
        await access.validate(TOKEN)
        clock.now += QUICK.cached
        other.held.clear()
        async with asyncio.timeout(5):
            assert await access.validate(TOKEN) is not None
        async with asyncio.timeout(0):  # no wait at all
            assert await access.validate(TOKEN) is not None
        other.answers["/tokens/validate"] = {"valid": False}
        other.held.set()
        clock.now += QUICK.away
        async with asyncio.timeout(5):
            while await access.validate(TOKEN) is not None:
                clock.now += QUICK.away
    assert other.count("/tokens/validate") == 2  # the question went on while nobody waited


async def test_leaving_ends_a_question_under_way(other: Service) -> None:
    other.held.clear()
    async with asyncio.timeout(5):
        async with remote(other, Clock(), replace(QUICK, answer=60.0, patience=60.0)) as access:
            asking = asyncio.create_task(access.validate(TOKEN))
            while not other.asked:
                await asyncio.sleep(0)
        assert await asking is None
    other.held.set()


@pytest.mark.parametrize("junk", ["{}", '{"error": "database down"}', "[]", "<html>", "[" * 100_000])
async def test_an_answer_that_is_no_verdict_takes_nothing_from_a_known_token(
    other: Service, junk: str
) -> None:
    clock, good = Clock(), other.answers["/tokens/validate"]
    async with remote(other, clock) as access:
        await access.validate(TOKEN)
        clock.now += QUICK.cached
        other.answers["/tokens/validate"] = junk
        assert await access.validate(TOKEN) is not None
        assert await access.validate(Token("new")) is None
        other.answers["/tokens/validate"] = good
        assert await access.validate(Token("new")) is not None


async def test_a_verdict_against_a_known_token_counts(other: Service) -> None:
    clock = Clock()
    async with remote(other, clock) as access:
        await access.validate(TOKEN)
        clock.now += QUICK.cached
        other.answers["/tokens/validate"] = {"valid": False}
        assert await access.validate(TOKEN) is None
        other.faults = 100
        clock.now += QUICK.cached
        assert await access.validate(TOKEN) is None


async def test_a_clock_set_back_does_not_lengthen_a_verdict(other: Service) -> None:
    clock = Clock()
    async with remote(other, clock) as access:
        await access.validate(TOKEN)
        clock.now -= 500
        await access.validate(TOKEN)
    assert other.count("/tokens/validate") == 2


async def test_a_redirect_does_not_carry_the_token_elsewhere(other: Service) -> None:
    other.redirects = True
    async with remote(other, Clock()) as access:
        assert await access.validate(TOKEN) is None
        assert not await access.finished(TOKEN, '{"uuid": "u"}', None)
    assert other.count("/tokens/validate") > 0
    assert other.count("/elsewhere") == 0


async def test_the_verdicts_kept_are_bounded_and_those_used_last_stay(other: Service) -> None:
    async with remote(other, Clock()) as access:
        await access.validate(TOKEN)
        memory = access._memory
        (verdict,) = memory.verdicts.values()
        for number in range(20_000):
            memory.put(Token(str(number)), verdict)
            memory.get(TOKEN)
        assert len(memory.verdicts) <= 10_000
        await access.validate(TOKEN)
    assert other.count("/tokens/validate") == 1


@pytest.mark.parametrize("junk", ["", "[]", "<html>", '{"valid": "yes"}', '{"valid": true, "limits": 5}'])
async def test_junk_lets_nobody_in(other: Service, junk: str) -> None:
    other.answers["/tokens/validate"] = junk
    async with remote(other, Clock()) as access:
        assert await access.validate(TOKEN) is None


async def test_a_hanging_service_does_not_hang_the_client(other: Service) -> None:
    other.held.clear()
    async with remote(other, Clock(), replace(QUICK, answer=0.05, patience=0.1)) as access:
        async with asyncio.timeout(5):
            assert await access.validate(TOKEN) is None
    other.held.set()


async def test_tasks_are_approved_or_refused_in_the_services_words(other: Service) -> None:
    async with remote(other, Clock()) as access:
        caller = await access.validate(TOKEN)
        assert caller is not None
        other.answers["/tasks/approve"] = {"approved": True}
        assert await access.approve(caller, 12) is None
        assert other.asked[-1][1] == {"token": TOKEN.value, "imagesCount": 12}
        other.answers["/tasks/approve"] = {"approved": False, "error": "Not enough credits"}
        assert await access.approve(caller, 12) == "Not enough credits"
        other.faults = 1
        assert "contact support" in (await access.approve(caller, 12) or "")
        assert await access.approve(caller, 0) is not None


async def test_the_end_of_a_task_is_told_until_it_is_heard(other: Service) -> None:
    other.faults = 2
    other.answers["/tasks/finished"] = {"credits_used": 3}
    async with remote(other, Clock()) as access:
        assert await access.finished(TOKEN, '{"uuid": "u"}', "https://bucket")
        told = other.asked[-1][1]
        assert told["token"] == TOKEN.value
        assert json.loads(told["taskInfo"]) == {"uuid": "u", "s3Path": "https://bucket"}
        other.faults = 100
        assert not await access.finished(TOKEN, '{"uuid": "u"}', None)


async def test_no_token_ever_reaches_the_log(other: Service, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    other.faults = 100
    async with remote(other, Clock()) as access:
        await access.validate(TOKEN)
        await access.finished(TOKEN, '{"uuid": "u"}', None)
        other.faults = 0
        other.answers["/tasks/finished"] = {"error": f"no account for {TOKEN.value}"}
        await access.finished(TOKEN, '{"uuid": "u"}', None)
    assert "no account for ***" in caplog.text
    assert TOKEN.value not in caplog.text


def test_by_default_nobody_waits_longer_than_clients_do() -> None:
    policy = RemotePolicy()
    assert policy.renewal < 5 < policy.patience < 30
    assert len(policy.validate_pauses) == len(policy.finish_pauses) == 9
