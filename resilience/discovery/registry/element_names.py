"""Element names: metadata may have any name, and XML takes few of them for an element. Pure.

What XML does not take is written as _xHHHH_, the number of the character (ISO/IEC 9075-14), and so is an underscore
that would look like the beginning of that. Whoever reads names so gets what was registered.
"""

from __future__ import annotations

import re
from typing import Final

_NOT_IN_NAME: Final = re.compile(r"[^A-Za-z0-9_.-]|^[^A-Za-z_]|_(?=x[0-9A-Fa-f]{4,6}_)").sub
_WRITTEN: Final = re.compile(r"_x([0-9A-Fa-f]{4,6})_").sub


def element_name(name: str) -> str:
    """A name that XML takes for an element."""
    return _NOT_IN_NAME(lambda found: f"_x{ord(found[0]):04X}_", name)


def read_name(name: str) -> str:
    """The name that an element's name stands for."""
    return _WRITTEN(_character, name)


def _character(found: re.Match[str]) -> str:
    number = int(found[1], 16)
    return chr(number) if number <= 0x10FFFF else found[0]
