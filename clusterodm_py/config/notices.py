"""What is allowed but should be known: told once at start-up and by check-config. Never shows a secret."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final
from urllib.parse import urlsplit

from clusterodm_py.config.layers import Given
from clusterodm_py.config.model import Config
from clusterodm_py.config.problems import Source
from clusterodm_py.config.settings import RETIRED, SETTINGS

_LOOPBACK: Final = ("127.", "::1", "localhost")


def notices(config: Config, given: Mapping[str, Given], retired: Given | None) -> Iterator[str]:
    """One text for each; `given` is what the sources said, `retired` what they said for the retired key."""
    if retired is not None:
        yield f"{RETIRED.name} ({retired.origin}) is not used; public-address is what nodes are told"
    yield from _exposed_secrets(config, given)
    if config.cloud_provider != "local" and (config.token or config.tokens_file):
        yield f"token and tokens-file are not used: cloud-provider {config.cloud_provider} judges tokens"
    if not config.admin_pass and not config.admin_host.startswith(_LOOPBACK):
        yield f"admin-host is {config.admin_host} without admin-pass: whoever can reach it can run this cluster"
    if config.splitmerge and (address := _unreachable_by_pyodm(config)):
        yield (
            f"split-merge will fail over {address}: PyODM speaks HTTPS to port 443 only; "
            "serve HTTPS there, or set public-address to a plain HTTP one"
        )


def _exposed_secrets(config: Config, given: Mapping[str, Given]) -> Iterator[str]:
    for setting in SETTINGS:
        found = given.get(setting.field)
        if not setting.key.secret or found is None or found.origin.source is not Source.FLAG:
            continue
        if setting.field != "node" or any(node.token for node in config.node):
            yield (
                f"{setting.flag} shows its secret in the process list; "
                f"set {setting.variable} or {setting.variable}_FILE instead"
            )


def _unreachable_by_pyodm(config: Config) -> str | None:
    """The HTTPS address that nodes would be told but could not use (contract §9.2)."""
    if config.public_address:
        parts = urlsplit(config.public_address)
        return config.public_address if parts.scheme == "https" and (parts.port or 443) != 443 else None
    port = config.secure_port or config.port
    return f"HTTPS on port {port}" if config.tls and port != 443 else None
