"""A node as operators write it: `host:port?token=secret`. Pure."""

from __future__ import annotations

from typing import Final
from urllib.parse import unquote

from clusterodm_py.core.console import parse_address
from clusterodm_py.core.types import Node, Token

DEFAULT_PORT: Final = 3000
"""Where NodeODM listens unless told otherwise."""


def parse_node(text: str) -> Node:
    """The node of `host[:port][?token=secret]`.

    >>> parse_node("[::1]:3001?token=s3cret")
    Node(address=Address(host='::1', port=3001), token=Token(***), locked=False)

    Without a port it is 3000; an IPv6 address stands in brackets; the token may be percent-encoded. Raises ValueError
    with what to write instead, never repeating the text, which may hold a token.
    """
    place, asks, query = text.strip().partition("?")
    if "://" in place:
        raise ValueError("write host:port, without http://; port 443 speaks TLS by itself")
    if "," in place:
        raise ValueError("write one node at a time")
    host, port = _host_and_port(place.removesuffix("/"))
    address = parse_address(host, port)
    if address is None or not port.isdecimal():
        raise ValueError("write host:port with a port from 1 to 65535, as in node1:3000")
    return Node(address=address, token=_token(query) if asks else Token(""))


def _host_and_port(place: str) -> tuple[str, str]:
    if place.startswith("["):
        host, closed, rest = place.partition("]")
        if not closed or (rest and not rest.startswith(":")):
            raise ValueError("write an IPv6 address in brackets, as in [::1]:3000")
        return f"{host}]", rest[1:] if rest else str(DEFAULT_PORT)
    if place.count(":") > 1:
        raise ValueError("write an IPv6 address in brackets, as in [::1]:3000")
    host, colon, port = place.partition(":")
    return host, port if colon else str(DEFAULT_PORT)


def _token(query: str) -> Token:
    name, _, value = query.partition("=")
    if name != "token" or not value or "&" in value:
        raise ValueError("after the ? comes token=secret and nothing else; write & in a token as %26")
    return Token(unquote(value))
