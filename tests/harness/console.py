"""An operator at the telnet console."""

from __future__ import annotations

import asyncio

from harness.proxy import ProxyProcess


async def say(proxy: ProxyProcess, *commands: str) -> str:
    """Everything the console answers to `commands`."""
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.cli_port)
    writer.write("".join(f"{command}\r\n" for command in (*commands, "QUIT")).encode())
    async with asyncio.timeout(20):
        answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer.decode()
