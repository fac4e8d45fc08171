"""Which request or task is to go wrong next. Counts and draws only; breaking things is up to the others."""

from __future__ import annotations

from collections import Counter
from hashlib import sha256

from clusterodm_py.core.types import Json
from clusterodm_py.simulated.behaviour import Behaviour, changed


class Faults:
    """Holds the behaviour of now and deals out its faults, in the order in which requests come."""

    def __init__(self, behaviour: Behaviour) -> None:
        self.behaviour = behaviour
        self._counts: Counter[str] = Counter()

    def change(self, wishes: Json) -> None:
        """Change the switches named in `wishes` and count the faults anew. Raises BadRequest."""
        self.behaviour = changed(self.behaviour, wishes)
        self._counts.clear()

    def task_fails(self) -> bool:
        """Asked once at each start of a task."""
        count, share = self._count("task"), self.behaviour.fail_tasks
        return count % share == 0 if share >= 1 else self._draw("task", count) < share

    def upload_fails(self) -> bool:
        count, share = self._count("upload"), self.behaviour.fail_uploads
        return count <= share if share >= 1 else self._draw("upload", count) < share

    def upload_is_cut(self) -> bool:
        return self._count("cut") <= self.behaviour.cut_uploads

    def commit_reply_is_lost(self) -> bool:
        return self._count("commit") <= self.behaviour.lose_commit_replies

    def _count(self, kind: str) -> int:
        self._counts[kind] += 1
        return self._counts[kind]

    def _draw(self, kind: str, number: int) -> float:
        """A number in [0, 1) that depends on the seed and the arguments alone."""
        digest = sha256(f"{self.behaviour.seed} {kind} {number}".encode()).digest()
        return int.from_bytes(digest[:6]) / 2**48
