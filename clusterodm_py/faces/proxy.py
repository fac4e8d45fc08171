"""The public port: who may call, which of the routes it is, and how errors go on the wire (contract §1).

Thin: it classifies, checks the token, calls the handler of the route and renders what comes back.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

from aiohttp import web

from clusterodm_py import __version__
from clusterodm_py.auth.base import AccessService
from clusterodm_py.core import routing
from clusterodm_py.core.errors import BadRequest, ClusterError
from clusterodm_py.core.options import limited_specs, specs_json
from clusterodm_py.core.placement import online, waiting
from clusterodm_py.core.types import Access, TaskState
from clusterodm_py.core.wire import asks_for_401, info_json, user_token
from clusterodm_py.engine.catalog import Catalog
from clusterodm_py.engine.health import Watch
from clusterodm_py.faces import forms, replies
from clusterodm_py.faces.hook import hinted_task
from clusterodm_py.faces.relay import Relay
from clusterodm_py.faces.submit import Submit
from clusterodm_py.faces.tasks import TaskFace
from clusterodm_py.store.base import Store

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Proxy:
    """The request handler of the public port; `handle` is given to an aiohttp `web.Server`."""

    access: AccessService
    store: Store
    watch: Watch
    catalog: Catalog
    relay: Relay
    submit: Submit
    tasks: TaskFace
    cors: replies.Cors

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer any request; nothing but a dropped connection ever leaves as an exception."""
        try:
            response = await self._answer(request)
        except replies.Dropped:
            if request.transport is not None:
                request.transport.close()
            return web.Response()
        except ClusterError as error:
            response = replies.failure(str(error))
        except ConnectionError:
            return web.Response()
        except Exception:
            logger.exception("%s %s", request.method, request.path)
            response = replies.failure("exception")
        if not response.prepared:
            response.headers.extend(self.cors.headers(request))
        return response

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        path, _, query = request.raw_path.partition("?")
        if not path.startswith("/"):  # absolute form, as clients send it to a proxy
            path = request.rel_url.raw_path
        if request.method == "CONNECT":
            return web.Response(status=400)  # to this method, 200 says: the tunnel stands
        if request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers:
            return web.Response()
        route = routing.classify(request.method, path)
        if not routing.needs_token(route):
            return await self._public(request, route, path, query)
        access = await self._admit(query)
        if access is None:
            return replies.unauthorized()
        if request.headers.get("Expect", "").lower() == "100-continue":
            await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        return await self._granted(request, access, route, path, query)

    async def _admit(self, query: str) -> Access | None:
        try:
            token = user_token(query)
        except BadRequest:
            return None
        return None if asks_for_401(query) else await self.access.validate(token)

    async def _public(
        self, request: web.BaseRequest, route: routing.Route, path: str, query: str
    ) -> web.StreamResponse:
        match route:
            case routing.AuthInfo():
                info = self.access.info
                return replies.answer(
                    {"message": info.message, "loginUrl": info.login_url, "registerUrl": info.register_url}
                )
            case routing.CommitHook():
                return await self._hook(request)
            case _:
                return await self._reference(request, path, query)

    async def _granted(
        self, request: web.BaseRequest, access: Access, route: routing.Route, path: str, query: str
    ) -> web.StreamResponse:
        match route:
            case routing.Info():
                return await self._info(access)
            case routing.Options():
                specs = limited_specs(await self.catalog.specs(), access.limits)
                return replies.answer(specs_json(specs))
            case routing.Root():
                return await self._reference(request, path, query)
            case routing.CacheClear():
                await self.access.clear(access.token)
                self.catalog.clear()
                return replies.answer({"ok": True})
            case routing.TaskNew() | routing.TaskInit() | routing.TaskUpload() | routing.TaskCommit():
                return await self.submit.handle(request, access, route, path)
            case routing.Unknown(path=unknown):
                return replies.failure(f"Cannot handle {unknown}")
            case _:
                return await self.tasks.handle(request, access, route, path, query)

    async def _info(self, access: Access) -> web.Response:
        views = await self.watch.views()
        queued = await self.store.tasks.count({TaskState.QUEUED})
        held_up = waiting(views, queued)
        return replies.answer(info_json(views, access.limits, waiting=held_up, version=__version__))

    async def _reference(self, request: web.BaseRequest, path: str, query: str) -> web.StreamResponse:
        view = await self.watch.first(online)
        if view is None:
            return replies.failure("No nodes available")
        return await self.relay.stream(request, view.node, path, query)

    async def _hook(self, request: web.BaseRequest) -> web.Response:
        """A node says that a task ended. It is a hint only: the node is asked (contract §12 D-08)."""
        task, well_formed = hinted_task(await forms.body(request))
        if not well_formed:
            return replies.failure("Malformed /commit request")
        if task is not None:
            await self.tasks.hint(task)
        return replies.answer({"ok": True})
