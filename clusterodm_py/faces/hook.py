"""The completion webhook's body (contract §1.16): which task it speaks of."""

from __future__ import annotations

import json

from clusterodm_py.core.types import TaskId


def hinted_task(body: bytes) -> tuple[TaskId | None, bool]:
    """The task named, if any, and whether the body is a JSON object at all."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return None, False
    if not isinstance(value, dict):
        return None, False
    uuid = value.get("uuid")
    return (TaskId(uuid) if isinstance(uuid, str) else None), True
