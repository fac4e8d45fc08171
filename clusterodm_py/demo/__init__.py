"""See a cluster at work: a proxy, two simulated nodes, drawn aerial photos, one task from upload to orthophoto."""

from __future__ import annotations

from clusterodm_py.demo.command import add_arguments, run

__all__ = ["add_arguments", "run"]
