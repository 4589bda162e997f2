"""Locator: on which line of a TOML text each key and array element stands.

tomllib tells the values but not where they came from. This walks the same text a
second time and notes lines only. It is run on text that tomllib has accepted, so
it need not recognise what is wrong, only find where one thing ends and the next
begins: keys, strings, brackets, comments.
"""

from __future__ import annotations

import bisect
import re
from collections.abc import Sequence

Path = tuple[str | int, ...]

_BLANK = re.compile(r"(?:[ \t\r\n]+|#[^\n]*)*")
_SPACE = re.compile(r"[ \t]*")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_BASIC = re.compile(r'"(?:[^"\\]|\\.)*"')
_LITERAL = re.compile(r"'[^']*'")
_LONG_BASIC = re.compile(r'"""(?:[^\\]|\\.)*?"""(?:"{0,2}(?!"))', re.DOTALL)
_LONG_LITERAL = re.compile(r"'''.*?'''(?:'{0,2}(?!'))", re.DOTALL)
_SCALAR = re.compile(r"[^,\]}#\n]+")
_ESCAPE = re.compile(r"\\(?:u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|(.))")
_SHORT_ESCAPES = {"b": "\b", "t": "\t", "n": "\n", "f": "\f", "r": "\r"}


def lines_of(text: str) -> dict[Path, int]:
    """The line, from 1, of every key and array element of *text*, which must be valid TOML.

    A key of an inline table stands on its own line; a table on that of its header.
    """
    return _Scanner(text).scan()


def line_at(lines: dict[Path, int], path: Sequence[str | int]) -> int:
    """The line of *path*, or of the nearest thing around it that has one; 1 if none has."""
    where = tuple(path)
    while where and where not in lines:
        where = where[:-1]
    return lines.get(where, 1)


class _Scanner:
    def __init__(self, text: str) -> None:
        self._text, self._at = text, 0
        self._ends = [match.start() for match in re.finditer("\n", text)]
        self._lines: dict[Path, int] = {}
        self._last: dict[Path, int] = {}  # index of the last element of each array of tables

    def scan(self) -> dict[Path, int]:
        table: Path = ()
        while True:
            self._skip(_BLANK)
            if self._at >= len(self._text):
                return self._lines
            if self._text[self._at] == "[":
                table = self._header()
            else:
                self._pair(table)

    def _header(self) -> Path:
        is_array = self._text.startswith("[[", self._at)
        start = self._at
        self._at += 2 if is_array else 1
        names = self._key()
        self._skip(_SPACE)
        self._at += 2 if is_array else 1
        path: Path = ()
        for i, name in enumerate(names):
            path = (*path, name)
            if is_array and i == len(names) - 1:
                self._last[path] = self._last.get(path, -1) + 1
                self._note(path, start)
            if path in self._last:
                path = (*path, self._last[path])
            self._note(path, start)
        return path

    def _pair(self, table: Path) -> None:
        start, path = self._at, table
        for name in self._key():
            path = (*path, name)
            self._note(path, start)
        self._skip(_SPACE)
        self._at += 1  # =
        self._skip(_SPACE)
        self._value(path)

    def _value(self, path: Path) -> None:
        text, at = self._text, self._at
        if text.startswith('"""', at):
            self._skip(_LONG_BASIC)
        elif text.startswith("'''", at):
            self._skip(_LONG_LITERAL)
        elif text[at] == '"':
            self._skip(_BASIC)
        elif text[at] == "'":
            self._skip(_LITERAL)
        elif text[at] in "[{":
            self._many(path, "]" if text[at] == "[" else "}")
        else:
            self._skip(_SCALAR)

    def _many(self, path: Path, closing: str) -> None:
        self._at += 1
        index = 0
        while True:
            self._skip(_BLANK)
            if self._text[self._at] == closing:
                self._at += 1
                return
            if self._text[self._at] == ",":
                self._at += 1
            elif closing == "}":
                self._pair(path)
            else:
                element = (*path, index)
                self._note(element, self._at)
                self._value(element)
                index += 1

    def _key(self) -> list[str]:
        names = []
        while True:
            self._skip(_SPACE)
            first = self._text[self._at]
            if first == '"':
                names.append(_ESCAPE.sub(_unescape, self._skip(_BASIC)[1:-1]))
            elif first == "'":
                names.append(self._skip(_LITERAL)[1:-1])
            else:
                names.append(self._skip(_BARE_KEY))
            self._skip(_SPACE)
            if self._text[self._at] != ".":
                return names
            self._at += 1

    def _note(self, path: Path, at: int) -> None:
        self._lines.setdefault(path, bisect.bisect_left(self._ends, at) + 1)

    def _skip(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self._text, self._at)
        if match is None:  # not TOML after all; get on with it
            self._at += 1
            return ""
        self._at = match.end()
        return match.group()


def _unescape(match: re.Match[str]) -> str:
    code = match.group(1) or match.group(2)
    return chr(int(code, 16)) if code else _SHORT_ESCAPES.get(match.group(3), match.group(3))
