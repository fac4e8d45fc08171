from __future__ import annotations

import re
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clusterodm_py.core.commands import (
    AsrViewCmd,
    Command,
    Document,
    Fail,
    Help,
    Invalid,
    Lines,
    NodeAdd,
    NodeBest,
    NodeDel,
    NodeInfo,
    NodeList,
    NodeLock,
    NodeUnlock,
    NodeUpdate,
    NodeWhy,
    Ok,
    Reply,
    RouteInfo,
    RouteList,
    TaskCancel,
    TaskInfo,
    TaskList,
    TaskOutput,
    TaskRemove,
)
from clusterodm_py.core.console import HELP, VERBS, node_line, parse, parse_address, render
from clusterodm_py.core.types import Address, Health, Node, NodeView, TaskId, Token
from clusterodm_py.core.types import NodeInfo as Info

UUID: Final = TaskId("11111111-2222-4333-8444-aaaaaaaaaaaa")

NODE_LINE: Final = re.compile(  # R of contract §13
    r"^\d+\) \S+:\d+ \[(online|offline)\] \[(\d+|\?)/(\d+|\?)\] <engine: .+> <API: .+>( \[[LA](,[LA])*\])?$"
)

UNDERSTOOD: Final[list[tuple[str, Command]]] = [
    ("NODE ADD localhost 3001", NodeAdd(Address("localhost", 3001), Token(""))),
    ("NODE ADD localhost 3001 s3cret", NodeAdd(Address("localhost", 3001), Token("s3cret"))),
    ("NODE ADD [::1] 3001x ", NodeAdd(Address("::1", 3001), Token(""))),
    ("NODE DEL 1", NodeDel(1)),
    ("NODE INFO 1x", NodeInfo(1)),
    ("NODE LIST", NodeList()),
    ("NODE LIST of everything", NodeList()),
    ("NODE LOCK 99", NodeLock(99)),
    ("NODE LOCK one", NodeLock(0)),
    ("NODE UNLOCK -1", NodeUnlock(-1)),
    ("NODE UPDATE", NodeUpdate()),
    ("NODE BEST 25", NodeBest(25)),
    (f"ROUTE INFO {UUID}", RouteInfo(UUID)),
    ("ROUTE LIST", RouteList(None)),
    ("ROUTE LIST ", RouteList(None)),
    ("ROUTE LIST 2", RouteList(2)),
    ("TASK LIST", TaskList(None)),
    ("TASK LIST all", TaskList(0)),
    (f"TASK INFO {UUID}", TaskInfo(UUID)),
    (f"TASK OUTPUT {UUID}", TaskOutput(UUID, 0)),
    (f"TASK OUTPUT {UUID} ", TaskOutput(UUID, 0)),
    (f"TASK OUTPUT {UUID} -2", TaskOutput(UUID, -2)),
    (f"TASK CANCEL {UUID}", TaskCancel(UUID)),
    (f"TASK REMOVE {UUID}", TaskRemove(UUID)),
    ("ASR VIEWCMD 100", AsrViewCmd(100)),
    ("node why 12", NodeWhy(12)),
    ("HELP", Help()),
    ("HELP me", Help()),
]


@pytest.mark.parametrize(("line", "command"), UNDERSTOOD)
def test_a_line_is_understood(line: str, command: Command) -> None:
    assert parse(line) == command


def test_every_verb_is_among_the_lines_understood() -> None:
    assert {type(command) for _, command in UNDERSTOOD} == {*Command.__args__}


@pytest.mark.parametrize(("line", "command"), [("node list", NodeList()), ("Node uNlock 2", NodeUnlock(2))])
def test_case_of_verbs_does_not_matter(line: str, command: Command) -> None:
    assert parse(line) == command


def test_case_of_arguments_is_kept() -> None:
    assert parse("task info AbC") == TaskInfo(TaskId("AbC"))
    assert parse("node add Host 80 ToKeN") == NodeAdd(Address("Host", 80), Token("ToKeN"))


@pytest.mark.parametrize(
    "line",
    [
        "",
        " ",
        "NODE",
        "ROUTE",
        "TASK",
        "ASR",
        "NODE FOO",
        "ROUTE FOO",
        "TASK FOO",
        "FOO",
        "LOGIN again",
        "NODELIST",
        "NODE\tLIST",
        " NODE LIST",
        "NODE  LIST",
        "NODE ADD",
        "NODE ADD localhost",
        "NODE DEL",
        "NODE DEL ",
        "NODE LOCK  1",
        "NODE BEST",
        "NODE BEST many",
        "ROUTE INFO",
        "ROUTE INFO ",
        "ROUTE LIST  1",
        "TASK INFO",
        f"TASK INFO  {UUID}",
        "TASK OUTPUT",
        f"TASK OUTPUT  {UUID}",
        "TASK CANCEL",
        "TASK REMOVE",
        "ASR VIEWCMD",
        "ASR VIEWCMD ",
    ],
)
def test_a_line_is_invalid(line: str) -> None:
    assert parse(line) == Invalid()


@pytest.mark.parametrize(
    "line",
    [
        "NODE ADD  3000",
        "NODE ADD localhost ",
        "NODE ADD localhost 0",
        "NODE ADD localhost 65536",
        "NODE ADD localhost http",
        "NODE ADD localhost -3000",
        "NODE ADD http://localhost 3000",
        "NODE ADD user@localhost 3000",
        "NODE ADD [] 3000",
    ],
)
def test_a_node_without_a_usable_address_fails(line: str) -> None:
    assert isinstance(parse(line), Fail)


def test_ports_are_compared_as_numbers() -> None:
    assert parse_address("h", "0443") == parse_address("h", "443") == Address("h", 443)


def test_a_number_of_any_length_is_only_a_number_too_large() -> None:
    command = parse("NODE LOCK " + "9" * 5000)
    assert isinstance(command, NodeLock)
    assert command.number > 1_000_000


@given(st.text())
def test_parsing_never_raises(line: str) -> None:
    parse(line)


@given(
    st.sampled_from([*(verb.name for verb in VERBS), "HELP", "NODE"]),
    st.lists(st.one_of(st.text(), st.integers().map(str)), max_size=4),
)
def test_no_arguments_make_parsing_raise(name: str, arguments: list[str]) -> None:
    parse(" ".join([name, *arguments]))


@given(st.text(min_size=1).filter(lambda text: not re.search(r"\s", text)), st.integers(1, 65535))
def test_every_node_that_can_be_added_has_a_url_and_a_line_of_the_right_form(host: str, port: int) -> None:
    command = parse(f"NODE ADD {host} {port}")
    if isinstance(command, NodeAdd):
        assert command.address.port == port
        assert NODE_LINE.match(node_line(1, NodeView(node=Node(address=command.address))))


@pytest.mark.parametrize(
    ("reply", "text"),
    [
        (Ok(), "OK\r\n"),
        (Fail("there is no room for this"), "FAIL\r\n"),
        (Invalid(), "INVALID\r\n"),
        (Lines(()), "\r\n"),
        (Lines(("one", "two")), "one\r\ntwo\r\n"),
        (Document({}), "{}\r\n"),
        (Document([]), "[]\r\n"),
        (
            Document({"a": [1, None], "é": "x\ny"}),
            '{\r\n  "a": [\r\n    1,\r\n    null\r\n  ],\r\n  "é": "x\\ny"\r\n}\r\n',
        ),
    ],
)
def test_a_reply_is_rendered(reply: Reply, text: str) -> None:
    assert render(reply) == text


def test_nothing_from_a_node_steers_the_terminal() -> None:
    assert render(Lines(("a\x1b[2Jb\r\nc\x07\x9bm",))) == "a[2Jbcm\r\n"
    assert render(Document("\x1b[2J\x7f")) == '"\\u001b[2J"\r\n'


def test_tabs_and_colours_of_engine_logs_pass() -> None:
    assert render(Lines(("\x1b[94m[INFO]\x1b[0m\tx",))) == "\x1b[94m[INFO]\x1b[0m\tx\r\n"


def test_help_has_a_line_for_each_command_in_order() -> None:
    assert [line.partition(" - ")[0] for line in HELP.lines] == [
        "NODE ADD <hostname> <port> [token]",
        "NODE DEL <node number>",
        "NODE INFO <node number>",
        "NODE LIST",
        "NODE LOCK <node number>",
        "NODE UNLOCK <node number>",
        "NODE UPDATE",
        "NODE BEST <number of images>",
        "ROUTE INFO <taskId>",
        "ROUTE LIST [node number]",
        "TASK LIST [node number]",
        "TASK INFO <taskId>",
        "TASK OUTPUT <taskId> [lines]",
        "TASK CANCEL <taskId>",
        "TASK REMOVE <taskId>",
        "ASR VIEWCMD <number of images>",
        "!!",
        "NODE WHY <number of images>",
    ]
    assert all(line.partition(" - ")[2] for line in HELP.lines)


@pytest.mark.parametrize(
    ("number", "view", "line"),
    [
        (
            1,
            NodeView(
                node=Node(address=Address("127.0.0.1", 7301), locked=True),
                info=Info(engine="odm", version="2.2.4", task_queue_count=0, max_parallel_tasks=1),
                health=Health.UP,
            ),
            "1) 127.0.0.1:7301 [online] [0/1] <engine: odm ?> <API: 2.2.4> [L]",
        ),
        (
            3,
            NodeView(node=Node(address=Address("nohost.invalid", 9999))),
            "3) nohost.invalid:9999 [offline] [?/?] <engine: ?> <API: ?>",
        ),
        (
            10,
            NodeView(
                node=Node(address=Address("h", 80)),
                info=Info(engine="odm", engine_version="3.5", version="2.2.4", task_queue_count=4),
                health=Health.DOWN,
            ),
            "10) h:80 [offline] [4/?] <engine: odm 3.5> <API: 2.2.4>",
        ),
        (
            2,
            NodeView(
                node=Node(address=Address("h", 80)), info=Info(engine="", version=""), health=Health.SHAKY
            ),
            "2) h:80 [online] [?/?] <engine: ?> <API: ?>",
        ),
    ],
)
def test_a_node_line_shows_what_is_known(number: int, view: NodeView, line: str) -> None:
    assert node_line(number, view) == line
    assert NODE_LINE.match(line)
