"""clusterodm-py: one NodeODM address in front of many nodes."""

__version__ = "2.0.0.dev0"
