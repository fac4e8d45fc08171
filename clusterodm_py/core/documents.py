"""Nodes and routes as JSON for operators, in ClusterODM's keys. Tokens are masked: they only show that there is one."""

from __future__ import annotations

from typing import Final

from clusterodm_py.core.types import NOBODY, Json, Node, NodeInfo, NodeView, Task

MASK: Final = "***"


def node_json(view: NodeView) -> dict[str, Json]:
    """All that is known of a node, under ClusterODM's keys and some of our own; times in milliseconds."""
    return {
        **_registration(view.node),
        "info": _info_json(view.info) if view.info else {},
        "lastRefreshed": round(view.refreshed * 1000),
        "health": view.health.value,
        "error": view.error,
        "inFlight": view.in_flight,
    }


def route_json(task: Task, node: Node) -> dict[str, Json]:
    """Which node has a task, and when somebody last asked for it; `token` only where a user gave one."""
    given: dict[str, Json] = {"token": MASK} if task.owner != NOBODY else {}
    return {"node": _registration(node), **given, "accessed": round(task.accessed * 1000)}


def _registration(node: Node) -> dict[str, Json]:
    return {
        "hostname": node.address.host,
        "port": node.address.port,
        "token": MASK if node.token else "",
        "locked": node.locked,
    }


def _info_json(info: NodeInfo) -> dict[str, Json]:
    return {
        "version": info.version,
        "taskQueueCount": info.task_queue_count,
        "totalMemory": info.total_memory,
        "availableMemory": info.available_memory,
        "cpuCores": info.cpu_cores,
        "maxImages": info.max_images,
        "maxParallelTasks": info.max_parallel_tasks,
        "engineVersion": info.engine_version,
        "engine": info.engine,
    }
