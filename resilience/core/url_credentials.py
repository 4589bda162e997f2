"""URL credentials: names and passwords before the host of a URL, which no message may show.

Who masks must do so before they cut: of ``amqp://app:s3cret@mq`` that was cut within the password nothing says any more
that it is one. So a text is cut here, and what its end leaves open, which may be a password or a host, is masked too.
"""

from __future__ import annotations

import re
from typing import Final

_USERINFO: Final = re.compile(r"://[^/\s]*@")
_LEFT_OPEN: Final = re.compile(r"://[^/\s]*\Z")


def masked(text: str) -> str:
    """*text* with ``***`` in the place of what stands before the host in its URLs."""
    return _USERINFO.sub("://***@", text) if "://" in text and "@" in text else text


def masked_beginning(text: str, most: int) -> str:
    """The beginning of *text*, masked; no more than *most* characters of it are looked at."""
    beginning = str.__getitem__(text, slice(most))  # a plain str, whatever a subclass makes of it
    is_whole = str.__len__(text) <= most
    return masked(beginning if is_whole or "://" not in beginning else _LEFT_OPEN.sub("://***", beginning))
