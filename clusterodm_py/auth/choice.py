"""Which access service a configuration asks for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from clusterodm_py.auth.base import AccessService, AuthInfo
from clusterodm_py.auth.local import LocalAccess
from clusterodm_py.auth.remote import NAMED, RemoteAccess, RemotePolicy
from clusterodm_py.auth.tokens_file import TokensFileAccess
from clusterodm_py.core.errors import ClusterError
from clusterodm_py.core.types import Token


def open_access(
    provider: str, token: Token, tokens_file: Path | None, clock: Callable[[], float]
) -> AccessService:
    """The service of that name or URL, to be entered. Raises ClusterError when the three do not go together."""
    if provider == "local":
        if tokens_file and token:
            raise ClusterError("token and tokens-file exclude each other: put the token into the file.")
        return TokensFileAccess(tokens_file, clock) if tokens_file else LocalAccess(token)
    base = NAMED.get(provider, provider)
    if not base.startswith(("http://", "https://")):
        raise ClusterError(f"No cloud-provider '{provider}'. There are local, {', '.join(NAMED)}, or a URL.")
    policy = RemotePolicy(cached=0) if provider == "lightningDev" else RemotePolicy()
    return RemoteAccess(base, clock, policy, _login(base))


def _login(base: str) -> AuthInfo:
    return AuthInfo(
        message=f"Log in with your credentials of {base.split('/')[2]}.", login_url=f"{base}/auth/getToken"
    )
