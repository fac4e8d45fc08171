from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clusterodm_py.faces.hook import hinted_task


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b'{"uuid": "u", "status": {"code": 40}}', ("u", True)),
        (b'{"status": 1}', (None, True)),
        (b'{"uuid": 5}', (None, True)),
        (b"{}", (None, True)),
        (b"[]", (None, False)),
        (b"zzz", (None, False)),
        (b"", (None, False)),
        (b"[" * 100_000, (None, False)),
    ],
)
def test_a_hook_names_its_task_or_is_malformed(body: bytes, told: tuple[str | None, bool]) -> None:
    assert hinted_task(body) == told


@given(st.binary())
def test_no_body_makes_it_raise(body: bytes) -> None:
    hinted_task(body)
