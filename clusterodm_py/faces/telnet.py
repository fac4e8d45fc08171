"""The operators' console over TCP (contract §7.1, §7.2): who may speak, in lines, and until when. Knows no verb."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import logging
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Final, TypeAlias

from clusterodm_py.core.commands import Command, Fail, Refusal, Reply
from clusterodm_py.core.console import CRLF, parse, render
from clusterodm_py.core.lines import LineBuffer, LineTooLong
from clusterodm_py.core.types import Token
from clusterodm_py.engine.background import Background

logger = logging.getLogger(__name__)

Execute: TypeAlias = Callable[[Command], Awaitable[Reply]]

_CHUNK: Final = 4096

_LOOPBACK: Final = "127.0.0.1"

_EVERYWHERE: Final = frozenset({"", "0.0.0.0", "::"})


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionLimits:
    """What one client, or all together, may take of us. Times in seconds."""

    sessions: int = 32
    line: int = 8192
    """Bytes."""
    idle: float = 3600.0
    """Between two packets of a client that is logged in, and for taking a reply."""
    login: float = 120.0
    """For a client that did not log in yet: it must not keep operators out."""
    wrong_password: float = 1.0
    """How long a wrong password is left waiting, which makes guessing slow."""
    parting: float = 1.0
    """For a client to take our last words and close."""


class TelnetFace:
    """Listens while entered, which gives the port bound; leaving it closes every session.

    `execute` carries commands out. Without a password every client is an operator, so only this machine's may connect,
    whatever `host` says.
    """

    def __init__(
        self,
        execute: Execute,
        *,
        host: str = "0.0.0.0",
        port: int,
        password: Token,
        version: str,
        limits: SessionLimits | None = None,
    ) -> None:
        self._execute = execute
        self._host = host if password else _LOOPBACK
        self._port = port
        self._password = password
        self._version = version
        self._limits = limits or SessionLimits()
        self._sessions = Background()
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> int:
        listening = _listen(self._host, self._port)
        await self._sessions.__aenter__()
        self._server = await asyncio.start_server(self._accept, sock=listening)
        port: int = listening.getsockname()[1]
        if not self._password:
            logger.warning(
                "console: no password is set, so port %s takes connections from this machine only", port
            )
        return port

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server:
            self._server.close()
        await self._sessions.__aexit__(None, None, None)
        if self._server:
            await self._server.wait_closed()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._server and not self._server.is_serving():  # accepted, but the face is being left
            writer.transport.abort()
            return
        peer = _peer(writer)
        if len(self._writers) >= self._limits.sessions:
            logger.warning("console: turned %s away, %s sessions are open", peer, self._limits.sessions)
            writer.write(f"Too many sessions are open, try again later{CRLF}".encode())
            writer.close()
            return
        self._writers.add(writer)
        session = _Session(self._execute, self._password, self._limits, reader, writer)
        running = self._sessions.start(f"console {peer}", session.run(peer, self._version))
        running.add_done_callback(lambda _: self._forget(writer))

    def _forget(self, writer: asyncio.StreamWriter) -> None:
        """Let go of a session that ended, was stopped, or never came to run."""
        self._writers.discard(writer)
        transport = writer.transport
        if not transport.is_closing() or transport.get_write_buffer_size():
            transport.abort()


class _Session:
    """One client's conversation."""

    def __init__(
        self,
        execute: Execute,
        password: Token,
        limits: SessionLimits,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self._execute = execute
        self._password = password
        self._limits = limits
        self._reader = reader
        self._writer = writer
        self._logged_in = not password
        self._previous = ""
        """What `!!` repeats; the empty line is as invalid as `!!` without anything before it."""

    async def run(self, peer: str, version: str) -> None:
        """Talk until the client leaves, breaks a rule, or falls silent."""
        hint = "HELP for help" if self._logged_in else "LOGIN <LOGIN> to log-in"
        banner = (f"Welcome {peer} ClusterODM:{version}", hint, "QUIT to quit", self._prompt)
        try:
            await self._say(CRLF.join(banner))
            await self._converse(peer)
            await self._part()
        except (OSError, TimeoutError) as error:
            logger.debug("console: %s broke off: %r", peer, error)

    async def _converse(self, peer: str) -> None:
        lines = LineBuffer(self._limits.line)
        try:
            while data := await self._read():
                for line in lines.feed(data):
                    if not await self._hear(line, peer):
                        return
            if last := lines.rest():  # scripts written for ClusterODM may leave the last line end out
                await self._hear(last, peer)
        except LineTooLong:
            if self._logged_in:
                await self._say(f"A line may have {self._limits.line} bytes{CRLF}")

    async def _hear(self, line: str, peer: str) -> bool:
        """Answer one line; False when it ends the session."""
        first, _, rest = line.partition(" ")
        word = first.strip().upper()
        if word == "QUIT":
            await self._say(f"Bye!{CRLF}")
            return False
        if not self._logged_in:
            return word == "LOGIN" and await self._log_in(rest.strip(), peer)
        if word != "!!":
            self._previous = line
        await self._say(render(await self._reply()) + self._prompt)
        return True

    async def _log_in(self, password: str, peer: str) -> bool:
        if not hmac.compare_digest(password.encode(), self._password.value.encode()):
            logger.warning("console: wrong password from %s", peer)
            await asyncio.sleep(self._limits.wrong_password)
            return False
        self._logged_in = True
        await self._say(f"OK{CRLF}HELP for help{CRLF}{self._prompt}")
        return True

    async def _reply(self) -> Reply:
        command = parse(self._previous)
        if isinstance(command, Refusal):
            return command
        try:
            return await self._execute(command)
        except Exception:
            logger.exception("console: %s failed", type(command).__name__)
            return Fail("An internal error; the log tells more.")

    @property
    def _prompt(self) -> str:
        return "#> " if self._logged_in else "$> "

    async def _read(self) -> bytes:
        """The next packet; empty once the client has said all."""
        async with asyncio.timeout(self._limits.idle if self._logged_in else self._limits.login):
            return await self._reader.read(_CHUNK)

    async def _part(self) -> None:
        """Close so that our last words arrive: closing on unread bytes would reset the connection."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._limits.parting):
                await self._drop_what_still_comes()
        async with asyncio.timeout(self._limits.idle):
            self._writer.close()
            await self._writer.wait_closed()

    async def _drop_what_still_comes(self) -> None:
        if not self._writer.is_closing():
            self._writer.write_eof()
        while await self._reader.read(_CHUNK):
            pass

    async def _say(self, text: str) -> None:
        if self._writer.is_closing():
            raise ConnectionResetError("The client left before its reply.")
        self._writer.write(text.encode(errors="replace"))
        async with asyncio.timeout(self._limits.idle):
            await self._writer.drain()


def _listen(host: str, port: int) -> socket.socket:
    if host in _EVERYWHERE and socket.has_dualstack_ipv6():
        return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family)


def _peer(writer: asyncio.StreamWriter) -> str:
    """`address:port` of the client; IPv4 in its IPv6 form, as ClusterODM shows it."""
    host, port = (writer.get_extra_info("peername") or ("?", 0))[:2]
    return f"{host}:{port}" if ":" in host else f"::ffff:{host}:{port}"
