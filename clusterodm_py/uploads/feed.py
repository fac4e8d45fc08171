"""The files of a task in the order they became whole, for whoever passes them on while further ones arrive."""

from __future__ import annotations

from clusterodm_py.uploads.box import Box, SpooledFile


class Feed:
    """Gives out each whole file once: those that are there, and each further one, until `close`.

    An async iterator that several consumers may share. Nothing is held but a position, so one that falls behind, or
    begins late, catches up from the disk. Raises UnknownTask when the task is discarded.
    """

    def __init__(self, box: Box) -> None:
        self._box = box
        self._given = 0
        self._last: int | None = None

    def close(self) -> None:
        """End after the files that are whole now. Again: nothing changes."""
        if self._last is None:
            self._last = self._box.count
            self._box.announce()

    def __aiter__(self) -> Feed:
        return self

    async def __anext__(self) -> SpooledFile:
        while True:
            self._box.check()
            if self._given < (self._box.count if self._last is None else self._last):
                self._given += 1
                return self._box.file(self._given - 1)
            if self._last is not None:
                raise StopAsyncIteration
            await self._box.news()
