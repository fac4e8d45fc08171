"""Which headers cross from client to node and back. Lengths and framing are the caller's."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, TypeAlias

Headers: TypeAlias = Iterable[tuple[str, str]]

_ONE_CONNECTION: Final = frozenset(
    {
        "connection",
        "keep-alive",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
"""Hop-by-hop (RFC 9110 §7.6.1), with all of `proxy-*` and what Connection names."""

_NOT_FOR_NODES: Final = frozenset(
    {
        "host",  # the node's own; NodeODM builds no URLs from it, but a server in front of it routes by it
        "expect",  # answered by us
        "authorization",  # NodeODM looks at the query only (contract §1.0.1), so these secrets of the
        "cookie",  # proxy's origin can do nothing there but leak
        "forwarded",  # X-Forwarded-* below would contradict it
        "x-forwarded-for",
        "x-forwarded-proto",
        "x-forwarded-host",
    }
)

_NOT_FOR_CLIENTS: Final = frozenset({"set-cookie", "set-cookie2"})
"""A node may not write cookies of the proxy's origin, and would never get them back."""

_CORS: Final = "access-control-"
"""We speak for our origin; a node's word beside ours contradicts it (contract §12 D-30)."""


def forward_headers(pairs: Headers, peer: str, scheme: str, host: str) -> list[tuple[str, str]]:
    """The request headers for a node. `peer` is the client's address, `scheme` and `host` what it called us by.

    Empty texts are not passed on. The chain of X-Forwarded-For grows by one; it is the client's word up to there.
    """
    arrived = list(pairs)
    chain = [value.strip() for name, value in arrived if name.lower() == "x-forwarded-for"]
    ours = {
        "X-Forwarded-For": ", ".join(filter(None, [*chain, peer])),
        "X-Forwarded-Proto": scheme,
        "X-Forwarded-Host": host,
    }
    kept = [(name, value) for name, value in _end_to_end(arrived) if name.lower() not in _NOT_FOR_NODES]
    return kept + [(name, value) for name, value in ours.items() if value]


def reply_headers(pairs: Headers) -> list[tuple[str, str]]:
    """The response headers for the client; the caller adds CORS."""
    return [
        (name, value)
        for name, value in _end_to_end(list(pairs))
        if name.lower() not in _NOT_FOR_CLIENTS and not name.lower().startswith(_CORS)
    ]


def _end_to_end(pairs: list[tuple[str, str]]) -> list[tuple[str, str]]:
    named = {
        option.strip().lower()
        for name, value in pairs
        if name.lower() == "connection"
        for option in value.split(",")
    }
    dropped = _ONE_CONNECTION | named
    return [
        (name, value)
        for name, value in pairs
        if name.lower() not in dropped and not name.lower().startswith("proxy-")
    ]
