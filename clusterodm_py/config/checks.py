"""Checks of one key against the keys declared above it in `Config`. Values that failed on their own are not seen."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Final

from pydantic import ValidationInfo

EVERYWHERE: Final = "0.0.0.0"
LOOPBACK: Final = "127.0.0.1"


def both_or_neither(cert: Path | None, info: ValidationInfo) -> Path | None:
    if "ssl_key" in info.data and (cert is None) is not (info.data["ssl_key"] is None):
        raise ValueError("TLS needs both ssl-key and ssl-cert, or neither")
    return cert


def secure_needs_tls(port: int | None, info: ValidationInfo) -> int | None:
    if port and info.data.get("ssl_cert", ...) is None:
        raise ValueError("HTTPS needs ssl-key and ssl-cert; set them, or leave secure-port at 0")
    return port


def host_for_admins(host: object, info: ValidationInfo) -> object:
    """Unless told otherwise, admin faces leave this machine only under a password (contract §12 D-28, D-29)."""
    if host not in ("", None):
        return host
    return EVERYWHERE if info.data.get("admin_pass") else LOOPBACK


def spool_in_data(folder: object, info: ValidationInfo) -> object:
    return folder if folder not in ("", None, Path()) else info.data.get("data_dir", Path()) / "spool"


def port_of_its_own(port: int | None, info: ValidationInfo) -> int | None:
    for other in ("port", "secure_port", "admin_cli_port"):
        if port and info.data.get(other) == port and _meet(str(info.field_name), other, info):
            raise ValueError(f"{other.replace('_', '-')} has the same number; give each a port of its own")
    return port


def _meet(one: str, other: str, info: ValidationInfo) -> bool:
    """Whether listeners of two port keys would share an address of this machine."""
    hosts = {info.data.get("admin_host" if name.startswith("admin") else "host") for name in (one, other)}
    return None not in hosts and (len(hosts) == 1 or any(is_wildcard(str(host)) for host in hosts))


def is_wildcard(host: str) -> bool:
    """Whether a listener on `host` hears every address of this machine."""
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False


def no_autoscaler_yet(file: str) -> str:
    if file:
        raise ValueError("this version has no autoscaler yet; leave it empty and add nodes with --node")
    return file


def no_redirects_yet(url: str) -> str:
    if url:
        raise ValueError("this version cannot redirect downloads to S3 yet; leave it empty, nodes serve them")
    return url
