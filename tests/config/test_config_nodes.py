from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clusterodm_py.config import parse_node
from clusterodm_py.core.types import Address, Node, Token


@pytest.mark.parametrize(
    ("text", "host", "port", "token"),
    [
        ("node1:3001", "node1", 3001, ""),
        ("node1", "node1", 3000, ""),
        (" 10.0.0.7:443 ", "10.0.0.7", 443, ""),
        ("node1:3000/?token=a", "node1", 3000, "a"),
        ("node1?token=a+b%20c%26d=", "node1", 3000, "a+b c&d="),
        ("[::1]:3005?token=t", "::1", 3005, "t"),
        ("[fe80::1]", "fe80::1", 3000, ""),
    ],
)
def test_a_node_is_read_as_operators_write_it(text: str, host: str, port: int, token: str) -> None:
    assert parse_node(text) == Node(address=Address(host, port), token=Token(token))


def test_port_443_speaks_tls_though_it_was_written_as_text() -> None:
    assert parse_node("node1:443").address.url == "https://node1:443"


@pytest.mark.parametrize(
    ("text", "fix"),
    [
        ("", "host:port"),
        (":3000", "host:port"),
        ("node1:", "host:port"),
        ("node1:0", "1 to 65535"),
        ("node1:65536", "1 to 65535"),
        ("node1:12x", "1 to 65535"),
        ("node1:+12", "1 to 65535"),
        ("no de:3000", "host:port"),
        ("::1", "[::1]:3000"),
        ("[::1", "[::1]:3000"),
        ("[::1]3000", "[::1]:3000"),
        ("http://node1:3000", "without http://"),
        ("node1:3000,node2:3000", "one node at a time"),
        ("node1?tokn=x", "?"),
        ("node1?token=", "?"),
        ("node1?token=x&y=z", "%26"),
    ],
)
def test_anything_else_is_refused_with_the_fix(text: str, fix: str) -> None:
    with pytest.raises(ValueError, match="write") as refusal:
        parse_node(text)
    assert fix in str(refusal.value)


@given(st.text(max_size=40))
def test_any_text_is_a_node_with_a_usable_address_or_a_value_error(text: str) -> None:
    try:
        node = parse_node(text)
    except ValueError:
        return
    assert node.address.host
    assert 1 <= node.address.port <= 65535


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30))
def test_any_token_survives_percent_encoding(secret: str) -> None:
    assert parse_node(f"node1:3000?token={quote(secret, safe='')}").token == Token(secret)
