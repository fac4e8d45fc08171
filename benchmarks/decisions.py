"""How long the scheduler's decisions take, on clusters and queues of the largest size that is promised."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from random import Random

from clusterodm_py.core.fleet import Fleet
from clusterodm_py.core.placement import Need, place, reasons
from clusterodm_py.core.queue import Queue, Waiting
from clusterodm_py.core.types import Address, Health, Node, NodeInfo, NodeView, OwnerId, TaskId

NODES, TASKS = 1_000, 10_000
LIMITS = (100, 500, 1_000, None)


def views(count: int = NODES, limits: tuple[int | None, ...] = LIMITS) -> list[NodeView]:
    random = Random(1)
    return [
        NodeView(
            node=Node(address=Address(f"10.0.{number // 256}.{number % 256}", 3000)),
            info=NodeInfo(
                task_queue_count=random.randrange(3),
                max_parallel_tasks=4,
                max_images=limits[number % len(limits)],
            ),
            health=Health.UP,
            pace=random.choice([None, 2.0, 4.0, 8.0]),
            turn=number,
        )
        for number in range(count)
    ]


def waiting(owners: int = 1, images: int | None = None, count: int = TASKS) -> Iterable[Waiting]:
    random = Random(2)
    for number in range(count):
        yield Waiting(
            task=TaskId(f"task-{number}"),
            owner=OwnerId(f"owner-{number % owners}"),
            images=images or random.randrange(20, 1_000),
            since=float(number),
            priority=random.randrange(3),
        )


def queue(entries: Iterable[Waiting]) -> Queue:
    filled = Queue()
    for entry in entries:
        filled.put(entry)
    return filled


def median_ms(rounds: int, decide: Callable[[], object]) -> float:
    """The median of `rounds`, after one that does not count."""
    found = []
    for _ in range(rounds + 1):
        start = time.perf_counter()
        decide()
        found.append((time.perf_counter() - start) * 1000)
    return statistics.median(found[1:])


def nexts(rounds: int) -> Iterable[tuple[str, float]]:
    """Each decision comes after the one before was carried out, as it is when the queue is served."""
    small = views(limits=(500,))
    too_big = [replace(entry, images=900) for entry in waiting(TASKS)]
    too_big[-1] = replace(too_big[-1], images=20)
    trouble = [
        replace(entry, exclude=frozenset({small[number % 50].node.id}))
        for number, entry in enumerate(waiting(100))
    ]
    for what, entries, nodes in (
        ("one owner", waiting(), views()),
        ("100 owners", waiting(100), views()),
        ("10,000 owners", waiting(TASKS), views()),
        ("10,000 owners, all too big but one", too_big, small),
        ("one owner, all too big but one", [replace(entry, owner=OwnerId("a")) for entry in too_big], small),
        ("100 owners, each task avoids one of 50 nodes", trouble, small),
    ):
        line, fleet = queue(entries), Fleet(nodes)
        served = {OwnerId(f"owner-{number}"): 1 + number % 3 for number in range(100)}

        def decide(line: Queue = line, fleet: Fleet = fleet, served: dict[OwnerId, int] = served) -> None:
            if found := line.next(served, fleet):
                entry, view = found
                line.remove(entry.task)
                line.put(entry)
                fleet.put(replace(view, in_flight=view.in_flight + 1))
                fleet.put(view)

        yield f"next of {TASKS:,} waiting tasks and its node of {NODES:,}: {what}", median_ms(rounds, decide)


def others(rounds: int) -> Iterable[tuple[str, float]]:
    nodes = views()
    yield (
        f"place among {NODES:,} nodes, with reasons",
        median_ms(rounds, lambda: reasons(place(nodes, Need(images=300)).whys)),
    )
    yield f"a fleet of {NODES:,} nodes put in order", median_ms(rounds, lambda: Fleet(nodes))
    entries, fleet = list(waiting(100)), Fleet(nodes)
    yield (
        f"{TASKS:,} tasks put in a queue, and the first next",
        median_ms(rounds, lambda: queue(entries).next({}, fleet)),
    )
    for owners in (1, 100, TASKS):
        line = queue(waiting(owners))
        task, served = TaskId(f"task-{TASKS // 2}"), {OwnerId(f"owner-{number}"): 1 for number in range(100)}
        what = f"position among {TASKS:,} waiting tasks of {owners:,} owners"
        yield what, median_ms(rounds, partial(line.position, task, served))


def decisions(rounds: int) -> None:
    """A row for each kind of decision: milliseconds, median of `rounds`."""
    sys.stdout.write("\n| decision | ms |\n| --- | --- |\n")
    for what, ms in (*nexts(rounds), *others(rounds)):
        sys.stdout.write(f"| {what} | {ms:.3f} |\n")
        sys.stdout.flush()


if __name__ == "__main__":
    decisions(5)
