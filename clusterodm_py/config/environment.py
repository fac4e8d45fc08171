"""The environment: `CLUSTERODM_<KEY>`, and `CLUSTERODM_<KEY>_FILE` for secrets. An empty variable is not set."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from clusterodm_py.config.layers import Given, Layer
from clusterodm_py.config.problems import Origin, Problem, Source, unknown
from clusterodm_py.config.settings import ACCEPTED, PREFIX, Setting

_FILE: Final = "_FILE"
_BY_VARIABLE: Final = {setting.variable: setting for setting in ACCEPTED.values()}
_BY_FILE: Final = {name + _FILE: setting for name, setting in _BY_VARIABLE.items() if setting.key.secret}

_SERVICE_LINK: Final = re.compile(
    PREFIX + r"(\w+_)?(SERVICE_(HOST|PORT(_\w+)?)|PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)"
)
_LINK_ADDRESS: Final = re.compile(r"(tcp|udp|sctp)://")
"""Kubernetes tells containers about a Service named clusterodm by CLUSTERODM_PORT=tcp://10.0.0.1:3000 and others."""


def read_environment(env: Mapping[str, str], cwd: Path) -> Layer:
    """The keys that the environment sets; paths of secret files start at `cwd`."""
    ours = {
        name: value
        for name, value in sorted(env.items())
        if value and name.startswith(PREFIX) and not _is_service_link(name, value)
    }
    values: dict[str, Given] = {}
    problems = []
    for name, value in ours.items():
        origin = Origin(Source.ENVIRONMENT, name)
        if setting := _BY_VARIABLE.get(name):
            values[setting.field] = Given(value, origin)
        elif setting := _BY_FILE.get(name):
            try:
                values[setting.field] = Given(_secret(setting, cwd / value, ours), origin)
            except ValueError as error:
                problems.append(Problem(key=setting.name, origin=origin, fix=str(error)))
        else:
            problems.append(unknown(name, Origin(Source.ENVIRONMENT), (*_BY_VARIABLE, *_BY_FILE)))
    return Layer(values=values, problems=tuple(problems))


def _is_service_link(name: str, value: str) -> bool:
    return bool(_SERVICE_LINK.fullmatch(name) or _LINK_ADDRESS.match(value))


def _secret(setting: Setting, path: Path, env: Mapping[str, str]) -> str:
    """The content of `path` without its last line end. Raises ValueError with the fix."""
    if setting.variable in env:
        raise ValueError(f"{setting.variable} is set too; keep one of them")
    try:
        secret = path.read_text("utf-8-sig").rstrip("\r\n")
    except OSError as error:
        raise ValueError(f"cannot read the file: {error.strerror}") from None
    except ValueError:
        raise ValueError("the file holds no text in UTF-8") from None
    if not secret:
        raise ValueError("the file is empty")
    return secret
