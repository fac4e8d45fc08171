"""L5: flags, environment, file and defaults become one frozen `Config`, which goes down no further than app."""

from __future__ import annotations

from clusterodm_py.config.effective import effective_json
from clusterodm_py.config.kinds import LogLevel
from clusterodm_py.config.loading import Loaded, load
from clusterodm_py.config.model import Config
from clusterodm_py.config.nodes import parse_node
from clusterodm_py.config.problems import ConfigError, Origin, Problem, Source

__all__ = [
    "Config",
    "ConfigError",
    "Loaded",
    "LogLevel",
    "Origin",
    "Problem",
    "Source",
    "effective_json",
    "load",
    "parse_node",
]
