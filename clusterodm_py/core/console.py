"""The operators' console: one line of text -> a command, a reply -> the text of contract §7.3. Runs no command.

A new verb is one class in `core.commands`, one row of `VERBS` here, and its handling in `engine.admin`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from clusterodm_py.core import types
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
    Refusal,
    Reply,
    RouteInfo,
    RouteList,
    TaskCancel,
    TaskInfo,
    TaskList,
    TaskOutput,
    TaskRemove,
)
from clusterodm_py.core.types import Address, NodeView, TaskId, Token

CRLF: Final = "\r\n"

# -- grammar ----------------------------------------------------------------------------------------------------------

Build: TypeAlias = Callable[[Sequence[str]], Command | Refusal]


@dataclass(frozen=True, slots=True)
class Verb:
    """One row of the grammar."""

    name: str
    """Its words as HELP spells them."""
    syntax: str
    """`<needed>` and `[optional]` arguments."""
    description: str
    build: Build
    """Gets at least as many arguments as `syntax` needs."""

    @property
    def needed(self) -> int:
        return self.syntax.count("<")

    @property
    def help(self) -> str:
        return f"{self.name} {self.syntax}".rstrip() + f" - {self.description}"


def parse(line: str) -> Command | Refusal:
    """The command of one line, or the reply it earns at once. Total: no text makes it raise.

    >>> parse("node lock 2x")
    NodeLock(number=2)
    >>> parse("NODE  LIST")
    Invalid()

    Single spaces divide, so a double one makes an empty argument; what follows the last argument is ignored
    (contract §7.1).
    """
    words = [word.strip() for word in line.split(" ")]
    for length in (2, 1):
        verb = _BY_NAME.get(" ".join(words[:length]).upper())
        if verb is not None and len(words) - length >= verb.needed:
            return verb.build(words[length:])
    return Invalid()


def parse_address(host: str, port: str) -> Address | None:
    """Where a node listens, as an operator wrote it: port `3000`, any host that fits into a URL; else None."""
    bare = host.strip("[]")  # as IPv6 addresses are written beside a port
    number = _number(port)
    return Address(bare, number) if _HOST.fullmatch(bare) and number in _PORTS else None


_HOST: Final = re.compile(r"[^\s/\\?#@%\x00-\x1f\x7f]+")
"""What fits into a URL unquoted and onto one line."""

_PORTS: Final = range(1, 65536)

_LEADING_INTEGER: Final = re.compile(r"[+-]?[0-9]{1,15}")
"""More digits number nothing there is, and Python refuses to read very many."""


def _number(text: str) -> int:
    found = _LEADING_INTEGER.match(text)
    return int(found[0]) if found else 0


def _alone(command: Command) -> Build:
    return lambda _: command


def _numbered(build: Callable[[int], Command]) -> Build:
    return lambda words: build(_number(words[0])) if words[0] else Invalid()


def _maybe_numbered(build: Callable[[int | None], Command]) -> Build:
    """A space at the end of the line is no argument; a double one is an empty one."""

    def built(words: Sequence[str]) -> Command | Refusal:
        if not any(words):
            return build(None)
        return build(_number(words[0])) if words[0] else Invalid()

    return built


def _of_task(build: Callable[[TaskId], Command]) -> Build:
    return lambda words: build(TaskId(words[0])) if words[0] else Invalid()


def _node_add(words: Sequence[str]) -> Command | Refusal:
    host, port, token = (*words, "")[:3]
    address = parse_address(host, port)
    if address is None:
        return Fail("A node needs a host name and a port from 1 to 65535.")
    return NodeAdd(address, Token(token))


def _task_output(words: Sequence[str]) -> Command | Refusal:
    task, line = (*words, "")[:2]
    return TaskOutput(TaskId(task), _number(line)) if task else Invalid()


def _images(build: Callable[[int], Command]) -> Build:
    """Here no number is no question, unlike where it is a node that does not exist."""
    return lambda words: build(_number(words[0])) if _LEADING_INTEGER.match(words[0]) else Invalid()


VERBS: Final = (
    Verb("NODE ADD", "<hostname> <port> [token]", "Register a node", _node_add),
    Verb("NODE DEL", "<node number>", "Forget a node", _numbered(NodeDel)),
    Verb("NODE INFO", "<node number>", "Show all that is known of a node", _numbered(NodeInfo)),
    Verb("NODE LIST", "", "Show every node", _alone(NodeList())),
    Verb("NODE LOCK", "<node number>", "Send no new tasks to a node", _numbered(NodeLock)),
    Verb("NODE UNLOCK", "<node number>", "Send tasks to a node again", _numbered(NodeUnlock)),
    Verb("NODE UPDATE", "", "Ask every node how it is, now", _alone(NodeUpdate())),
    Verb("NODE BEST", "<number of images>", "Pick a node as for a task of that size", _images(NodeBest)),
    Verb("ROUTE INFO", "<taskId>", "Show which node has a task", _of_task(RouteInfo)),
    Verb("ROUTE LIST", "[node number]", "Show which node has which task", _maybe_numbered(RouteList)),
    Verb("TASK LIST", "[node number]", "Show the tasks on nodes", _maybe_numbered(TaskList)),
    Verb("TASK INFO", "<taskId>", "Show how a task goes", _of_task(TaskInfo)),
    Verb("TASK OUTPUT", "<taskId> [lines]", "Print a task's output from a line on", _task_output),
    Verb("TASK CANCEL", "<taskId>", "Stop a task", _of_task(TaskCancel)),
    Verb("TASK REMOVE", "<taskId>", "Stop a task and delete its files", _of_task(TaskRemove)),
    Verb("ASR VIEWCMD", "<number of images>", "Show how a machine would be made", _images(AsrViewCmd)),
)

NEW_VERBS: Final = (
    Verb(
        "NODE WHY", "<number of images>", "Say where a task of that size would go, and why", _images(NodeWhy)
    ),
)
"""What ClusterODM does not have: scripts that count its lines of HELP find them unchanged above."""

HELP: Final = Lines(
    (*(verb.help for verb in VERBS), "!! - Repeat the last command", *(verb.help for verb in NEW_VERBS))
)
"""One line per command; `!!` is the session's, which alone knows what the last command was."""

_BY_NAME: Final = {verb.name: verb for verb in (*VERBS, *NEW_VERBS, Verb("HELP", "", "", _alone(Help())))}

# -- rendering --------------------------------------------------------------------------------------------------------

_UNSAFE: Final = re.compile(r"\x1b(?!\[[0-9;]*m)|[\x00-\x08\x0a-\x1a\x1c-\x1f\x7f-\x9f]")
"""What would steer an operator's terminal; tabs and the colours of engine logs pass."""


def render(reply: Reply) -> str:
    """The reply as it goes on the wire, without prompt."""
    return CRLF.join(_UNSAFE.sub("", line) for line in _lines(reply)) + CRLF


def _lines(reply: Reply) -> Sequence[str]:
    match reply:
        case Ok():
            return ("OK",)
        case Fail():
            return ("FAIL",)
        case Invalid():
            return ("INVALID",)
        case Lines(lines):
            return lines
        case Document(content):
            return json.dumps(content, indent=2, ensure_ascii=False).split("\n")


def node_line(number: int, view: NodeView) -> str:
    """One line of NODE LIST (contract §7.4). Figures stay visible while the node is offline."""
    info = view.info or types.NodeInfo()
    engine = f"{info.engine} {_known(info.engine_version)}" if info.engine else "?"
    return (
        f"{number}) {view.node.address} [{'online' if view.online else 'offline'}]"
        f" [{_known(info.task_queue_count)}/{_known(info.max_parallel_tasks)}]"
        f" <engine: {engine}> <API: {_known(info.version)}>{' [L]' if view.node.locked else ''}"
    )


def _known(figure: int | str | None) -> str:
    return "?" if figure is None or figure == "" else str(figure)
