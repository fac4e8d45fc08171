"""Init, upload, commit, one shot: nothing is lost by a refusal, and nothing is taken in twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from clusterodm_py.auth.local import LocalAccess
from clusterodm_py.core.errors import BadRequest, LimitReached, Refused, StoreTrouble, UnknownTask
from clusterodm_py.core.types import Access, Limits, OwnerId, TaskId, TaskRequest, TaskState
from clusterodm_py.engine.catalog import Catalog
from clusterodm_py.engine.intake import Body, Intake, IntakePolicy
from clusterodm_py.engine.janitor import Janitor, Retention
from clusterodm_py.engine.wishes import Wishes
from clusterodm_py.store.tables import Change, DropTask, PutTask
from harness.engine import ALICE, ID, Parts, an_id, closed_port_node, engine, until
from harness.scripted_node import Hold, ScriptedNode

BOB = Access(owner=OwnerId("bob"), divides=True)
URL = "http://h:3000"


class Hesitant(LocalAccess):
    """Approves when told to."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0
        self.answer: str | None = None
        self.go = asyncio.Event()

    async def approve(self, access: Access, images: int) -> str | None:
        self.asked += 1
        await self.go.wait()
        return self.answer


def an_intake(parts: Parts, access: LocalAccess | None = None, policy: IntakePolicy | None = None) -> Intake:
    numbers = iter(range(100, 200))
    return Intake(
        store=parts.store,
        spool=parts.spool,
        watch=parts.watch,
        wishes=Wishes(Catalog(parts.watch, parts.client, parts.clock), splitmerge=True),
        access=access or LocalAccess(),
        dispatcher=parts.dispatcher,
        pipelines=parts.pipelines,
        clock=parts.clock,
        new_id=lambda: an_id(next(numbers)),
        policy=policy or IntakePolicy(),
    )


def a_body(stream: AsyncIterator[bytes]) -> Body:
    return Body(stream=stream, boundary="b")


async def files(*names: str, fields: str = "") -> AsyncIterator[bytes]:
    for name in names:
        head = f'--b\r\nContent-Disposition: form-data; name="images"; filename="{name}"\r\n\r\n'
        yield (head + f"{name}\r\n").encode()
    yield (fields + "--b--\r\n").encode()


async def uploaded(intake: Intake, task: TaskId = ID, access: Access = ALICE) -> None:
    await intake.begin(access, task, TaskRequest())
    await intake.upload(access, task, a_body(files("a.jpg")))


async def test_from_init_to_a_node(tmp_path: Path) -> None:
    async with ScriptedNode() as other, engine(tmp_path, other.node) as parts:
        intake = an_intake(parts)
        await uploaded(intake)
        await intake.commit(ALICE, ID, URL)
        await until(lambda: parts.state() is TaskState.ON_NODE)
        assert (parts.record().images, parts.record().bytes) == (1, 5)


async def test_a_commit_given_many_times_is_one(tmp_path: Path) -> None:
    access = Hesitant()
    async with ScriptedNode() as other, engine(tmp_path, other.node) as parts:
        intake = an_intake(parts, access)
        await uploaded(intake)
        commits = asyncio.gather(*(intake.commit(ALICE, ID, URL) for _ in range(3)))
        await until(lambda: access.asked > 0)
        access.go.set()
        await commits
        await intake.commit(ALICE, ID, URL)
        await until(lambda: parts.state() is TaskState.ON_NODE)
        await intake.commit(ALICE, ID, URL)
        assert other.count("commit") == 1


async def test_a_commit_overtaken_by_a_removal_does_not_say_that_it_was_done(tmp_path: Path) -> None:
    access = Hesitant()
    async with ScriptedNode() as other, engine(tmp_path, other.node) as parts:
        intake = an_intake(parts, access)
        await uploaded(intake)
        commit = asyncio.gather(intake.commit(ALICE, ID, URL), return_exceptions=True)
        await until(lambda: access.asked > 0)
        await parts.control.remove(parts.record())
        access.go.set()
        (outcome,) = await commit
        assert isinstance(outcome, UnknownTask)


async def test_a_refused_commit_keeps_the_upload(tmp_path: Path) -> None:
    access = Hesitant()
    access.answer = "no credits"
    access.go.set()
    async with ScriptedNode() as other, engine(tmp_path, other.node) as parts:
        intake = an_intake(parts, access)
        await uploaded(intake)
        with pytest.raises(Refused, match="no credits"):
            await intake.commit(ALICE, ID, URL)
        limited = replace(ALICE, limits=Limits(max_concurrent=0))
        with pytest.raises(LimitReached):
            await intake.commit(limited, ID, URL)
        await parts.store.nodes.replace(replace(other.node, locked=True))
        access.answer = None
        with pytest.raises(Refused, match="No nodes available"):
            await intake.commit(ALICE, ID, URL)
        await parts.store.nodes.replace(other.node)
        parts.store.broken = lambda change: (
            isinstance(change, PutTask) and change.task.state is TaskState.QUEUED
        )
        with pytest.raises(StoreTrouble):
            await intake.commit(ALICE, ID, URL)
        await intake.commit(ALICE, ID, URL)
        await until(lambda: parts.state() is TaskState.ON_NODE)


async def test_files_that_come_after_the_commit_are_not_called_received(tmp_path: Path) -> None:
    hold = Hold()
    async with ScriptedNode({"init": hold}) as other, engine(tmp_path, other.node) as parts:
        intake = an_intake(parts)
        await uploaded(intake)

        async def late() -> AsyncIterator[bytes]:
            await intake.commit(ALICE, ID, URL)
            async for chunk in files("late.jpg"):
                yield chunk

        with pytest.raises(BadRequest, match="committed already"):
            await intake.upload(ALICE, ID, a_body(late()))
        with pytest.raises(BadRequest, match="committed already"):
            await intake.upload(ALICE, ID, a_body(files("later.jpg")))
        hold.open.set()


async def test_another_owners_task_does_not_exist(tmp_path: Path) -> None:
    async with ScriptedNode() as other, engine(tmp_path, other.node) as parts:
        intake = an_intake(parts)
        await uploaded(intake)
        with pytest.raises(UnknownTask):
            await intake.upload(BOB, ID, a_body(files("a.jpg")))
        with pytest.raises(UnknownTask):
            await intake.commit(BOB, ID, URL)


async def test_an_id_is_given_once(tmp_path: Path) -> None:
    async with ScriptedNode() as other, engine(tmp_path, other.node) as parts:
        intake = an_intake(parts)
        assert await intake.choose_id(ID) == ID
        assert await intake.choose_id(None) == an_id(100)
        await intake.begin(ALICE, ID, TaskRequest())
        for wanted in (ID, "zzz", "__proto__"):
            with pytest.raises(BadRequest, match="Invalid set-uuid"):
                await intake.choose_id(wanted)
        with pytest.raises(BadRequest, match="Invalid set-uuid"):
            await intake.begin(ALICE, ID, TaskRequest())


async def test_an_init_needs_a_node_and_room_and_good_options(tmp_path: Path) -> None:
    async with engine(tmp_path, closed_port_node()) as parts:
        with pytest.raises(Refused, match="no nodes are online"):
            await an_intake(parts).begin(ALICE, ID, TaskRequest())
    async with ScriptedNode() as other, engine(tmp_path / "2", other.node) as parts:
        intake = an_intake(parts, policy=IntakePolicy(flood_limit=1))
        with pytest.raises(BadRequest):
            await intake.begin(ALICE, ID, TaskRequest(options="no json"))
        await intake.begin(ALICE, ID, TaskRequest())
        with pytest.raises(LimitReached):
            await intake.begin(ALICE, an_id(2), TaskRequest())
        assert set(parts.store.tables.tasks) == {ID}


async def test_a_slow_upload_does_not_expire_under_its_client(tmp_path: Path) -> None:
    async with ScriptedNode() as other, engine(tmp_path, other.node) as parts:
        intake = an_intake(parts)
        janitor = Janitor(
            store=parts.store,
            spool=parts.spool,
            traces=parts.traces,
            clock=parts.clock,
            retention=Retention(upload=100.0, task=100.0),
        )

        async def slowly() -> AsyncIterator[bytes]:
            async for chunk in files("a.jpg", "b.jpg", "c.jpg"):
                parts.clock.now += 60
                await janitor.sweep()
                yield chunk

        await intake.begin(ALICE, ID, TaskRequest())
        await intake.upload(ALICE, ID, a_body(slowly()))
        assert len(await parts.spool.files(ID)) == 3


async def test_one_shot_takes_fields_after_files(tmp_path: Path) -> None:
    field = '--b\r\nContent-Disposition: form-data; name="name"\r\n\r\nlast\r\n'
    async with ScriptedNode() as other, engine(tmp_path, other.node) as parts:
        await an_intake(parts).one_shot(ALICE, ID, a_body(files("a.jpg", fields=field)), URL)
        await until(lambda: parts.state() is TaskState.ON_NODE)
        assert parts.record().request.name == "last"


async def test_a_one_shot_that_fails_leaves_nothing(tmp_path: Path) -> None:
    async def cut() -> AsyncIterator[bytes]:
        async for chunk in files("a.jpg"):
            yield chunk
            raise ConnectionResetError

    async with ScriptedNode() as other, engine(tmp_path, other.node) as parts:
        intake = an_intake(parts)
        with pytest.raises(BadRequest, match="0 files"):
            await intake.one_shot(ALICE, ID, a_body(files()), URL)
        with pytest.raises(ConnectionResetError):
            await intake.one_shot(ALICE, ID, a_body(cut()), URL)
        assert not parts.store.tables.tasks
        assert await parts.spool.files(ID) == ()


async def test_a_one_shot_that_cannot_be_forgotten_tells_its_first_trouble_and_keeps_no_files(
    tmp_path: Path,
) -> None:
    def broken(change: Change) -> bool:
        return isinstance(change, DropTask)

    async with ScriptedNode() as other, engine(tmp_path, other.node) as parts:
        parts.store.broken = broken
        with pytest.raises(BadRequest, match="0 files"):
            await an_intake(parts).one_shot(ALICE, ID, a_body(files()), URL)
        assert parts.state() is TaskState.SPOOLING  # the janitor's, in time
        assert ID not in parts.spool._boxes
