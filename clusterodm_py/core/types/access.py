"""Options, what a token may ask for, and who is calling."""

from __future__ import annotations

from dataclasses import dataclass, field

from clusterodm_py.core.types.names import NOBODY, UNSET, Json, OwnerId, Token, Unset


@dataclass(frozen=True, slots=True)
class OptionSpec:
    """One entry of `/options`; exactly these five keys go on the wire (contract §3.1)."""

    name: str
    type: str
    value: str
    domain: str | tuple[str, ...]
    help: str


@dataclass(frozen=True, slots=True)
class OptionValue:
    """An option as the engine gets it, converted to its type."""

    name: str
    value: Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Between:
    """Clamp of an option (contract §3.5)."""

    max_if_equal_to: Json | Unset = UNSET
    min: float | Unset = UNSET
    max: float | Unset = UNSET


@dataclass(frozen=True, slots=True, kw_only=True)
class OptionLimit:
    """What a token may do with one option (contract §3.4, §3.5)."""

    name: str
    remove: bool = False
    domain: Json | Unset = UNSET
    value: Json | Unset = UNSET
    assure: bool = False
    between: Between | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a token may ask for (contract §6.2); None is no limit, 0 allows nothing."""

    max_images: int | None = None
    max_concurrent: int | None = None
    max_bytes: int | None = None
    """Bytes that all uploads of the token together may take here at any moment."""
    priority: int = 0
    """Of its tasks in the queue; higher goes first among tokens that are served alike."""
    options: tuple[OptionLimit, ...] | None = None
    """None leaves options alone; a tuple, even an empty one, also hides max-concurrency."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Who is calling, once the token was found good."""

    owner: OwnerId = NOBODY
    token: Token = Token("")
    limits: Limits = field(default_factory=Limits)
    divides: bool = False
    """True where tokens are required: then a task is visible to its owner only (contract §12.1.1)."""
    admin: bool = False
    """May see and change every task."""

    def may_touch(self, owner: OwnerId) -> bool:
        """Whether a task of `owner` exists as far as this caller is told."""
        return not self.divides or self.admin or owner == self.owner
