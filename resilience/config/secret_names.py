"""Secret names: which settings and headers hold a secret, told from what they are called, so that none is shown."""

from __future__ import annotations

import re
from typing import Final

_TELLING: Final = re.compile(
    r"token(?!_type)|secret|password|passwd|credential|authorization|api[_-]?key|cookie(?!s)|"
    r"headers .*\b(?:key|auth|signature)\b", re.I)
#: A parameter of a query in a URL or a path, but for a place that something is filled in.
_PARAMETER: Final = re.compile(r"([?&]([^=&#\s]+)=)(?!\{)[^&#\s'\"]+")
#: Stands in the place of a secret.
HIDDEN: Final = "(hidden)"


def is_telling(name: str) -> bool:
    """Whether what stands under a *name*, after those of the tables around it, is most likely a secret."""
    return _TELLING.search(name) is not None


def with_hidden_parameters(text: str) -> str:
    """*text* without the secrets in queries of URLs and paths: ``?api_key=...``."""
    return _PARAMETER.sub(_without_secret, text)


def _without_secret(parameter: re.Match[str]) -> str:
    return f"{parameter[1]}{HIDDEN}" if is_telling(parameter[2]) else parameter[0]
