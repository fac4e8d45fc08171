"""The cluster's options: asked once, kept for a while, and never an empty list by mistake."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from clusterodm_py.core.errors import Refused
from clusterodm_py.engine.catalog import AGAIN_SECONDS, KEPT_SECONDS, Catalog
from clusterodm_py.engine.health import WatchPolicy
from harness.engine import Parts, Policies, closed_port_node, engine, until
from harness.scripted_node import BAD_TOKEN, INFO, Hold, ScriptedNode, Status

DSM = {"name": "dsm", "type": "bool", "value": "false", "domain": "bool", "help": ""}
SELDOM = Policies(watch=WatchPolicy(interval=60.0))


def a_catalog(parts: Parts) -> Catalog:
    return Catalog(parts.watch, parts.client, parts.clock)


async def test_the_reference_node_is_asked_once_by_many_at_the_same_time(tmp_path: Path) -> None:
    hold = Hold([DSM])
    async with ScriptedNode({"options": hold}) as other, engine(tmp_path, other.node) as parts:
        catalog = a_catalog(parts)
        asked = asyncio.gather(*(catalog.specs() for _ in range(5)))
        await hold.came.wait()
        hold.open.set()
        assert [[spec.name for spec in specs] for specs in await asked] == [["dsm"]] * 5
        assert other.count("options") == 1
        parts.clock.now += KEPT_SECONDS - 1
        await catalog.specs()
        assert other.count("options") == 1
        parts.clock.now += 2
        await catalog.specs()
        assert other.count("options") == 2
        catalog.clear()
        await catalog.specs()
        assert other.count("options") == 3


async def test_without_an_online_node_there_are_no_options(tmp_path: Path) -> None:
    async with engine(tmp_path, closed_port_node()) as parts:
        with pytest.raises(Refused, match="no nodes are online"):
            await a_catalog(parts).specs()


@pytest.mark.parametrize("trouble", [Status(502), BAD_TOKEN, {}])
async def test_a_kept_answer_serves_while_the_node_gives_none(tmp_path: Path, trouble: object) -> None:
    async with ScriptedNode({"options": [DSM]}) as other, engine(tmp_path, other.node) as parts:
        catalog = a_catalog(parts)
        known = await catalog.specs()
        other.replies["options"] = trouble
        parts.clock.now += KEPT_SECONDS + 1
        assert [await catalog.specs() for _ in range(3)] == [known] * 3
        assert other.count("options") == 2  # and nobody waits for it again so soon
        other.replies["options"] = []
        parts.clock.now += AGAIN_SECONDS + 1
        assert await catalog.specs() == ()


async def test_a_node_that_never_told_is_said_to_be_silent(tmp_path: Path) -> None:
    async with ScriptedNode({"options": Status(502)}) as other, engine(tmp_path, other.node) as parts:
        catalog = a_catalog(parts)
        for _ in range(2):
            with pytest.raises(Refused, match="does not answer"):
                await catalog.specs()
        assert other.count("options") == 1
        other.replies["options"] = [DSM]
        parts.clock.now += AGAIN_SECONDS + 1
        assert len(await catalog.specs()) == 1


async def test_another_engine_version_is_asked_anew(tmp_path: Path) -> None:
    replies = {"info": [INFO, INFO, {**INFO, "engineVersion": "4"}]}
    async with (
        ScriptedNode(dict(replies)) as other,
        engine(tmp_path, other.node, policies=SELDOM) as parts,
    ):
        await until(lambda: other.count("info") == 2)
        catalog = a_catalog(parts)
        await catalog.specs()
        await parts.watch.refresh(other.node.id)
        await catalog.specs()
        assert other.count("options") == 2


async def test_a_clock_set_back_does_not_keep_an_answer_for_ever(tmp_path: Path) -> None:
    async with ScriptedNode() as other, engine(tmp_path, other.node) as parts:
        catalog = a_catalog(parts)
        await catalog.specs()
        parts.clock.now -= 30 * 86400
        await catalog.specs()
        assert other.count("options") == 2


async def test_a_locked_node_still_speaks_for_all(tmp_path: Path) -> None:
    async with (
        ScriptedNode({"options": [DSM]}) as other,
        engine(tmp_path, replace(other.node, locked=True)) as parts,
    ):
        assert len(await a_catalog(parts).specs()) == 1
