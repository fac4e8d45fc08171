"""Failures told apart: did the node act, did it not, or is that not known."""

from __future__ import annotations

import pytest

from clusterodm_py.core.errors import NodeRefused, Unreachable
from clusterodm_py.core.types import Address, Json, Node, Token
from clusterodm_py.nodeodm import connection as subject
from clusterodm_py.nodeodm.connection import Connection, Unclear, granted
from harness.engine import closed_port_node
from harness.scripted_node import Drop, Hold, Raw, ScriptedNode, Status


@pytest.mark.parametrize("code", [401, 404, 500, 502, 504])
async def test_another_status_than_200_leaves_open_whether_the_node_acted(
    other: ScriptedNode, connection: Connection, code: int
) -> None:
    other.replies["commit"] = Status(code)
    with pytest.raises(Unclear, match=str(code)):
        await connection.json(other.node, "POST", "/task/new/commit/x")


@pytest.mark.parametrize("text", ["", "<html>", "[" * 200_000, '{"a":'])
async def test_what_is_no_json_leaves_it_open_too(
    other: ScriptedNode, connection: Connection, text: str
) -> None:
    other.replies["info"] = Raw(text)
    with pytest.raises(Unclear, match="JSON"):
        await connection.json(other.node, "GET", "/info")


async def test_an_answer_that_never_comes_is_given_up(other: ScriptedNode, connection: Connection) -> None:
    hold = other.replies["info"] = Hold()
    with pytest.raises(Unreachable, match="no answer within"):
        await connection.json(other.node, "GET", "/info", seconds=0.05)
    hold.open.set()


async def test_a_closed_connection_is_unreachable(other: ScriptedNode, connection: Connection) -> None:
    other.replies["info"] = Drop()
    with pytest.raises(Unreachable):
        await connection.json(other.node, "GET", "/info")


@pytest.mark.parametrize(
    "address", [closed_port_node().address, Address("a..b", 3000), Address("no-such-host.invalid", 3000)]
)
async def test_the_reason_never_holds_the_token(connection: Connection, address: Address) -> None:
    node = Node(address=address, token=Token("nodetok"))
    with pytest.raises(Unreachable) as raised:
        await connection.json(node, "GET", "/info", "token=usertok")
    assert "tok" not in str(raised.value).replace("token", "")


async def test_an_answer_too_large_to_hold_is_not_read_to_its_end(
    other: ScriptedNode, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subject, "LARGEST_ANSWER", 1000)
    other.replies["info"] = {"a": "x" * 2000}
    with pytest.raises(Unreachable):
        await connection.json(other.node, "GET", "/info")


async def test_a_redirect_is_not_followed_with_the_token(other: ScriptedNode, connection: Connection) -> None:
    other.replies["info"] = Status(302)
    with pytest.raises(Unclear):
        await connection.json(other.node, "GET", "/info")
    assert other.seen == ["info"]


@pytest.mark.parametrize("answer", [{"error": "no"}, {"success": False}, {"success": False, "error": "no"}])
def test_an_error_in_json_is_a_refusal(answer: Json) -> None:
    with pytest.raises(NodeRefused):
        granted(answer)


@pytest.mark.parametrize("answer", [{"success": True}, {"error": ""}, [], None])
def test_anything_else_is_granted(answer: Json) -> None:
    assert granted(answer) == answer


def test_a_nodes_words_are_one_short_line_without_a_token() -> None:
    with pytest.raises(NodeRefused) as raised:
        granted({"error": "cannot\nreach http://h/?Token=s3cret&a=1 " + "x" * 100_000})
    text = str(raised.value)
    assert text.startswith("cannot reach http://h/?Token=***&a=1 x")
    assert len(text) == 500


async def test_the_session_is_for_use_inside_async_with_only() -> None:
    with pytest.raises(RuntimeError):
        await Connection().json(closed_port_node(), "GET", "/info")
