from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable

import pytest
import requests
from hypothesis import given, settings
from hypothesis import strategies as st

from clusterodm_py.core.errors import BadRequest
from clusterodm_py.uploads import multipart
from clusterodm_py.uploads.multipart import Field, FileData, FileEnd, FileStart, Part, boundary_of, parts
from harness.bodies import BOUNDARY, field_part, file_part, form, part, pieces, stream

CUTS = st.lists(st.integers(0, 2000), max_size=12)
DATA = st.one_of(st.binary(max_size=300), st.text("\r\n-W", max_size=40).map(str.encode))


async def collected(body: AsyncIterable[bytes], boundary: str = BOUNDARY) -> list[Part]:
    """The events, the pieces of each file joined."""
    found: list[Part] = []
    async for event in parts(body, boundary):
        match event:
            case FileData(data=data) if isinstance(found[-1], FileData):
                found[-1] = FileData(found[-1].data + data)
            case _:
                found.append(event)
    return found


def parsed(*chunks: bytes, boundary: str = BOUNDARY) -> list[Part]:
    return asyncio.run(collected(stream(*chunks), boundary))


def a_file(field: str, name: str, data: bytes) -> list[Part]:
    return [FileStart(field, name), *([FileData(data)] if data else []), FileEnd()]


def refusal(*chunks: bytes) -> str:
    """What BadRequest says; empty when the body is fine. Any other error is a defect."""
    try:
        parsed(*chunks)
    except BadRequest as error:
        return str(error)
    return ""


# -- what clients send ----------------------------------------------------------------------------------------------


def test_what_requests_sends_is_read() -> None:
    request = requests.Request(
        "POST",
        "http://localhost",
        data={"name": "Tâche", "options": "[]"},
        files=[("images", ("für.jpg", b"\r\n--x", "image/jpeg")), ("images", ("b.jpg", b""))],
    ).prepare()
    assert isinstance(request.body, bytes)
    assert parsed(request.body, boundary=boundary_of(request.headers["Content-Type"])) == [
        Field("name", "Tâche"),
        Field("options", "[]"),
        *a_file("images", "für.jpg", b"\r\n--x"),
        *a_file("images", "b.jpg", b""),
    ]


def test_what_pyodm_sends_is_read() -> None:
    body = (
        b'--X\r\nContent-Disposition: form-data; name="images"; filename="\xc3\xbc b.jpg"\r\n'
        b"Content-Type: application/octet-stream\r\n\r\n1234\r\n--X--\r\n"
    )
    assert parsed(body, boundary="X") == a_file("images", "ü b.jpg", b"1234")


def test_what_go_sends_is_read() -> None:
    boundary = "c4f2" * 15
    body = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="images"; filename="a \\"b\\".jpg"\r\n'
        f"Content-Type: application/octet-stream\r\n\r\n123\r\n"
        f'--{boundary}\r\nContent-Disposition: form-data; name="name"\r\n\r\nx\r\n--{boundary}--\r\n'
    ).encode()
    assert parsed(body, boundary=boundary) == [*a_file("images", 'a "b".jpg', b"123"), Field("name", "x")]


def test_what_a_browser_sends_is_read() -> None:
    assert parsed(form(file_part('a"b\n.jpg', b"1"), field_part("outputs", b"[]"))) == [
        *a_file("images", 'a"b\n.jpg', b"1"),
        Field("outputs", "[]"),
    ]


def test_what_curl_sends_is_read() -> None:
    content_type = "multipart/form-data; boundary=------------------------d74496d66958873e"
    boundary = boundary_of(content_type)
    body = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="images"; filename="ü%22x.jpg"\r\n'
        f"Content-Type: image/jpeg\r\n\r\n12\n\r\n"
        f'--{boundary}\r\nContent-Disposition: form-data; name="name"\r\n\r\nx\r\n--{boundary}--\r\n'
    ).encode()
    expected = [*a_file("images", 'ü"x.jpg', b"12\n"), Field("name", "x")]
    assert parsed(body, boundary=boundary) == expected


@pytest.mark.parametrize(
    ("disposition", "name"),
    [
        (b"form-data; name=\"images\"; filename*=utf-8''f%C3%BCr.jpg", "für.jpg"),
        (b'form-data; name="images"; filename="x"; filename*=UTF-8\'en\'%E2%82%AC.jpg', "€.jpg"),
        (b'form-data; name="images"; filename*="utf-8\'\'a%20b.jpg"', "a b.jpg"),
        (b"form-data; name=\"images\"; filename*=iso-8859-1''f%FCr.jpg", "für.jpg"),
        ('form-data; name="images"; filename="фото.jpg"'.encode(), "фото.jpg"),
        (b'form-data; name="images"; filename="f\xfcr.jpg"', "für.jpg"),
        (b"form-data; name=images; filename=a.jpg", "a.jpg"),
        (b'form-data; name="images"; filename="C:\\photos\\a.jpg"', "a.jpg"),
        (b'form-data; name="images"; filename=""', ""),
    ],
)
def test_a_file_name_is_read_however_it_is_written(disposition: bytes, name: str) -> None:
    assert parsed(form(part(disposition, b"1"))) == a_file("images", name, b"1")


@pytest.mark.parametrize(
    "kind", [b"image/jpeg", b"application/octet-stream", b"video/mp4", b"application/zip"]
)
def test_without_a_name_the_type_makes_it_a_file(kind: bytes) -> None:
    assert parsed(form(part(b'form-data; name="images"', b"1", kind))) == a_file("images", "", b"1")


@pytest.mark.parametrize("kind", [b"", b"text/plain; charset=utf-8", b"application/json", b"Text/Plain"])
def test_without_a_name_text_and_json_are_fields(kind: bytes) -> None:
    assert parsed(form(part(b'form-data; name="options"', b"[]", kind))) == [Field("options", "[]")]


# -- streaming ------------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.booleans(), DATA), max_size=4), CUTS)
def test_how_a_body_is_cut_changes_nothing(wanted: list[tuple[bool, bytes]], cuts: list[int]) -> None:
    delimiter = f"\r\n--{BOUNDARY}".encode()
    written = [(is_file, data.replace(delimiter, b"")) for is_file, data in wanted]
    body = form(
        *(file_part("a.jpg", data) if is_file else field_part("f", data) for is_file, data in written)
    )
    expected: list[Part] = []
    for is_file, data in written:
        expected += (
            a_file("images", "a.jpg", data) if is_file else [Field("f", data.decode("utf-8", "replace"))]
        )
    assert parsed(*pieces(body, cuts)) == expected


def test_a_body_may_come_byte_by_byte() -> None:
    body = form(file_part("a.jpg", b"\r\n--" + BOUNDARY.encode()[:-1] + b"\r"), field_part("f", b"x"))
    assert parsed(*(bytes([byte]) for byte in body)) == parsed(body)


def test_a_file_is_passed_on_before_it_ends() -> None:
    async def first_bytes() -> Part:
        body = parts(stream(file_part("a.jpg", b"x" * 100_000)[:-2]), BOUNDARY)
        assert await anext(body) == FileStart("images", "a.jpg")
        return await anext(body)

    assert asyncio.run(first_bytes()) == FileData(b"x" * 100_000)


def test_a_preamble_and_an_epilogue_mean_nothing() -> None:
    body = form(field_part("f", b"x"))
    assert parsed(b"Hello\r\n", body, b"and", b"", b"bye") == [Field("f", "x")]


# -- junk -----------------------------------------------------------------------------------------------------------


def test_a_truncated_body_is_refused_wherever_it_ends() -> None:
    body = form(file_part("a.jpg", b"12"), field_part("f", b"x"))
    for end in range(len(body) - 2):
        with pytest.raises(BadRequest, match="not a whole multipart form"):
            parsed(body[:end])


@settings(max_examples=200)
@given(st.binary(max_size=600), CUTS)
def test_junk_is_refused_and_nothing_else(junk: bytes, cuts: list[int]) -> None:
    with pytest.raises(BadRequest):
        parsed(*pieces(junk, cuts))


@settings(max_examples=400)
@given(st.binary(max_size=80), st.integers(0, 400), st.integers(0, 400), CUTS)
def test_a_damaged_body_is_read_or_refused(junk: bytes, start: int, end: int, cuts: list[int]) -> None:
    body = form(file_part("a.jpg", b"12"), field_part("f", b"x"))
    assert refusal(*pieces(body[:start] + junk + body[end:], cuts)).isprintable()


@given(st.binary(max_size=100), st.binary(max_size=60))
def test_any_header_of_a_part_is_read_or_refused(disposition: bytes, kind: bytes) -> None:
    assert refusal(form(part(b"form-data; " + disposition, b"1", kind))).isprintable()


def test_a_body_that_is_no_form_is_refused_long_before_its_end() -> None:
    taken = 0

    async def long() -> AsyncIterable[bytes]:
        nonlocal taken
        for number in range(1000):
            taken = number + 1
            yield b"{" * 16384

    with pytest.raises(BadRequest, match="boundary"):
        asyncio.run(collected(long()))
    assert taken <= 8


def test_a_field_may_be_large_and_not_too_large() -> None:
    largest = b"x" * multipart.LARGEST_FIELD
    assert parsed(form(field_part("f", largest))) == [Field("f", largest.decode())]
    with pytest.raises(BadRequest, match="larger than 1048576 bytes"):
        parsed(field_part("f", largest + b"x"))


def test_a_giant_header_is_refused() -> None:
    with pytest.raises(BadRequest, match="header"):
        parsed(b"--" + BOUNDARY.encode() + b"\r\nContent-Disposition: ", *[b"x" * 1000] * 10)


def test_there_is_an_end_to_the_number_of_parts() -> None:
    with pytest.raises(BadRequest, match="count"):
        parsed(*[field_part("f", b"") * 1000] * (multipart.MOST_PARTS // 1000 + 1))


# -- the boundary ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content_type", "boundary"),
    [
        ("multipart/form-data; boundary=abc", "abc"),
        ('Multipart/Form-Data; charset=utf-8; Boundary="a b:c"', "a b:c"),
        ("multipart/mixed;boundary=----x", "----x"),
    ],
)
def test_the_boundary_is_found(content_type: str, boundary: str) -> None:
    assert boundary_of(content_type) == boundary


@pytest.mark.parametrize(
    "content_type", ["", "application/json", "application/x-www-form-urlencoded", "multipart"]
)
def test_another_type_is_refused_with_what_to_send(content_type: str) -> None:
    with pytest.raises(BadRequest, match="multipart/form-data, under the field 'images'"):
        boundary_of(content_type)


@pytest.mark.parametrize(
    "rest", ["", ";", "; boundary=", '; boundary=""', '; boundary="\udcff"', '; boundary="\0"']
)
def test_a_form_without_a_boundary_is_refused(rest: str) -> None:
    with pytest.raises(BadRequest, match="boundary"):
        boundary_of(f"multipart/form-data{rest}")


@given(st.text(st.characters(), max_size=40))
def test_any_content_type_gives_a_boundary_or_is_refused(text: str) -> None:
    try:
        boundary = boundary_of(f'multipart/form-data; boundary="{text}"')
    except BadRequest:
        return
    with pytest.raises(BadRequest):
        parsed(b"junk", boundary=boundary)
