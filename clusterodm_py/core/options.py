"""Task options: `/options` as served, limits applied, a user's options checked, split-merge wired in (contract §3).

Pure, and deaf to which node will run the task. Raises BadRequest and nothing else, whatever the client sent.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Final
from urllib.parse import quote, urljoin

from clusterodm_py.core.domains import (
    is_finite,
    is_number,
    leading_float,
    leading_int,
    objection,
    parse_json,
    text,
    to_number,
    whole,
)
from clusterodm_py.core.errors import BadRequest
from clusterodm_py.core.types import (
    UNSET,
    Between,
    Json,
    Limits,
    OptionLimit,
    OptionSpec,
    OptionValue,
    Token,
    Unset,
)

SEED: Final = "seed.zip"
"""The file by which a node running split-merge hands its submodels to us (contract §3.6)."""

CLUSTER_OPTION: Final = "sm-cluster"
SPLIT_OPTION: Final = "split"

_HIDDEN_BY_LIMITS: Final = "max-concurrency"


def parse_specs(reply: Json) -> tuple[OptionSpec, ...]:
    """A node's `/options` reply in its order: whatever it wrote becomes text, entries without a name are dropped."""
    entries = reply if isinstance(reply, list) else []
    return tuple(_spec(entry) for entry in entries if isinstance(entry, dict) and _named(entry))


def specs_json(specs: Iterable[OptionSpec]) -> list[dict[str, Json]]:
    """The body of `/options`: exactly five keys each, `value` always text, or PyODM and CloudODM fail (§3.1)."""
    return [
        {
            "name": spec.name,
            "type": spec.type,
            "value": spec.value,
            "domain": spec.domain if isinstance(spec.domain, str) else list(spec.domain),
            "help": spec.help,
        }
        for spec in specs
    ]


def limited_specs(specs: Iterable[OptionSpec], limits: Limits) -> tuple[OptionSpec, ...]:
    """The options as a token with these limits sees them (contract §3.4)."""
    if limits.options is None:
        return tuple(specs)
    by_name = {limit.name: limit for limit in limits.options}
    limited = (
        _limited_spec(spec, by_name.get(spec.name)) for spec in specs if spec.name != _HIDDEN_BY_LIMITS
    )
    return tuple(spec for spec in limited if spec is not None)


def parse_user_options(source: str) -> tuple[OptionValue, ...]:
    """The client's `options` field, values as given. Raises BadRequest when it is not JSON.

    JSON other than an array means no options, and so does nothing at all; array entries without a name are ignored.
    """
    if not source.strip():
        return ()
    try:
        parsed = parse_json(source)
    except ValueError as error:
        raise BadRequest(f"The options are not valid JSON: {error}") from None
    entries = parsed if isinstance(parsed, list) else []
    return tuple(
        OptionValue(name, entry.get("value"))
        for entry in entries
        if isinstance(entry, dict) and isinstance(name := entry.get("name"), str)
    )


def augment(
    user: Iterable[OptionValue], limits: Limits, cluster_url: str | None, splitmerge: bool
) -> tuple[OptionValue, ...]:
    """What the client asked for, as this cluster will have it (contract §3.5 steps 2 and 3).

    Without a `cluster_url` nobody could reach us, so that is the same as split-merge switched off.
    """
    return _under_limits(_clustered(user, cluster_url if splitmerge else None), limits)


def filter_options(user: Iterable[OptionValue], specs: Iterable[OptionSpec]) -> tuple[OptionValue, ...]:
    """The options a node gets: those it knows, in its order, converted and checked (contract §3.3).

    Raises BadRequest whose text is a JSON list of `{"name", "error"}` with every fault found. Of options given
    twice the first counts. Numbers that cannot be read, where no domain forbids them, are null.
    """
    given: dict[str, Json] = {}
    for option in user:
        given.setdefault(option.name, option.value)
    accepted: list[OptionValue] = []
    faults: list[dict[str, str]] = []
    for spec in specs:
        if spec.name not in given:
            continue
        try:
            accepted.append(OptionValue(spec.name, _checked(spec, given[spec.name])))
        except ValueError as fault:
            faults.append({"name": spec.name, "error": str(fault)})
    if faults:
        raise BadRequest(json.dumps(faults))
    return tuple(accepted)


def options_text(values: Iterable[OptionValue]) -> str:
    """The `options` field of a task as it is sent to a node."""
    pairs = [{"name": option.name, "value": option.value} for option in values]
    return json.dumps(pairs, separators=(",", ":"))


def cluster_url(base: str, token: Token) -> str:
    """Where nodes find this cluster: the root of `base`, and the user's token when one was used (contract §3.5).

    Raises BadRequest when `base`, which may stem from the client's Host header, is no URL.
    """
    query = f"?token={quote(token.value, safe='')}" if token else ""
    try:
        return urljoin(base, "/") + query
    except ValueError:
        raise BadRequest(f"Nodes could not reach this cluster at '{base}'") from None


def is_parent(values: Iterable[OptionValue]) -> bool:
    """Whether a task with these options spreads itself over the cluster, holding a slot until its children are done."""
    return any(option.name == CLUSTER_OPTION for option in values)


def refuse_seed(names: Iterable[str], splitmerge: bool) -> None:
    """Raises BadRequest when a submodel is handed to a cluster that does not do split-merge (contract §3.6)."""
    if not splitmerge and SEED in names:
        raise BadRequest("Cannot use this node as a split-merge cluster.")


def _named(entry: Mapping[str, Json]) -> bool:
    name = entry.get("name")
    return isinstance(name, str) and name != ""


def _spec(entry: Mapping[str, Json]) -> OptionSpec:
    return OptionSpec(
        name=_wire_text(entry.get("name")),
        type=_wire_text(entry.get("type")),
        value=_wire_text(entry.get("value")),
        domain=_wire_domain(entry.get("domain")),
        help=_wire_text(entry.get("help")),
    )


def _wire_text(value: Json) -> str:
    return "" if value is None else text(value)


def _wire_domain(domain: Json) -> str | tuple[str, ...]:
    return tuple(text(member) for member in domain) if isinstance(domain, list) else _wire_text(domain)


def _limited_spec(spec: OptionSpec, limit: OptionLimit | None) -> OptionSpec | None:
    """None when the limit takes the option away."""
    if limit is None:
        return spec
    if limit.remove:
        return None
    return replace(
        spec,
        value=spec.value if isinstance(limit.value, Unset) else _wire_text(limit.value),
        domain=spec.domain if isinstance(limit.domain, Unset) else _wire_domain(limit.domain),
    )


def _clustered(user: Iterable[OptionValue], url: str | None) -> tuple[OptionValue, ...]:
    """Never let a client choose the cluster: nodes would send its images, with a token, wherever it points."""
    options = tuple(user)
    others = tuple(option for option in options if option.name != CLUSTER_OPTION)
    if url is None:
        return others
    ours = OptionValue(CLUSTER_OPTION, url)
    if len(others) < len(options):
        return tuple(ours if option.name == CLUSTER_OPTION else option for option in options)
    return (*others, ours) if any(option.name == SPLIT_OPTION for option in others) else others


def _under_limits(user: tuple[OptionValue, ...], limits: Limits) -> tuple[OptionValue, ...]:
    by_name = {limit.name: limit for limit in limits.options or ()}
    given = {option.name for option in user}
    assured = (
        OptionValue(limit.name, limit.value)
        for limit in by_name.values()
        if limit.assure and not isinstance(limit.value, Unset) and limit.name not in given
    )
    return (*(_bent(option, by_name.get(option.name)) for option in user), *assured)


def _bent(option: OptionValue, limit: OptionLimit | None) -> OptionValue:
    if limit is None:
        return option
    if limit.value == "true":
        return replace(option, value=True)
    return replace(option, value=_between(option.value, limit.between)) if limit.between else option


def _between(value: Json, between: Between) -> Json:
    low, high = between.min, between.max
    if isinstance(high, Unset):
        return value
    if between.max_if_equal_to is not UNSET and _loosely_equal(value, between.max_if_equal_to):
        value = high
    if isinstance(low, Unset):
        return value
    number = to_number(value)
    # What is no number must not slip past the clamp ("99abc" would be read as 99 later): null never passes a domain.
    return whole(max(low, min(number, high))) if is_finite(number) else None


def _loosely_equal(value: Json, other: Json | Unset) -> bool:
    """Equal as NodeODM's language compares: numbers and their texts are the same, null equals only itself."""
    if isinstance(other, Unset) or value is None or other is None:
        return value is other
    if isinstance(value, str) and isinstance(other, str):
        return value == other
    return to_number(value) == to_number(other)


def _to_bool(value: Json) -> bool:
    match value:
        case True | "true" | "1":
            return True
        case False | "false" | "0":
            return False
        case _:
            raise ValueError(f"Cannot convert {text(value)} to boolean")


def _as_given(value: Json) -> Json:
    return value


_CONVERT: Final[Mapping[str, Callable[[Json], Json]]] = {
    "int": leading_int,
    "float": leading_float,
    "bool": _to_bool,
    "string": _as_given,
    "path": _as_given,
    "enum": _as_given,
}


def _checked(spec: OptionSpec, value: Json) -> Json:
    """`value` as the node gets it. Raises ValueError with the fault as users read it."""
    convert = _CONVERT.get(spec.type)
    if convert is None:
        raise ValueError(f"Options of type '{spec.type}' cannot be handled")
    converted = convert(value)
    if fault := objection(spec, converted):
        raise ValueError(fault)
    return None if is_number(converted) and not is_finite(converted) else converted
