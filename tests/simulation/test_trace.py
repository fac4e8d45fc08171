from __future__ import annotations

from pathlib import Path

import pytest

from clusterodm_py.core.types import NOBODY, OwnerId
from clusterodm_py.simulation.trace import BadTrace, read_trace


def trace(folder: Path, text: str | bytes) -> Path:
    path = folder / "trace.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_a_trace_is_read_in_the_order_of_its_arrivals(tmp_path: Path) -> None:
    text = "arrival,images,bytes,seconds\n60,20,1000,7.5\n\n0.5, 5 ,0,1\n"
    jobs = read_trace(trace(tmp_path, text))
    assert [(job.arrival, job.images, job.bytes, job.work) for job in jobs] == [
        (0.5, 5, 0, 1.0),
        (60, 20, 1000, 7.5),
    ]
    assert {job.owner for job in jobs} == {NOBODY}


def test_columns_may_be_in_any_order_and_optional_ones_are_read(tmp_path: Path) -> None:
    text = "\ufeffOwner,seconds,bytes,images,arrival,priority\r\nann,1,2,3,4,-5\r\n"
    (job,) = read_trace(trace(tmp_path, text))
    assert (job.owner, job.work, job.bytes, job.images, job.arrival, job.priority) == (
        OwnerId("ann"),
        1,
        2,
        3,
        4,
        -5,
    )


HEADER = "arrival,images,bytes,seconds\n"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (
            HEADER + "0,1,1,1\n0,many,1,1\n",
            "trace.csv, line 3, column images: 'many' is not a whole number from 1",
        ),
        (HEADER + "0,0,1,1\n", "line 2, column images: '0' is not a whole number from 1"),
        (HEADER + "0,1,-1,1\n", "line 2, column bytes: '-1' is not a whole number from 0"),
        (HEADER + "0,1,1,nan\n", "line 2, column seconds: 'nan' is not a number of seconds from 0"),
        (HEADER + "\n-1,1,1,1\n", "line 3, column arrival: '-1' is not a number of seconds from 0"),
        (HEADER + "inf,1,1,1\n", "column arrival"),
        (HEADER + "0,1,1\n", "line 2: it has 3 columns, the header 4"),
        (
            "arrival,images,bytes,second\n",
            "line 1: there is no column 'second'; arrival, images, bytes, seconds are",
        ),
        ("arrival,images,bytes\n", "line 1: column seconds is missing"),
        ("arrival,images,bytes,seconds,bytes\n", "line 1: column bytes is there twice"),
        ("", "line 1: column arrival is missing"),
        (HEADER, "trace.csv has no tasks"),
        (HEADER + '"0,1,1,1\n', "no CSV file"),
        (b"\xff\xfe\x00", "no CSV file in UTF-8"),
        (
            "arrival,images,bytes,seconds,priority\n0,1,1,1,high\n",
            "column priority: 'high' is not a whole number",
        ),
    ],
)
def test_a_complaint_names_the_line_and_the_column(tmp_path: Path, text: str | bytes, complaint: str) -> None:
    with pytest.raises(BadTrace) as caught:
        read_trace(trace(tmp_path, text))
    assert complaint in str(caught.value)


def test_a_file_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(BadTrace, match="cannot be read: No such file"):
        read_trace(tmp_path / "none.csv")
