"""Asks a running proxy on this machine whether it answers; for containers. Changes nothing."""

from __future__ import annotations

import http.client
import ssl
from typing import Final
from urllib.parse import quote

from clusterodm_py.config import Config

_SECONDS: Final = 10.0
_ALIVE: Final = (200, 401)
"""401 too: the proxy answers, and only does not know us, as tokens may be judged elsewhere."""


def complaint(config: Config) -> str | None:
    """None when `GET /info` is answered on the configured port, else why not."""
    connection = _connection(config)
    try:
        connection.request(
            "GET", f"/info?token={quote(config.token.value, safe='')}" if config.token else "/info"
        )
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        return f"{connection.host}:{connection.port} does not answer: {str(error) or type(error).__name__}"
    finally:
        connection.close()
    return None if status in _ALIVE else f"{connection.host}:{connection.port} answers with status {status}"


def _connection(config: Config) -> http.client.HTTPConnection:
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(config.host, config.host)
    if not config.tls or config.secure_port:
        return http.client.HTTPConnection(host, config.port, timeout=_SECONDS)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = (
        False  # the certificate names the public host; the question is only who is at home
    )
    context.verify_mode = ssl.CERT_NONE
    return http.client.HTTPSConnection(host, config.port, timeout=_SECONDS, context=context)
