from __future__ import annotations

from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clusterodm_py.core.errors import BadRequest
from clusterodm_py.core.types import Token
from clusterodm_py.core.wire import asks_for_401, node_query, user_token, valid_uuid

NONE = Token("")
NODES = Token("node tok&n=/é")


@pytest.mark.parametrize(
    ("query", "without", "with_token"),
    [
        ("", "", "token=s"),
        ("token=x", "", "token=s"),
        ("a=1&token=x&b=%20+2&&c", "a=1&b=%20+2&&c", "a=1&b=%20+2&&c&token=s"),
        ("tok%65n=x&token&token=y&z", "z", "z&token=s"),
        ("token[]=x&token%5Ba%5D=y&z=1", "z=1", "z=1&token=s"),
        ("Token=x&tokens=y", "Token=x&tokens=y", "Token=x&tokens=y&token=s"),
        ("with_output=-3", "with_output=-3", "with_output=-3&token=s"),
        ("%ff=%zz", "%ff=%zz", "%ff=%zz&token=s"),
    ],
)
def test_a_node_gets_its_own_token_never_the_users(query: str, without: str, with_token: str) -> None:
    assert node_query(query, NONE) == without
    assert node_query(query, Token("s")) == with_token


def test_a_nodes_token_survives_the_query() -> None:
    assert user_token(node_query("token=mine&a=b", NODES)) == NODES


@given(
    st.lists(
        st.tuples(st.sampled_from(["token", "tok%65n", "token[]", "a", ""]), st.text("ab%=+", max_size=4))
    )
)
def test_no_secret_of_the_user_is_left(pairs: list[tuple[str, str]]) -> None:
    query = "&".join(f"{name}={value}" for name, value in pairs)
    kept = "&".join(f"{name}={value}" for name, value in pairs if name in ("a", ""))
    assert node_query(query, NONE) == kept
    assert node_query(kept, NONE) == kept


@pytest.mark.parametrize(
    ("query", "token"),
    [
        ("", None),
        ("a=1", None),
        ("token=", None),
        ("token", None),
        ("Token=x", None),
        ("token[]=x", None),
        ("a=1&token=s%26+x&b", Token("s& x")),
        ("token=a=b", Token("a=b")),
    ],
)
def test_the_users_token_is_in_the_query(query: str, token: Token | None) -> None:
    assert user_token(query) == token


@pytest.mark.parametrize("query", ["token=a&token=a", "token=a&x=1&tok%65n=", "token=&token="])
def test_a_repeated_token_matches_nothing(query: str) -> None:
    with pytest.raises(BadRequest, match="more than once"):
        user_token(query)


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ("", False),
        ("_debugUnauthorized", False),
        ("_debugUnauthorized=", False),
        ("_debugunauthorized=1", False),
        ("_debugUnauthorized=1", True),
        ("a&_debugUnauthorized=false", True),
        ("_debugUnauthorized=&_debugUnauthorized=", True),
    ],
)
def test_a_401_can_be_asked_for(query: str, wanted: bool) -> None:
    assert asks_for_401(query) is wanted


@given(st.text(st.characters()))
def test_any_query_is_read(query: str) -> None:
    asks_for_401(query)
    node_query(query, NODES)
    try:
        user_token(query)
    except BadRequest:
        assert query.count("=") + query.count("&") > 0


@given(st.uuids(), st.integers(1, 8), st.sampled_from("89abAB"), st.booleans())
def test_every_version_up_to_8_may_be_asked_for(drawn: UUID, version: int, variant: str, upper: bool) -> None:
    text = str(drawn)
    text = f"{text[:14]}{version}{text[15:19]}{variant}{text[20:]}"
    assert valid_uuid(text.upper() if upper else text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "zzz",
        "__proto__",
        "00000000-0000-0000-0000-000000000000",
        "0b6d7cd0-5b1c-9c2f-9a11-3f3e5d1f7a90",
        "0b6d7cd0-5b1c-4c2f-7a11-3f3e5d1f7a90",
        "0b6d7cd0-5b1c-4c2f-9a11-3f3e5d1f7a9",
        "0b6d7cd0-5b1c-4c2f-9a11-3f3e5d1f7a90\n",
        "{0b6d7cd0-5b1c-4c2f-9a11-3f3e5d1f7a90}",
        "0b6d7cd05b1c4c2f9a113f3e5d1f7a90",
        "../d7cd0-5b1c-4c2f-9a11-3f3e5d1f7a90",
    ],
)
def test_what_is_no_uuid_is_refused(text: str) -> None:
    assert not valid_uuid(text)


def test_our_own_ids_are_valid() -> None:
    assert valid_uuid(str(uuid4()))
