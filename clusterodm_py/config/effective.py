"""The configuration in force, for people and programs to read. Secrets are stars."""

from __future__ import annotations

import json
from pathlib import Path

from clusterodm_py.config.loading import Loaded
from clusterodm_py.config.problems import STARS
from clusterodm_py.config.settings import SETTINGS, Setting
from clusterodm_py.core.types import Json, Node, Token


def effective_json(loaded: Loaded) -> str:
    """A JSON object, one line to a key, each with its `value` and where it came `from`."""
    lines = (
        f"  {json.dumps(setting.name)}: "
        + json.dumps(
            {
                "value": _written(setting, getattr(loaded.config, setting.field)),
                "from": str(loaded.origins[setting.name]),
            }
        )
        for setting in SETTINGS
    )
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _written(setting: Setting, value: object) -> Json:
    return setting.none if value is None else _plain(value)


def _plain(value: object) -> Json:
    """`value` as a configuration file would give it; a secret as stars."""
    match value:
        case Token():
            return STARS if value else ""
        case Node():
            return f"{value.address}?token={STARS}" if value.token else str(value.address)
        case tuple():
            return [_plain(item) for item in value]
        case Path():
            return str(value)
        case bool() | int() | float() | str():
            return value
        case _:
            raise TypeError(f"no configuration holds a {type(value).__name__}")
