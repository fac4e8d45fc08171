"""Every complete entry of a JSON file that was cut, overwritten or badly encoded."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clusterodm_py.store import torn

KEY = re.compile("k[0-9]+")
ENTRIES = [{"hostname": f"h{number}", "nested": {"}": '"{['}} for number in range(4)]
MEMBERS = {f"k{number}": entry for number, entry in enumerate(ENTRIES)}


def whole_before(text: str, cut: int) -> int:
    """How many of the four entries end before `cut`."""
    ends = [match.end() for match in re.finditer(r"\}\}", text)]
    return sum(end <= cut for end in ends[:4])


@given(st.integers(0, 400), st.sampled_from([None, 2]))
def test_a_cut_array_gives_what_ends_before_the_cut(cut: int, indent: int | None) -> None:
    text = json.dumps(ENTRIES, separators=(",", ":")) if indent is None else json.dumps(ENTRIES)
    found = torn.elements(text[:cut].encode())
    hosts = [entry for _, entry in found.entries if isinstance(entry, dict) and "hostname" in entry]
    assert hosts == ENTRIES[: whole_before(text, cut)]
    assert found.whole is (cut >= len(text))


@given(st.integers(0, 400))
def test_a_cut_object_gives_what_ends_before_the_cut(cut: int) -> None:
    text = json.dumps(MEMBERS)
    found = torn.members(text[:cut].encode(), KEY)
    assert dict(found.entries) == dict(list(MEMBERS.items())[: whole_before(text, cut)])
    assert found.whole is (cut >= len(text))


def test_what_follows_a_torn_entry_is_found() -> None:
    text = json.dumps(MEMBERS).replace('"h1", ', '"h1" ')
    assert [key for key, _ in torn.members(text.encode(), KEY).entries] == ["k0", "k2", "k3"]


def test_a_shorter_write_over_a_longer_one_gives_both() -> None:
    text = '[{"hostname": "new"}]' + json.dumps(ENTRIES)[15:]
    found = torn.elements(text.encode())
    assert not found.whole
    assert found.entries[0] == ("", {"hostname": "new"})
    assert [entry for _, entry in found.entries][-3:] == ENTRIES[1:]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_an_editors_encoding_is_read(encoding: str) -> None:
    found = torn.elements(json.dumps(["ü"], ensure_ascii=False).encode(encoding))
    assert found == torn.Found((("", "ü"),))


@pytest.mark.parametrize(
    "raw", [b"", b"\0" * 64, b"{" * 5000, b"[" * 100_000, b'{"k1":' * 30_000, b"9" * 9000]
)
def test_nothing_is_found_in_nothing(raw: bytes) -> None:
    assert torn.elements(raw) == torn.Found(whole=False)
    assert torn.members(raw, KEY) == torn.Found(whole=False)
