"""Single entries of ClusterODM's files, as its versions, its users and its crashes have left them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from clusterodm_py.core.types import NOBODY, OwnerId, TaskState
from clusterodm_py.store.legacy import NODES, ROUTES, import_legacy, read_legacy
from clusterodm_py.store.memory import MemoryStore
from clusterodm_py.store.sqlite import SqliteStore

UUID = "11111111-1111-4111-8111-111111111111"
NODE = {"hostname": "a", "port": 3000}


def nodes(folder: Path, *entries: object) -> list[str]:
    (folder / NODES).write_text(json.dumps(entries))
    return [node.id for node in read_legacy(folder).nodes]


@pytest.mark.parametrize("port", [3000, "3000", " 3000 ", 3000.0])
def test_a_port_may_come_in_any_type(tmp_path: Path, port: object) -> None:
    assert nodes(tmp_path, {"hostname": "a", "port": port}) == ["a:3000"]


@pytest.mark.parametrize("port", [0, 65536, -1, "3000x", "٣٠٠٠", True, None, 3000.5, 1e308, [], "9" * 5000])
def test_what_is_no_port_costs_its_entry_only(tmp_path: Path, port: object) -> None:
    assert nodes(tmp_path, {"hostname": "a", "port": port}, NODE) == ["a:3000"]


@pytest.mark.parametrize("host", ["", " ", "http://a", "a/b", "u@a", "a b", "\ud800", None, 5, {}])
def test_what_is_no_host_costs_its_entry_only(tmp_path: Path, host: object) -> None:
    assert nodes(tmp_path, {"hostname": host, "port": 1}, NODE) == ["a:3000"]


def test_an_address_in_brackets_is_the_same_address(tmp_path: Path) -> None:
    assert nodes(tmp_path, {"hostname": "[::1]", "port": 1}) == ["::1:1"]


def test_text_and_number_ports_are_one_node(tmp_path: Path) -> None:
    assert nodes(tmp_path, NODE, {"hostname": "a", "port": "3000", "token": "later"}) == ["a:3000"]
    assert read_legacy(tmp_path).nodes[0].token.value == ""


@pytest.mark.parametrize("key", ["__proto__", "", "../../etc", UUID[:-1], f"{UUID}\n"])
def test_only_the_ids_of_tasks_are_taken(tmp_path: Path, key: str) -> None:
    (tmp_path / ROUTES).write_text(json.dumps({key: {"node": NODE}, UUID.upper(): {"node": NODE}}))
    legacy = read_legacy(tmp_path)
    assert [route.task for route in legacy.routes] == [UUID.upper()]
    assert any(ascii(key[:36]) in warning for warning in legacy.warnings)


@pytest.mark.parametrize("accessed", [None, "soon", True, -1, 1e300, float("nan"), float("inf"), 10**400])
async def test_a_route_without_a_usable_time_counts_from_now(tmp_path: Path, accessed: object) -> None:
    (tmp_path / ROUTES).write_text(json.dumps({UUID: {"node": NODE, "accessed": accessed}}))
    store = MemoryStore()
    await import_legacy(store, tmp_path, 77.0, lambda token: NOBODY)
    (task,) = await store.tasks.in_states({TaskState.ON_NODE})
    assert (task.created, task.accessed) == (77.0, 77.0)


async def test_routes_to_an_autospawned_node_are_left_out(tmp_path: Path) -> None:
    spawned = NODE | {"dockerMachine": {"name": "m"}}
    routes = {f"{number:08d}{UUID[8:]}": {"node": spawned} for number in range(50)}
    (tmp_path / ROUTES).write_text(json.dumps(routes))
    done = await import_legacy(MemoryStore(), tmp_path, 1.0, lambda token: NOBODY)
    assert done.tasks == 0
    (warning,) = done.warnings
    assert "47 more" in warning


async def test_tasks_on_nodes_nobody_registered_are_kept_and_told(tmp_path: Path) -> None:
    (tmp_path / ROUTES).write_text(json.dumps({UUID: {"node": NODE, "token": ""}}))
    done = await import_legacy(MemoryStore(), tmp_path, 1.0, lambda token: OwnerId(str(token)))
    assert done.tasks == 1
    assert done.warnings == (f"{ROUTES}: tasks are on a:3000, which is not registered: add it to reach them",)


async def test_tokens_that_are_no_unicode_stop_nothing(tmp_path: Path) -> None:
    (tmp_path / NODES).write_text(json.dumps([NODE | {"token": "\ud800"}]))
    (tmp_path / ROUTES).write_text(json.dumps({UUID: {"node": NODE, "token": "\ud800"}}))
    async with SqliteStore(tmp_path / "db", clock=lambda: 0.0) as store:
        done = await import_legacy(store, tmp_path, 1.0, lambda token: OwnerId(token or ""))
    assert (done.nodes, done.tasks) == (1, 1)


async def test_a_file_that_cannot_be_read_is_tried_again_at_the_next_start(tmp_path: Path) -> None:
    store = MemoryStore()
    (tmp_path / NODES).mkdir()
    first = await import_legacy(store, tmp_path, 1.0, lambda token: NOBODY)
    assert [NODES in warning for warning in first.warnings] == [True]
    (tmp_path / NODES).rmdir()
    (tmp_path / NODES).write_text(json.dumps([NODE]))
    assert (await import_legacy(store, tmp_path, 2.0, lambda token: NOBODY)).nodes == 1


async def test_a_torn_file_is_complained_of_once(tmp_path: Path) -> None:
    store = MemoryStore()
    (tmp_path / NODES).write_text(json.dumps([NODE, NODE])[:-5])
    first = await import_legacy(store, tmp_path, 1.0, lambda token: NOBODY)
    assert (first.nodes, len(first.warnings)) == (1, 1)
    assert (await import_legacy(store, tmp_path, 2.0, lambda token: NOBODY)).warnings == ()
