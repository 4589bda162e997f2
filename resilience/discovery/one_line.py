"""One line: what others have said, for a line of the log. Pure."""

from __future__ import annotations

from typing import Final

_MOST: Final = 500


def one_line(said: object) -> str:
    """The beginning of what *said* is as a text, with escapes for line breaks and all else that cannot be printed."""
    text = f"{said}"
    text = text if len(text) <= _MOST else f"{text[:_MOST]}..."
    return text if text.isprintable() else "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)
