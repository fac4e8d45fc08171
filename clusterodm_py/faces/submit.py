"""The requests by which a task comes in: init, upload, commit and the one-shot call (contract §1.7-1.10)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from clusterodm_py.core import routing
from clusterodm_py.core.errors import BadRequest
from clusterodm_py.core.requests import task_request
from clusterodm_py.core.types import Access
from clusterodm_py.engine.intake import Body, Intake
from clusterodm_py.faces.forms import chunks, form_fields
from clusterodm_py.faces.replies import answer
from clusterodm_py.uploads.multipart import boundary_of

_HOST: Final = re.compile(r"[A-Za-z0-9._\-]+(:[0-9]{1,5})?|\[[0-9A-Fa-f:.]+\](:[0-9]{1,5})?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Submit:
    """Handlers of the four routes."""

    intake: Intake
    public_address: str
    """Where nodes reach this proxy; empty: as the client called it."""
    tls: bool
    """Whether the proxy speaks TLS, which decides the scheme when there is no public address (contract §3.5)."""

    async def handle(
        self, request: web.BaseRequest, access: Access, route: routing.Route, path: str
    ) -> web.Response:
        match route:
            case routing.TaskInit():
                return await self._init(request, access)
            case routing.TaskNew():
                return await self._one_shot(request, access)
            case routing.TaskUpload(task=task) if task is not None:
                await self.intake.upload(access, task, self._body(request))
                return answer({"success": True})
            case routing.TaskCommit(task=task) if task is not None:
                await self.intake.commit(access, task, self._base_url(request))
                return answer({"uuid": task})
            case _:
                raise BadRequest(f"No uuid found in {path}")

    async def _init(self, request: web.BaseRequest, access: Access) -> web.Response:
        task = await self.intake.choose_id(request.headers.get("set-uuid"))
        await self.intake.begin(access, task, task_request(await form_fields(request)))
        return answer({"uuid": task})

    async def _one_shot(self, request: web.BaseRequest, access: Access) -> web.Response:
        task = await self.intake.choose_id(request.headers.get("set-uuid"))
        await self.intake.one_shot(access, task, self._body(request), self._base_url(request))
        return answer({"uuid": task})

    def _base_url(self, request: web.BaseRequest) -> str:
        """What a node shall call this proxy. A Host header that is none is not passed on to nodes (§12 D-32)."""
        if not self._callable(request):
            raise BadRequest("The Host header is not a host name and port.")
        return self.public_address or f"{'https' if self.tls else 'http'}://{request.host}/"

    def _body(self, request: web.BaseRequest) -> Body:
        return Body(
            stream=chunks(request),
            boundary=_boundary(request),
            length=request.content_length,
            base_url=self._base_url(request) if self._callable(request) else None,
        )

    def _callable(self, request: web.BaseRequest) -> bool:
        return bool(self.public_address or _HOST.fullmatch(request.host))


def _boundary(request: web.BaseRequest) -> str:
    return boundary_of(request.headers.get("Content-Type", ""))
