"""Ties the knots: configuration to objects, objects to one running program. The only owner of the clock."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import ssl
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

from aiohttp import web

from clusterodm_py import __version__
from clusterodm_py.assembly import Adapters, Engine, build_engine, build_proxy
from clusterodm_py.auth import fingerprint, open_access
from clusterodm_py.config import Config
from clusterodm_py.core.errors import AlreadyThere, ClusterError
from clusterodm_py.core.types import Token
from clusterodm_py.engine.background import Background
from clusterodm_py.faces.telnet import TelnetFace
from clusterodm_py.nodeodm.connection import Connection
from clusterodm_py.store.base import Store
from clusterodm_py.store.legacy import import_legacy
from clusterodm_py.store.sqlite import SqliteStore
from clusterodm_py.uploads.spool import Spool, SpoolPolicy

logger = logging.getLogger(__name__)

DATABASE: Final = "clusterodm.db"
"""Its name in the data folder."""

_KEEP_ALIVE: Final = 75.0
"""Seconds an idle client connection stays open: longer than the 5 seconds clients poll at, so they need not dial."""


def serve(config: Config) -> int:
    """Run until SIGTERM or SIGINT; the exit status. A problem at start is logged as one line that names the fix."""
    try:
        _run(_until_signalled(config))
    except (ClusterError, OSError) as error:
        logger.error("Cannot start: %s", error)
        return 1
    return 0


def _run(main: Coroutine[Any, Any, None]) -> None:
    try:
        import uvloop
    except ImportError:  # not on Windows, nor on PyPy
        asyncio.run(main)
    else:
        uvloop.run(main)


async def _until_signalled(config: Config) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with running(config):
        await stop.wait()
        logger.info("Stopping: what is not finished goes on at the next start")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """Where the program listens; None where it does not."""

    public: int
    secure: int | None
    cli: int | None


@asynccontextmanager
async def running(config: Config, clock: Callable[[], float] = time.time) -> AsyncIterator[Ports]:  # noqa: TID251 - ours
    """The whole program, from an open store to open ports; leaving it closes everything in turn."""
    logger.info("ClusterODM %s started with PID %d", __version__, os.getpid())
    async with AsyncExitStack() as stack:
        adapters = await _open_adapters(config, clock, stack)
        await _register_nodes(adapters.store, config, clock)
        background = await stack.enter_async_context(Background())
        engine = build_engine(config, adapters, background, clock)
        await engine.start()
        yield await _listen(config, adapters, engine, clock, stack)


async def _open_adapters(config: Config, clock: Callable[[], float], stack: AsyncExitStack) -> Adapters:
    access = open_access(config.cloud_provider, config.token, config.tokens_file, clock)
    store = SqliteStore(config.data_dir / DATABASE, clock=clock, fsync=config.fsync)
    policy = SpoolPolicy(quota=config.spool_quota, floor=config.spool_free_floor, fsync=config.fsync)
    return Adapters(
        access=await stack.enter_async_context(access),
        store=await stack.enter_async_context(store),
        spool=await stack.enter_async_context(Spool(config.spool_dir, policy)),
        connection=await stack.enter_async_context(Connection()),
    )


async def _register_nodes(store: Store, config: Config, clock: Callable[[], float]) -> None:
    """Nodes and routes of a ClusterODM that ran here before, and the nodes of the configuration."""

    def owner_of(token: str | None) -> OwnerId:
        return fingerprint(Token(token or ""))

    await import_legacy(store, config.data_dir, clock(), owner_of)
    for node in config.node:
        try:
            await store.nodes.add(node)
        except AlreadyThere:
            known = await store.nodes.get(node.id)
            if known is not None and known.token != node.token:
                await store.nodes.replace(replace(known, token=node.token))
    logger.info("Loaded %d nodes", len(await store.nodes.all()))


async def _listen(
    config: Config, adapters: Adapters, engine: Engine, clock: Callable[[], float], stack: AsyncExitStack
) -> Ports:
    cli = None
    if config.admin_cli_port is not None:
        face = TelnetFace(
            engine.admin.execute, port=config.admin_cli_port, password=config.admin_pass, version=__version__
        )
        cli = await stack.enter_async_context(face)
        logger.info("Starting admin CLI on %d", cli)
    server = web.Server(
        build_proxy(config, adapters, engine, clock).handle, access_log=None, keepalive_timeout=_KEEP_ALIVE
    )
    runner = web.ServerRunner(server, handle_signals=False)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    return Ports(public=0, secure=None, cli=cli)
