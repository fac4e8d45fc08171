"""What the proxy says itself: JSON with status 200 even for errors, 401 without a body, and CORS (contract §1.0.2)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from aiohttp import web
from multidict import CIMultiDict

from clusterodm_py.core.types import Json


class Dropped(Exception):
    """Close the client's connection without an answer.

    The one thing every client takes for "try again later": WebODM marks a task failed for good on any 4xx, 5xx or
    error JSON (contract §11.3).
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class Cors:
    """Which web pages may read our answers."""

    origins: frozenset[str] = frozenset()
    """Origins that may also send credentials. Every other origin is echoed without: tokens travel in the query, and
    credentials for everybody is a hole (contract §12 D-30)."""

    def headers(self, request: web.BaseRequest) -> CIMultiDict[str]:
        """The CORS headers for the answer to `request`; none when it does not come from a web page."""
        headers: CIMultiDict[str] = CIMultiDict()
        if method := request.headers.get("Access-Control-Request-Method"):
            headers["Access-Control-Allow-Methods"] = method
        if names := request.headers.get("Access-Control-Request-Headers"):
            headers["Access-Control-Allow-Headers"] = names
        if origin := request.headers.get("Origin"):
            headers["Access-Control-Allow-Origin"] = origin
            headers["Vary"] = "Origin"
            if origin in self.origins:
                headers["Access-Control-Allow-Credentials"] = "true"
        return headers


def answer(value: Json | Sequence[Mapping[str, Json]] | Sequence[str]) -> web.Response:
    """`value` as our own JSON: status 200, exactly `application/json`."""
    body = json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "replace")
    return web.Response(body=body, content_type="application/json")


def failure(text: str) -> web.Response:
    """An error the way NodeODM tells it: HTTP 200 and an `error` key (contract §1.0.1)."""
    return answer({"error": text})


def unauthorized() -> web.Response:
    """401 without body and type; PyODM and CloudODM go by the status alone."""
    return web.Response(status=401, reason="unauthorized")
