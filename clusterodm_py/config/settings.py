"""The keys as every source names them, derived from the fields of `Config`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Final, get_origin

from pydantic.fields import FieldInfo

from clusterodm_py.config.keys import Group, Key
from clusterodm_py.config.model import Config
from clusterodm_py.core.types import Json

PREFIX: Final = "CLUSTERODM_"


class Shape(Enum):
    """How often a key takes a value on the command line, and whether it needs one."""

    VALUE = "value"
    SWITCH = "switch"
    LIST = "list"


@dataclass(frozen=True, slots=True)
class Setting:
    """One key, under each of its names."""

    field: str
    key: Key
    shape: Shape
    default: str
    """As `--help` tells it; empty for none."""
    none: Json = ""
    """How None is written: an unset file as an empty text, a port that is off as 0."""
    hidden: bool = False
    """Left out of `--help`."""

    @property
    def name(self) -> str:
        """As in a configuration file."""
        return self.field.replace("_", "-")

    @property
    def flag(self) -> str:
        return f"--{self.name}"

    @property
    def variable(self) -> str:
        return PREFIX + self.field.upper()


def _setting(field: str, info: FieldInfo) -> Setting:
    (key,) = (item for item in info.metadata if isinstance(item, Key))
    if info.annotation is bool:
        shape = Shape.SWITCH
    else:
        shape = Shape.LIST if get_origin(info.annotation) is tuple else Shape.VALUE
    none: Json = 0 if info.annotation == int | None else ""
    default = key.default or _plain(none if info.default is None else info.default)
    return Setting(field, key, shape, default, none)


def _plain(value: object) -> str:
    match value:
        case bool():
            return str(value).lower()
        case float():
            return f"{value:g}"
        case int() | str() | Path():
            return str(value)
        case _:
            return ""


SETTINGS: Final = tuple(_setting(field, info) for field, info in Config.model_fields.items())
"""Every field of `Config`."""

CONFIG: Final = Setting(
    "config",
    Key(
        Group.FILES,
        "FILE",
        "JSON file with any of these keys, without dashes in front; flags and variables win over it",
    ),
    Shape.VALUE,
    "config-default.json, if there is one here",
)
"""Where to read further; no field, as it is done with once the configuration is read."""

RETIRED: Final = Setting(
    "cluster_address", Key(Group.PORTS, "ADDRESS", "not used"), Shape.VALUE, "", hidden=True
)
"""Stands in ClusterODM's own default file, which never used it (contract §9.1)."""

ACCEPTED: Final = {setting.name: setting for setting in (*SETTINGS, CONFIG, RETIRED)}
"""Whatever a source may hold, by name."""
