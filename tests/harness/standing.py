"""A cluster that stands while a whole module of tests tries to harm it, and what it is measured by."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from clusterodm_py.simulated import SimulatedNode
from harness.proxy import ProxyProcess


@dataclass
class Standing:
    """One for the whole module: starting a proxy for each piece of junk would take longer than all the junk."""

    proxy: ProxyProcess
    node: SimulatedNode
    memory: int


def memory(proxy: ProxyProcess) -> int:
    """KiB of the program in RAM."""
    assert proxy.process is not None
    status = Path(f"/proc/{proxy.process.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0])


def uploads(proxy: ProxyProcess) -> list[str]:
    """What lies in the spool beside its waste basket."""
    return [path.name for path in (proxy.data / "spool").iterdir() if path.name != ".discarded"]


def spooled(proxy: ProxyProcess) -> list[Path]:
    """Every file of every upload, arriving ones too, but none that is being deleted."""
    return [
        path for task in uploads(proxy) for path in (proxy.data / "spool" / task).rglob("*") if path.is_file()
    ]
