"""A record comes back from its row as it went in, and a row we did not write is refused."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import fields, replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clusterodm_py.core.errors import StoreTrouble
from clusterodm_py.core.types import (
    Address,
    Json,
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
from clusterodm_py.store import codec
from clusterodm_py.store.sqlite import SqliteStore
from clusterodm_py.store.statements import MIGRATIONS, TABLES, keeping
from clusterodm_py.store.tables import AddStray, Change, PutNode, PutNote, PutTask

numbers = st.floats(allow_nan=False)
counts = st.integers(-(2**63), 2**63 - 1)
anything = st.text() | st.sampled_from(["\ud800", "\x00", "a\udfffb"])
json_values: st.SearchStrategy[Json] = st.recursive(
    st.none() | st.booleans() | st.integers() | numbers | anything,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(anything, inner, max_size=3),
    max_leaves=6,
)
TASK_FIELDS: dict[str, st.SearchStrategy[object]] = {
    "id": st.text().map(TaskId),
    "owner": st.text().map(OwnerId),
    "state": st.sampled_from(TaskState),
    "request": st.builds(
        TaskRequest, name=anything, options=anything, date_created=st.none() | st.integers()
    ),
    "created": numbers,
    "accessed": numbers,
    "version": counts,
    "committed": st.none() | numbers,
    "ended": st.none() | numbers,
    "options": st.lists(st.builds(OptionValue, anything, json_values), max_size=3).map(tuple),
    "images": counts,
    "bytes": counts,
    "node": st.none() | st.text().map(NodeId),
    "attempts": counts,
    "touched": st.lists(st.text().map(NodeId), max_size=3).map(tuple),
    "error": st.none() | anything,
    "lines": st.lists(anything, max_size=3).map(tuple),
    "reasons": st.lists(anything, max_size=3).map(tuple),
    "report": st.none() | st.builds(TaskReport, raw=anything, progress=numbers, error=st.none() | anything),
    "priority": st.integers(-9, 9),
    "child": st.booleans(),
    "waiting": st.booleans(),
    "moves": counts,
    "retries": counts,
    "avoid": st.lists(st.text().map(NodeId), max_size=3).map(tuple),
    "recoverable": st.booleans(),
    "kept": counts,
    "token": st.none() | anything.map(Token),
}
changes: st.SearchStrategy[Change] = st.one_of(
    st.builds(Task, **TASK_FIELDS).map(PutTask),
    st.builds(Node, address=st.builds(Address, st.text(), counts), token=st.text().map(Token)).map(PutNode),
    st.builds(AddStray, st.text().map(TaskId), st.text().map(NodeId)),
    st.builds(PutNote, st.text(), st.text()),
)

TASK = Task(
    id=TaskId("t"),
    owner=OwnerId("o"),
    state=TaskState.QUEUED,
    request=TaskRequest(name="secret name"),
    created=1.0,
    accessed=2.0,
)


def test_every_field_of_a_task_is_put_to_the_proof() -> None:
    assert set(TASK_FIELDS) == {field.name for field in fields(Task)}


@settings(max_examples=150)
@given(changes)
def test_a_record_comes_back_as_it_went_in(change: Change) -> None:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        connection.executescript("\n".join(MIGRATIONS))
        if isinstance(change, PutTask):  # an older record under that id
            connection.execute(*keeping(PutTask(replace(TASK, id=change.task.id))))
        for _ in range(2):
            connection.execute(*keeping(change))
        back = [
            codec.decode(table.decoder, row)
            for table in TABLES
            for _seq, *row in connection.execute(table.read)
        ]
    assert back == [change]
    assert all(type(ours) is type(theirs) for ours, theirs in zip(back, [change], strict=True))


@pytest.mark.parametrize(
    "bad",
    [
        replace(TASK, created=float("nan")),
        replace(TASK, bytes=2**63),
        replace(TASK, owner=OwnerId("half a pair: \ud800")),
    ],
    ids=["nan", "too large", "no Unicode"],
)
async def test_a_record_that_cannot_be_kept_harms_no_other(tmp_path: Path, bad: Task) -> None:
    good = [replace(TASK, id=TaskId(name)) for name in "abc"]
    async with SqliteStore(tmp_path / "db", clock=lambda: 0.0) as store:
        first, *rest = good
        answers = await asyncio.gather(
            *(store.tasks.create(each) for each in (first, bad, *rest)), return_exceptions=True
        )
        assert [isinstance(answer, StoreTrouble) for answer in answers] == [False, True, False, False]
        assert await store.tasks.get(bad.id) is None
        await store.tasks.create(TASK)


def row(**changed: object) -> Sequence[object]:
    """The row of TASK as `read_tasks` gives it, with other values in some columns."""
    names = ["id", "owner", "state", "node", "created", "committed", "ended", "accessed"]
    names += ["version", "images", "bytes", "attempts", "rest"]
    return [changed.get(name, value) for name, value in zip(names, codec.task_row(TASK), strict=True)]


@pytest.mark.parametrize(
    "bad",
    [
        row(state="lost"),
        row(created=None),
        row(version="many"),
        row(id=b"\xff\xfe"),
        row(rest=None),
        row(rest="{"),
        row(rest="[]"),
        row(rest="[" * 100_000),
        row(rest='{"request": {}, "unheard of": 1}'),
        row(rest='{"request": {}, "report": {"raw": "x", "status": 21}}'),
        row()[:-1],
        [],
    ],
)
def test_a_row_that_is_not_ours_is_refused_without_its_content(bad: Sequence[object]) -> None:
    with pytest.raises(codec.Undecodable) as refusal:
        codec.decode(codec.task_from, bad)
    assert "secret" not in str(refusal.value)


def test_a_row_from_before_a_field_was_added_gets_its_default() -> None:
    decoded = codec.decode(codec.task_from, row(rest='{"request": {"name": "n"}}'))
    assert decoded == PutTask(replace(TASK, request=TaskRequest(name="n")))
