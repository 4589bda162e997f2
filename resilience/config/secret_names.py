"""Secret names: which settings and headers hold a secret, told from what they are called, so that none is shown."""

from __future__ import annotations

import re
from typing import Final

_TELLING: Final = re.compile(
    r"token(?!_type)|secret|password|passwd|credential|authorization|api[_-]?key|cookie(?!s)|"
    r"headers .*\b(?:key|auth|signature)\b", re.I)


def is_telling(name: str) -> bool:
    """Whether what stands under a *name*, after those of the tables around it, is most likely a secret."""
    return _TELLING.search(name) is not None
