from __future__ import annotations

import io

from clusterodm_py.demo.progress import Bar


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_elsewhere_than_on_a_terminal_every_quarter_is_a_line() -> None:
    out = io.StringIO()
    bar = Bar("Working", out)
    for percent in range(0, 100, 5):
        bar.show(percent, "here")
    bar.done()
    lines = out.getvalue().splitlines()
    assert lines == [
        *(f"Working     {percent:3d} %  here" for percent in (0, 25, 50, 75)),
        "Working     100 %",
    ]


def test_a_terminal_keeps_one_line() -> None:
    out = Terminal()
    bar = Bar("Working", out)
    for percent in (50, 50.2, 50.4):
        bar.show(percent, "a long note")
    bar.done()
    first, second = out.getvalue().rstrip("\n").split("\r")[1:]
    assert "[###############---------------]  50 %  a long note" in first
    assert second.startswith("Working     [" + "#" * 30 + "] 100 %")
    assert len(second) >= len(first)
    assert out.getvalue().endswith("\n")


def test_progress_never_goes_back() -> None:
    out = io.StringIO()
    bar = Bar("Working", out)
    for percent in (50, 10, 60, 300, 80):
        bar.show(percent)
    assert out.getvalue().split()[1::3] == ["50", "100"]
