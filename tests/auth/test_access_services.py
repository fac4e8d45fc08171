"""What every access service promises, over all of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from clusterodm_py.auth.base import AccessService, fingerprint
from clusterodm_py.auth.choice import open_access
from clusterodm_py.core.errors import ClusterError
from clusterodm_py.core.types import NOBODY, Token

GOOD = Token("a-good-token")


@pytest.fixture(params=["one token", "tokens file", "remote"])
async def service(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[AccessService]:
    """A service that knows GOOD and nothing else."""
    match request.param:
        case "one token":
            chosen = open_access("local", GOOD, None, lambda: 0.0)
        case "tokens file":
            file = tmp_path / "tokens.json"
            digest = hashlib.sha256(GOOD.value.encode()).hexdigest()
            file.write_text(json.dumps({"tokens": [{"name": "alice", "sha256": digest}]}))
            file.chmod(0o600)
            chosen = open_access("local", Token(""), file, lambda: 0.0)
        case _:
            runner = web.ServerRunner(web.Server(_judge))
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            chosen = open_access(f"http://127.0.0.1:{runner.addresses[0][1]}/r", Token(""), None, lambda: 0.0)
            async with chosen as entered:
                yield entered
            await runner.cleanup()
            return
    async with chosen as entered:
        yield entered


async def _judge(request: web.BaseRequest) -> web.Response:
    asked = await request.json()
    return web.json_response({"valid": asked["token"] == GOOD.value, "limits": [], "approved": True})


async def test_the_good_token_is_let_in_under_a_name_that_does_not_give_it_away(
    service: AccessService,
) -> None:
    access = await service.validate(GOOD)
    assert access is not None
    assert access.token == GOOD
    assert access.owner not in (NOBODY, GOOD.value)
    assert access.owner == service.owner_of(GOOD)
    assert not access.admin
    assert GOOD.value not in repr(access)


@pytest.mark.parametrize("token", [None, Token(""), Token("bad"), Token("A-GOOD-TOKEN"), Token("ü\udc80")])
async def test_any_other_is_not(service: AccessService, token: Token | None) -> None:
    assert await service.validate(token) is None


async def test_tasks_are_approved_and_their_end_can_be_told(service: AccessService) -> None:
    access = await service.validate(GOOD)
    assert access is not None
    assert await service.approve(access, 3) is None
    assert await service.finished(GOOD, '{"uuid": "x"}', None)
    await service.clear(GOOD)
    assert await service.validate(GOOD) is not None


async def test_open_to_everybody_whatever_token_they_send() -> None:
    async with open_access("local", Token(""), None, lambda: 0.0) as service:
        nobody, somebody = await service.validate(None), await service.validate(Token("leaked"))
        assert nobody is not None
        assert somebody is not None
        assert nobody.owner == NOBODY != somebody.owner
        assert nobody.may_touch(somebody.owner)


@pytest.mark.parametrize(
    ("provider", "token", "file"),
    [("nonsense", "", None), ("local", "secret", Path("tokens.json"))],
)
def test_what_does_not_go_together_is_refused(provider: str, token: str, file: Path | None) -> None:
    with pytest.raises(ClusterError) as refusal:
        open_access(provider, Token(token), file, lambda: 0.0)
    assert "secret" not in str(refusal.value)


def test_fingerprints_never_change_since_tasks_are_kept_under_them() -> None:
    assert fingerprint(GOOD) == hashlib.sha256(b"a-good-token").hexdigest()[:32]
    assert fingerprint(None) == fingerprint(Token("")) == NOBODY


@given(st.text(st.characters(), min_size=1), st.text(st.characters(), min_size=1))
def test_any_text_has_a_fingerprint_of_its_own(one: str, other: str) -> None:
    assert (fingerprint(Token(one)) == fingerprint(Token(other))) is (one == other)


@pytest.mark.parametrize(
    ("provider", "login"),
    [
        ("local", None),
        ("lightning", "https://webodm.net/r/auth/getToken"),
        ("lightningDev", "http://localhost:5000/r/auth/getToken"),
        ("https://access.example.org/x", "https://access.example.org/x/auth/getToken"),
    ],
)
def test_clients_without_a_token_are_told_where_to_log_in(provider: str, login: str | None) -> None:
    info = open_access(provider, Token(""), None, lambda: 0.0).info
    assert (info.login_url, info.register_url) == (login, None)


def test_an_unknown_provider_is_told_the_known_ones() -> None:
    with pytest.raises(ClusterError, match=r"local.*lightning.*lightningDev.*URL"):
        open_access("lightening", Token(""), None, lambda: 0.0)
