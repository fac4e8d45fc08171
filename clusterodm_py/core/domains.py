"""What an option's value may be: the domain grammar, and numbers read as NodeODM reads them (contract §3.2, §3.3).

Never raises on any value or domain; what cannot be read as a number is NaN, which no numeric domain admits.
"""

from __future__ import annotations

import json
import math
import operator
import re
from collections.abc import Callable, Mapping
from typing import Final, Never, TypeAlias, TypeGuard

from clusterodm_py.core.types import Json, OptionSpec

Number: TypeAlias = int | float

_MOST_DIGITS: Final = 300
"""Longer numbers overflow in NodeODM; Python would take them, at a price."""

_INT: Final = re.compile(r"\s*([+-]?)(?:0[xX]([0-9a-fA-F]*)|([0-9]+))")
_FLOAT: Final = re.compile(r"\s*[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_RANGE: Final = re.compile(r"(float|integer): ([0-9.+-]+) <= x <= ([0-9.+-]+)")
_BOUND: Final = re.compile(r"(float|integer) (>=|>|<=|<) ([0-9.+-]+)")


def is_number(value: object) -> TypeGuard[Number]:
    """Booleans are no numbers here."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_finite(number: Number) -> bool:
    """Neither NaN nor infinite; integers of any size are."""
    return isinstance(number, int) or math.isfinite(number)


def whole(number: Number) -> Number:
    """The same number, as an int where JSON written by NodeODM would show no fraction: 5, not 5.0."""
    if isinstance(number, float) and number.is_integer() and abs(number) < 1e21:
        return int(number)
    return number


def text(value: Json) -> str:
    """As shown to users: strings as they are, all else as JSON; NaN as `NaN`."""
    return value if isinstance(value, str) else json.dumps(whole(value) if is_number(value) else value)


def parse_json(source: str) -> Json:
    """Strict JSON: no NaN, no number that overflows in NodeODM. Raises ValueError with a short reason."""
    try:
        parsed: Json = json.loads(
            source, parse_int=_literal, parse_float=_literal, parse_constant=_no_constant
        )
    except RecursionError:
        raise ValueError("nested too deeply") from None
    return parsed


def leading_int(value: Json) -> Number:
    """The integer a value begins with: "5abc" is 5, "0x10" is 16, "abc" is NaN; numbers lose their fraction."""
    if is_number(value):
        return math.trunc(value) if is_finite(value) else math.nan
    match = _INT.match(value) if isinstance(value, str) else None
    if match is None:
        return math.nan
    sign, hexadecimal, decimal = match.groups()
    digits = decimal or hexadecimal
    if not digits or len(digits) > _MOST_DIGITS:
        return math.nan
    return int(sign + digits, 10 if decimal else 16)


def leading_float(value: Json) -> Number:
    """The number a value begins with: "0.5m" is 0.5, "abc" is NaN. Never infinite."""
    if is_number(value):
        return whole(value) if is_finite(value) else math.nan
    match = _FLOAT.match(value) if isinstance(value, str) else None
    number = float(match[0]) if match else math.nan
    return whole(number) if math.isfinite(number) else math.nan


def to_number(value: Json) -> Number:
    """What a value is in a comparison: all of a text must be a number, empty counts as 0."""
    match value:
        case None:
            return 0
        case bool():
            return int(value)
        case str() if not value.strip():
            return 0
        case str():
            return leading_float(value) if _FLOAT.fullmatch(value.rstrip()) else math.nan
        case _:
            return leading_float(value)


def objection(spec: OptionSpec, value: Json) -> str | None:
    """Why `spec.domain` does not admit `value`, which was converted to `spec.type` before; None when it does."""
    if isinstance(spec.domain, tuple):
        # Members are texts, so typed values are compared by theirs; untyped ones only ever equal a text.
        member = text(value) if spec.type in ("int", "float", "bool") else value
        return None if member in spec.domain else f"Invalid value {text(value)} (not in enum)"
    if not spec.domain:
        return None
    admits = _rule(spec.domain)
    if admits is None:
        return f"Domain value cannot be handled: '{spec.domain}' : '{text(value)}'"
    return None if admits(value) else f"Invalid value {text(value)} (out of range)"


def _literal(source: str) -> Number:
    number = float(source)
    if math.isinf(number):
        raise ValueError("a number is too large")
    return whole(number)


def _no_constant(name: str) -> Never:
    raise ValueError(f"{name} is not JSON")


def _is_json(value: Json) -> bool:
    if not isinstance(value, str):
        return False
    try:
        parse_json(value)
    except ValueError:
        return False
    return True


_Rule: TypeAlias = Callable[[Json], bool]

_RULES: Final[Mapping[str, _Rule]] = {
    "integer": lambda value: is_number(value) and isinstance(whole(value), int),
    "float": lambda value: is_number(value) and is_finite(value),
    "positive integer": lambda value: to_number(value) >= 0,
    "positive float": lambda value: to_number(value) >= 0,
    "negative integer": lambda value: to_number(value) <= 0,
    "negative float": lambda value: to_number(value) <= 0,
    "percent": lambda value: 0 <= to_number(value) <= 100,
    "json": _is_json,
    "string": lambda _: True,
    "path": lambda _: True,
}

_READ: Final[Mapping[str, Callable[[Json], Number]]] = {"integer": leading_int, "float": leading_float}

_COMPARE: Final[Mapping[str, Callable[[Number, Number], bool]]] = {
    ">=": operator.ge,
    ">": operator.gt,
    "<=": operator.le,
    "<": operator.lt,
}


def _rule(domain: str) -> _Rule | None:
    """What a domain text asks of a value; None when it is outside the grammar."""
    if match := _RANGE.fullmatch(domain):
        read = _READ[match[1]]
        low, high = read(match[2]), read(match[3])
        return lambda value: low <= to_number(value) <= high
    if match := _BOUND.fullmatch(domain):
        compare, bound = _COMPARE[match[2]], _READ[match[1]](match[3])
        return lambda value: compare(to_number(value), bound)
    return _RULES.get(domain)
