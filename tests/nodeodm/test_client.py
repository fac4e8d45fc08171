"""What a node answers, and what is made of it when it makes no sense."""

from __future__ import annotations

from urllib.parse import parse_qs

import pytest

from clusterodm_py.core.errors import NodeRefused, Unreachable
from clusterodm_py.core.types import Json, TaskStatus
from clusterodm_py.nodeodm.client import NodeClient
from clusterodm_py.nodeodm.connection import Connection, Unclear
from harness.engine import ID
from harness.scripted_node import BAD_TOKEN, COMPLETED, UNKNOWN, ScriptedNode, Status


@pytest.fixture
def client(connection: Connection) -> NodeClient:
    return NodeClient(connection)


async def test_every_question_carries_the_nodes_token(other: ScriptedNode, client: NodeClient) -> None:
    await client.info(other.node)
    await client.options(other.node)
    await client.report(other.node, ID)
    await client.task_output(other.node, ID, 3)
    await client.act(other.node, "cancel", ID)
    assert all("token=nodetok" in path for path in other.paths)
    assert "line=3" in other.paths[3]


async def test_a_report_tells_how_the_task_goes(other: ScriptedNode, client: NodeClient) -> None:
    other.replies["report"] = COMPLETED
    assert (await client.report(other.node, ID)).status is TaskStatus.COMPLETED


async def test_a_task_is_unknown_only_where_the_node_listens_to_us(
    other: ScriptedNode, client: NodeClient
) -> None:
    other.replies["report"] = UNKNOWN
    with pytest.raises(NodeRefused, match="no such task"):
        await client.report(other.node, ID)
    assert other.seen == ["report", "info"]


async def test_a_wrong_token_says_nothing_about_a_task(other: ScriptedNode, client: NodeClient) -> None:
    other.replies |= {"report": BAD_TOKEN, "info": BAD_TOKEN}
    with pytest.raises(Unreachable, match="refuses us"):
        await client.report(other.node, ID)


@pytest.mark.parametrize("reply", [Status(502), [1], {"status": {"code": 99}}, {}, "text"])
async def test_a_gateways_answer_says_nothing_about_a_task(
    other: ScriptedNode, client: NodeClient, reply: Json
) -> None:
    other.replies["report"] = [reply]
    with pytest.raises(Unclear):
        await client.report(other.node, ID)


@pytest.mark.parametrize("reply", [{}, "text", None])
async def test_options_that_are_no_list_are_not_an_empty_catalog(
    other: ScriptedNode, client: NodeClient, reply: Json
) -> None:
    other.replies["options"] = reply if reply is not None else Status(200, "null")
    with pytest.raises(Unclear):
        await client.options(other.node)


async def test_an_action_is_sent_urlencoded_and_its_answer_passed_on(
    other: ScriptedNode, client: NodeClient
) -> None:
    other.replies["restart"] = {"success": False, "error": "cannot"}
    answer = await client.act(other.node, "restart", ID, '[{"a":"ü&="}]')
    assert answer == {"success": False, "error": "cannot"}
    assert parse_qs(other.bodies[0][1].decode()) == {"uuid": [ID], "options": ['[{"a":"ü&="}]']}


@pytest.mark.parametrize("reply", [[[]], ["ok"], [3]])
async def test_an_action_answered_with_nonsense_is_not_granted(
    other: ScriptedNode, client: NodeClient, reply: Json
) -> None:
    other.replies["remove"] = reply
    with pytest.raises(Unclear):
        await client.act(other.node, "remove", ID)


async def test_an_info_without_an_object_or_with_an_error_is_none(
    other: ScriptedNode, client: NodeClient
) -> None:
    other.replies["info"] = [[[1]], BAD_TOKEN]
    with pytest.raises(Unclear):
        await client.info(other.node)
    with pytest.raises(NodeRefused, match="token"):
        await client.info(other.node)
