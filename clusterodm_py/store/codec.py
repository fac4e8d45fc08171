"""Records to rows of `schema.sql` and back, exactly. A row that is not what we write is refused, never guessed at."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, NewType, TypeAlias

from pydantic import ConfigDict, JsonValue, TypeAdapter, ValidationError, with_config

from clusterodm_py.core.errors import StoreTrouble
from clusterodm_py.core.types import (
    Address,
    Node,
    NodeId,
    OptionValue,
    OwnerId,
    Task,
    TaskId,
    TaskReport,
    TaskRequest,
    TaskState,
    Token,
)
from clusterodm_py.store.tables import AddStray, Change, PutNode, PutNote, PutTask

Value: TypeAlias = str | int | float | None
Row = NewType("Row", tuple[Value, ...])
"""What SQLite can keep: finite or infinite numbers of 64 bits, text that is Unicode."""


class Undecodable(ValueError):
    """The row is not one that we wrote. Its text names no content: rows hold secrets."""


@with_config(ConfigDict(extra="forbid"))
@dataclass(frozen=True, slots=True, kw_only=True)
class _Rest:
    """The JSON column of a task: what no statement looks for. A field added here needs a default, for old rows."""

    request: TaskRequest
    options: tuple[tuple[str, JsonValue], ...] = ()
    touched: tuple[str, ...] = ()
    error: str | None = None
    lines: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    report: TaskReport | None = None
    token: str | None = None
    priority: int = 0
    child: bool = False
    waiting: bool = False
    moves: int = 0
    retries: int = 0
    avoid: tuple[str, ...] = ()
    recoverable: bool = True
    kept: int = 0


@dataclass(frozen=True, slots=True)
class _Columns:
    """The other columns of a task, in the order of `read_tasks`."""

    id: str
    owner: str
    state: TaskState
    node: str | None
    created: float
    committed: float | None
    ended: float | None
    accessed: float
    version: int
    images: int
    bytes: int
    attempts: int


_REST: Final = TypeAdapter(_Rest)
_COLUMNS: Final = TypeAdapter(_Columns)
_COLUMN_NAMES: Final = tuple(_Columns.__dataclass_fields__)
_NODE: Final = TypeAdapter(tuple[str, int, str, bool])
_TEXTS: Final = TypeAdapter(tuple[str, str])


def node_row(node: Node) -> Row:
    return _row(node.id, node.address.host, node.address.port, node.token.value, int(node.locked))


def task_row(task: Task) -> Row:
    return _row(
        task.id,
        task.owner,
        task.state.value,
        task.node,
        task.created,
        task.committed,
        task.ended,
        task.accessed,
        task.version,
        task.images,
        task.bytes,
        task.attempts,
        _rest_text(task),
    )


def text_row(*texts: str) -> Row:
    return _row(*texts)


def node_from(row: Sequence[object]) -> Change:
    host, port, token, locked = _NODE.validate_python(tuple(row))
    return PutNode(Node(address=Address(host, port), token=Token(token), locked=locked))


def task_from(row: Sequence[object]) -> Change:
    *columns, text = row
    if not isinstance(text, str):
        raise Undecodable("rest is not text")
    kept = _COLUMNS.validate_python(dict(zip(_COLUMN_NAMES, columns, strict=True)))
    rest = _REST.validate_python(json.loads(text))
    return PutTask(_task(kept, rest))


def stray_from(row: Sequence[object]) -> Change:
    task, node = _TEXTS.validate_python(tuple(row))
    return AddStray(TaskId(task), NodeId(node))


def note_from(row: Sequence[object]) -> Change:
    return PutNote(*_TEXTS.validate_python(tuple(row)))


def decode(decoder: Callable[[Sequence[object]], Change], row: Sequence[object]) -> Change:
    """The record in `row`. Raises Undecodable, whatever is wrong with it."""
    try:
        return decoder(row)
    except ValidationError as error:
        places = sorted({".".join(map(str, problem["loc"])) for problem in error.errors()})
        raise Undecodable(f"bad {', '.join(places)}") from None
    except (ValueError, RecursionError) as error:
        raise Undecodable(type(error).__name__) from None


def _task(kept: _Columns, rest: _Rest) -> Task:
    return Task(
        id=TaskId(kept.id),
        owner=OwnerId(kept.owner),
        state=kept.state,
        node=None if kept.node is None else NodeId(kept.node),
        created=kept.created,
        committed=kept.committed,
        ended=kept.ended,
        accessed=kept.accessed,
        version=kept.version,
        images=kept.images,
        bytes=kept.bytes,
        attempts=kept.attempts,
        request=rest.request,
        options=tuple(OptionValue(name, value) for name, value in rest.options),
        touched=tuple(map(NodeId, rest.touched)),
        error=rest.error,
        lines=rest.lines,
        reasons=rest.reasons,
        report=rest.report,
        token=None if rest.token is None else Token(rest.token),
        priority=rest.priority,
        child=rest.child,
        waiting=rest.waiting,
        moves=rest.moves,
        retries=rest.retries,
        avoid=tuple(map(NodeId, rest.avoid)),
        recoverable=rest.recoverable,
        kept=rest.kept,
    )


def _rest_text(task: Task) -> str:
    """JSON in ASCII, so that half a surrogate pair from a client's JSON survives; NaN is kept as `NaN`."""
    rest = _Rest(
        request=task.request,
        options=tuple((option.name, option.value) for option in task.options),
        touched=task.touched,
        error=task.error,
        lines=task.lines,
        reasons=task.reasons,
        report=task.report,
        token=None if task.token is None else task.token.value,
        priority=task.priority,
        child=task.child,
        waiting=task.waiting,
        moves=task.moves,
        retries=task.retries,
        avoid=task.avoid,
        recoverable=task.recoverable,
        kept=task.kept,
    )
    return json.dumps(_REST.dump_python(rest), separators=(",", ":"))


def _row(*values: Value) -> Row:
    """Raises StoreTrouble for a value that the file would refuse or change, before other changes wait on it."""
    if not all(map(_keepable, values)):
        raise StoreTrouble("The record holds a number or a text that cannot be kept")
    return Row(values)


def _keepable(value: Value) -> bool:
    match value:
        case str():
            return value.isascii() or not any("\ud800" <= char <= "\udfff" for char in value)
        case int():
            return -(2**63) <= value < 2**63
        case float():
            return not math.isnan(value)
        case None:
            return True
