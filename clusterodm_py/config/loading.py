"""From flags, environment and file to one checked `Config`; every problem is told at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from clusterodm_py.config.environment import read_environment
from clusterodm_py.config.files import DEFAULT_FILE, read_file
from clusterodm_py.config.flags import read_flags
from clusterodm_py.config.layers import Given, Layer
from clusterodm_py.config.model import Config
from clusterodm_py.config.notices import notices
from clusterodm_py.config.problems import DEFAULT, ConfigError, Origin, Problem, shown
from clusterodm_py.config.settings import CONFIG, RETIRED, SETTINGS, Setting


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A configuration, where each of its values came from, and what its author should know."""

    config: Config
    origins: Mapping[str, Origin]
    """By name of the key; every key is there."""
    notices: tuple[str, ...]


def load(argv: Sequence[str], env: Mapping[str, str], cwd: Path) -> Loaded:
    """The configuration in force: flags over environment over file over defaults.

    Relative paths start at `cwd`. Raises ConfigError with all problems.
    """
    flags, environment = read_flags(argv), read_environment(env, cwd)
    file = _read_file({**environment.values, **flags.values}.get(CONFIG.field), cwd)
    given = {**file.values, **environment.values, **flags.values}
    problems = [problem for layer in (flags, environment, file) for problem in layer.problems]
    given.pop(CONFIG.field, None)
    retired = given.pop(RETIRED.field, None)
    try:
        config = Config.model_validate(
            {field: found.value for field, found in given.items()}, context={"cwd": cwd}
        )
    except ValidationError as error:
        raise ConfigError([*problems, *_invalid(error, given)]) from None
    if problems:
        raise ConfigError(problems)
    origins = {setting.name: _origin(setting, given) for setting in SETTINGS}
    return Loaded(config=config, origins=origins, notices=tuple(notices(config, given, retired)))


def _read_file(named: Given | None, cwd: Path) -> Layer:
    if named is not None:
        return read_file(cwd / str(named.value), named.origin)
    default = cwd / DEFAULT_FILE
    return read_file(default, DEFAULT) if default.exists() else Layer()


def _origin(setting: Setting, given: Mapping[str, Given]) -> Origin:
    found = given.get(setting.field)
    return found.origin if found else DEFAULT


def _invalid(error: ValidationError, given: Mapping[str, Given]) -> Iterator[Problem]:
    settings = {setting.field: setting for setting in SETTINGS}
    for detail in error.errors(include_url=False):
        field, *item = detail["loc"]
        setting = settings[str(field)]
        found = given.get(setting.field)
        cause = detail.get("ctx", {}).get("error", detail["msg"])
        yield Problem(
            key=_numbered(setting, item),
            origin=_origin(setting, given),
            value=shown(detail["input"], secret=setting.key.secret) if found else None,
            fix=str(cause),
        )


def _numbered(setting: Setting, item: Iterable[int | str]) -> str:
    """The key, and which one of its list; a secret's own text must not tell."""
    return " ".join([setting.name, *(f"#{int(index) + 1}" for index in item)])
