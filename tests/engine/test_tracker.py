"""Every task on a node is followed to its end; only a node that listens to us can make it fail."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from clusterodm_py.auth.base import AccessService
from clusterodm_py.auth.local import LocalAccess
from clusterodm_py.core.failover import FailoverPolicy
from clusterodm_py.core.types import NodeId, Task, TaskState, TaskStatus, Token
from clusterodm_py.engine.health import WatchPolicy
from clusterodm_py.engine.tracker import TrackPolicy
from clusterodm_py.store.tables import PutTask
from harness.engine import ID, NOW, Parts, Policies, a_report, a_task, an_id, closed_port_node, engine, until
from harness.scripted_node import (
    BAD_TOKEN,
    COMPLETED,
    INFO,
    RUNNING,
    UNKNOWN,
    Drop,
    Hold,
    ScriptedNode,
    Status,
)

LINES = [f"line {number}" for number in range(6)]

CANCELED = {"status": {"code": 50}, "processingTime": 5}
FAILED = {"status": {"code": 30, "errorMessage": "no features"}, "processingTime": 5}


class Ledger(LocalAccess):
    """Hears of ends."""

    keeps_tokens = True

    def __init__(self) -> None:
        super().__init__()
        self.told: list[str] = []

    async def finished(self, token: Token | None, task_json: str, s3_path: str | None) -> bool:
        self.told.append(task_json)
        return True


async def running(parts: Parts, other: ScriptedNode, committed: float | None = NOW + 1) -> Task:
    return await parts.keep(a_task(state=TaskState.ON_NODE, node=other.node.id, committed=committed))


async def stored(parts: Parts, state: TaskState) -> None:
    await until(lambda: parts.state() is state)


@pytest.mark.parametrize(
    ("reply", "state"),
    [(COMPLETED, TaskState.FINISHED), (FAILED, TaskState.FAILED), (CANCELED, TaskState.CANCELED)],
)
async def test_the_end_is_kept_told_once_and_frees_the_disk(
    tmp_path: Path, reply: object, state: TaskState
) -> None:
    ledger: Ledger = Ledger()
    access: AccessService = ledger
    async with (
        ScriptedNode({"report": [RUNNING, reply]}) as other,
        engine(tmp_path, other.node, access=access) as parts,
    ):
        await running(parts, other)
        await parts.tracker.start()
        await stored(parts, state)
        await until(lambda: ID not in parts.tracker._hints)
        assert parts.record().ended == NOW
        assert len(ledger.told) == 1
        assert await parts.spool.files(ID) == ()
        assert parts.record().error == ("no features" if state is TaskState.FAILED else None)


@pytest.mark.parametrize("nonsense", [Status(502), Drop(), {}, [[]], {"status": {"code": 7}}])
async def test_a_gateway_in_trouble_never_fails_a_task(tmp_path: Path, nonsense: object) -> None:
    async with (
        ScriptedNode({"report": [nonsense] * 6 + [COMPLETED]}) as other,
        engine(tmp_path, other.node) as parts,
    ):
        await running(parts, other)
        parts.tracker.follow(ID)
        await stored(parts, TaskState.FINISHED)


async def test_a_node_that_refuses_our_token_says_nothing_about_a_task(tmp_path: Path) -> None:
    policies = Policies(watch=WatchPolicy(interval=60.0))
    replies = {"report": [BAD_TOKEN] * 5 + [COMPLETED], "info": [INFO, INFO] + [BAD_TOKEN] * 5 + [INFO]}
    async with (
        ScriptedNode(replies) as other,
        engine(tmp_path, other.node, policies=policies) as parts,
    ):
        await until(lambda: other.count("info") == 2)
        await running(parts, other)
        parts.tracker.follow(ID)
        await stored(parts, TaskState.FINISHED)


async def test_a_task_removed_on_its_node_has_failed_once_that_is_sure(tmp_path: Path) -> None:
    async with ScriptedNode({"report": UNKNOWN}) as other, engine(tmp_path, other.node) as parts:
        await running(parts, other)
        parts.tracker.follow(ID)
        await stored(parts, TaskState.FAILED)
        assert other.count("report") >= 2
        assert "removed" in (parts.record().error or "")


async def test_one_denial_is_not_believed(tmp_path: Path) -> None:
    replies = {"report": [UNKNOWN, RUNNING, UNKNOWN, COMPLETED]}
    async with ScriptedNode(replies) as other, engine(tmp_path, other.node) as parts:
        await running(parts, other)
        parts.tracker.follow(ID)
        await stored(parts, TaskState.FINISHED)


async def test_denials_on_the_heels_of_each_other_are_one(tmp_path: Path) -> None:
    policies = Policies(track=TrackPolicy(interval=60.0))
    async with (
        ScriptedNode({"report": UNKNOWN}) as other,
        engine(tmp_path, other.node, policies=policies) as parts,
    ):
        await running(parts, other)

        def asked_again(before: int) -> bool:
            return other.count("report") > before and not parts.tracker._hints[ID].is_set()

        for _ in range(5):
            asked = other.count("report")
            parts.tracker.hint(ID)
            await until(partial(asked_again, asked))
        assert parts.state() is TaskState.ON_NODE


@pytest.mark.parametrize("files", [["a.jpg"], []])
async def test_a_task_lost_in_its_nodes_crash_is_dispatched_again_if_it_can_be(
    tmp_path: Path, files: list[str]
) -> None:
    async with ScriptedNode({"report": UNKNOWN}) as other, engine(tmp_path, other.node) as parts:
        task = a_task(state=TaskState.ON_NODE, node=other.node.id, committed=NOW - 9, attempts=3, moves=2)
        await parts.keep(task, files)
        parts.tracker.follow(ID)
        await stored(parts, TaskState.QUEUED if files else TaskState.FAILED)
        assert parts.requeued == ([ID] if files else [])
        if files:
            assert (parts.record().attempts, parts.record().moves, parts.record().node) == (0, 3, None)


async def test_a_task_that_brings_every_node_down_is_not_sent_to_one_more(tmp_path: Path) -> None:
    async with ScriptedNode({"report": UNKNOWN}) as other, engine(tmp_path, other.node) as parts:
        most = FailoverPolicy().moves
        task = a_task(state=TaskState.ON_NODE, node=other.node.id, committed=NOW - 9, moves=most)
        await parts.keep(task)
        parts.tracker.follow(ID)
        await stored(parts, TaskState.FAILED)
        assert "went down" in (parts.record().error or "")
        assert parts.requeued == []


async def test_an_end_that_could_not_be_told_is_told_after_the_next_start(tmp_path: Path) -> None:
    ledger = Ledger()
    access: AccessService = ledger
    async with ScriptedNode({}) as other, engine(tmp_path, other.node, access=access) as parts:
        ended = a_task(state=TaskState.FINISHED, node=other.node.id, committed=NOW - 9)
        await parts.keep(replace(ended, report=a_report(TaskStatus.COMPLETED), token=Token("still-kept")))
        await parts.tracker.start()
        await until(lambda: parts.record().token is None)
        assert ledger.told == [a_report(TaskStatus.COMPLETED).raw]
        await parts.tracker.start()
        assert len(ledger.told) == 1


async def test_a_task_dispatched_again_is_followed_anew(tmp_path: Path) -> None:
    async with (
        ScriptedNode({"report": [UNKNOWN, UNKNOWN, COMPLETED]}) as other,
        engine(tmp_path, other.node) as parts,
    ):
        await parts.keep(a_task(state=TaskState.ON_NODE, node=other.node.id, committed=NOW - 9))

        def at_once(task: object) -> None:
            back = replace(parts.record(), state=TaskState.ON_NODE, node=other.node.id)
            parts.store.tables.apply(PutTask(back))
            parts.tracker.follow(ID)

        parts.tracker.requeued = at_once
        parts.tracker.follow(ID)
        await stored(parts, TaskState.FINISHED)


async def test_a_route_of_old_that_leads_nowhere_is_forgotten(tmp_path: Path) -> None:
    async with ScriptedNode({"report": UNKNOWN}) as other, engine(tmp_path, other.node) as parts:
        await running(parts, other, committed=None)
        parts.tracker.follow(ID)
        await until(lambda: ID not in parts.store.tables.tasks)


async def test_news_that_were_overtaken_by_a_cancel_change_nothing(tmp_path: Path) -> None:
    hold = Hold(COMPLETED)
    async with ScriptedNode({"report": [hold, CANCELED]}) as other, engine(tmp_path, other.node) as parts:
        await running(parts, other)
        parts.tracker.follow(ID)
        await hold.came.wait()
        assert await parts.control.cancel(parts.record()) == {"success": True}
        hold.open.set()
        await until(lambda: ID not in parts.tracker._hints)
        assert parts.state() is TaskState.CANCELED


async def test_a_full_disk_only_delays_the_news(tmp_path: Path) -> None:
    async with ScriptedNode({"report": COMPLETED}) as other, engine(tmp_path, other.node) as parts:
        await running(parts, other)
        parts.store.broken, parts.store.failures = lambda _: True, 3
        parts.tracker.follow(ID)
        await stored(parts, TaskState.FINISHED)
        assert parts.store.failed == 3


async def test_a_full_disk_only_delays_the_bad_news_too(tmp_path: Path) -> None:
    async with ScriptedNode({"report": UNKNOWN}) as other, engine(tmp_path, other.node) as parts:
        await running(parts, other)
        parts.store.broken, parts.store.failures = lambda _: True, 3
        parts.tracker.follow(ID)
        await stored(parts, TaskState.FAILED)


async def test_a_node_that_is_down_is_not_asked_and_its_task_goes_on_when_it_is_back(tmp_path: Path) -> None:
    policies = Policies(watch=WatchPolicy(interval=60.0))
    replies = {"info": [Status(502), Status(502), INFO], "report": COMPLETED}
    async with ScriptedNode(replies) as other, engine(tmp_path, other.node, policies=policies) as parts:
        await until(lambda: other.count("info") == 2)
        await running(parts, other)
        parts.tracker.follow(ID)
        await until(lambda: parts.tracker._hints[ID].is_set() is False)
        assert other.count("report") == 0
        await parts.watch.refresh(other.node.id)
        await stored(parts, TaskState.FINISHED)


async def test_a_task_whose_node_is_not_registered_waits_for_it(tmp_path: Path) -> None:
    async with ScriptedNode({"report": COMPLETED}) as other, engine(tmp_path) as parts:
        await running(parts, other)
        parts.tracker.follow(ID)
        await parts.store.nodes.add(other.node)
        await parts.watch.sync()
        await stored(parts, TaskState.FINISHED)


async def test_a_task_that_is_not_on_a_node_is_not_followed(tmp_path: Path) -> None:
    async with engine(tmp_path) as parts:
        await parts.keep(a_task(node=closed_port_node().id))
        parts.tracker.follow(ID)
        await until(lambda: not parts.tracker._hints)


async def test_thousands_of_tasks_ask_a_node_a_few_at_a_time(tmp_path: Path) -> None:
    now = most = 0
    policies = Policies(track=TrackPolicy(interval=0.01, at_once=2, most=1000))

    async with ScriptedNode({"report": COMPLETED}) as other:

        async def begin() -> None:
            nonlocal now, most
            now += 1
            most = max(most, now)
            await asyncio.sleep(0)
            now -= 1

        other.on["report"] = begin
        async with engine(tmp_path, other.node, policies=policies) as parts:
            tasks = [an_id(number) for number in range(100)]
            for task in tasks:
                await parts.keep(a_task(task, TaskState.ON_NODE, node=other.node.id), [])
            await parts.tracker.start()
            assert parts.tracker._pace() == pytest.approx(0.1)
            await until(lambda: all(parts.state(task) is TaskState.FINISHED for task in tasks))
            assert most <= 2


async def test_a_report_that_says_nothing_new_is_not_written(tmp_path: Path) -> None:
    async with ScriptedNode() as other, engine(tmp_path, other.node) as parts:
        await running(parts, other)
        parts.tracker.follow(ID)
        await until(lambda: other.count("report") >= 5)
        assert parts.record().version <= 2
        assert parts.record().report != a_report(TaskStatus.RUNNING)


def told(code: int, *lines: str) -> dict[str, object]:
    """What a node says of a task when it is asked for its output, too."""
    return {"status": {"code": code}, "processingTime": 5, "output": list(lines)}


async def kept(parts: Parts, *lines: str) -> None:
    """The task's whole output, as it is known without its node."""
    async with asyncio.timeout(5):
        while await parts.transcript.read(parts.record(), "0") != list(lines):
            await asyncio.sleep(0.005)


async def test_output_is_kept_as_it_grows_and_to_its_last_line(tmp_path: Path) -> None:
    replies = [told(20, *LINES[:2]), told(20, *LINES[1:3]), told(40, *LINES[2:5]), told(40, *LINES[4:])]
    async with ScriptedNode({"report": replies}) as other, engine(tmp_path, other.node) as parts:
        await parts.keep(a_task(state=TaskState.ON_NODE, node=other.node.id, lines=("ours",)))
        parts.tracker.follow(ID)
        await kept(parts, "ours", *LINES)
        assert parts.state() is TaskState.FINISHED
        asked = [path.partition("with_output=")[2] for path in other.paths if "/task/" in path]
        assert asked == ["0", "1", "2", "4"]


async def test_output_that_a_node_began_anew_goes_on_behind_what_was_there(tmp_path: Path) -> None:
    replies = [told(20, *LINES[:3]), told(10), told(20, "again"), told(20, "again", "and on")]
    async with ScriptedNode({"report": replies}) as other, engine(tmp_path, other.node) as parts:
        await parts.keep(a_task(state=TaskState.ON_NODE, node=other.node.id, lines=("ours",)))
        parts.tracker.follow(ID)
        anew = "The processing node started this task from its beginning."
        await kept(parts, "ours", *LINES[:3], anew, "again", "and on")
        assert (parts.record().kept, parts.record().lines) == (4, (anew,))


async def test_a_line_that_changed_tells_that_output_began_anew(tmp_path: Path) -> None:
    replies = [told(20, *LINES[:2]), told(20, "another", "two", "three")]
    async with ScriptedNode({"report": replies}) as other, engine(tmp_path, other.node) as parts:
        await parts.keep(a_task(state=TaskState.ON_NODE, node=other.node.id))
        parts.tracker.follow(ID)
        await until(lambda: parts.record().kept == 2)


async def test_a_node_whose_output_cannot_be_fetched_is_asked_without_it(tmp_path: Path) -> None:
    replies = {"report": [Status(502), COMPLETED]}
    async with ScriptedNode(replies) as other, engine(tmp_path, other.node) as parts:
        await running(parts, other)
        parts.tracker.follow(ID)
        await stored(parts, TaskState.FINISHED)
        first, second = [path for path in other.paths if "/task/" in path][:2]
        assert "with_output" in first
        assert "with_output" not in second


async def test_whoever_learns_from_finished_tasks_hears_of_them_only(tmp_path: Path) -> None:
    async with ScriptedNode({"report": [COMPLETED]}) as other, engine(tmp_path, other.node) as parts:
        heard: list[tuple[Task, NodeId]] = []
        parts.tracker.finished = lambda task, node: heard.append((task, node))
        await running(parts, other)
        parts.tracker.follow(ID)
        await stored(parts, TaskState.FINISHED)
        assert [(task.id, node) for task, node in heard] == [(ID, other.node.id)]
        other.replies["report"] = FAILED
        await parts.keep(a_task(an_id(2), TaskState.ON_NODE, node=other.node.id))
        parts.tracker.follow(an_id(2))
        await until(lambda: parts.state(an_id(2)) is TaskState.FAILED)
        assert len(heard) == 1


async def test_news_asked_for_before_the_record_changed_are_none(tmp_path: Path) -> None:
    hold = Hold(COMPLETED)
    async with ScriptedNode({"report": [hold, RUNNING]}) as other, engine(tmp_path, other.node) as parts:
        await running(parts, other)
        parts.tracker.follow(ID)
        await hold.came.wait()
        await parts.store.tasks.save(replace(parts.record(), error="restarted meanwhile"))
        hold.open.set()
        await until(lambda: other.count("report") >= 3)
        assert parts.state() is TaskState.ON_NODE


async def test_a_crash_between_two_beats_of_the_watch_is_noticed_by_who_asks_for_the_task(
    tmp_path: Path,
) -> None:
    policies = Policies(watch=WatchPolicy(interval=60.0))
    replies = {"report": [RUNNING, Status(502), UNKNOWN]}
    async with ScriptedNode(replies) as other, engine(tmp_path, other.node, policies=policies) as parts:
        await running(parts, other)
        parts.clock.now = NOW + 2
        parts.tracker.follow(ID)
        await stored(parts, TaskState.QUEUED)
