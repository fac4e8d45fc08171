"""The command line: one flag for each key, and the text of `--help`."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from typing import Final, NoReturn

from clusterodm_py.config.keys import Group
from clusterodm_py.config.layers import Given, Layer
from clusterodm_py.config.problems import ConfigError, Origin, Problem, Source, unknown
from clusterodm_py.config.settings import ACCEPTED, Setting, Shape

_PLACE: Final = Origin(Source.FLAG)

_DESCRIPTION: Final = """\
One NodeODM address in front of many nodes.

Commands:
  serve                 run the proxy; the same as no command
  check-config          print the configuration in force, and where each value came from
  healthcheck           ask the proxy on this machine whether it answers; exit status 0 or 1
  simulate-node         run a NodeODM server that only pretends to process
  simulate              try a load on a cluster that exists only in numbers: how large should yours be?
  demo                  run a cluster of such nodes and give it a task
  version               print the version
"""

_EPILOG: Final = """\
Every key can be given in three places, the first of which wins:
  1. here, as a flag;
  2. as an environment variable: --admin-pass is CLUSTERODM_ADMIN_PASS. Secrets (token, admin-pass, node) are better
     kept in a file named by CLUSTERODM_TOKEN_FILE and so on, as flags can be read in the process list;
  3. in the configuration file, under its name without dashes in front (ClusterODM let the file win over flags).
Sizes take units: 500M, 20G, 1.5T, in powers of 1024. 'clusterodm check-config' tells what is in force, and why.
"""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        hint = "; a value that begins with a dash is written --key=value" if "expected" in message else ""
        raise ConfigError([Problem(key="command line", origin=_PLACE, fix=message + hint)])


def build_parser() -> argparse.ArgumentParser:
    """The parser of every flag; values stay text, for whoever validates them."""
    parser = _Parser(
        prog="clusterodm",
        usage="clusterodm [command] [flags]",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
    )
    groups = {group: parser.add_argument_group(group.value) for group in Group}
    for setting in ACCEPTED.values():
        _add(groups[setting.key.group], setting)
    return parser


def _add(group: argparse._ArgumentGroup, setting: Setting) -> None:
    names = [name for name in (setting.key.short, setting.flag) if name]
    text = argparse.SUPPRESS if setting.hidden else _help(setting)
    match setting.shape:
        case Shape.SWITCH:
            group.add_argument(
                *names, dest=setting.field, nargs="?", const="true", metavar="true|false", help=text
            )
            negative = f"--no-{setting.name}"
            group.add_argument(
                negative, dest=setting.field, action="store_const", const="false", help=argparse.SUPPRESS
            )
        case Shape.LIST:
            group.add_argument(
                *names, dest=setting.field, action="append", metavar=setting.key.metavar, help=text
            )
        case Shape.VALUE:
            group.add_argument(*names, dest=setting.field, metavar=setting.key.metavar, help=text)


def _help(setting: Setting) -> str:
    off = f"; --no-{setting.name} switches it off" if setting.default == "true" else ""
    default = f" (default: {setting.default})" if setting.default else ""
    return (setting.key.help + off + default).replace("%", "%%")


def read_flags(argv: Sequence[str]) -> Layer:
    """The keys on the command line; the last of several counts, except where a key takes several.

    Prints and leaves the program for `--help`. Raises ConfigError when flags and values cannot be told apart.
    """
    found, rest = build_parser().parse_known_args(argv)
    return Layer(
        values={
            setting.field: Given(getattr(found, setting.field), Origin(Source.FLAG, setting.flag))
            for setting in ACCEPTED.values()
            if hasattr(found, setting.field)
        },
        problems=tuple(_strangers(rest)),
    )


def _strangers(rest: Iterable[str]) -> Iterable[Problem]:
    """The flags nobody knows. Their values, which may be misplaced secrets, are not repeated."""
    after_unknown = False
    flags = [setting.flag for setting in ACCEPTED.values()]
    for word in rest:
        if word.startswith("-"):
            yield unknown(word.partition("=")[0], _PLACE, flags)
        elif not after_unknown:
            yield Problem(
                key="command line", origin=_PLACE, fix="a word belongs to no flag; commands come first"
            )
        after_unknown = word.startswith("-")
