"""The simulated nodes: who holds which slot, kept as the views that the scheduler decides on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import cache

from clusterodm_py.core import speeds
from clusterodm_py.core.fleet import Fleet
from clusterodm_py.core.placement import Need
from clusterodm_py.core.types import Address, Health, Node, NodeId, NodeInfo, NodeView
from clusterodm_py.simulation.model import Machine
from clusterodm_py.simulation.policies import Policy


class Nodes:
    """Every change is put to the fleet, as the engine does when it hears of one."""

    def __init__(self, machines: Sequence[Machine], policy: Policy) -> None:
        self._policy = policy
        views = [_view(number, machine, policy) for number, machine in enumerate(machines)]
        self._views = {view.node.id: view for view in views}
        self._machines = dict(zip(self._views, machines, strict=True))
        self._learned: dict[NodeId, speeds.Speed | None] = dict.fromkeys(self._views)
        self._running: Counter[NodeId] = Counter()
        self._turn = 0
        self.fleet = Fleet(views, policy.rules)
        self._lines = Fleet(map(_with_a_place_in_line, views), policy.rules)

    def speed(self, node: NodeId) -> float:
        return self._machines[node].speed

    def eager(self, need: Need) -> NodeId | None:
        """Where a task goes that does not wait for a slot (contract §4.3)."""
        best = self.fleet.best(need) or self._lines.best(need)
        return best.node.id if best else None

    def spare(self, need: Need) -> NodeId | None:
        """A node that an upload which just begins may hope for."""
        best = self.fleet.best(need)
        return best.node.id if best and best.free > best.promised else None

    def promise(self, node: NodeId, uploads: int) -> None:
        """So many more, or fewer, uploads are passed on to it."""
        view = self._views[node]
        self._put(replace(view, promised=view.promised + uploads))

    def take(self, node: NodeId) -> None:
        """A task is bound to the node; its files are on their way."""
        self._turn += 1
        view = self._views[node]
        self._put(replace(view, in_flight=view.in_flight + 1, turn=self._turn))

    def arrived(self, node: NodeId) -> bool:
        """The files are there. Whether the task runs; else it stands in the node's line."""
        view = self._views[node]
        self._put(replace(view, in_flight=view.in_flight - 1, info=self._info(view, 1)))
        return self.next_runs(node)

    def next_runs(self, node: NodeId) -> bool:
        """The first in the node's line runs now, unless the slots are taken."""
        free = self._running[node] < self._machines[node].slots
        self._running[node] += free
        return free

    def withdrawn(self, node: NodeId) -> None:
        """A task that stood in the node's line was taken back."""
        view = self._views[node]
        self._put(replace(view, info=self._info(view, -1)))

    def finished(self, node: NodeId, images: int, seconds: float) -> None:
        """A task is done; without images it tells nothing of the node's speed."""
        view = self._views[node]
        self._running[node] -= 1
        pace = view.pace
        if images and self._policy.rules.by_speed and not self._policy.known:
            learned = self._learned[node] = speeds.learn(self._learned[node], images, seconds)
            pace = speeds.pace(learned)
        self._put(replace(view, info=self._info(view, -1), pace=pace))

    def _info(self, view: NodeView, more: int) -> NodeInfo:
        return _info(self._machines[view.node.id], view.queued + more)

    def _put(self, view: NodeView) -> None:
        self._views[view.node.id] = view
        self.fleet.put(view)
        if not self._policy.late:
            self._lines.put(_with_a_place_in_line(view))


def _view(number: int, machine: Machine, policy: Policy) -> NodeView:
    address = Address(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", 3000)
    pace = 1 / machine.speed if policy.known else None
    return NodeView(node=Node(address=address), info=_info(machine, 0), health=Health.UP, pace=pace)


@cache
def _info(machine: Machine, queued: int) -> NodeInfo:
    return NodeInfo(task_queue_count=queued, max_parallel_tasks=machine.slots, max_images=machine.max_images)


def _with_a_place_in_line(view: NodeView) -> NodeView:
    """As if one more task found a slot: so a fleet puts full nodes in the contract's order, shorter lines first."""
    slots = view.queued + view.in_flight + 1
    return replace(view, info=replace(view.info or NodeInfo(), max_parallel_tasks=slots))
