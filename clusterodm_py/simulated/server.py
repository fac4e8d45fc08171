"""The HTTP face of a simulated node: NodeODM's routes (contract §1), and `/simulated/...` for tests."""

from __future__ import annotations

import asyncio
import json
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO, Final
from urllib.parse import parse_qsl

from aiohttp import web

from clusterodm_py.core.errors import BadRequest
from clusterodm_py.core.options import specs_json
from clusterodm_py.core.output import slice_start
from clusterodm_py.simulated.faults import Faults
from clusterodm_py.simulated.folders import ARCHIVE, Folders
from clusterodm_py.simulated.options import SPECS
from clusterodm_py.simulated.page import PAGE, SCRIPT, STYLE
from clusterodm_py.simulated.processing import Processing
from clusterodm_py.simulated.replies import Handler, dress, failure, manners, reply
from clusterodm_py.simulated.submission import Submission

_OPEN: Final = ("/css/", "/js/", "/auth/", "/swagger.json", "/simulated/")
"""Paths that need no token; the page itself is the other."""

_CHUNK: Final = 1 << 20
_MEMORY: Final = 16 << 30
_AUTH_MESSAGE: Final = "Authentication not available on this node"


class Server:
    """All handlers of one node, bound together in `app`."""

    def __init__(
        self,
        *,
        faults: Faults,
        folders: Folders,
        processing: Processing,
        submission: Submission,
        clock: Callable[[], float],
    ) -> None:
        self._faults = faults
        self._folders = folders
        self._processing = processing
        self._submission = submission
        self._clock = clock

    def app(self) -> web.Application:
        app = web.Application(middlewares=[manners, self._token_needed])
        app.on_response_prepare.append(dress)
        app.add_routes([*self._node_routes(), *self._task_routes(), *self._own_routes()])
        return app

    def _node_routes(self) -> list[web.RouteDef]:
        return [
            web.get("/", _text(PAGE, "text/html")),
            web.get("/css/main.css", _text(STYLE, "text/css")),
            web.get("/js/main.js", _text(SCRIPT, "application/javascript")),
            web.get("/swagger.json", self._swagger),
            web.get("/info", self._info),
            web.get("/options", self._options),
            web.get("/auth/info", self._auth_info),
            web.post("/auth/login", self._not_available),
            web.post("/auth/register", self._not_available),
        ]

    def _task_routes(self) -> list[web.RouteDef]:
        return [
            web.post("/task/new/init", self._submission.init),
            web.post("/task/new/upload/{uuid}", self._submission.upload),
            web.post("/task/new/commit/{uuid}", self._submission.commit),
            web.post("/task/new", self._submission.at_once),
            web.get("/task/list", self._list),
            web.get("/task/{uuid}/info", self._task_info),
            web.get("/task/{uuid}/output", self._task_output),
            web.get("/task/{uuid}/download/{asset}", self._download),
            web.post("/task/cancel", self._cancel),
            web.post("/task/remove", self._remove),
            web.post("/task/restart", self._restart),
        ]

    def _own_routes(self) -> list[web.RouteDef]:
        return [
            web.get("/simulated/state", self._state),
            web.post("/simulated/faults", self._change),
        ]

    @web.middleware
    async def _token_needed(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        token = self._faults.behaviour.token
        known = request.match_info.http_exception is None
        free = request.path == "/" or request.path.startswith(_OPEN)
        if token and known and not free and request.query.get("token") != token:
            return failure("Invalid authentication token: token does not match.")
        return await handler(request)

    async def _info(self, request: web.Request) -> web.Response:
        if request.query.get("_debugUnauthorized"):
            return web.Response(status=401)
        behaviour = self._faults.behaviour
        if behaviour.hang_info:
            await asyncio.sleep(math.inf)
        return reply(
            {
                "version": behaviour.version,
                "taskQueueCount": self._processing.busy(),
                "totalMemory": _MEMORY,
                "availableMemory": _MEMORY // 2,
                "cpuCores": os.cpu_count() or 1,
                "maxImages": behaviour.max_images,
                "maxParallelTasks": behaviour.slots,
                "engineVersion": behaviour.engine_version,
                "engine": behaviour.engine,
            }
        )

    async def _options(self, _request: web.Request) -> web.Response:
        return reply(specs_json(SPECS))

    async def _swagger(self, _request: web.Request) -> web.Response:
        return reply({"swagger": "2.0", "info": {"title": "Simulated node", "version": "2.2.1"}, "paths": {}})

    async def _auth_info(self, _request: web.Request) -> web.Response:
        return reply({"message": _AUTH_MESSAGE, "loginUrl": None, "registerUrl": None})

    async def _not_available(self, _request: web.Request) -> web.Response:
        return failure("Not available")

    async def _list(self, _request: web.Request) -> web.Response:
        return reply([{"uuid": uuid} for uuid in self._processing.tasks])

    async def _task_info(self, request: web.Request) -> web.Response:
        task = self._processing.task(request.match_info["uuid"])
        info = task.info(self._clock())
        wanted = request.query.get("with_output")
        return reply(info if wanted is None else {**info, "output": self._lines(request, wanted)})

    async def _task_output(self, request: web.Request) -> web.Response:
        return reply(self._lines(request, request.query.get("line")))

    def _lines(self, request: web.Request, wanted: str | None) -> list[str]:
        lines = self._processing.task(request.match_info["uuid"]).output(self._clock())
        return lines[slice_start(wanted, len(lines)) :]

    async def _download(self, request: web.Request) -> web.StreamResponse:
        task = self._processing.task(request.match_info["uuid"])
        if request.match_info["asset"] != ARCHIVE:
            raise BadRequest("Invalid asset")
        try:
            file, size = await asyncio.to_thread(_opened, self._folders.archive(task.id))
        except FileNotFoundError:
            raise BadRequest("Asset not ready") from None
        with file:
            return await _sent(request, file, size)

    async def _cancel(self, request: web.Request) -> web.Response:
        self._processing.cancel((await _body(request))["uuid"])
        return reply({"success": True})

    async def _remove(self, request: web.Request) -> web.Response:
        await self._processing.remove((await _body(request))["uuid"])
        return reply({"success": True})

    async def _restart(self, request: web.Request) -> web.Response:
        body = await _body(request)
        await self._processing.restart(body["uuid"], body.get("options"))
        return reply({"success": True})

    async def _state(self, _request: web.Request) -> web.Response:
        behaviour = asdict(self._faults.behaviour)
        shown = {name: value for name, value in behaviour.items() if name not in ("token", "work_dir")}
        return reply(
            {
                "behaviour": shown,
                "tasks": [task.state(self._clock()) for task in self._processing.tasks.values()],
                "uploads": self._submission.state(),
            }
        )

    async def _change(self, request: web.Request) -> web.Response:
        self._faults.change(_parsed(await request.text()))
        return reply({"success": True})


def _text(text: str, content_type: str) -> Handler:
    async def answer(_request: web.Request) -> web.Response:
        return web.Response(text=text, content_type=content_type)

    return answer


async def _body(request: web.Request) -> Mapping[str, str]:
    """The fields of a JSON or urlencoded body, with a `uuid` among them. Raises BadRequest."""
    text = await request.text()
    match request.content_type:
        case "application/json":
            parsed = _parsed(text)
            pairs = parsed.items() if isinstance(parsed, dict) else ()
            fields = {name: value for name, value in pairs if isinstance(value, str)}
        case "application/x-www-form-urlencoded":
            fields = dict(parse_qsl(text, keep_blank_values=True))
        case _:
            fields = {}
    if not fields.get("uuid"):
        raise BadRequest("uuid param missing.")
    return fields


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise BadRequest(f"Malformed JSON: {error}") from None


def _opened(path: Path) -> tuple[BinaryIO, int]:
    file = path.open("rb")
    return file, os.fstat(file.fileno()).st_size


async def _sent(request: web.Request, file: BinaryIO, size: int) -> web.StreamResponse:
    """The whole file, whatever range was asked for (contract §1.13)."""
    response = web.StreamResponse(headers={"Content-Disposition": f"attachment; filename={ARCHIVE}"})
    response.content_type, response.content_length = "application/zip", size
    await response.prepare(request)
    while request.method != "HEAD" and (chunk := await asyncio.to_thread(file.read, _CHUNK)):
        await response.write(chunk)
    await response.write_eof()
    return response
