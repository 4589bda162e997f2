"""JSON text to values and back, strictly and within bounds. Pure.

What two parsers could read differently is malformed: a name that an object has twice, NaN and Infinity, a number
beyond the range of a double, half of a surrogate pair, anything but UTF-8, a byte order mark. What would cost too much
is refused before it is parsed: text that is nested too deep for parsers that recurse, and text of too many values,
which cost a hundred times what their bytes do. Both are counted by whole passes over the bytes, in C.

Integers are kept exactly; other numbers are doubles (RFC 8259, section 6), and are written again in their shortest
form.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final

from .unreadable_body import UnreadableBodyError

#: Deepest nesting of arrays and objects.
MAX_DEPTH: Final = 64
#: Values in one text, unless told otherwise: at worst some 15 ms of work, in which the loop does nothing else.
MAX_VALUES: Final = 20_000
#: The same for texts of which one value is read or set, and that are not looked through.
MOST_VALUES: Final = 100_000

#: A string, or what begins like one; possessive, and always a match, so that no text takes more than one pass.
_STRING: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)
_HALF_PAIR: Final = re.compile(rb"\\u[dD][89a-fA-F]")
_NOT_BRACKETS: Final = bytes(set(range(256)) - set(b"[]{}"))


class MalformedJsonError(UnreadableBodyError):
    """The text is no JSON that everybody reads alike. The message says why, in one sentence without the text."""

    @property
    def detail(self) -> str:
        """See UnreadableBodyError."""
        return f"the body is not JSON: {self}"


class TooManyValuesError(UnreadableBodyError):
    """The text has more values than are allowed."""

    status = 413


def parse(text: bytes, *, max_values: int = MAX_VALUES, half_pairs: bool = False) -> Any:
    """The value that *text* stands for.

    Args:
        text: In UTF-8.
        max_values: Most strings, numbers, arrays and objects in it, together.
        half_pairs: Whether strings may have half of a surrogate pair.

    Raises:
        MalformedJsonError: It is not JSON, ambiguous, or nested too deep.
        TooManyValuesError: It has more values.
    """
    check_size(text, max_values)
    try:
        value = json.loads(text.decode(), object_pairs_hook=_object, parse_float=_number, parse_constant=_no_number)
        if not half_pairs and _HALF_PAIR.search(text):
            _in_utf8(value)
    except UnicodeDecodeError:
        raise MalformedJsonError("the text is not UTF-8") from None
    except UnicodeEncodeError:
        raise MalformedJsonError("a string has half of a surrogate pair") from None
    except json.JSONDecodeError as error:
        raise MalformedJsonError(f"{error.msg}, at line {error.lineno}, column {error.colno}") from None
    except MalformedJsonError:
        raise
    except ValueError:  # of int(), which takes no more than 4,300 digits
        raise MalformedJsonError("a number has too many digits") from None
    return value


def serialize(value: Any) -> bytes:
    """*value* as JSON text without white space, in UTF-8; half of a surrogate pair stays the escape that it was."""
    try:
        return _in_utf8(value)
    except UnicodeEncodeError:
        return json.dumps(value, allow_nan=False, separators=(",", ":")).encode()


def value_mistake(value: Any) -> str | None:
    """Why no JSON text can have a *value*, as of a date, NaN or infinity in a file of settings; None: one can."""
    try:
        serialize(value)
    except (TypeError, ValueError, RecursionError) as error:
        return f"cannot stand in JSON: {error}"
    return None


def _in_utf8(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def check_size(text: bytes, max_values: int) -> None:
    """See that a text does not cost too much to parse; what is no JSON may pass for small.

    Raises:
        MalformedJsonError: It is nested too deep.
        TooManyValuesError: It has more values than *max_values*.
    """
    if _values(text) > max_values or text.count(b"[") + text.count(b"{") > MAX_DEPTH:
        bare = _STRING.sub(b"", text)
        if _values(bare) > max_values:
            raise TooManyValuesError(f"the text has more than {max_values} values")
        brackets = bare.translate(None, _NOT_BRACKETS)
        for _ in range(MAX_DEPTH):
            brackets = brackets.replace(b"[]", b"").replace(b"{}", b"")
            if not brackets:
                return
        raise MalformedJsonError(f"arrays and objects are nested deeper than {MAX_DEPTH}, or not closed")


def _values(text: bytes) -> int:
    """How many values there are at most: each but the first follows a comma, a colon or a bracket."""
    return 1 + text.count(b",") + text.count(b":") + text.count(b"[") + text.count(b"{")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise MalformedJsonError("an object has a name twice")
    return made


def _number(digits: str) -> float:
    number = float(digits)
    if number - number:  # infinite
        raise MalformedJsonError("a number is beyond the range of a double")
    return number


def _no_number(name: str) -> float:
    raise MalformedJsonError(f"{name} is not JSON")
