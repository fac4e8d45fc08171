"""Whose bytes are counted: by owner and in all, whatever arrives, fails, is discarded or gets to a node."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, precondition, rule

from clusterodm_py.core.errors import LimitReached, UnknownTask
from clusterodm_py.core.types import OwnerId, TaskId
from clusterodm_py.uploads import box
from clusterodm_py.uploads.spool import Spool, SpoolPolicy
from harness.bodies import BOUNDARY, file_head, file_part, form, stream

ONE, TWO = TaskId("11111111-1111-4111-8111-111111111111"), TaskId("22222222-2222-4222-8222-222222222222")
ANN, BOB = OwnerId("ann"), OwnerId("bob")


async def put(
    spool: Spool, task: TaskId, owner: OwnerId, size: int, *, name: str = "a.jpg", budget: int | None = None
) -> None:
    await spool.open(task, owner)
    body = form(file_part(name, b"x" * size))
    await spool.receive(task, stream(body), BOUNDARY, max_files=None, budget=budget)


async def owners(spool: Spool) -> dict[OwnerId, int]:
    return dict((await spool.gauge()).owners)


async def test_a_budget_is_of_all_uploads_of_one_owner_together(tmp_path: Path) -> None:
    async with Spool(tmp_path, SpoolPolicy()) as spool:
        await put(spool, ONE, ANN, 60, budget=100)
        await put(spool, TWO, ANN, 40, budget=100)
        with pytest.raises(LimitReached, match="this token may take 100 bytes"):
            await put(spool, TWO, ANN, 1, name="b.jpg", budget=100)
        assert [file.name for file in await spool.files(TWO)] == ["a.jpg"]
        assert await owners(spool) == {ANN: 100}


async def test_owners_do_not_share_a_budget(tmp_path: Path) -> None:
    async with Spool(tmp_path, SpoolPolicy(token_quota=100)) as spool:
        await put(spool, ONE, ANN, 100)
        await put(spool, TWO, BOB, 100)
        assert await owners(spool) == {ANN: 100, BOB: 100}


async def test_a_budget_of_its_own_stands_above_the_one_for_all(tmp_path: Path) -> None:
    async with Spool(tmp_path, SpoolPolicy(token_quota=100)) as spool:
        await put(spool, ONE, ANN, 150, budget=200)
        with pytest.raises(LimitReached, match="100 bytes"):
            await put(spool, TWO, BOB, 150)
        with pytest.raises(LimitReached, match="may take 0 bytes"):
            await spool.admit(0, BOB, 0)


async def test_a_token_whose_budget_is_used_up_is_told_before_it_sends_anything(tmp_path: Path) -> None:
    async with Spool(tmp_path, SpoolPolicy(token_quota=100)) as spool:
        await put(spool, ONE, ANN, 99)
        await spool.admit(0, ANN)
        await spool.admit(1, ANN)
        with pytest.raises(LimitReached, match="at least 2 bytes more"):
            await spool.admit(2, ANN)
        await put(spool, TWO, ANN, 1)
        with pytest.raises(LimitReached, match="at least 1 byte more"):
            await spool.admit(0, ANN)
        await spool.admit(100, BOB)


async def test_what_a_node_has_counts_for_the_disk_but_not_for_the_token(tmp_path: Path) -> None:
    async with Spool(tmp_path, SpoolPolicy(token_quota=100, quota=150)) as spool:
        await put(spool, ONE, ANN, 100)
        spool.settle(ONE)
        await put(spool, TWO, ANN, 50)
        assert (spool.usage(), await owners(spool)) == (150, {ANN: 50})
        with pytest.raises(LimitReached, match="all uploads may take"):
            await spool.admit(1, ANN)
        spool.assign(
            ONE, ANN
        )  # its node was lost: it waits again, although that is more than the token may have
        assert await owners(spool) == {ANN: 150}
        await spool.discard(TWO)
        await spool.discard(ONE)
        assert (spool.usage(), await owners(spool)) == (0, {})


async def test_after_a_restart_files_have_no_owner_until_they_are_assigned(tmp_path: Path) -> None:
    async with Spool(tmp_path, SpoolPolicy()) as spool:
        await put(spool, ONE, ANN, 60)
        await put(spool, TWO, BOB, 40)
    async with Spool(tmp_path, SpoolPolicy(token_quota=100)) as spool:
        assert (spool.usage(), await owners(spool)) == (100, {})
        spool.assign(ONE, ANN)
        spool.assign(TaskId("unknown"), ANN)
        with pytest.raises(LimitReached):
            await spool.admit(41, ANN)
        await spool.admit(100, BOB)


async def test_bytes_that_are_arriving_count_until_they_are_whole_or_gone(tmp_path: Path) -> None:
    async with Spool(tmp_path, SpoolPolicy(token_quota=3 * box.BATCH)) as spool:
        reached, cut = asyncio.Event(), asyncio.Event()

        async def broken() -> AsyncIterator[bytes]:
            yield file_head("a.jpg") + b"x" * 2 * box.BATCH
            reached.set()
            await cut.wait()
            raise ConnectionResetError

        await spool.open(ONE, ANN)
        request = asyncio.ensure_future(spool.receive(ONE, broken(), BOUNDARY, max_files=None))
        await reached.wait()
        assert await owners(spool) == {ANN: 2 * box.BATCH}
        with pytest.raises(LimitReached):
            await put(spool, TWO, ANN, 2 * box.BATCH)
        cut.set()
        with pytest.raises(ConnectionResetError):
            await request
        assert await owners(spool) == {}
        await put(spool, TWO, ANN, 2 * box.BATCH)


# -- the count, under any interleaving ------------------------------------------------------------------------------


class Upload:
    """One request whose body comes piece by piece."""

    def __init__(self, spool: Spool, task: TaskId, budget: int | None) -> None:
        self.task = task
        self._pieces: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.request = asyncio.ensure_future(
            spool.receive(task, self._body(), BOUNDARY, max_files=None, budget=budget)
        )

    async def _body(self) -> AsyncIterator[bytes]:
        yield file_head("a.jpg")
        while (piece := await self._pieces.get()) is not None:
            yield piece
        yield b"\r\n" + form()

    def send(self, piece: bytes | None) -> None:
        self._pieces.put_nowait(piece)


class Counting(RuleBasedStateMachine):
    """Requests begin, go on, end, break; tasks are discarded, settled and assigned, with work of the disk under way."""

    uploads = Bundle("uploads")
    tasks = st.sampled_from([ONE, TWO, TaskId("33333333-3333-4333-8333-333333333333")])
    owners = st.sampled_from([ANN, BOB])

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp())
        self.runner = asyncio.Runner()
        self.spool = Spool(self.root, SpoolPolicy(quota=12 * box.BATCH, token_quota=8 * box.BATCH))
        self.going: list[Upload] = []
        self.run(self.spool.__aenter__())
        self.open(ONE, ANN)
        self.open(TWO, BOB)

    def run(self, work: Any) -> Any:
        return self.runner.run(work)

    @rule(task=tasks, owner=owners)
    def open(self, task: TaskId, owner: OwnerId) -> None:
        self.run(self.spool.open(task, owner))

    async def rest(self) -> None:
        """The work that is under way gets somewhere, but need not get to its end."""
        await self.spool.gauge()

    @rule(target=uploads, task=tasks, budget=st.none() | st.integers(0, 6 * box.BATCH))
    def begin(self, task: TaskId, budget: int | None) -> Any:
        async def begun() -> Upload:
            upload = Upload(self.spool, task, budget)
            await self.rest()
            return upload

        upload = self.run(begun())
        self.going.append(upload)
        return upload

    @rule(upload=uploads, size=st.integers(1, 5 * box.BATCH), discarded=st.booleans())
    def send(self, upload: Upload, size: int, discarded: bool) -> None:
        async def sent() -> None:
            upload.send(b"x" * size)
            await asyncio.sleep(0)
            if discarded:
                await self.spool.discard(upload.task)
            await self.rest()

        self.run(sent())

    @rule(upload=uploads)
    def end(self, upload: Upload) -> None:
        async def ended() -> None:
            upload.send(None)
            await self.rest()

        self.run(ended())

    @rule(upload=uploads)
    def cut(self, upload: Upload) -> None:
        async def is_cut() -> None:
            upload.request.cancel()
            await self.rest()

        self.run(is_cut())

    @rule(task=tasks, again=st.none() | owners)
    def discard(self, task: TaskId, again: OwnerId | None) -> None:
        """The id may be used again at once."""
        self.run(self.spool.discard(task))
        if again is not None:
            self.open(task, again)

    @rule(task=tasks)
    def settle(self, task: TaskId) -> None:
        self.spool.settle(task)

    @rule(task=tasks, owner=owners)
    def assign(self, task: TaskId, owner: OwnerId) -> None:
        self.spool.assign(task, owner)

    @precondition(lambda self: bool(self.going))
    @rule()
    def all_quiet(self) -> None:
        """Every request that can end has; then what is counted is what lies on the disk."""

        async def quiet() -> None:
            for upload in self.going:
                upload.send(None)
            for outcome in await asyncio.gather(
                *(each.request for each in self.going), return_exceptions=True
            ):
                if isinstance(outcome, BaseException):
                    assert isinstance(outcome, LimitReached | UnknownTask | asyncio.CancelledError), outcome

        self.run(quiet())
        self.going.clear()
        boxes = [folder for folder in self.root.iterdir() if folder.name != ".discarded"]
        stored = {folder.name: sum(path.stat().st_size for path in folder.rglob("*.jpg")) for folder in boxes}
        assert not [path for folder in boxes for path in (folder / "partial").iterdir()]
        assert self.spool.usage() == sum(stored.values())
        assert all(self.spool.size(TaskId(task)) == size for task, size in stored.items())

    @invariant()
    def the_parts_are_the_whole(self) -> None:
        boxes = self.spool._boxes
        assert self.spool.usage() == sum(self.spool.size(task) for task in boxes)
        owned = dict.fromkeys((ANN, BOB), 0)
        for each in boxes.values():
            if each.share.owner is not None:
                owned[each.share.owner] += each.share.bytes
        gauge = self.run(self.spool.gauge())
        assert gauge.owners == {owner: size for owner, size in owned.items() if size}
        assert 0 <= gauge.used <= 12 * box.BATCH

    def teardown(self) -> None:
        async def torn_down() -> None:
            for upload in self.going:
                upload.request.cancel()
            await asyncio.gather(*(each.request for each in self.going), return_exceptions=True)
            await self.spool.__aexit__(None, None, None)

        self.run(torn_down())
        self.runner.close()
        shutil.rmtree(self.root)


TestCounting = Counting.TestCase
TestCounting.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
