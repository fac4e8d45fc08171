"""The sections of `schema.sql` by name, and the statement that keeps a change. Holds no SQL of its own."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from types import MappingProxyType
from typing import Final, NamedTuple, assert_never

from clusterodm_py.core.types import TaskId
from clusterodm_py.store import codec
from clusterodm_py.store.tables import (
    AddStray,
    Change,
    DropNode,
    DropStray,
    DropTask,
    PutNode,
    PutNote,
    PutTask,
)

APPLICATION_ID: Final = 1129268301
"""`PRAGMA application_id` of our files; `schema_1` sets it."""


def sections(text: str) -> Mapping[str, str]:
    """The statements after each `-- name: ...` line, up to the next such line, without the prose between them."""
    parts = re.split(r"^-- name: (\w+)$", text, flags=re.MULTILINE)
    bodies = (re.sub(r"^--.*$", "", part, flags=re.MULTILINE).strip() for part in parts[2::2])
    return MappingProxyType(dict(zip(parts[1::2], bodies, strict=True)))


SQL: Final = sections(files(__package__).joinpath("schema.sql").read_text(encoding="utf-8"))

MIGRATIONS: Final = tuple(SQL[name] for name in SQL if name.startswith("schema_"))
"""Step n leads from schema version n to n + 1."""


@dataclass(frozen=True, slots=True)
class Table:
    """How one table is read back."""

    name: str
    read: str
    decoder: Callable[[Sequence[object]], Change]


TABLES: Final = (
    Table("nodes", SQL["read_nodes"], codec.node_from),
    Table("tasks", SQL["read_tasks"], codec.task_from),
    Table("strays", SQL["read_strays"], codec.stray_from),
    Table("notes", SQL["read_notes"], codec.note_from),
)


class Statement(NamedTuple):
    """One write, ready for the writer thread."""

    sql: str
    row: codec.Row


def keeping(change: Change) -> Statement:
    """Raises StoreTrouble when the record holds what a row cannot."""
    match change:
        case PutNode(node):
            name, row = "put_node", codec.node_row(node)
        case DropNode(node_id):
            name, row = "drop_node", codec.text_row(node_id)
        case PutTask(task):
            name, row = "put_task", codec.task_row(task)
        case DropTask(task_id):
            name, row = "drop_task", codec.text_row(task_id)
        case AddStray(task_id, node_id):
            name, row = "add_stray", codec.text_row(task_id, node_id)
        case DropStray(task_id, node_id):
            name, row = "drop_stray", codec.text_row(task_id, node_id)
        case PutNote(key, value):
            name, row = "put_note", codec.text_row(key, value)
        case _:
            assert_never(change)
    return Statement(SQL[name], row)


def touching(task: TaskId, accessed: float) -> Statement:
    return Statement(SQL["touch_task"], codec.Row((accessed, task)))
