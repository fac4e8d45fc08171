"""The queue: committed tasks wait here until a node has a free slot for them, and the slot is held for them.

Who is next and which node is best are decided by `core.queue` and `core.fleet`; here are fresh views, the store's
reservation, and waking up when something changed.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from typing import Final, TypeAlias

from clusterodm_py.core.fleet import Fleet
from clusterodm_py.core.placement import Need, Use, Why, candidates, fits, next_turn, place, reasons
from clusterodm_py.core.queue import Queue, Waiting
from clusterodm_py.core.rules import Rules
from clusterodm_py.core.shares import Shares
from clusterodm_py.core.types import Node, NodeId, NodeView, OwnerId, Task, TaskId
from clusterodm_py.engine.background import woken
from clusterodm_py.engine.health import Watch
from clusterodm_py.engine.notices import Notices
from clusterodm_py.store.base import Store

logger = logging.getLogger(__name__)

FRESH_SECONDS: Final = 1.0
"""Views of the nodes under consideration are at most this old when one of them is chosen."""

ASKED_AT_ONCE: Final = 16
"""How many of the best nodes are asked anew: a placement costs the same with 3 nodes and with 1,000."""

_AT_ONCE: Final = 64
"""Slots taken between two looks at what changed meanwhile."""

_WARM: Final = "chosen: its images were passed on to it while they arrived"

Bound: TypeAlias = tuple[Task, Node]


@dataclass(frozen=True, slots=True, kw_only=True)
class SchedulerPolicy:
    """How tasks are bound to nodes."""

    late: bool = True
    """Tasks wait here for a free slot; otherwise they go to the best node at once, and wait there."""
    patience: float = 0.5
    """Seconds to wait for fresh views before deciding on older ones."""
    recheck: float = 10.0
    """Seconds between two looks at the queue when nobody says that anything changed."""
    rules: Rules = field(default_factory=Rules)


@dataclass(slots=True)
class _Applicant:
    """A task in the queue, and who waits for it to be bound."""

    task: Task
    entry: Waiting
    bound: asyncio.Future[Bound | None]

    @property
    def need(self) -> Need:
        return Need(images=self.entry.images, exclude=self.entry.exclude)

    def settle(self, outcome: Bound | None) -> None:
        if not self.bound.done():
            self.bound.set_result(outcome)


class Scheduler:
    """`bind` waits in the queue; `run` serves it, one pass after the other."""

    def __init__(self, *, store: Store, watch: Watch, notices: Notices, policy: SchedulerPolicy) -> None:
        self._store = store
        self._watch = watch
        self._notices = notices
        self._policy = policy
        self._queue = Queue()
        self._shares = Shares()
        self._applicants: dict[TaskId, _Applicant] = {}
        self._newcomers: dict[TaskId, _Applicant] = {}
        """Those for which no node was looked for yet."""
        self._wake = asyncio.Event()
        self.warm: Callable[[TaskId], NodeId | None] = lambda _: None
        """Where a task's files are already, or on their way; set by whoever passes uploads on."""

    def wake(self) -> None:
        """Something changed that may let a task go: look at the queue now."""
        self._wake.set()

    async def bind(self, task: Task, tried: AbstractSet[NodeId]) -> Bound | None:
        """Wait until the task holds a slot of a node it did not try yet; None once it has tried them all.

        Raises Stale when the task is not what the caller thinks.
        """
        future: asyncio.Future[Bound | None] = asyncio.get_running_loop().create_future()
        applicant = _Applicant(task, _entry(task, tried), future)
        self._applicants[task.id] = self._newcomers[task.id] = applicant
        self._queue.put(applicant.entry)
        self.wake()
        try:
            return await future
        finally:
            self._applicants.pop(task.id, None)
            self._newcomers.pop(task.id, None)
            self._queue.remove(task.id)

    async def position(self, task: TaskId) -> tuple[int, int] | None:
        """The place of a waiting task in the queue, from 1, and the queue's length; None when it is not in it."""
        found = self._queue.position(task, await self._had())
        return None if found is None else (found, len(self._queue))

    async def _had(self) -> Counter[OwnerId]:
        return self._shares.had(await self._store.tasks.served(), _now())

    async def run(self) -> None:
        """Serve the queue for ever."""
        while True:
            await woken(self._wake, self._policy.recheck)
            self._wake.clear()
            try:
                await self._pass()
            except Exception:
                logger.exception("serving the queue failed; it is tried again")
                await asyncio.sleep(self._policy.patience)

    async def _pass(self) -> None:
        if not self._applicants:
            return
        newcomers = dict(self._newcomers)
        await self._freshen(newcomers)
        await self._release_tried()
        while len(self._queue):
            views = await self._watch.views()
            batch = await self._late(views) if self._policy.late else self._eager(views)
            if not batch:
                break
            await asyncio.gather(*(self._reserve(applicant, view, views) for applicant, view in batch))
        await self._tell(newcomers)

    async def _freshen(self, newcomers: dict[TaskId, _Applicant]) -> None:
        """Ask the nodes that are about to be chosen from.

        Newcomers whose files are on their way to a node need that one only, so that no other can hold them up.
        """
        homes = {task: self.warm(task) for task in newcomers}
        wanted = {node for node in homes.values() if node is not None}
        homeless = [each for task, each in newcomers.items() if homes[task] is None]
        if homeless or not newcomers:
            views = await self._watch.views()
            for images in {each.entry.images for each in homeless[:2]} or {0}:
                best = candidates(views, Need(images=images))[:ASKED_AT_ONCE]
                wanted.update(view.node.id for view in best if homeless or view.free)
        await self._watch.freshen(wanted, max_age=FRESH_SECONDS, patience=self._policy.patience)

    async def _release_tried(self) -> None:
        """Tell those for whom no untried node is left, before which nodes that failed them count again."""
        for each in [each for each in self._applicants.values() if each.entry.exclude]:
            if await self._watch.first(fits(each.need)) is not None:
                continue
            tried = each.entry.exclude - set(each.task.avoid)
            if tried:
                each.settle(None)
            else:
                each.entry = replace(each.entry, exclude=frozenset())
                self._queue.put(each.entry)

    async def _late(self, views: Sequence[NodeView]) -> list[tuple[_Applicant, NodeView]]:
        """Who gets which free slot now. Whoever is chosen is out of the queue."""
        fleet = Fleet(views, self._policy.rules)
        had = await self._had()
        turn = next_turn(views)
        chosen: list[tuple[_Applicant, NodeView]] = []
        while fleet and len(chosen) < _AT_ONCE:
            found = self._queue.next(had, fleet, self._policy.rules)
            if found is None:
                break
            entry, best = found
            view = self._at_home(entry, fleet, best)
            fleet.put(replace(view, in_flight=view.in_flight + 1, turn=turn + len(chosen)))
            had[entry.owner] += 1
            chosen.append((self._take(entry), view))
        return chosen

    def _eager(self, views: Sequence[NodeView]) -> list[tuple[_Applicant, NodeView]]:
        """One at a time, in the order they came: each changes what is best for the next."""
        fleet = Fleet(views, self._policy.rules)
        for entry in sorted(self._queue, key=lambda entry: entry.since):
            placed = place(views, Need(images=entry.images, exclude=entry.exclude))
            if isinstance(placed, Use):
                return [(self._take(entry), self._at_home(entry, fleet, placed.view))]
        return []

    def _at_home(self, entry: Waiting, fleet: Fleet, best: NodeView) -> NodeView:
        need = Need(images=entry.images, exclude=entry.exclude)
        return fleet.at_home(self.warm(entry.task), need, best)

    def _take(self, entry: Waiting) -> _Applicant:
        self._queue.remove(entry.task)
        return self._applicants[entry.task]

    async def _reserve(self, applicant: _Applicant, view: NodeView, views: Sequence[NodeView]) -> None:
        """Hold the slot; the task is back in the queue where somebody else was faster."""
        if applicant.bound.done():
            return
        whys = place(views, applicant.need).whys
        lines = _reasons(whys, view.node.id, warm=self.warm(applicant.task.id) == view.node.id)
        room = view.free + view.in_flight if view.free else None
        try:
            chosen = replace(applicant.task, reasons=lines)
            reserved = await self._store.tasks.reserve(chosen, view.node.id, slots=room)
        except Exception as error:  # whose task it is must know, and the others go on
            if not applicant.bound.done():
                applicant.bound.set_exception(error)
            return
        if reserved is not None:
            self._shares.started(reserved.owner, _now())
            self._watch.picked(view.node.id)
            logger.info("task=%s node=%s placed: %s", reserved.id, view.node.id, lines[0])
            applicant.settle((reserved, view.node))
        elif not applicant.bound.done():
            self._queue.put(applicant.entry)

    async def _tell(self, newcomers: dict[TaskId, _Applicant]) -> None:
        """Let the records, and so the clients, of those that must wait know it."""
        for task in newcomers:
            self._newcomers.pop(task, None)
        left = [each for each in self._applicants.values() if not each.bound.done()]
        new = [each for each in left if each.task.id in newcomers or each.task.child]
        if not new:
            return
        for told in await self._notices.tell([each.task for each in new], await self._watch.views()):
            if applicant := self._applicants.get(told.id):
                applicant.task = told


def _now() -> float:
    return asyncio.get_running_loop().time()


def _entry(task: Task, tried: AbstractSet[NodeId]) -> Waiting:
    """Children go before other tasks of their owner: a parent holds a slot until they are done."""
    return Waiting(
        task=task.id,
        owner=task.owner,
        images=task.images,
        since=task.committed or task.created,
        priority=2 * task.priority + task.child,
        exclude=frozenset(tried) | frozenset(task.avoid),
    )


def _reasons(whys: Sequence[Why], node: NodeId, *, warm: bool) -> tuple[str, ...]:
    if not warm:
        return reasons(whys)
    others = [replace(why, reason=why.reason.removeprefix("chosen, ")) for why in whys if why.node != node]
    return reasons([Why(node, 1, _WARM), *others])
