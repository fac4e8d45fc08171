"""Output on disk: numbered for ever, whole after a crash, bounded, and given back as it came."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clusterodm_py.core.types import TaskId
from clusterodm_py.logbook import Logbook, decode, encode
from harness.engine import ID, an_id

LINES = st.text(st.characters(), max_size=8)
ODD = ["", " ", "\n", "a\nb\r\n", "\\n", "\\", "\\\n", "\x00", "\ud800", "\x85\u2028", "ä€😀"]


async def whole(book: Logbook, task: TaskId = ID) -> list[str]:
    return await book.read(task, 0, await book.length(task))


def file_of(folder: Path) -> Path:
    return folder / f"{ID}.log"


@given(LINES)
def test_any_line_comes_back_as_it_was_and_holds_no_newline(line: str) -> None:
    assert decode(encode(line)) == line
    assert b"\n" not in encode(line)


def test_a_plain_line_can_be_read_by_anybody() -> None:
    assert encode("[INFO]    Über 3 Bilder") == "[INFO]    Über 3 Bilder".encode()


def test_harmed_bytes_are_a_line_too() -> None:
    assert decode(b"a\xff\\") == "a\ufffd\\"


async def test_lines_are_there_after_a_restart(tmp_path: Path) -> None:
    await Logbook(tmp_path / "logs").append(ID, 0, ODD)
    assert await whole(Logbook(tmp_path / "logs")) == ODD


async def test_what_is_kept_is_not_kept_twice(tmp_path: Path) -> None:
    book = Logbook(tmp_path)
    await book.append(ID, 0, ["a", "b"])
    await book.append(ID, 1, ["other", "c"])
    await book.append(ID, 0, ["x"])
    assert await whole(book) == ["a", "b", "c"]


async def test_lines_that_were_lost_are_empty_and_cost_no_number(tmp_path: Path) -> None:
    book = Logbook(tmp_path)
    await book.append(ID, 2, ["c"])
    assert await whole(book) == ["", "", "c"]
    assert await book.read(ID, 2, 5) == ["c", "", ""]
    assert await book.read(ID, 7, 9) == ["", ""]
    assert await book.read(ID, 2, 1) == []


@pytest.mark.parametrize("torn", [b"tor", b"torn \xe2\x82", b"\\"])
async def test_a_torn_last_line_is_dropped_and_written_again(tmp_path: Path, torn: bytes) -> None:
    await Logbook(tmp_path).append(ID, 0, ["whole"])
    with file_of(tmp_path).open("ab") as file:
        file.write(torn)
    again = Logbook(tmp_path)
    assert await whole(again) == ["whole"]
    await again.append(ID, 1, ["torn line"])
    assert await whole(Logbook(tmp_path)) == ["whole", "torn line"]


async def test_a_write_that_failed_half_way_leaves_no_trace(tmp_path: Path) -> None:
    book = Logbook(tmp_path)
    await book.append(ID, 0, ["a"])
    with file_of(tmp_path).open("ab") as file:
        file.write(b"half a li")
    await book.append(ID, 1, ["b"])
    assert await whole(Logbook(tmp_path)) == ["a", "b"]


async def test_beyond_its_bound_only_numbers_are_kept(tmp_path: Path) -> None:
    book = Logbook(tmp_path, most_bytes=10)
    await book.append(ID, 0, ["1234", "123456789", "5678", "9"])
    assert await whole(book) == ["1234", "", "", "9"]
    await book.append(ID, 4, ["too much"] * 100)
    assert await book.length(ID) == 104
    assert file_of(tmp_path).stat().st_size < 120


async def test_an_unwritable_disk_is_told_and_changes_nothing(tmp_path: Path) -> None:
    book = Logbook(tmp_path)
    await book.append(ID, 0, ["a"])
    file_of(tmp_path).unlink()
    file_of(tmp_path).mkdir()
    with pytest.raises(OSError, match="directory"):
        await book.append(ID, 1, ["b"])
    assert await book.length(ID) == 1


async def test_a_cancelled_append_is_not_in_the_way_of_the_next(tmp_path: Path) -> None:
    book = Logbook(tmp_path)
    await book.append(ID, 0, ["a"])
    under_way = asyncio.ensure_future(book.append(ID, 1, ["b" * 100_000]))
    await asyncio.sleep(0)
    under_way.cancel()
    with pytest.raises(asyncio.CancelledError):
        await under_way
    await book.append(ID, 1, ["c"])
    assert await whole(book) == await whole(Logbook(tmp_path)) == ["a", "c"]


async def test_discarded_output_is_gone_and_its_number_free(tmp_path: Path) -> None:
    book = Logbook(tmp_path)
    await book.append(ID, 0, ["old"])
    await book.discard(ID)
    await book.discard(ID)
    assert await book.length(ID) == 0
    await book.append(ID, 0, ["new"])
    assert await whole(book) == ["new"]


@pytest.mark.parametrize("strange", ["../up", "..", "a/b", ".hidden", "%2e", "ä"])
async def test_no_id_leads_out_of_the_folder(tmp_path: Path, strange: str) -> None:
    book, task = Logbook(tmp_path / "logs"), TaskId(strange)
    await book.append(task, 0, ["a"])
    assert [path.parent for path in tmp_path.rglob("*.log")] == [tmp_path / "logs"]
    await book.sweep({task})
    assert await whole(book, task) == ["a"]
    await book.sweep(set())
    assert list(tmp_path.rglob("*.log")) == []


async def test_a_sweep_keeps_what_is_wanted_and_other_peoples_files(tmp_path: Path) -> None:
    book = Logbook(tmp_path)
    for number in (1, 2, 3):
        await book.append(an_id(number), 0, ["a"])
    (tmp_path / "notes.txt").touch()
    await Logbook(tmp_path).sweep({an_id(2)})
    assert {path.name for path in tmp_path.iterdir()} == {f"{an_id(2)}.log", "notes.txt"}
    await Logbook(tmp_path / "none").sweep(set())


@pytest.mark.parametrize("first", [0, 1, 1023, 1024, 1025, 2047, 4999])
async def test_a_long_output_is_read_from_anywhere(tmp_path: Path, first: int) -> None:
    lines = [f"line {number}" for number in range(5000)]
    await Logbook(tmp_path).append(ID, 0, lines)
    book = Logbook(tmp_path)
    assert await book.read(ID, first, 5000) == lines[first:]
    assert await book.read(ID, first, first + 1) == [lines[first]]


@settings(max_examples=40)
@given(st.lists(st.tuples(st.integers(0, 12), st.lists(LINES, max_size=4), st.booleans()), max_size=8))
def test_it_is_a_list_whatever_is_appended_and_whenever_it_is_opened(
    steps: list[tuple[int, list[str], bool]],
) -> None:
    async def play(folder: Path) -> None:
        book, model = Logbook(folder), list[str]()
        for first, lines, again in steps:
            await book.append(ID, first, lines)
            if first + len(lines) > len(model):
                model += [""] * (first - len(model))
                model += lines[len(model) - first :]
            if again:
                book = Logbook(folder)
            assert await whole(book) == model

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(play(Path(folder)))
