"""Replies in the manner of NodeODM: errors are HTTP 200, unknown paths HTML, CORS everywhere (contract §1.0.1)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from html import escape
from typing import Any, TypeAlias

from aiohttp import web

from clusterodm_py.core.errors import ClusterError

Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]


def reply(content: Mapping[str, Any] | list[Any]) -> web.Response:
    return web.json_response(content)


def failure(text: str) -> web.Response:
    return reply({"error": text})


def hang_up(request: web.Request) -> web.Response:
    """Break the connection; the response returned goes nowhere."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


async def dress(_request: web.BaseRequest, response: web.StreamResponse) -> None:
    """What Express puts on every response."""
    response.headers["X-Powered-By"] = "Express"
    response.headers["Access-Control-Allow-Origin"] = "*"


@web.middleware
async def manners(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Preflights, errors and unknown paths."""
    if request.method == "OPTIONS":
        return _preflight(request)
    try:
        return await handler(request)
    except ClusterError as error:
        return failure(str(error))
    except ConnectionError:
        return hang_up(request)
    except (web.HTTPNotFound, web.HTTPMethodNotAllowed):
        text = f"<!DOCTYPE html><pre>Cannot {escape(request.method)} {escape(request.path)}</pre>\n"
        return web.Response(status=404, text=text, content_type="text/html")


def _preflight(request: web.Request) -> web.Response:
    headers = {"Access-Control-Allow-Methods": "GET,HEAD,PUT,PATCH,POST,DELETE"}
    if wanted := request.headers.get("Access-Control-Request-Headers"):
        headers["Access-Control-Allow-Headers"] = wanted
    return web.Response(status=204, headers=headers)
