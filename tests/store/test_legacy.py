"""Taking over a ClusterODM's data folder, in whatever state it was left (contract §9.3, §12 D-23)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clusterodm_py.core.types import NodeId, OwnerId, TaskState, Token
from clusterodm_py.store.legacy import import_legacy, read_legacy
from clusterodm_py.store.memory import MemoryStore

UUID = "11111111-1111-4111-8111-11111111111"
NODES: list[dict[str, Any]] = [
    {"hostname": "a", "port": "3000", "token": "s", "locked": True},
    {"hostname": "b", "port": 3001, "token": ""},
    {"hostname": "c", "port": 443},
]


def route(host: str, port: object, **more: object) -> dict[str, object]:
    return {"node": {"hostname": host, "port": port, "token": "s"}, "accessed": 1_700_000_000_000, **more}


ROUTES = {f"{UUID}1": route("a", "3000", token="alice"), f"{UUID}2": route("b", 3001)}


def owner_of(token: str | None) -> OwnerId:
    return OwnerId(f"owner-of-{token}" if token else "")


def folder(tmp_path: Path, nodes: object = NODES, routes: object = ROUTES) -> Path:
    for name, content in (("nodes.json", nodes), ("routes.json", routes)):
        if content is not None:
            text = content if isinstance(content, str) else json.dumps(content)
            (tmp_path / name).write_text(text)
    return tmp_path


async def test_nodes_and_routes_are_taken_over(tmp_path: Path) -> None:
    store = MemoryStore()
    done = await import_legacy(store, folder(tmp_path), 5.0, owner_of)
    assert (done.nodes, done.tasks) == (3, 2)
    nodes = await store.nodes.all()
    assert [node.id for node in nodes] == ["a:3000", "b:3001", "c:443"]
    assert (nodes[0].locked, nodes[0].token) == (True, Token("s"))
    assert nodes[2].address.tls
    tasks = await store.tasks.in_states({TaskState.ON_NODE})
    assert {(task.id, task.owner, task.node) for task in tasks} == {
        (f"{UUID}1", "owner-of-alice", "a:3000"),
        (f"{UUID}2", "", "b:3001"),
    }
    assert all(task.accessed == 1_700_000_000 for task in tasks)


async def test_it_happens_once_until_the_file_is_changed(tmp_path: Path) -> None:
    store = MemoryStore()
    await import_legacy(store, folder(tmp_path), 5.0, owner_of)
    await store.nodes.remove(NodeId("a:3000"))
    again = await import_legacy(store, tmp_path, 6.0, owner_of)
    assert (again.nodes, again.tasks) == (0, 0)
    edited = [*NODES, {"hostname": "d", "port": 1}]
    third = await import_legacy(store, folder(tmp_path, nodes=edited), 7.0, owner_of)
    assert {node.id for node in await store.nodes.all()} >= {"d:1"}
    assert third.tasks == 0


@pytest.mark.parametrize("missing", ["nodes.json", "routes.json", "both"])
async def test_an_absent_file_holds_nothing(tmp_path: Path, missing: str) -> None:
    folder(tmp_path)
    for name in ("nodes.json", "routes.json"):
        if missing in (name, "both"):
            (tmp_path / name).unlink()
    done = await import_legacy(MemoryStore(), tmp_path, 5.0, owner_of)
    assert done.nodes == (0 if missing in ("nodes.json", "both") else 3)


def test_a_torn_file_gives_what_is_whole(tmp_path: Path) -> None:
    text = json.dumps(ROUTES)
    legacy = read_legacy(folder(tmp_path, routes=text[: len(text) - 40]))
    assert [each.task for each in legacy.routes] == [f"{UUID}1"]
    assert any("routes.json" in warning for warning in legacy.warnings)


def test_autospawned_nodes_are_left_and_said_so(tmp_path: Path) -> None:
    spawned = {"hostname": "m", "port": 3000, "token": "t0p", "dockerMachine": {"name": "clusterodm-1"}}
    legacy = read_legacy(folder(tmp_path, nodes=[spawned, *NODES]))
    assert [node.id for node in legacy.nodes] == ["a:3000", "b:3001", "c:443"]
    assert legacy.warnings
    assert "t0p" not in " ".join(legacy.warnings)


@pytest.mark.parametrize(
    "bad", ["", "null", "[1, 2]", '{"a": 1}', '[{"hostname": 5}]', '[{"hostname": "x", "port": "many"}]']
)
def test_nonsense_gives_nothing_and_never_raises(tmp_path: Path, bad: str) -> None:
    legacy = read_legacy(folder(tmp_path, nodes=bad, routes=bad))
    assert legacy.nodes == ()
    assert legacy.routes == ()


@given(st.binary(max_size=300), st.integers(0, 400))
def test_no_bytes_make_it_raise(tmp_path_factory: pytest.TempPathFactory, junk: bytes, cut: int) -> None:
    place = tmp_path_factory.getbasetemp()
    (place / "nodes.json").write_bytes(json.dumps(NODES).encode()[:cut] + junk)
    (place / "routes.json").write_bytes(json.dumps(ROUTES).encode()[:cut] + junk)
    read_legacy(place)


async def test_what_is_known_already_wins(tmp_path: Path) -> None:
    store = MemoryStore()
    await import_legacy(store, folder(tmp_path), 5.0, owner_of)
    changed = {f"{UUID}1": route("b", 3001, token="mallory")}
    await import_legacy(store, folder(tmp_path, routes=changed), 6.0, owner_of)
    task = next(task for task in await store.tasks.in_states({TaskState.ON_NODE}) if task.id.endswith("11"))
    assert (task.node, task.owner) == ("a:3000", "owner-of-alice")
