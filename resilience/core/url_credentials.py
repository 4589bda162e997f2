"""URL credentials: names and passwords before the host of a URL, which no message may show.

Who masks must do so before they cut: of ``amqp://app:s3cret@mq`` that was cut within the password nothing says any more
that it is one. So a text is cut here, and what its end leaves open, which may be a password or a host, is masked too.

A password may have a ``/`` in it that ought to be escaped, and then the host seems to end there. What follows its colon
is no port then, and so all of it is masked to the last ``@`` before a space. Of one that begins like a port
(``://app:80/x@mq``) nothing tells that it is none.
"""

from __future__ import annotations

import re
from typing import Final

_WITH_SLASH: Final = r"[^/:@\s\[]*:(?![0-9]{1,5}[/?#])[^/@\s]*/\S*"  # and the rest of the word
_USERINFO: Final = re.compile(rf"://(?:({_WITH_SLASH})|[^/\s]*@)")
_LEFT_OPEN: Final = re.compile(rf"://(?:{_WITH_SLASH}|[^/\s]*)\Z")


def masked(text: str) -> str:
    """*text* with ``***`` in the place of what stands before the host in its URLs."""
    return _USERINFO.sub(_hidden, text) if "://" in text and "@" in text else text


def masked_beginning(text: str, most: int) -> str:
    """The beginning of *text*, masked; no more than *most* characters of it are looked at."""
    beginning = str.__getitem__(text, slice(most))  # a plain str, whatever a subclass makes of it
    is_whole = str.__len__(text) <= most
    return masked(beginning if is_whole or "://" not in beginning else _LEFT_OPEN.sub("://***", beginning))


def _hidden(found: re.Match[str]) -> str:
    _, at, host = (found[1] or "@").rpartition("@")
    return f"://***@{host}" if at else found[0]
