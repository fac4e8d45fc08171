"""What a key of the configuration says about itself, beside its type and its default."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Group(StrEnum):
    """The chapters of `--help`, in their order."""

    PORTS = "Ports"
    ACCESS = "Access"
    NODES = "Nodes and tasks"
    DISK = "Uploads and disk"
    TLS = "TLS"
    LOGGING = "Logging"
    FILES = "Files"


@dataclass(frozen=True, slots=True)
class Key:
    """Stands in the annotation of a field of `Config`; flag, variable and help are made from it."""

    group: Group
    metavar: str
    """What stands for the value in `--help`."""
    help: str
    short: str | None = None
    """A flag of one letter, with its dash."""
    secret: bool = False
    """Never shown, and also read from the file that `<variable>_FILE` names."""
    default: str | None = None
    """The default as `--help` tells it, where the plain value would not."""
