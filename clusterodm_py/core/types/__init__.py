"""Every noun of the house, frozen. No behaviour beyond what a value knows about itself."""

from clusterodm_py.core.types.access import Access, Between, Limits, OptionLimit, OptionSpec, OptionValue
from clusterodm_py.core.types.names import NOBODY, UNSET, Address, Json, NodeId, OwnerId, TaskId, Token, Unset
from clusterodm_py.core.types.nodes import Health, Node, NodeInfo, NodeView
from clusterodm_py.core.types.tasks import (
    ACTIVE,
    ENDED,
    IN_FLIGHT,
    SERVED,
    Task,
    TaskReport,
    TaskRequest,
    TaskState,
    TaskStatus,
)

__all__ = [
    "ACTIVE",
    "ENDED",
    "IN_FLIGHT",
    "NOBODY",
    "SERVED",
    "UNSET",
    "Access",
    "Address",
    "Between",
    "Health",
    "Json",
    "Limits",
    "Node",
    "NodeId",
    "NodeInfo",
    "NodeView",
    "OptionLimit",
    "OptionSpec",
    "OptionValue",
    "OwnerId",
    "Task",
    "TaskId",
    "TaskReport",
    "TaskRequest",
    "TaskState",
    "TaskStatus",
    "Token",
    "Unset",
]
