"""Any sequence of verbs leaves SQLite and the memory store alike, also after closing and opening again."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from clusterodm_py.core.errors import ClusterError
from clusterodm_py.core.types import Address, Node, NodeId, OwnerId, Task, TaskId, TaskRequest, TaskState
from clusterodm_py.store.base import Store
from clusterodm_py.store.memory import MemoryStore
from clusterodm_py.store.sqlite import SqliteStore

TASKS = st.sampled_from([TaskId(f"t{number}") for number in range(4)])
NODES = st.sampled_from([NodeId("a:1"), NodeId("b:1")])
OWNERS = st.sampled_from([OwnerId(""), OwnerId("x")])
STATES = st.sampled_from(list(TaskState))


class Stores(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.folder = tempfile.TemporaryDirectory()
        self.memory = MemoryStore()
        self.sqlite = self._opened()
        self.clock = 0.0

    def _opened(self) -> SqliteStore:
        store = SqliteStore(Path(self.folder.name) / "db", clock=lambda: 0.0)
        return self.runner.run(store.__aenter__())

    def teardown(self) -> None:
        self.runner.run(self.sqlite.__aexit__(None, None, None))
        self.runner.close()
        self.folder.cleanup()

    def both(self, verb: Callable[[Store], Awaitable[Any]]) -> None:
        """The same verb on both gives the same answer, or the same refusal."""
        assert self._outcome(verb, self.memory) == self._outcome(verb, self.sqlite)

    def _outcome(self, verb: Callable[[Store], Awaitable[Any]], store: Store) -> Any:
        async def run() -> Any:
            return await verb(store)

        try:
            return self.runner.run(run())
        except (ClusterError, ValueError) as refusal:
            return type(refusal)

    def known(self, task: TaskId) -> Task | None:
        return self.memory.tables.tasks.get(task)

    @rule(task=TASKS, owner=OWNERS)
    def create(self, task: TaskId, owner: OwnerId) -> None:
        self.clock += 1
        made = Task(
            id=task,
            owner=owner,
            state=TaskState.SPOOLING,
            request=TaskRequest(),
            created=self.clock,
            accessed=self.clock,
        )
        self.both(lambda store: store.tasks.create(made))

    @rule(task=TASKS, state=STATES, old=st.booleans())
    def save(self, task: TaskId, state: TaskState, old: bool) -> None:
        if known := self.known(task):
            wanted = replace(known, state=state, images=known.images + 1, version=known.version - old)
            self.both(lambda store: store.tasks.save(wanted))

    @rule(task=TASKS, most=st.none() | st.integers(0, 2))
    def commit(self, task: TaskId, most: int | None) -> None:
        if known := self.known(task):
            self.both(lambda store: store.tasks.commit(known, max_concurrent=most))

    @rule(task=TASKS, node=NODES, slots=st.none() | st.integers(0, 2))
    def reserve(self, task: TaskId, node: NodeId, slots: int | None) -> None:
        if known := self.known(task):
            self.both(lambda store: store.tasks.reserve(known, node, slots=slots))

    @rule(task=TASKS)
    def remove(self, task: TaskId) -> None:
        self.both(lambda store: store.tasks.remove(task))

    @rule(task=TASKS, later=st.floats(0, 100))
    def touch(self, task: TaskId, later: float) -> None:
        self.both(lambda store: store.tasks.touch(task, self.clock + later))

    @rule(host=st.sampled_from("ab"), locked=st.booleans())
    def add_node(self, host: str, locked: bool) -> None:
        self.both(lambda store: store.nodes.add(Node(address=Address(host, 1), locked=locked)))

    @rule(node=NODES)
    def remove_node(self, node: NodeId) -> None:
        self.both(lambda store: store.nodes.remove(node))

    @rule(task=TASKS, node=NODES, there=st.booleans())
    def stray(self, task: TaskId, node: NodeId, there: bool) -> None:
        self.both(lambda store: (store.strays.add if there else store.strays.remove)(task, node))

    @precondition(lambda self: self.memory.tables.tasks)
    @rule()
    def reopen(self) -> None:
        self.runner.run(self.sqlite.__aexit__(None, None, None))
        self.sqlite = self._opened()

    @invariant()
    def alike(self) -> None:
        self.both(lambda store: store.tasks.in_states(frozenset(TaskState)))
        self.both(lambda store: store.tasks.of_owner(OwnerId("x")))
        self.both(lambda store: store.tasks.active(OwnerId("x")))
        self.both(lambda store: store.tasks.in_flight())
        self.both(lambda store: store.tasks.served())
        self.both(lambda store: store.tasks.count({TaskState.QUEUED, TaskState.PUSHING}))
        self.both(lambda store: store.nodes.all())
        self.both(lambda store: store.strays.all())


TestStores = Stores.TestCase
TestStores.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)
