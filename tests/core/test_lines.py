from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clusterodm_py.core.lines import LineBuffer, LineTooLong

PIECES = [
    b"NODE LIST",
    b"\r",
    b"\n",
    b"\0",
    b"\xff",
    b"\xff\xfb\x01",
    b"\xff\xfa\x18\0x\xff\xf0",
    b"\xff\xf0",
    b"\xc3\xa9",
]


def heard(*packets: bytes, limit: int = 100) -> tuple[list[str], str]:
    buffer = LineBuffer(limit)
    return [line for packet in packets for line in buffer.feed(packet)], buffer.rest()


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r\0", b"\r"])
def test_a_line_ends_with(end: bytes) -> None:
    assert heard(b"a" + end + b"b" + end) == (["a", "b"], "")


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r\0", b"\r"])
def test_empty_lines_count(end: bytes) -> None:
    assert heard(end + end) == (["", ""], "")


def test_what_has_no_end_yet_is_kept() -> None:
    assert heard(b"a\nb", b"c") == (["a"], "bc")


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"a\xff\xfd\x06b", "ab"),  # IAC DO TIMING-MARK
        (b"a\xff\xf4b", "ab"),  # IAC IP: Ctrl-C in telnet(1)
        (b"a\xff\xfa\x1f\0P\n\0\x18\xff\xff\xff\xf0b", "ab"),  # IAC SB NAWS ... IAC SE
        (b"\r\xff\xf1\nb", "b"),  # IAC NOP inside of a line end
        (b"a\xff\xffb", "a\ufffdb"),  # a doubled IAC is a byte of text, though no UTF-8
        ("é".encode(), "é"),
        (b"\xe9", "\ufffd"),
    ],
)
def test_negotiation_is_no_text(data: bytes, text: str) -> None:
    assert heard(data)[1] == text


def test_a_line_of_the_limit_passes() -> None:
    assert heard(b"x" * 8 + b"\n", limit=8) == (["x" * 8], "")


def test_a_longer_line_is_refused_after_those_before_it() -> None:
    lines = LineBuffer(8).feed(b"one\n" + b"x" * 9)
    assert next(lines) == "one"
    with pytest.raises(LineTooLong):
        next(lines)


@given(st.lists(st.sampled_from(PIECES), max_size=12).map(b"".join), st.data())
def test_where_packets_are_cut_changes_nothing(stream: bytes, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    packets = [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert heard(*packets) == heard(stream)


@given(st.binary(max_size=64))
def test_no_bytes_make_it_raise_below_the_limit(stream: bytes) -> None:
    lines, rest = heard(stream)
    assert not any("\n" in line or "\r" in line for line in [*lines, rest])
