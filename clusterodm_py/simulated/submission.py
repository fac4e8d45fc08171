"""From init to commit on a simulated node: uploads by id, and the faults that befall them."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final
from uuid import uuid4

from aiohttp import web

from clusterodm_py.core.errors import BadRequest
from clusterodm_py.core.types import Json
from clusterodm_py.simulated.faults import Faults
from clusterodm_py.simulated.folders import Folders
from clusterodm_py.simulated.intake import Form, Upload, read_form
from clusterodm_py.simulated.processing import Processing
from clusterodm_py.simulated.replies import hang_up, reply
from clusterodm_py.simulated.tasks import Fields, SimulatedTask, filtered

_UUID: Final = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-[1-7][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", re.IGNORECASE
)


class Submission:
    """The handlers under `/task/new`. Errors are raised as BadRequest."""

    def __init__(
        self, *, faults: Faults, folders: Folders, processing: Processing, clock: Callable[[], float]
    ) -> None:
        self.uploads: dict[str, Upload] = {}
        self._faults = faults
        self._folders = folders
        self._processing = processing
        self._clock = clock

    async def init(self, request: web.Request) -> web.Response:
        """Announce a task. When it is refused, what was uploaded under its id is deleted (as NodeODM does)."""
        task_id = self._requested_id(request)
        try:
            fields = Fields.of((await read_form(request, None)).texts)
            filtered(fields.options)
        except BadRequest:
            await self._drop(task_id)
            raise
        upload = await self._open(task_id, request)
        upload.fields = fields
        return reply({"uuid": task_id})

    async def upload(self, request: web.Request) -> web.StreamResponse:
        upload = self._found(request)
        if self._faults.upload_fails():
            return await self._failed(request)
        form = await read_form(request, upload, lambda: self._halfway(request))
        if not form.files:
            return reply({"error": "Need at least 1 file.", "noRetry": True})
        return reply({"success": True})

    async def commit(self, request: web.Request) -> web.StreamResponse:
        upload = self._found(request)
        if not upload.files:
            raise BadRequest("Need at least 1 file.")
        self._accept(upload)
        return hang_up(request) if self._faults.commit_reply_is_lost() else reply({"uuid": upload.id})

    async def at_once(self, request: web.Request) -> web.Response:
        """`POST /task/new`: fields may come after the files."""
        task_id = self._requested_id(request)
        upload = await self._open(task_id, request)
        try:
            form = await read_form(request, upload)
            upload.fields = Fields.of(form.texts)
            self._check(form, upload.fields)
        except BaseException:
            await self._drop(task_id)
            raise
        self._accept(upload)
        return reply({"uuid": task_id})

    def forget(self) -> None:
        self.uploads.clear()

    def state(self) -> list[Json]:
        """Uncommitted uploads, for `/simulated/state`."""
        return [{"uuid": upload.id, "files": dict(upload.files)} for upload in self.uploads.values()]

    def _requested_id(self, request: web.Request) -> str:
        wanted = request.headers.get("set-uuid")
        if not wanted:
            return str(uuid4())
        if not _UUID.fullmatch(wanted) or wanted in self._processing.tasks:
            raise BadRequest(f"Invalid set-uuid: {wanted}")
        return wanted

    def _found(self, request: web.Request) -> Upload:
        try:
            return self.uploads[request.match_info["uuid"]]
        except KeyError:
            raise BadRequest("Invalid uuid (not found)") from None

    async def _open(self, task_id: str, request: web.Request) -> Upload:
        """The upload of that id; one that is already there keeps its files."""
        await asyncio.to_thread(self._folders.open_upload, task_id)
        fresh = Upload(id=task_id, folder=self._folders.upload(task_id))
        upload = self.uploads.setdefault(task_id, fresh)
        upload.headers = {name.lower(): value for name, value in request.headers.items()}
        return upload

    async def _drop(self, task_id: str) -> None:
        self.uploads.pop(task_id, None)
        await asyncio.to_thread(self._folders.drop_upload, task_id)

    def _check(self, form: Form, fields: Fields) -> None:
        if fields.zip_url:
            raise BadRequest("This is a simulated node: it downloads nothing. Send the files, not a zipurl.")
        if not form.files:
            raise BadRequest("Need at least 1 file or a zip file url.")
        filtered(fields.options)

    def _accept(self, upload: Upload) -> None:
        del self.uploads[upload.id]
        now = self._clock()
        created = upload.fields.date_created
        task = SimulatedTask(
            id=upload.id,
            fields=upload.fields,
            name=upload.fields.name or f"Task of {datetime.fromtimestamp(now, UTC):%Y-%m-%dT%H:%M:%S.000Z}",
            headers=upload.headers,
            files=dict(sorted(upload.files.items())),
            options=filtered(upload.fields.options),
            created=now if created is None else created / 1000,
        )
        self._processing.accept(task)

    async def _halfway(self, request: web.Request) -> None:
        if self._faults.upload_is_cut():
            hang_up(request)
            raise ConnectionAbortedError("cut by the simulation")
        if seconds := self._faults.behaviour.stall_uploads:
            await asyncio.sleep(seconds)

    async def _failed(self, request: web.Request) -> web.Response:
        async for _ in request.content.iter_any():
            pass
        if self._faults.behaviour.fail_uploads_with == "error":
            raise BadRequest("This upload fails: the simulated node was told so.")
        return web.Response(status=500, text="This upload fails: the simulated node was told so.")
