"""What a token, or this machine's disk, still allows (contract §5.8, §6.2). Counts in, LimitReached or nothing out.

Counts nothing by itself and keeps no state: ledgers are values, and time is an argument.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Final

from clusterodm_py.core.domains import is_finite, is_number, text, whole
from clusterodm_py.core.errors import BadRequest, LimitReached
from clusterodm_py.core.sizes import LARGEST, read_size, size_text
from clusterodm_py.core.types import UNSET, Between, Json, Limits, OptionLimit, OwnerId, Unset

FLOOD_PERIOD: Final = 15 * 60
"""Seconds between two decays of the flood counts."""

_FLOOD_KEPT: Final = 0.66

_PRIORITIES: Final = range(-1000, 1001)


def check_images(count: int, limits: Limits) -> None:
    """Raises LimitReached when a task of `count` files is larger than the token may make."""
    if limits.max_images is not None and count > limits.max_images:
        raise LimitReached("Max images count exceeded.")


def check_concurrent(active: int, limits: Limits) -> None:
    """Raises LimitReached when a token with `active` tasks may not have one more."""
    most = limits.max_concurrent
    if most == 0:
        raise LimitReached(
            "Maximum concurrent tasks reached: this token may not run any task (its limit is 0)."
        )
    if most is not None and active >= most:
        raise LimitReached(
            f"Maximum concurrent tasks reached: this token may run {most} at the same time. "
            "Wait until one ends, or cancel one, and try again."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Flood:
    """How many uploads each owner began and did not commit (contract §5.8); owners with none are absent.

    Counts fade by a third at every full quarter of an hour.
    """

    counts: Mapping[OwnerId, int] = field(default_factory=lambda: MappingProxyType({}))
    period: int = 0
    """The quarter of an hour, since the epoch, in which the counts were last right."""


def began(flood: Flood, owner: OwnerId, now: float) -> Flood:
    """`owner` asked for one more upload. Keep the result even if `check_flood` then refuses: that counts too."""
    return _add(flood, owner, 1, now)


def committed(flood: Flood, owner: OwnerId, now: float) -> Flood:
    """`owner` committed an upload, or gave one up."""
    return _add(flood, owner, -1, now)


def check_flood(flood: Flood, owner: OwnerId, flood_limit: int) -> None:
    """Raises LimitReached when `owner`, its newest upload counted, has more than `flood_limit`; 0 is no limit."""
    if 0 < flood_limit < flood.counts.get(owner, 0):
        raise LimitReached(
            f"Slow down: more than {flood_limit} uploads were begun and not committed. "
            "Commit those, or wait 15 minutes, and try again."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """Room for uploads at one moment, in bytes."""

    used: int
    """Taken by uploads that are kept now."""
    quota: int | None
    """What all uploads together may take; None is no quota."""
    free: int
    """Free on the file system that holds them."""
    floor: int
    """What must stay free there."""

    def over_quota(self, incoming: int) -> int:
        """Bytes by which `incoming` more would pass the quota."""
        return 0 if self.quota is None else max(0, self.used + incoming - self.quota)

    def under_floor(self, incoming: int) -> int:
        """Bytes by which `incoming` more would leave less free than must stay free."""
        return max(0, self.floor + incoming - self.free)

    def missing(self, incoming: int) -> int:
        """Bytes that uploads must give up before `incoming` more fit: both counts fall by what they give up."""
        return max(self.over_quota(incoming), self.under_floor(incoming))


def check_disk(disk: Disk, incoming: int) -> None:
    """Raises LimitReached when `incoming` more bytes do not fit, telling which room is missing."""
    if disk.quota is not None and disk.over_quota(incoming):
        raise LimitReached(
            f"{_needs(incoming)}: all uploads may take {size_text(disk.quota)} on this cluster, and "
            f"{size_text(disk.used)} are taken. Try again when other tasks have ended."
        )
    if disk.under_floor(incoming):
        raise LimitReached(
            f"{_needs(incoming)}: the disk has {size_text(disk.free)} free, and {size_text(disk.floor)} must stay "
            "free. Try again later, or ask the operator to free space."
        )


def check_budget(used: int, budget: int | None, incoming: int) -> None:
    """Raises LimitReached when a token whose uploads take `used` bytes may not send `incoming` more; None: any."""
    if budget is not None and used + incoming > budget:
        raise LimitReached(
            f"{_needs(incoming)}: the uploads of this token may take {size_text(budget)} until nodes have them, and "
            f"{size_text(used)} are taken. Try again when some of its tasks run, or remove some."
        )


def parse_limits(wire: Json) -> Limits:
    """The limits object of contract §6.2, as a tokens file or a remote access service writes it.

    Nothing, or an empty list, is no limits; unknown keys are ignored. Raises BadRequest naming the key that makes
    no sense.
    """
    if not wire:
        return Limits()
    limits = _object(wire, "limits")
    return Limits(
        max_images=_count(limits, "maxImages"),
        max_concurrent=_count(limits, "maxConcurrentTasks"),
        max_bytes=_bytes(limits, "maxUploadBytes"),
        priority=_priority(limits, "priority"),
        options=_option_limits(limits.get("options")),
    )


def _add(flood: Flood, owner: OwnerId, change: int, now: float) -> Flood:
    faded = _faded(flood, now)
    count = faded.counts.get(owner, 0) + change
    others = {who: number for who, number in faded.counts.items() if who != owner}
    return replace(faded, counts=MappingProxyType(others | {owner: count} if count > 0 else others))


def _faded(flood: Flood, now: float) -> Flood:
    """The counts as of `now`. A clock that was set back changes nothing."""
    period = max(flood.period, int(now // FLOOD_PERIOD))
    counts = dict(flood.counts)
    for _ in range(period - flood.period):
        if not counts:  # so the first use, half a century after the epoch, costs one step
            break
        kept = {who: math.floor(number * _FLOOD_KEPT) for who, number in counts.items()}
        counts = {who: number for who, number in kept.items() if number}
    return Flood(counts=MappingProxyType(counts), period=period)


def _needs(incoming: int) -> str:
    return f"No room for this upload, which needs at least {size_text(incoming)} more"


def _object(wire: Json, key: str) -> Mapping[str, Json]:
    """An empty list is an empty object: services written in PHP cannot tell the two apart."""
    if isinstance(wire, dict):
        return wire
    if wire == []:
        return {}
    raise BadRequest(f"{key} must be an object, not {text(wire)}")


def _count(limits: Mapping[str, Json], key: str) -> int | None:
    wire = limits.get(key)
    if wire is None:
        return None
    count = whole(wire) if is_number(wire) else None
    if not isinstance(count, int) or count < 0:
        raise BadRequest(
            f"{key} must be a whole number, 0 or more, not {text(wire)}; leave it out for no limit"
        )
    return count


def _bytes(limits: Mapping[str, Json], key: str) -> int | None:
    wire = limits.get(key)
    size = read_size(wire) if isinstance(wire, str) else _count(limits, key)
    if wire is not None and (size is None or size > LARGEST):
        raise BadRequest(
            f"{key} must be bytes or a size such as 50G, not {text(wire)}; leave it out for no limit"
        )
    return size


def _priority(limits: Mapping[str, Json], key: str) -> int:
    wire = limits.get(key)
    if wire is None:
        return 0
    number = whole(wire) if is_number(wire) else None
    if not isinstance(number, int) or number not in _PRIORITIES:
        raise BadRequest(
            f"{key} must be a whole number from {_PRIORITIES[0]} to {_PRIORITIES[-1]}, not {text(wire)}"
        )
    return number


def _option_limits(wire: Json) -> tuple[OptionLimit, ...] | None:
    if not wire and not isinstance(wire, list | dict):
        return None
    return tuple(
        _option_limit(name, entry, f"options.{name}")
        for name, entry in _object(wire, "options").items()
        if entry is not None
    )


def _option_limit(name: str, wire: Json, key: str) -> OptionLimit:
    limit = _object(wire, key)
    return OptionLimit(
        name=name,
        remove=_switch(limit, "remove", key),
        domain=limit.get("domain", UNSET),
        value=limit.get("value", UNSET),
        assure=_switch(limit, "assure", key),
        between=_between(limit.get("between"), f"{key}.between"),
    )


def _switch(limit: Mapping[str, Json], name: str, key: str) -> bool:
    match limit.get(name):
        case None:
            return False
        case bool() | int() as on:
            return bool(on)
        case other:
            raise BadRequest(f"{key}.{name} must be true or false, not {text(other)}")


def _between(wire: Json, key: str) -> Between | None:
    if wire is None:
        return None
    limit = _object(wire, key)
    low, high = _bound(limit, "min", key), _bound(limit, "max", key)
    if not isinstance(low, Unset) and not isinstance(high, Unset) and low > high:
        raise BadRequest(f"{key}.min must not be above {key}.max")
    return Between(max_if_equal_to=limit.get("max_if_equal_to", UNSET), min=low, max=high)


def _bound(limit: Mapping[str, Json], name: str, key: str) -> float | Unset:
    wire = limit.get(name)
    if wire is None:
        return UNSET
    if is_number(wire) and is_finite(wire):
        return whole(wire)
    raise BadRequest(f"{key}.{name} must be a number, not {text(wire)}")
