"""What `store.base` promises, over every store. Another store joins by joining OPENERS."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from clusterodm_py.core.errors import AlreadyThere, LimitReached, Stale
from clusterodm_py.core.types import (
    NOBODY,
    Address,
    Node,
    NodeId,
    OptionValue,
    OwnerId,
    Task,
    TaskId,
    TaskReport,
    TaskRequest,
    TaskState,
    TaskStatus,
    Token,
)
from clusterodm_py.store.base import Store
from clusterodm_py.store.memory import MemoryStore
from clusterodm_py.store.sqlite import SqliteStore

OPENERS: dict[str, Callable[[Path], Store]] = {
    "memory": lambda folder: MemoryStore(),
    "sqlite": lambda folder: SqliteStore(folder / "store.db", clock=lambda: 0.0),
    "sqlite-fsync": lambda folder: SqliteStore(folder / "store.db", clock=lambda: 0.0, fsync=True),
}

A, B = NodeId("a:3000"), NodeId("b:3000")
S = TaskState


@pytest.fixture(params=OPENERS)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    async with OPENERS[request.param](tmp_path) as store:
        yield store


def node(host: str, **more: object) -> Node:
    return replace(Node(address=Address(host, 3000)), **more)  # type: ignore[arg-type]  # fields of Node


def task(number: int = 1, *, owner: str = "", state: TaskState = S.SPOOLING, created: float = 1.0) -> Task:
    return Task(
        id=TaskId(f"task-{number}"),
        owner=OwnerId(owner),
        state=state,
        request=TaskRequest(name=f"n{number}"),
        created=created,
        accessed=created,
    )


async def queued(store: Store, number: int = 1, owner: str = "") -> Task:
    made = await store.tasks.create(task(number, owner=owner, created=float(number)))
    return await store.tasks.commit(made, max_concurrent=None)


async def test_nodes_keep_the_order_they_came_in(store: Store) -> None:
    for host in ("c", "a", "b"):
        await store.nodes.add(node(host))
    await store.nodes.replace(node("a", locked=True, token=Token("t")))
    found = await store.nodes.all()
    assert [each.address.host for each in found] == ["c", "a", "b"]
    assert await store.nodes.get(A) == node("a", locked=True, token=Token("t"))


async def test_a_node_is_there_once(store: Store) -> None:
    await store.nodes.add(node("a"))
    with pytest.raises(AlreadyThere):
        await store.nodes.add(node("a", token=Token("other")))
    assert await store.nodes.remove(A)
    assert not await store.nodes.remove(A)
    assert await store.nodes.get(A) is None
    with pytest.raises(Stale):
        await store.nodes.replace(node("a"))


async def test_a_task_is_kept_as_it_was_given(store: Store) -> None:
    whole = replace(
        task(),
        request=TaskRequest(name="ü\ud800", options="[]", outputs="[]", date_created=5),
        options=(OptionValue("dsm", True), OptionValue("n", None), OptionValue("f", 0.5)),
        images=3,
        bytes=2**40,
        error="why",
        lines=("one", "two"),
        reasons=("because",),
        report=TaskReport(raw="{}", status=TaskStatus.QUEUED, progress=1.5, error="e"),
        token=Token("secret"),
        touched=(A,),
    )
    made = await store.tasks.create(whole)
    assert made == replace(whole, version=1)
    assert await store.tasks.get(whole.id) == made
    assert await store.tasks.get(TaskId("none")) is None


async def test_an_id_is_taken_once(store: Store) -> None:
    await store.tasks.create(task())
    with pytest.raises(AlreadyThere):
        await store.tasks.create(task())
    assert await store.tasks.remove(TaskId("task-1"))
    assert not await store.tasks.remove(TaskId("task-1"))
    await store.tasks.create(task())


async def test_a_save_with_an_old_version_is_refused(store: Store) -> None:
    made = await store.tasks.create(task())
    saved = await store.tasks.save(replace(made, images=1))
    assert saved.version == made.version + 1
    with pytest.raises(Stale):
        await store.tasks.save(replace(made, images=2))
    assert await store.tasks.get(made.id) == saved
    await store.tasks.remove(made.id)
    with pytest.raises(Stale):
        await store.tasks.save(saved)


async def test_a_task_moves_only_where_it_may(store: Store) -> None:
    made = await store.tasks.create(task())
    with pytest.raises(ValueError, match="may not move"):
        await store.tasks.save(replace(made, state=S.FINISHED))
    waiting = await store.tasks.commit(made, max_concurrent=None)
    with pytest.raises(ValueError, match="reserve"):
        await store.tasks.save(replace(waiting, state=S.PUSHING, node=A))


async def test_a_commit_counts_what_is_active_and_nothing_else(store: Store) -> None:
    first = await queued(store, 1, "alice")
    second = await store.tasks.create(task(2, owner="alice"))
    with pytest.raises(LimitReached):
        await store.tasks.commit(second, max_concurrent=1)
    assert await store.tasks.get(second.id) == second
    await queued(store, 3, "bob")
    await store.tasks.save(replace(first, state=S.CANCELED))
    assert await store.tasks.active(OwnerId("alice")) == 0
    assert (await store.tasks.commit(second, max_concurrent=1)).state is S.QUEUED
    assert await store.tasks.active(OwnerId("alice")) == 1


async def test_commits_at_the_same_time_never_pass_the_limit(store: Store) -> None:
    made = [await store.tasks.create(task(number)) for number in range(10)]
    answers = await asyncio.gather(
        *(store.tasks.commit(each, max_concurrent=3) for each in made), return_exceptions=True
    )
    assert sum(isinstance(answer, Task) for answer in answers) == 3
    assert sum(isinstance(answer, LimitReached) for answer in answers) == 7


async def test_a_reservation_holds_a_slot_until_the_task_is_on_its_node(store: Store) -> None:
    waiting = await queued(store)
    held = await store.tasks.reserve(waiting, A, slots=1)
    assert held is not None
    assert (held.state, held.node, held.attempts, held.touched) == (S.PUSHING, A, 1, (A,))
    assert await store.tasks.in_flight() == {A: 1}
    other = await queued(store, 2)
    assert await store.tasks.reserve(other, A, slots=1) is None
    assert await store.tasks.get(other.id) == other
    assert await store.tasks.reserve(other, A, slots=None) is not None
    committing = await store.tasks.save(replace(held, state=S.COMMITTING))
    assert (await store.tasks.in_flight())[A] == 2
    await store.tasks.save(replace(committing, state=S.ON_NODE))
    assert await store.tasks.in_flight() == {A: 1}


async def test_an_owner_is_served_by_each_node_that_has_or_gets_a_task_of_it(store: Store) -> None:
    await queued(store, 1, "bob")
    held = await store.tasks.reserve(await queued(store, 2, "alice"), A, slots=None)
    assert held is not None
    running = await store.tasks.save(replace(held, state=S.ON_NODE))
    assert await store.tasks.reserve(await queued(store, 3, "alice"), A, slots=None) is not None
    assert await store.tasks.served() == {OwnerId("alice"): 2}
    assert await store.tasks.count({S.QUEUED, S.ON_NODE}) == 2
    await store.tasks.save(replace(running, state=S.FINISHED))
    assert await store.tasks.served() == {OwnerId("alice"): 1}


async def test_a_task_that_gets_its_node_does_not_wait_any_more(store: Store) -> None:
    waiting = await store.tasks.save(replace(await queued(store), waiting=True))
    held = await store.tasks.reserve(waiting, A, slots=None)
    assert held is not None
    assert not held.waiting


async def test_reservations_at_the_same_time_never_take_a_slot_twice(store: Store) -> None:
    waiting = [await queued(store, number) for number in range(12)]
    answers = await asyncio.gather(*(store.tasks.reserve(each, A, slots=5) for each in waiting))
    assert sum(answer is not None for answer in answers) == 5
    assert await store.tasks.in_flight() == {A: 5}


async def test_touched_nodes_are_remembered_once_each(store: Store) -> None:
    current = await queued(store)
    for target in (A, B, A):
        held = await store.tasks.reserve(current, target, slots=None)
        assert held is not None
        current = await store.tasks.save(replace(held, state=S.QUEUED, node=None))
    assert (current.touched, current.attempts) == ((A, B), 3)


async def test_removing_a_task_frees_its_slot(store: Store) -> None:
    held = await store.tasks.reserve(await queued(store), A, slots=1)
    assert held is not None
    await store.tasks.remove(held.id)
    assert await store.tasks.in_flight() == {}
    assert await store.tasks.active(NOBODY) == 0


async def test_an_access_is_noted_without_a_new_version(store: Store) -> None:
    made = await store.tasks.create(task(created=100.0))
    await store.tasks.touch(made.id, 500.0)
    await store.tasks.touch(TaskId("none"), 500.0)
    found = await store.tasks.get(made.id)
    assert found == replace(made, accessed=500.0)
    saved = await store.tasks.save(replace(made, images=1))
    assert saved.accessed == 500.0


async def test_tasks_are_found_by_owner_and_state_oldest_first(store: Store) -> None:
    for number, owner in [(3, "x"), (1, "x"), (2, "y")]:
        await store.tasks.create(task(number, owner=owner, created=float(number)))
    done = await store.tasks.get(TaskId("task-2"))
    assert done is not None
    await store.tasks.commit(done, max_concurrent=None)
    mine = await store.tasks.of_owner(OwnerId("x"))
    assert [each.id for each in mine] == ["task-1", "task-3"]
    everything = await store.tasks.in_states({S.SPOOLING, S.QUEUED})
    assert [each.id for each in everything] == ["task-1", "task-2", "task-3"]
    assert [each.id for each in await store.tasks.in_states({S.QUEUED})] == ["task-2"]
    assert await store.tasks.of_owner(OwnerId("z")) == ()


async def test_strays_and_notes(store: Store) -> None:
    for _ in range(2):
        await store.strays.add(TaskId("t"), A)
    await store.strays.add(TaskId("t"), B)
    assert await store.strays.all() == (("t", A), ("t", B))
    await store.strays.remove(TaskId("t"), A)
    await store.strays.remove(TaskId("none"), A)
    assert await store.strays.all() == (("t", B),)
    assert await store.notes.get("k") is None
    await store.notes.put("k", "1")
    await store.notes.put("k", "2")
    assert await store.notes.get("k") == "2"
