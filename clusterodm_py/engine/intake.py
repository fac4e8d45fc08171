"""Takes a task in: init, uploads, commit, or all of it in one request (contract §1.7-1.10, §5.4).

Nothing a client sent is thrown away because it must wait: a commit that is refused leaves the upload as it was.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterable, AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace

from clusterodm_py.auth.base import AccessService
from clusterodm_py.core import limits as limit
from clusterodm_py.core import options as option
from clusterodm_py.core.errors import (
    AlreadyThere,
    BadRequest,
    ClusterError,
    Refused,
    Stale,
    StoreTrouble,
    UnknownTask,
)
from clusterodm_py.core.placement import Need, Refuse, fits, online, place
from clusterodm_py.core.requests import task_request
from clusterodm_py.core.types import ACTIVE, Access, Task, TaskId, TaskRequest, TaskState
from clusterodm_py.core.wire import valid_uuid
from clusterodm_py.engine.dispatcher import Dispatcher
from clusterodm_py.engine.health import Watch
from clusterodm_py.engine.pipeline import Pipelines
from clusterodm_py.engine.wishes import Wishes
from clusterodm_py.store.base import Store
from clusterodm_py.uploads.spool import Received, Spool, SpooledFile

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class IntakePolicy:
    """What is accepted."""

    splitmerge: bool = True
    flood_limit: int = 0
    """Uploads one token may have begun and not committed; 0 is no limit (contract §5.8)."""
    pipeline: bool = True
    """Whether uploads are passed on to a node while they arrive."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """A request body with files, as it comes in."""

    stream: AsyncIterable[bytes]
    boundary: str
    length: int | None = None
    """Bytes it has by its own word."""
    base_url: str | None = None
    """Where nodes can call us, as this client does; without, nothing is passed on before the commit."""


class Intake:
    """One method per request; every refusal is a `Refused` whose text is for the client."""

    def __init__(
        self,
        *,
        store: Store,
        spool: Spool,
        watch: Watch,
        wishes: Wishes,
        access: AccessService,
        dispatcher: Dispatcher,
        pipelines: Pipelines,
        clock: Callable[[], float],
        new_id: Callable[[], TaskId],
        policy: IntakePolicy,
    ) -> None:
        self._store = store
        self._spool = spool
        self._watch = watch
        self._wishes = wishes
        self._access = access
        self._dispatcher = dispatcher
        self._pipelines = pipelines
        self._clock = clock
        self._new_id = new_id
        self._policy = policy
        self._flood = limit.Flood()

    async def choose_id(self, wanted: str | None) -> TaskId:
        """The id of a new task: the client's `set-uuid` if it gave a good and free one, else a fresh one."""
        if wanted is None:
            return self._new_id()
        if not valid_uuid(wanted) or await self._store.tasks.get(TaskId(wanted)) is not None:
            raise BadRequest(f"Invalid set-uuid: {wanted}")
        return TaskId(wanted)

    async def begin(self, access: Access, task_id: TaskId, request: TaskRequest) -> None:
        """Init: check everything that can be checked before files arrive, and keep what was asked for."""
        if await self._watch.first(online) is None:
            raise Refused("Cannot create the task: no nodes are online. Add one or wait until one is back.")
        limit.check_concurrent(await self._store.tasks.active(access.owner), access.limits)
        await self._wishes.check(access, request.options)
        await self._spool.admit(0, access.owner, access.limits.max_bytes)
        self._flood = limit.began(self._flood, access.owner, self._clock())
        limit.check_flood(self._flood, access.owner, self._policy.flood_limit)
        await self._create(access, task_id, request)

    async def upload(self, access: Access, task_id: TaskId, body: Body) -> None:
        """Store the files of one request; they are complete on disk when this returns."""
        task = await self._spooling(access, task_id)
        await self._spool.admit(body.length or 0, task.owner, access.limits.max_bytes)
        await self._pass_on(access, task, body.base_url)
        received = await self._receive(access, task_id, body)
        if not received.files:
            raise BadRequest("No files uploaded.")
        # A commit meanwhile did not count these files: do not say it did.
        await self._spooling(access, task_id)
        await self._store.tasks.touch(task.id, self._clock())

    async def commit(self, access: Access, task_id: TaskId, base_url: str) -> None:
        """Make the task durable and send it on its way. Committing again changes nothing."""
        task = await self._owned(access, task_id)
        if task.state in ACTIVE or task.committed is not None:
            return
        if await self._commit(access, task, base_url):
            self._flood = limit.committed(self._flood, access.owner, self._clock())

    async def one_shot(self, access: Access, task_id: TaskId, body: Body, base_url: str) -> None:
        """Fields and files in one request; the fields may come last (contract §1.10), so nothing is passed on early."""
        limit.check_concurrent(await self._store.tasks.active(access.owner), access.limits)
        await self._spool.admit(body.length or 0, access.owner, access.limits.max_bytes)
        task = await self._create(access, task_id, TaskRequest())
        try:
            received = await self._receive(access, task_id, body)
            asked = replace(task, request=task_request(received.fields))
            await self._commit(access, await self._store.tasks.save(asked), base_url)
        except BaseException:  # also a client that went away: it never learns the id, so nothing may stay
            await self._drop(task_id)
            raise

    async def _receive(self, access: Access, task: TaskId, body: Body) -> Received:
        awake, most = self._awake(task, body.stream), access.limits
        return await self._spool.receive(
            task, awake, body.boundary, max_files=most.max_images, budget=most.max_bytes
        )

    async def _commit(self, access: Access, task: Task, base_url: str) -> bool:
        """Whether the task was committed by this call."""
        files = await self._spool.files(task.id)
        await self._check(access, files)
        options = await self._wishes.final(access, task.request.options, base_url)
        now = self._clock()

        def ready(record: Task) -> Task:
            return replace(
                record,
                options=options,
                images=len(files),
                bytes=sum(file.size for file in files),
                committed=now,
                accessed=now,
                priority=access.limits.priority,
                child=any(file.name == option.SEED for file in files),
                token=access.token if self._access.keeps_tokens else None,
            )

        queued = await self._queue(access, task, ready)
        if queued is None:
            return False
        logger.info("task=%s committed: %d files, %d bytes", queued.id, queued.images, queued.bytes)
        await self._pipelines.commit(queued)
        self._dispatcher.submit(queued.id)
        return True

    async def _check(self, access: Access, files: Sequence[SpooledFile]) -> None:
        """Raises Refused, or one of its kind, when a task of these files may not be committed."""
        if not files:
            raise BadRequest("Not enough images (0 files uploaded)")
        option.refuse_seed((file.name for file in files), self._policy.splitmerge)
        limit.check_images(len(files), access.limits)
        limit.check_concurrent(await self._store.tasks.active(access.owner), access.limits)
        if error := await self._access.approve(access, len(files)):
            raise Refused(error)
        need = Need(images=len(files))
        if await self._watch.first(fits(need)) is None:
            placed = place(await self._watch.views(), need)
            raise Refused(placed.message if isinstance(placed, Refuse) else "No nodes available")

    async def _queue(self, access: Access, task: Task, ready: Callable[[Task], Task]) -> Task | None:
        """The record as it is queued; None when somebody else committed the task at this very moment."""
        while True:
            try:
                return await self._store.tasks.commit(
                    ready(task), max_concurrent=access.limits.max_concurrent
                )
            except Stale:  # committed by a twin of this request, removed, or noted to be on its way to a node
                task = await self._owned(access, task.id)
                if task.state is not TaskState.SPOOLING:
                    return None

    async def _pass_on(self, access: Access, task: Task, base_url: str | None) -> None:
        """Begin to send the upload to a node, if that is wanted and was not begun yet."""
        if not self._policy.pipeline or base_url is None:
            return
        options = None
        if not self._pipelines.passes_on(task.id):
            try:
                options = await self._wishes.final(access, task.request.options, base_url)
            except ClusterError as error:  # the commit will tell the client
                logger.debug("task=%s is not passed on while it arrives: %s", task.id, error)
                return
        self._pipelines.begin(task.id, options or ())

    async def _awake(self, task: TaskId, stream: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
        """The stream; while it comes, the upload does not expire, however slow it is."""
        async for chunk in stream:
            await self._store.tasks.touch(task, self._clock())
            yield chunk

    async def _create(self, access: Access, task_id: TaskId, request: TaskRequest) -> Task:
        """The durable record and its folder; the record comes first, since it is what makes the id ours."""
        now = self._clock()
        task = Task(
            id=task_id,
            owner=access.owner,
            state=TaskState.SPOOLING,
            request=request,
            created=now,
            accessed=now,
        )
        try:
            task = await self._store.tasks.create(task)
        except AlreadyThere:
            raise BadRequest(f"Invalid set-uuid: {task_id}") from None
        try:
            await self._spool.open(task_id, access.owner)
        except BaseException:
            await self._drop(task_id)
            raise
        return task

    async def _drop(self, task_id: TaskId) -> None:
        try:
            await self._store.tasks.remove(task_id)
        except StoreTrouble as trouble:  # whoever calls has something more important to tell
            logger.warning("task=%s its record is left to expire: %s", task_id, trouble)
        await self._spool.discard(task_id)

    async def _owned(self, access: Access, task_id: TaskId) -> Task:
        task = await self._store.tasks.get(task_id)
        if task is None or not access.may_touch(task.owner):
            raise UnknownTask("Invalid taskId: the task no longer exists.")
        return task

    async def _spooling(self, access: Access, task_id: TaskId) -> Task:
        task = await self._owned(access, task_id)
        if task.state is not TaskState.SPOOLING:
            raise BadRequest("Invalid taskId: the task was committed already and takes no more files.")
        return task
