"""Bytes of a telnet client -> lines of text, however they were cut into packets. Answers no negotiation, no I/O."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import Enum, auto
from types import MappingProxyType
from typing import Final

_IAC, _DONT, _DO, _WONT, _WILL, _SB, _SE = 255, 254, 253, 252, 251, 250, 240  # RFC 854
_NUL, _NEWLINE, _RETURN = 0, 10, 13


class _State(Enum):
    TEXT = auto()
    COMMAND = auto()  # after IAC
    OPTION = auto()  # after IAC WILL and its like: the next byte names the option
    PARAMETERS = auto()  # between IAC SB and IAC SE
    PARAMETERS_COMMAND = auto()  # after IAC in there


_S = _State

_LEADS_TO: Final[Mapping[tuple[_State, int], _State]] = MappingProxyType(
    {
        (_S.TEXT, _IAC): _S.COMMAND,
        **{(_S.COMMAND, verb): _S.OPTION for verb in (_DONT, _DO, _WONT, _WILL)},
        (_S.COMMAND, _SB): _S.PARAMETERS,
        (_S.PARAMETERS, _IAC): _S.PARAMETERS_COMMAND,
        (_S.PARAMETERS_COMMAND, _SE): _S.TEXT,
    }
)
"""The bytes that mean something in a state."""

_OTHERWISE: Final[Mapping[_State, _State]] = MappingProxyType(
    {
        _S.TEXT: _S.TEXT,
        _S.COMMAND: _S.TEXT,
        _S.OPTION: _S.TEXT,
        _S.PARAMETERS: _S.PARAMETERS,
        _S.PARAMETERS_COMMAND: _S.PARAMETERS,
    }
)
"""Where any other byte leads."""


class LineTooLong(ValueError):
    """The client sends no commands."""


class LineBuffer:
    """Joins packets and gives out whole lines, without their ends: `\\n`, `\\r\\n`, `\\r\\0` or `\\r`.

    Feeding the same bytes in other pieces gives the same lines; never holds more than `limit` bytes.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._line = bytearray()
        self._state = _State.TEXT
        self._returned = False

    def feed(self, data: bytes) -> Iterator[str]:
        """The lines that `data` completes, in order. Raises LineTooLong after those that came before."""
        for byte in data:
            if not self._is_text(byte):
                continue
            returned, self._returned = self._returned, byte == _RETURN
            if returned and byte in (_NEWLINE, _NUL):
                continue  # the second half of a line end
            if byte in (_RETURN, _NEWLINE):
                yield self.rest()
            else:
                self._append(byte)

    def rest(self) -> str:
        """What came after the last line end, taken out."""
        line, self._line = self._line, bytearray()
        return line.decode(errors="replace")

    def _append(self, byte: int) -> None:
        if len(self._line) >= self._limit:
            raise LineTooLong
        self._line.append(byte)

    def _is_text(self, byte: int) -> bool:
        was = self._state
        self._state = _LEADS_TO.get((was, byte), _OTHERWISE[was])
        if was is _State.COMMAND:
            return byte == _IAC  # doubled, it is a byte of text
        return was is _State.TEXT and byte != _IAC
