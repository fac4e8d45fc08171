from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from clusterodm_py.logs import redact, start_logging


@pytest.fixture(autouse=True)
def _root_logger_as_before() -> Iterator[None]:
    root = logging.getLogger()
    level, handlers = root.level, root.handlers[:]
    yield
    root.setLevel(level)
    root.handlers[:] = handlers


def test_lines_look_like_those_of_clusterodm(capsys: pytest.CaptureFixture[str]) -> None:
    logging.getLogger().handlers.clear()  # pytest's own, which basicConfig would close
    start_logging(logging.INFO)
    logger = logging.getLogger("clusterodm_py.test")
    logger.debug("unseen")
    logger.info("Loaded %d nodes", 2)
    logger.warning("careful")
    logger.error("GET http://node1:3000/info?token=s3cret failed")
    assert capsys.readouterr().err.splitlines() == [
        "info: Loaded 2 nodes",
        "warn: careful",
        "error: GET http://node1:3000/info?token=*** failed",
    ]


@pytest.mark.parametrize(
    ("text", "covered"),
    [
        ("/info?token=a&line=2", "/info?token=***&line=2"),
        ('{"url": "http://h/?Token=a"}', '{"url": "http://h/?Token=***"}'),
        ("https://user:pa\\ss@host/x", "https://***@host/x"),
        ("a@b.org token tokens=3 http://host/a@b", "a@b.org token tokens=3 http://host/a@b"),
    ],
)
def test_tokens_and_credentials_are_covered(text: str, covered: str) -> None:
    assert redact(text) == covered
