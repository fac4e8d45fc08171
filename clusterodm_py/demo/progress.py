"""Progress that reads well: a bar redrawn in place on a terminal, a line for every quarter elsewhere."""

from __future__ import annotations

from typing import Final, TextIO

_WIDTH: Final = 30
_LABEL: Final = 12
_QUARTER: Final = 25


class Bar:
    """One line of progress, from 0 to 100."""

    def __init__(self, label: str, out: TextIO) -> None:
        self._label = label
        self._out = out
        self._live = out.isatty()
        self._shown: int | None = None
        self._line = ""
        self._longest = 0

    def show(self, percent: float, note: str = "") -> None:
        """Progress never goes back, whatever is told."""
        whole = max(self._shown or 0, min(100, int(percent)))
        if self._live:
            self._redraw(whole, note)
        elif self._shown is None or whole // _QUARTER > self._shown // _QUARTER:
            self._out.write(f"{self._label:<{_LABEL}}{whole:3d} %  {note}".rstrip() + "\n")
        self._shown = whole
        self._out.flush()

    def done(self, note: str = "") -> None:
        self.show(100, note)
        if self._live:
            self._out.write("\n")
            self._out.flush()

    def _redraw(self, percent: int, note: str) -> None:
        filled = _WIDTH * percent // 100
        line = f"{self._label:<{_LABEL}}[{'#' * filled}{'-' * (_WIDTH - filled)}] {percent:3d} %  {note}".rstrip()
        self._longest = max(self._longest, len(line))
        if line != self._line:
            self._line = line
            self._out.write(f"\r{line:<{self._longest}}")
