from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clusterodm_py.core.headers import forward_headers, reply_headers

NAMES = st.sampled_from(
    (
        *(
            "Connection",
            "TE",
            "Set-UUID",
            "Range",
            "X-Secret",
            "Cookie",
            "Host",
            "X-Forwarded-For",
            "Content-Type",
        ),
        *("Proxy-Authorization", "Upgrade", "Access-Control-Allow-Origin", "Keep-Alive", "Content-Length"),
    )
)
VALUES = st.sampled_from(["", "close", "X-Secret, Range", "upgrade, te", "1.2.3.4", ",,", "0-99"])
PAIRS = st.lists(st.tuples(NAMES, VALUES), max_size=8)


def forwarded(*pairs: tuple[str, str], peer: str = "10.0.0.7") -> list[tuple[str, str]]:
    return forward_headers(pairs, peer=peer, scheme="https", host="cluster:3000")


@pytest.mark.parametrize(
    "name",
    [
        *("Connection", "Keep-Alive", "Proxy-Connection", "Proxy-Authorization", "TE", "Trailer"),
        *("Transfer-Encoding", "Upgrade", "Host", "Expect", "Authorization", "Cookie", "Forwarded"),
    ],
)
@pytest.mark.parametrize("case", [str.upper, str.lower, str.title])
def test_what_is_not_for_the_node_stays_here(name: str, case: Callable[[str], str]) -> None:
    assert not any(key.lower() == name.lower() for key, _ in forwarded((case(name), "x")))


def test_what_the_client_meant_for_the_node_arrives_in_order() -> None:
    sent = [
        ("set-uuid", "u"),
        ("Range", "bytes=0-9"),
        ("Accept", "a"),
        ("Accept", "b"),
        ("content-length", "3"),
    ]
    assert forwarded(*sent)[:5] == sent


def test_headers_named_in_connection_end_here() -> None:
    kept = forwarded(
        ("Connection", "close, X-Hop"), ("x-hop", "1"), ("connection", "other"), ("Other", "2"), ("Z", "3")
    )
    assert kept[0] == ("Z", "3")
    assert reply_headers([("CONNECTION", " X-Hop ,"), ("x-hop", "1"), ("Z", "3")]) == [("Z", "3")]


def test_the_node_learns_who_called_and_by_which_name() -> None:
    assert forwarded() == [
        ("X-Forwarded-For", "10.0.0.7"),
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-Host", "cluster:3000"),
    ]


def test_a_chain_of_proxies_grows_by_us() -> None:
    kept = dict(forwarded(("X-Forwarded-For", "1.1.1.1, 2.2.2.2"), ("x-forwarded-for", "3.3.3.3")))
    assert kept["X-Forwarded-For"] == "1.1.1.1, 2.2.2.2, 3.3.3.3, 10.0.0.7"


def test_a_client_cannot_say_how_it_called_us() -> None:
    kept = forwarded(
        ("X-Forwarded-Proto", "http"), ("x-forwarded-host", "evil"), ("Connection", "x-forwarded-host")
    )
    assert ("X-Forwarded-Host", "cluster:3000") in kept
    assert [value for name, value in kept if name.lower() == "x-forwarded-proto"] == ["https"]


def test_an_unknown_peer_is_not_made_up() -> None:
    assert not any(name == "X-Forwarded-For" for name, _ in forwarded(peer=""))
    assert ("X-Forwarded-For", "1.1.1.1") in forwarded(("X-Forwarded-For", "1.1.1.1"), peer="")


@pytest.mark.parametrize(
    "name",
    [
        "Set-Cookie",
        "Access-Control-Allow-Origin",
        "access-control-max-age",
        "Keep-Alive",
        "Proxy-Authenticate",
    ],
)
def test_a_node_does_not_speak_for_our_origin(name: str) -> None:
    assert reply_headers([(name, "x"), ("ETag", "y")]) == [("ETag", "y")]


def test_a_download_keeps_what_describes_it() -> None:
    sent = [
        ("Content-Type", "application/zip"),
        ("Content-Length", "9"),
        ("Content-Disposition", "attachment; filename=all.zip"),
        ("Accept-Ranges", "bytes"),
        ("Content-Range", "bytes 0-8/9"),
    ]
    assert reply_headers(sent) == sent


@given(PAIRS)
def test_only_arrived_headers_pass_and_each_at_most_once(pairs: list[tuple[str, str]]) -> None:
    for kept in (reply_headers(pairs), forwarded(*pairs)):
        rest = iter(pairs)
        assert all(pair in rest for pair in kept if not pair[0].startswith("X-Forwarded-"))
        assert not {"connection", "te", "upgrade", "keep-alive"} & {name.lower() for name, _ in kept}
