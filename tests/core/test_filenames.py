from __future__ import annotations

import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from clusterodm_py.core.filenames import LONGEST, safe_name, unique_name

NAMES = st.one_of(
    st.text(st.characters(), max_size=40),
    st.text("./\\ab\0\n", max_size=12),
    st.tuples(st.text(min_size=1, max_size=3), st.integers(60, 300), st.text("jpg.é", max_size=200)).map(
        lambda drawn: drawn[0] * drawn[1] + "." + drawn[2]
    ),
)


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        ("a.jpg", "a.jpg"),
        ("seed.zip", "seed.zip"),
        ("gcp_list.txt", "gcp_list.txt"),
        ("DJI 0001 (ü).JPG", "DJI 0001 (ü).JPG"),
        ("/etc/passwd", "passwd"),
        ("..\\..\\boot.ini", "boot.ini"),
        ("C:\\photos/2024\\a.jpg", "a.jpg"),
        ("photos/a.jpg/", "a.jpg"),
        ("", "_"),
        (".", "_"),
        ("..", "_"),
        ("a/..", "_"),
        ("/", "_"),
        ("\\//", "_"),
        ("...", "..."),
        (".hidden", ".hidden"),
        ("a\0b\n\x7f.jpg", "a_b__.jpg"),
        ("\ud800.jpg", "_.jpg"),
        ("body.json", "_body.json"),
        ("x/Body.JSON", "_Body.JSON"),
        ("_body.json", "_body.json"),
    ],
)
def test_a_name_is_made_safe(raw: str, name: str) -> None:
    assert safe_name(raw) == name


@given(NAMES)
@example("é" * 200 + ".jpg")
@example("." + "x" * 300)
@example("a" * 253 + ".é")
def test_a_safe_name_can_be_a_file_in_any_folder(raw: str) -> None:
    name = safe_name(raw)
    assert name not in ("", ".", "..")
    assert not {"/", "\\"} & set(name)
    assert all(unicodedata.category(char) != "Cc" for char in name)
    assert name.lower() != "body.json"
    assert len(name.encode()) <= LONGEST
    assert safe_name(name) == name


def test_a_long_name_keeps_its_extension_and_whole_characters() -> None:
    name = safe_name("é" * 200 + ".jpeg")
    assert name == "é" * 125 + ".jpeg"
    assert len(safe_name("x" * 300 + ".tif").encode()) == LONGEST


def test_an_endless_extension_is_cut_too() -> None:
    assert safe_name("a." + "x" * 300) == "a." + "x" * 253


@pytest.mark.parametrize(
    ("name", "taken", "unique"),
    [
        ("a.jpg", set(), "a.jpg"),
        ("a.jpg", {"b.jpg"}, "a.jpg"),
        ("a.jpg", {"a.jpg"}, "a_.jpg"),
        ("a.jpg", {"a.jpg", "a_.jpg"}, "a__.jpg"),
        ("a.b.jpg", {"a.b.jpg"}, "a.b_.jpg"),
        ("x", {"x"}, "x_"),
        (".hidden", {".hidden"}, ".hidden_"),
        ("seed.zip", {"seed.zip"}, "seed_.zip"),
        ("A.jpg", {"a.jpg"}, "A.jpg"),
        ("a.jpg", {"a" + "_" * length + ".jpg" for length in range(20)}, "a" + "_" * 20 + ".jpg"),
        ("a.jpg", {"a" + "_" * length + ".jpg" for length in range(21)} | {"a_1.jpg"}, "a_2.jpg"),
    ],
)
def test_a_duplicate_name_gets_an_underscore(name: str, taken: set[str], unique: str) -> None:
    assert unique_name(name, taken) == unique


@given(st.lists(NAMES, max_size=6), NAMES, st.integers(1, 4))
@example(["_" * 254 + "."], "_" * 254 + ".", 4)
def test_names_never_collide_and_stay_safe(others: list[str], raw: str, times: int) -> None:
    taken: set[str] = set()
    for given_name in [*others, *[raw] * times]:
        name = unique_name(safe_name(given_name), taken)
        assert name not in taken
        assert safe_name(name) == name
        taken.add(name)
    assert len(taken) == len(others) + times


@pytest.mark.parametrize("name", ["a.jpg", "x" * 255, "é" * 125 + ".jpeg", "é" * 127, "_" * 254 + "."])
def test_many_files_of_one_name_are_told_apart(name: str) -> None:
    taken: set[str] = set()
    for _ in range(100):
        taken.add(unique_name(name, taken))
    assert len(taken) == 100
    assert all(len(each.encode()) <= LONGEST for each in taken)
