"""A node that speaks NodeODM 2.2.4 and pretends to process: to try the system, to test clients, to break on demand."""

from __future__ import annotations

from clusterodm_py.simulated.behaviour import Behaviour
from clusterodm_py.simulated.node import SimulatedNode

__all__ = ["Behaviour", "SimulatedNode"]
