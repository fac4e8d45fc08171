"""The parts of the engine around real sockets, a real spool and a store in memory that can be made to fail."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, TypeVar
from uuid import UUID

from clusterodm_py.auth.base import AccessService
from clusterodm_py.auth.local import LocalAccess
from clusterodm_py.core.errors import StoreTrouble
from clusterodm_py.core.failover import FailoverPolicy
from clusterodm_py.core.types import (
    Access,
    Address,
    Node,
    NodeId,
    OwnerId,
    Task,
    TaskId,
    TaskReport,
    TaskRequest,
    TaskState,
    TaskStatus,
    Token,
)
from clusterodm_py.engine.background import Background
from clusterodm_py.engine.conclusion import Conclusion, ConclusionPolicy
from clusterodm_py.engine.control import Control
from clusterodm_py.engine.dispatcher import Dispatcher, DispatchPolicy
from clusterodm_py.engine.failover import Failover
from clusterodm_py.engine.handover import Handover, HandoverPolicy
from clusterodm_py.engine.health import Watch, WatchPolicy
from clusterodm_py.engine.notices import Notices
from clusterodm_py.engine.pipeline import PipelinePolicy, Pipelines
from clusterodm_py.engine.scheduler import Scheduler, SchedulerPolicy
from clusterodm_py.engine.strays import Strays
from clusterodm_py.engine.traces import Traces
from clusterodm_py.engine.tracker import Tracker, TrackPolicy
from clusterodm_py.engine.transcript import Transcript
from clusterodm_py.logbook import Logbook
from clusterodm_py.nodeodm.client import NodeClient
from clusterodm_py.nodeodm.connection import Connection
from clusterodm_py.nodeodm.push import Pusher, PushPolicy
from clusterodm_py.store.memory import MemoryStore
from clusterodm_py.store.tables import Change, Decision, Tables
from clusterodm_py.uploads.spool import Spool, SpoolPolicy

T = TypeVar("T")

LONGEST: Final = 20.0
"""Seconds; a test that waits for what never comes fails, and does not hang."""

NOW: Final = 1_700_000_000.0
ALICE: Final = Access(owner=OwnerId("alice"))


def an_id(number: int) -> TaskId:
    return TaskId(str(UUID(int=number, version=4)))


ID: Final = an_id(1)


def a_task(task: TaskId = ID, state: TaskState = TaskState.QUEUED, **changes: object) -> Task:
    fresh = Task(
        id=task,
        owner=ALICE.owner,
        state=state,
        request=TaskRequest(),
        created=NOW,
        accessed=NOW,
        committed=NOW,
        images=1,
    )
    return replace(fresh, **changes)  # type: ignore[arg-type]  # named by the test


def a_report(status: TaskStatus) -> TaskReport:
    return TaskReport(raw=f'{{"status":{{"code":{int(status)}}}}}', status=status)


async def until(true: Callable[[], bool], seconds: float = 5.0) -> None:
    async with asyncio.timeout(seconds):
        while not true():
            await asyncio.sleep(0.005)


@dataclass
class Clock:
    """Moved by hand."""

    now: float = NOW

    def __call__(self) -> float:
        return self.now


class FragileStore(MemoryStore):
    """Fails on demand: `broken` says for which changes, `failures` how often at most."""

    def __init__(self) -> None:
        super().__init__()
        self.broken: Callable[[Change], bool] = lambda _: False
        self.failures = 1
        self.failed = 0

    async def change(self, decide: Callable[[Tables], Decision[T]]) -> T:
        decision = decide(self.tables)
        if decision.change is not None and self.failed < self.failures and self.broken(decision.change):
            self.failed += 1
            raise StoreTrouble("the disk is full")
        if decision.change is not None:
            self.tables.apply(decision.change)
        return decision.answer


def closed_port_node() -> Node:
    """Nobody listens at port 1 of this machine."""
    return Node(address=Address("127.0.0.1", 1))


QUICK_PUSH: Final = PushPolicy(file_pause=0.0, file_tries=3, first_tries=2, commit_seconds=5.0)
QUICK_HANDOVER: Final = HandoverPolicy(ask_again=0.01, ask_slowest=0.02)
QUICK_DISPATCH: Final = DispatchPolicy(pause=0.01, stumble=0.01)
QUICK_CONCLUSION: Final = ConclusionPolicy(attempts=3, patience=0.4)
QUICK_PIPELINE: Final = PipelinePolicy(patience=0.2, recheck=5.0)
QUICK_SCHEDULE: Final = SchedulerPolicy(patience=0.2, recheck=5.0)
QUICK_TRACK: Final = TrackPolicy(interval=0.02, slowest=0.05)
QUICK_FAILOVER: Final = FailoverPolicy(after=0.2)
QUICK_WATCH: Final = WatchPolicy(interval=0.1)


@dataclass
class Policies:
    push: PushPolicy = QUICK_PUSH
    handover: HandoverPolicy = QUICK_HANDOVER
    dispatch: DispatchPolicy = QUICK_DISPATCH
    conclusion: ConclusionPolicy = QUICK_CONCLUSION
    schedule: SchedulerPolicy = QUICK_SCHEDULE
    pipeline: PipelinePolicy = QUICK_PIPELINE
    track: TrackPolicy = QUICK_TRACK
    failover: FailoverPolicy = QUICK_FAILOVER
    watch: WatchPolicy = QUICK_WATCH


@dataclass
class Parts:
    """One engine without its faces; `sweeping` is up to the test."""

    store: FragileStore
    spool: Spool
    background: Background
    connection: Connection
    clock: Clock
    client: NodeClient
    pusher: Pusher
    watch: Watch
    strays: Strays
    transcript: Transcript
    failover: Failover
    tracker: Tracker
    handover: Handover
    scheduler: Scheduler
    pipelines: Pipelines
    dispatcher: Dispatcher
    traces: Traces
    control: Control
    requeued: list[TaskId] = field(default_factory=list)

    def record(self, task: TaskId = ID) -> Task:
        return self.store.tables.tasks[task]

    def state(self, task: TaskId = ID) -> TaskState | None:
        record = self.store.tables.tasks.get(task)
        return record.state if record else None

    async def keep(self, task: Task, files: Iterable[str] = ("a.jpg",)) -> Task:
        """The task as a record, with its files in the spool."""
        await fill(self.spool, task.id, files)
        return await self.store.tasks.create(task)

    async def sweep(self) -> None:
        """Run the strays until they had their turn."""
        sweep = self.background.start("sweep", self.strays._sweep())
        await asyncio.wait([sweep])


async def fill(spool: Spool, task: TaskId, files: Iterable[str]) -> None:
    await spool.open(task)
    parts = [
        f'--b\r\nContent-Disposition: form-data; name="images"; filename="{name}"\r\n\r\n{name}\r\n'
        for name in files
    ]

    async def stream() -> AsyncIterator[bytes]:
        yield ("".join(parts) + "--b--\r\n").encode()

    if parts:
        await spool.receive(task, stream(), "b", max_files=None)


@asynccontextmanager
async def engine(
    folder: Path,
    *nodes: Node,
    policies: Policies | None = None,
    access: AccessService | None = None,
    watching: bool = True,
) -> AsyncIterator[Parts]:
    """`watching`: the nodes were polled when this is entered, and are from then on."""
    policies = policies or Policies()
    async with AsyncExitStack() as stack:
        store, clock = FragileStore(), Clock()
        for node in nodes:
            await store.nodes.add(node)
        spool = await stack.enter_async_context(Spool(folder / "spool", SpoolPolicy()))
        connection = await stack.enter_async_context(Connection())
        background = await stack.enter_async_context(Background())
        client, pusher = NodeClient(connection), Pusher(connection, policies.push)
        watch = Watch(store=store, client=client, background=background, clock=clock, policy=policies.watch)
        strays = Strays(store, client, pusher)
        transcript = Transcript(store, Logbook(folder / "logs"))
        failover = Failover(
            store=store,
            watch=watch,
            spool=spool,
            strays=strays,
            transcript=transcript,
            clock=clock,
            policy=policies.failover,
        )
        tracker = Tracker(
            store=store,
            watch=watch,
            spool=spool,
            client=client,
            transcript=transcript,
            failover=failover,
            access=access or LocalAccess(Token("")),
            background=background,
            clock=clock,
            policy=policies.track,
        )
        handover = Handover(
            store=store, spool=spool, client=client, pusher=pusher, clock=clock, policy=policies.handover
        )
        notices = Notices(store)
        scheduler = Scheduler(store=store, watch=watch, notices=notices, policy=policies.schedule)
        pipelines = Pipelines(
            store=store,
            spool=spool,
            watch=watch,
            pusher=pusher,
            strays=strays,
            background=background,
            clock=clock,
            policy=policies.pipeline,
        )
        watch.improved = scheduler.wake
        watch.returned = strays.wake
        watch.promised = pipelines.promised
        scheduler.warm = pipelines.warm
        background.start("scheduler", scheduler.run())
        dispatcher = Dispatcher(
            store=store,
            watch=watch,
            scheduler=scheduler,
            pipelines=pipelines,
            notices=notices,
            handover=handover,
            tracker=tracker,
            strays=strays,
            conclusion=Conclusion(
                store=store,
                watch=watch,
                spool=spool,
                tracker=tracker,
                strays=strays,
                clock=clock,
                policy=policies.conclusion,
            ),
            background=background,
            policy=policies.dispatch,
        )
        traces = Traces(store=store, spool=spool, pipelines=pipelines, strays=strays, transcript=transcript)
        control = Control(
            store=store,
            spool=spool,
            client=client,
            dispatcher=dispatcher,
            pipelines=pipelines,
            tracker=tracker,
            strays=strays,
            traces=traces,
            clock=clock,
        )
        parts = Parts(
            store, spool, background, connection, clock, client, pusher, watch, strays, transcript,
            failover, tracker, handover, scheduler, pipelines, dispatcher, traces, control,
        )  # fmt: skip
        tracker.requeued = parts.requeued.append
        await stack.enter_async_context(asyncio.timeout(LONGEST))
        if watching:
            await watch.start()
        yield parts


def ids(*nodes: Node) -> tuple[NodeId, ...]:
    return tuple(node.id for node in nodes)
