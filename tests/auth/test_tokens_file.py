"""Hashed tokens in a file: what is accepted, what is refused by name, and what happens when it changes."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import Any

import pytest

from clusterodm_py.auth.tokens_file import (
    LOOK_EVERY,
    TokensFileAccess,
    TokensFileError,
    hash_token,
    new_token,
)
from clusterodm_py.core.types import OwnerId, Token

ALICE, BOB = Token("token-of-alice"), Token("token-of-bob")


def entry(name: str, token: Token, **more: Any) -> dict[str, Any]:
    return {"name": name, "sha256": hash_token(token), **more}


def write(path: Path, *entries: dict[str, Any]) -> Path:
    path.write_text(json.dumps({"tokens": entries}))
    path.chmod(0o600)
    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1_000_000_000))
    return path


async def test_each_token_has_its_name_limits_and_rank(tmp_path: Path) -> None:
    limits = {
        "maxImages": 10,
        "maxConcurrentTasks": 2,
        "maxUploadBytes": "50G",
        "priority": 5,
        "options": {"split": {"remove": True}},
    }
    file = write(tmp_path / "t", entry("alice", ALICE, limits=limits), entry("bob", BOB, admin=True))
    async with TokensFileAccess(file, lambda: 0.0) as service:
        alice, bob = await service.validate(ALICE), await service.validate(BOB)
    assert alice is not None
    assert bob is not None
    assert (alice.owner, alice.limits.max_images, alice.limits.max_concurrent) == ("alice", 10, 2)
    assert (alice.limits.max_bytes, alice.limits.priority) == (50 * 2**30, 5)
    assert alice.limits.options is not None
    assert alice.limits.options[0].remove
    assert not alice.may_touch(OwnerId("bob"))
    assert bob.may_touch(OwnerId("alice"))


async def test_a_rotated_token_keeps_its_tasks_and_the_old_one_ends(tmp_path: Path) -> None:
    now = 0.0
    file = write(tmp_path / "t", entry("alice", ALICE))
    async with TokensFileAccess(file, lambda: now) as service:
        write(file, entry("alice", BOB))
        assert await service.validate(ALICE) is not None  # not looked at again so soon
        now += LOOK_EVERY
        assert await service.validate(ALICE) is None
        assert (await service.validate(BOB)) is not None
        assert service.owner_of(BOB) == "alice"


async def test_a_broken_new_version_is_reported_once_and_the_old_one_stays(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    now = 0.0
    file = write(tmp_path / "t", entry("alice", ALICE))
    async with TokensFileAccess(file, lambda: now) as service:
        file.write_text("{")
        for _ in range(3):
            now += LOOK_EVERY
            assert await service.validate(ALICE) is not None
        assert len([record for record in caplog.records if record.levelno == logging.ERROR]) == 1
        file.unlink()
        now += LOOK_EVERY
        assert await service.validate(ALICE) is not None
        write(file, entry("bob", BOB))
        now += LOOK_EVERY
        assert await service.validate(BOB) is not None


async def test_a_version_that_was_broken_for_a_moment_is_used_once_it_is_mended(tmp_path: Path) -> None:
    now = 0.0
    file = write(tmp_path / "t", entry("alice", ALICE))
    async with TokensFileAccess(file, lambda: now) as service:
        file.rename(tmp_path / "aside")
        file.mkdir()  # there, and not to be read
        now += LOOK_EVERY
        assert await service.validate(ALICE) is not None
        file.rmdir()
        write(file, entry("bob", BOB))
        now += LOOK_EVERY
        assert await service.validate(ALICE) is None
        assert await service.validate(BOB) is not None


async def test_a_replaced_file_is_seen_even_if_it_keeps_size_and_time(tmp_path: Path) -> None:
    now = 0.0
    file = write(tmp_path / "t", entry("alice", ALICE))
    status = file.stat()
    async with TokensFileAccess(file, lambda: now) as service:
        new = write(tmp_path / "new", entry("alice", BOB))
        os.utime(new, ns=(status.st_atime_ns, status.st_mtime_ns))
        assert new.stat().st_size == status.st_size
        new.replace(file)
        now += LOOK_EVERY
        assert await service.validate(ALICE) is None


def test_a_new_token_is_long_and_safe_in_a_query() -> None:
    token = new_token(lambda count: bytes(range(count)))
    assert token.value == bytes(range(24)).hex()
    assert new_token(os.urandom) != new_token(os.urandom)


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("", "JSON"),
        ("[]", "tokens-file"),
        ({"tokens": [{"name": "a"}]}, "sha256"),
        ({"tokens": [entry("a", ALICE, colour="red")]}, "colour"),
        ({"tokens": [entry("a", ALICE, limits={"maxImage": 1})]}, "maxImage"),
        ({"tokens": [entry("a", ALICE, limits={"maxImages": "many"})]}, "maxImages"),
        ({"tokens": [{"name": "a", "sha256": "token-of-alice"}]}, "sha256"),
        ({"tokens": [entry("a", ALICE, admin="yes")]}, "admin"),
        ({"tokens": [entry("a", ALICE, admin=1)]}, "admin"),
        ({"tokens": [entry("a\nb", ALICE)]}, "name"),
        ({"tokens": [entry("", ALICE)]}, "name"),
        ({"tokens": [entry("a", ALICE, limits={"options": {"split": {"betwen": {}}}})]}, "betwen"),
        ({"tokens": [entry("a", ALICE, limits={"options": {"split": {"between": {"mx": 5}}}})]}, "mx"),
        ({"tokens": [entry("a", ALICE), entry("a", BOB)]}, "tokens.1.name"),
        ({"tokens": [entry("a", ALICE), entry("b", ALICE)]}, "tokens.1.sha256"),
    ],
)
async def test_a_bad_file_is_refused_at_the_start_by_name(tmp_path: Path, content: Any, named: str) -> None:
    file = tmp_path / "t"
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(TokensFileError, match=named) as refusal:
        await TokensFileAccess(file, lambda: 0.0).__aenter__()
    assert ALICE.value not in str(refusal.value)


async def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TokensFileError, match="cannot be read"):
        await TokensFileAccess(tmp_path / "none", lambda: 0.0).__aenter__()


async def test_a_file_everybody_can_read_is_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = write(tmp_path / "t", entry("alice", ALICE))
    file.chmod(0o644)
    async with TokensFileAccess(file, lambda: 0.0):
        assert "chmod" in caplog.text
