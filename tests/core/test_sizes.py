from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clusterodm_py.core.sizes import LARGEST, read_size, size_text


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("1500", 1500),
        (" 2 B ", 2),
        ("1k", 1024),
        ("1.5KB", 1536),
        ("500M", 500 * 2**20),
        ("20 GiB", 20 * 2**30),
        ("2tb", 2 * 2**40),
        (str(LARGEST), LARGEST),
    ],
)
def test_a_size_may_have_a_unit(text: str, size: int) -> None:
    assert read_size(text) == size


@pytest.mark.parametrize(
    "text", ["", "G", "-1", "1 P", "1e9", "1,5G", ".5G", "5.G", "50G free", "٣", str(LARGEST + 1)]
)
def test_what_is_no_size_is_none(text: str) -> None:
    assert read_size(text) is None


@given(st.text(max_size=12) | st.from_regex(r"[0-9.]{1,25}[KMGTB]?", fullmatch=True))
def test_no_text_is_read_as_more_than_there_can_be(text: str) -> None:
    size = read_size(text)
    assert size is None or 0 <= size <= LARGEST


@pytest.mark.parametrize(
    ("size", "shown"),
    [
        (0, "0 bytes"),
        (1, "1 byte"),
        (999, "999 bytes"),
        (1000, "1.0 kB"),
        (999_949, "999.9 kB"),
        (999_950, "1.0 MB"),
        (1_500_000, "1.5 MB"),
        (2 * 10**12, "2.0 TB"),
        (10**16, "10000.0 TB"),
    ],
)
def test_sizes_are_written_for_people(size: int, shown: str) -> None:
    assert size_text(size) == shown
