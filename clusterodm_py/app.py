"""Ties the knots: configuration to objects, objects to one running program. The only owner of the clock."""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import signal
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from typing import Final

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from clusterodm_py import __version__
from clusterodm_py.assembly import Adapters, Engine, build_engine, build_proxy
from clusterodm_py.auth.choice import open_access
from clusterodm_py.config import Config
from clusterodm_py.core.errors import AlreadyThere, ClusterError
from clusterodm_py.core.types import OwnerId, Token
from clusterodm_py.engine.background import Background
from clusterodm_py.faces.proxy import Proxy
from clusterodm_py.faces.telnet import TelnetFace
from clusterodm_py.logbook import Logbook
from clusterodm_py.nodeodm.connection import Connection
from clusterodm_py.nodeodm.quick import QuickGets
from clusterodm_py.store.legacy import import_legacy
from clusterodm_py.store.sqlite import SqliteStore
from clusterodm_py.uploads.spool import Spool, SpoolPolicy

try:
    import uvloop

    _new_loop: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
except ImportError:  # not on Windows, nor on PyPy
    _new_loop = asyncio.new_event_loop

logger = logging.getLogger(__name__)
_http_logger = logging.getLogger("aiohttp.server")

DATABASE: Final = "clusterodm.db"
"""Its name in the data folder."""

_KEEP_ALIVE: Final = 75.0
"""Seconds an idle client connection stays open: longer than the 5 seconds clients poll at, so they need not dial."""

_READ_BUFFER: Final = 64 * 1024
"""Bytes of an upload read ahead of the parser, per connection."""

_LINGER: Final = 120.0
"""Seconds that a client may go on sending a body that was refused already. Most read our answer only after their last
byte, and would see nothing but a broken connection (so would PyODM, and try again for long)."""

_LAST_ANSWERS: Final = 5.0
"""Seconds that answers under way get to end when the program stops."""


def serve(config: Config) -> int:
    """Run until SIGTERM or SIGINT; the exit status. A problem at start is logged as one line that names the fix."""
    _allow_many_files()
    try:
        with asyncio.Runner(loop_factory=_new_loop) as runner:
            runner.run(_until_signalled(config))
    except (ClusterError, OSError) as error:
        logger.error("Cannot start: %s", error)
        return 1
    return 0


def _allow_many_files() -> None:
    """As many as the system lets us have: every client and every node is one, and the default is often 1,024."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):  # refused where `most` is more than the kernel has
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


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
    cli: int | None


@asynccontextmanager
async def running(config: Config, clock: Callable[[], float] = time.time) -> AsyncIterator[Ports]:  # noqa: TID251 - ours
    """The whole program, from an open store to open ports; leaving it closes everything in turn."""
    logger.info("ClusterODM %s started with PID %d", __version__, os.getpid())
    async with AsyncExitStack() as stack:
        adapters = await _open_adapters(config, clock, stack)
        await _register_nodes(adapters, config, clock)
        background = await stack.enter_async_context(Background())
        engine = build_engine(config, adapters, background, clock)
        await engine.start()
        yield await _listen(config, adapters, engine, clock, stack)


async def _open_adapters(config: Config, clock: Callable[[], float], stack: AsyncExitStack) -> Adapters:
    access = open_access(config.cloud_provider, config.token, config.tokens_file, clock)
    store = SqliteStore(config.data_dir / DATABASE, clock=clock, fsync=config.fsync)
    policy = SpoolPolicy(
        quota=config.spool_quota or None,
        token_quota=config.token_quota or None,
        floor=config.spool_free_floor,
        fsync=config.fsync,
    )
    return Adapters(
        access=await stack.enter_async_context(access),
        store=await stack.enter_async_context(store),
        spool=await stack.enter_async_context(Spool(config.spool_dir, policy)),
        connection=await stack.enter_async_context(Connection()),
        quick=await stack.enter_async_context(QuickGets()),
        logbook=Logbook(config.data_dir / "logs"),
    )


async def _register_nodes(adapters: Adapters, config: Config, clock: Callable[[], float]) -> None:
    """Nodes and routes of a ClusterODM that ran here before, and the nodes of the configuration."""
    store = adapters.store

    def owner_of(token: str | None) -> OwnerId:
        return adapters.access.owner_of(Token(token or ""))

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
    return Ports(
        public=await _open_public(config, build_proxy(config, adapters, engine, clock), stack),
        cli=await _open_console(config, engine, stack),
    )


async def _open_console(config: Config, engine: Engine, stack: AsyncExitStack) -> int | None:
    if config.admin_cli_port is None:
        return None
    face = TelnetFace(
        engine.admin.execute,
        host=config.admin_host,
        port=config.admin_cli_port,
        password=config.admin_pass,
        version=__version__,
    )
    port = await stack.enter_async_context(face)
    logger.info("Starting admin CLI on %d", port)
    return port


async def _open_public(config: Config, proxy: Proxy, stack: AsyncExitStack) -> int:
    """Listen as contract §9.2 has it: HTTPS on `port`, or on `secure-port` with HTTP beside it."""
    _http_logger.addFilter(_our_fault)
    server = web.Server(
        proxy.handle,
        access_log=None,
        keepalive_timeout=_KEEP_ALIVE,
        lingering_time=_LINGER,
        read_bufsize=_READ_BUFFER,
        auto_decompress=False,  # what is passed on is passed on as it came, and no body is larger than it looks
    )
    runner = web.ServerRunner(server, handle_signals=False, shutdown_timeout=_LAST_ANSWERS)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    secret = _tls_context(config)
    if secret is not None and config.secure_port is not None:
        await _start_site(runner, config.host, config.secure_port, secret)
        secret = None
    return await _start_site(runner, config.host, config.port, secret)


def _our_fault(record: logging.LogRecord) -> bool:
    """Whether it belongs in the log: what strangers send that is no HTTP would fill it with tracebacks."""
    return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError))


async def _start_site(runner: web.ServerRunner, host: str, port: int, secret: ssl.SSLContext | None) -> int:
    try:
        await web.TCPSite(runner, host, port, ssl_context=secret, backlog=1024).start()
    except OSError as error:
        raise ClusterError(
            f"port {port} of {host} cannot be opened ({error.strerror}). Is another ClusterODM running? Choose another"
            " with --port and --secure-port."
        ) from None
    bound: int = runner.addresses[-1][1]
    logger.info("Starting %s proxy on %d", "https" if secret else "http", bound)
    return bound


def _tls_context(config: Config) -> ssl.SSLContext | None:
    if config.ssl_cert is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(config.ssl_cert, config.ssl_key)
    except ssl.SSLError as error:
        raise ClusterError(f"ssl-cert and ssl-key do not make a pair: {error.reason}") from None
    return context
