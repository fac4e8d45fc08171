"""Takes over the data folder of a ClusterODM: nodes.json and routes.json (contract §9.3).

Reads both as they are, torn or written by hand, and never writes to them: going back stays possible.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from clusterodm_py.core.errors import AlreadyThere
from clusterodm_py.core.types import (
    Address,
    Json,
    Node,
    NodeId,
    OwnerId,
    Task,
    TaskId,
    TaskRequest,
    TaskState,
    Token,
)
from clusterodm_py.store import torn
from clusterodm_py.store.base import Store

logger = logging.getLogger(__name__)

NODES: Final = "nodes.json"
ROUTES: Final = "routes.json"

_UUID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_HOST: Final = re.compile(r"[\w.:%\[\]-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """Where ClusterODM sent a task."""

    task: TaskId
    node: NodeId
    token: str | None = None
    """The user's, if one was given."""
    accessed: float | None = None
    """Unix seconds; None where the file does not tell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Legacy:
    """What a data folder holds. The warnings tell, without secrets, what of it was left out and why."""

    nodes: tuple[Node, ...] = ()
    routes: tuple[Route, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """What an import added; its warnings were logged already."""

    nodes: int = 0
    tasks: int = 0
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Skipped:
    """Why an entry is left out."""

    reason: str


def read_legacy(folder: Path) -> Legacy:
    """What nodes.json and routes.json in `folder` hold; an absent file holds nothing. Never raises."""
    nodes, routes = _File.read(folder / NODES), _File.read(folder / ROUTES)
    return _parse(nodes, routes)


async def import_legacy(
    store: Store, folder: Path, now: float, owner_of: Callable[[str | None], OwnerId]
) -> Imported:
    """Add the nodes and tasks of a ClusterODM that are not in `store` yet; what is there wins.

    Each file is imported once for each content it has had: a node removed from `store` stays away until somebody
    changes nodes.json. Tasks become ON_NODE and are their token's as `owner_of` tells; those without a time count as
    accessed `now`. Interrupted, it is made good by the next call. Raises StoreTrouble.
    """
    nodes = await _unseen(store, await asyncio.to_thread(_File.read, folder / NODES))
    routes = await _unseen(store, await asyncio.to_thread(_File.read, folder / ROUTES))
    legacy = await asyncio.to_thread(_parse, nodes, routes)
    new_nodes = sum([await _add_node(store, node) for node in legacy.nodes])
    new_tasks = [task for route in legacy.routes if (task := await _add_task(store, route, now, owner_of))]
    warnings = (*legacy.warnings, *await _orphans(store, new_tasks))
    for file in (nodes, routes):
        if file.digest is not None:
            await store.notes.put(file.note, file.digest)
    for warning in warnings:
        logger.warning("%s", warning)
    if new_nodes or new_tasks:
        logger.info(
            "took over %d nodes and %d tasks from ClusterODM in %s", new_nodes, len(new_tasks), folder
        )
    return Imported(nodes=new_nodes, tasks=len(new_tasks), warnings=warnings)


@dataclass(frozen=True, slots=True, kw_only=True)
class _File:
    """A file as it was found. `raw` is None when there is nothing to import from it."""

    name: str
    raw: bytes | None = None
    warning: str | None = None

    @classmethod
    def read(cls, path: Path) -> _File:
        try:
            return cls(name=path.name, raw=path.read_bytes())
        except FileNotFoundError:
            return cls(name=path.name)
        except OSError as error:
            return cls(
                name=path.name, warning=f"{path.name} cannot be read ({error.strerror}): it was left out"
            )

    @property
    def digest(self) -> str | None:
        return None if self.raw is None else hashlib.sha256(self.raw).hexdigest()

    @property
    def note(self) -> str:
        return f"imported {self.name}"


async def _unseen(store: Store, file: _File) -> _File:
    """The file, or nothing of it when just this content was imported before."""
    if file.digest is not None and await store.notes.get(file.note) == file.digest:
        return _File(name=file.name)
    return file


async def _add_node(store: Store, node: Node) -> bool:
    try:
        await store.nodes.add(node)
    except AlreadyThere:
        return False
    return True


async def _add_task(
    store: Store, route: Route, now: float, owner_of: Callable[[str | None], OwnerId]
) -> Task | None:
    when = now if route.accessed is None else route.accessed
    task = Task(
        id=route.task,
        owner=owner_of(route.token),
        state=TaskState.ON_NODE,
        request=TaskRequest(),
        created=when,
        accessed=when,
        node=route.node,
        recoverable=False,
    )
    try:
        return await store.tasks.create(task)
    except AlreadyThere:
        return None


async def _orphans(store: Store, tasks: Sequence[Task]) -> list[str]:
    """A warning for each node that tasks are on and nobody registered; ClusterODM would drop such tasks."""
    known = {node.id for node in await store.nodes.all()}
    missing = sorted({task.node for task in tasks if task.node is not None and task.node not in known})
    return [
        f"{ROUTES}: tasks are on {node}, which is not registered: add it to reach them" for node in missing
    ]


def _parse(nodes: _File, routes: _File) -> Legacy:
    found_nodes, node_warnings = _nodes(nodes.raw) if nodes.raw is not None else ((), ())
    found_routes, route_warnings = _routes(routes.raw) if routes.raw is not None else ((), ())
    unread = [file.warning for file in (nodes, routes) if file.warning is not None]
    return Legacy(nodes=found_nodes, routes=found_routes, warnings=(*unread, *node_warnings, *route_warnings))


def _nodes(raw: bytes) -> tuple[tuple[Node, ...], tuple[str, ...]]:
    """The nodes by host and port, the first entry of each."""
    found = torn.elements(raw)
    nodes: dict[NodeId, Node] = {}
    skipped: defaultdict[str, list[str]] = defaultdict(list)
    for place, (_, entry) in enumerate(found.entries, start=1):
        match _node(entry):
            case Node() as node:
                nodes.setdefault(node.id, node)
            case _Skipped(reason):
                skipped[reason].append(f"entry {place}")
    return tuple(nodes.values()), (*_torn(NODES, found, len(nodes)), *_left_out(NODES, skipped))


def _routes(raw: bytes) -> tuple[tuple[Route, ...], tuple[str, ...]]:
    found = torn.members(raw, _UUID)
    routes: dict[TaskId, Route] = {}
    skipped: defaultdict[str, list[str]] = defaultdict(list)
    for key, entry in found.entries:
        match _route(key, entry):
            case Route() as route:
                routes.setdefault(route.task, route)
            case _Skipped(reason):
                skipped[reason].append(ascii(key[:36]))
    return tuple(routes.values()), (*_torn(ROUTES, found, len(routes)), *_left_out(ROUTES, skipped))


def _torn(name: str, found: torn.Found, kept: int) -> tuple[str, ...]:
    if found.whole:
        return ()
    return (f"{name} is damaged or cut short: {kept} complete entries were read, others may be missing",)


def _left_out(name: str, skipped: dict[str, list[str]]) -> Iterator[str]:
    for reason, entries in skipped.items():
        more = f" and {len(entries) - 3} more" if len(entries) > 3 else ""
        yield f"{name}: left out {', '.join(entries[:3])}{more}: {reason}"


def _node(entry: Json) -> Node | _Skipped:
    if not isinstance(entry, dict):
        return _Skipped("not an object")
    address = _address(entry)
    if isinstance(address, _Skipped):
        return address
    return Node(address=address, token=Token(_token(entry.get("token"))), locked=entry.get("locked") is True)


def _route(key: str, entry: Json) -> Route | _Skipped:
    node = entry.get("node") if isinstance(entry, dict) else None
    if not _UUID.fullmatch(key):
        return _Skipped("no task has such an id")
    if not isinstance(entry, dict) or not isinstance(node, dict):
        return _Skipped("no node is named")
    address = _address(node)
    if isinstance(address, _Skipped):
        return address
    return Route(
        task=TaskId(key),
        node=NodeId(str(address)),
        token=_token(entry.get("token")) or None,
        accessed=_seconds(entry.get("accessed")),
    )


def _address(entry: dict[str, Json]) -> Address | _Skipped:
    """Ports come as text from the console and as numbers from the web page (contract §12 D-07)."""
    machine = entry.get("dockerMachine")
    if isinstance(machine, dict) and machine.get("name"):
        return _Skipped("made by ClusterODM's autoscaler, which is not here to look after it")
    host, port = entry.get("hostname"), _port(entry.get("port"))
    if not isinstance(host, str) or not _HOST.fullmatch(host.strip()):
        return _Skipped("no usable hostname")
    if port is None:
        return _Skipped("no port between 1 and 65535")
    return Address(host.strip().removeprefix("[").removesuffix("]"), port)


def _token(value: Json) -> str:
    """Empty when there is none; with marks in place of what is no Unicode and so never was on the wire."""
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else ""


def _port(value: Json) -> int | None:
    text = str(int(value)) if isinstance(value, float) and value.is_integer() else str(value).strip()
    if isinstance(value, bool) or not re.fullmatch(r"[0-9]{1,5}", text):
        return None
    return int(text) if 1 <= int(text) <= 65535 else None


def _seconds(milliseconds: Json) -> float | None:
    if isinstance(milliseconds, bool) or not isinstance(milliseconds, int | float):
        return None
    return milliseconds / 1000 if 0 <= milliseconds < 1e15 else None
