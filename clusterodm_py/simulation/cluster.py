"""One run of a trace: uploads, commits, slots and ends on a virtual clock, and the real scheduler after each moment.

Tasks do not fail, and nodes neither come nor go. That would be more kinds of events, and a presence of each machine
to be paid for.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from clusterodm_py.core.placement import Need
from clusterodm_py.core.queue import Queue, Waiting
from clusterodm_py.core.shares import Shares
from clusterodm_py.core.types import NodeId, OwnerId, TaskId
from clusterodm_py.simulation.clock import Clock
from clusterodm_py.simulation.model import Job, Machine, Wires
from clusterodm_py.simulation.nodes import Nodes
from clusterodm_py.simulation.policies import Policy
from clusterodm_py.simulation.records import Records
from clusterodm_py.simulation.split import Parent

_NOWHERE: Final = NodeId("")


@dataclass(slots=True)
class _Task:
    job: Job
    parent: Parent | None = None
    """Of a submodel."""
    lone: bool = False
    """Its owner had no other task when it was committed."""
    committed: float = 0.0
    started: float = 0.0
    node: NodeId = _NOWHERE
    home: NodeId | None = None
    """Where its upload is passed on to."""
    piped: float = 0.0
    """When that began."""

    @property
    def need(self) -> Need:
        return Need(self.job.images)


class Cluster:
    """Machines that a policy binds tasks to."""

    def __init__(self, machines: Sequence[Machine], policy: Policy, wires: Wires) -> None:
        self._clock = Clock()
        self._policy = policy
        self._wires = wires
        self._nodes = Nodes(machines, policy)
        self._queue = Queue(policy.rules)
        self._waiting: dict[TaskId, _Task] = {}
        self._lines: dict[NodeId, deque[_Task]] = {}
        self._held: Counter[OwnerId] = Counter()
        """Tasks that are committed and not done."""
        self._served: Counter[OwnerId] = Counter()
        self._shares = Shares()
        self._records = Records()

    def run(self, jobs: Iterable[Job], tell: Callable[[int], None] = lambda _: None) -> Records:
        """Until nothing happens any more. `jobs` by their arrival; `tell` hears how many have arrived."""
        self._jobs = enumerate(jobs, start=1)
        self._tell = tell
        self._await_next()
        self._clock.run(self._serve)
        self._records.never += len(self._queue)
        return self._records

    def _await_next(self) -> None:
        """One arrival at a time is among the events, so that a long trace does not make them slow."""
        if (following := next(self._jobs, None)) is not None:
            self._clock.at(following[1].arrival, self._arrive, following)

    def _arrive(self, numbered: tuple[int, Job]) -> None:
        number, job = numbered
        self._tell(number)
        self._records.arrived(self._clock.now)
        self._upload(_Task(job), job.bytes / self._wires.client)
        self._await_next()

    def _submit(self, job: Job, parent: Parent) -> None:
        self._upload(_Task(job, parent), job.bytes / self._wires.cluster)

    def _upload(self, task: _Task, seconds: float) -> None:
        if self._policy.pipelined and seconds and (home := self._nodes.spare(task.need)):
            task.home, task.piped = home, self._clock.now
            self._nodes.promise(home, 1)
        self._clock.after(seconds, self._commit, task)

    def _commit(self, task: _Task) -> None:
        job = task.job
        task.committed = self._clock.now
        task.lone = not self._held[job.owner]
        self._held[job.owner] += 1
        if self._policy.late:
            self._waiting[job.id] = task
            self._queue.put(_entry(task))
        elif node := self._nodes.eager(task.need):
            self._bind(task, node)
        else:
            self._records.never += 1
        if task.parent:
            task.parent.committed()

    def _serve(self) -> None:
        fleet = self._nodes.fleet
        if not fleet or not self._queue:
            return
        rules = self._policy.rules
        if self._queue.next(self._served, fleet, rules) is None:
            return  # nobody fits, whoever's turn it is: cheaper to see than the shares of very many owners
        had = self._shares.had(self._served, self._clock.now) if rules.fair else Counter[OwnerId]()
        while found := self._queue.next(had, fleet, rules):
            entry, best = found
            self._queue.remove(entry.task)
            task = self._waiting.pop(entry.task)
            had[entry.owner] += 1
            self._bind(task, fleet.at_home(task.home, task.need, best).node.id)

    def _bind(self, task: _Task, node: NodeId) -> None:
        task.node = node
        owner, now = task.job.owner, self._clock.now
        self._served[owner] += 1
        self._shares.started(owner, now)
        if task.home:
            self._nodes.promise(task.home, -1)
        self._nodes.take(node)
        sent_since = task.piped if node == task.home else now
        self._clock.at(max(now, sent_since + task.job.bytes / self._wires.cluster), self._deliver, task)

    def _deliver(self, task: _Task) -> None:
        if self._nodes.arrived(task.node):
            self._start(task)
        elif task.parent:
            self._nodes.withdrawn(task.node)
            self._served[task.job.owner] -= 1
            self._held[task.job.owner] -= 1
            task.parent.refused(task.job)
        else:
            self._lines.setdefault(task.node, deque()).append(task)

    def _start(self, task: _Task) -> None:
        job = task.job
        task.started = self._clock.now
        self._records.started(job.owner, task.started - task.committed, lone=task.lone)
        speed = self._nodes.speed(task.node)
        if job.stages:
            Parent(
                job,
                speed,
                self._clock,
                submit=self._submit,
                worked=self._records.worked,
                done=lambda: self._end(task),
            ).next_stage()
            return
        if task.parent:
            task.parent.started()
        self._records.worked(job.work / speed)
        self._clock.after(job.work / speed, self._end, task)

    def _end(self, task: _Task) -> None:
        job, node, now = task.job, task.node, self._clock.now
        self._served[job.owner] -= 1
        self._held[job.owner] -= 1
        self._records.ended(now)
        self._nodes.finished(node, 0 if job.stages else job.images, now - task.started)
        if (line := self._lines.get(node)) and self._nodes.next_runs(node):
            self._start(line.popleft())
        if task.parent:
            task.parent.finished()


def _entry(task: _Task) -> Waiting:
    """Submodels go before other tasks of their owner, as in the engine: their parent holds a slot meanwhile."""
    job = task.job
    return Waiting(
        task=job.id,
        owner=job.owner,
        images=job.images,
        since=task.committed,
        priority=2 * job.priority + (task.parent is not None),
    )
