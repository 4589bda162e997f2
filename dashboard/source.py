"""StreamSource: one metrics stream that the operator named, checked once.

Theory of operation. The operator's list is the only place a stream's address can come from: the page asks for streams
by their index, never by address, so the server cannot be talked into fetching anything else. An address is either

- relative to the page's own origin (`/resilience.stream`): the browser connects by itself, or
- absolute (`http://host/hystrix.stream`): the server relays it, because a page may not read another origin.

Whatever could be read as something else by a browser or a server (`//host`, backslashes, white space, control
characters) is refused here, at start, with a sentence that says why.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, field
from urllib.parse import SplitResult, unquote, urlsplit

_UNSAFE = re.compile(r"[^\x21-\x7e]|[\\\"<>^`{|}]")
_MAX_LENGTH = 2048


@dataclass(frozen=True, kw_only=True, slots=True)
class StreamSource:
    """One stream: where it is and how it may be shown.

    Attributes:
        label: The address as the page may show it; never holds credentials.
        relayed: True if the server fetches it, False if the browser does.
        tls: Whether the relay speaks TLS to it.
        host: Host to connect to (relayed streams).
        port: Port to connect to (relayed streams).
        target: Path and query for the request line.
        authority: What goes into the Host header.
        authorization: Value of the Authorization header, from `user:password@` in the address; None without.
    """

    label: str
    relayed: bool
    tls: bool = False
    host: str = ""
    port: int = 0
    target: str = ""
    authority: str = ""
    authorization: str | None = field(default=None, repr=False)

    @classmethod
    def parse(cls, address: str) -> StreamSource:
        """Check an address and take it apart.

        Raises:
            TypeError: It is no string.
            ValueError: It is neither a path on the page's own origin nor an http(s) URL with a host.
        """
        if not isinstance(address, str):
            raise TypeError(f"a stream must be a string, not {type(address).__name__}")
        if not address or len(address) > _MAX_LENGTH:
            raise ValueError(f"a stream's address must have 1 to {_MAX_LENGTH} characters, this one has {len(address)}")
        if _UNSAFE.search(address):
            raise ValueError(f"stream {_shown(address)}: unusual characters must be percent-encoded")
        if address.startswith("/"):
            if address.startswith("//"):
                raise ValueError(f"stream {_shown(address)}: write http: or https: before a host")
            return cls(label=address, relayed=False)
        return cls._absolute(address)

    @classmethod
    def _absolute(cls, address: str) -> StreamSource:
        try:
            parts = urlsplit(address)
            port = parts.port
        except ValueError as error:
            raise ValueError(f"stream {_shown(address)}: {error}") from None
        if parts.scheme not in ("http", "https") or not parts.hostname:
            hint = "must be http://host/path, https://host/path, or a path that starts with /"
            raise ValueError(f"stream {_shown(address)}: {hint}")
        if port == 0:
            raise ValueError(f"stream {_shown(address)}: port 0 cannot be connected to")
        tls = parts.scheme == "https"
        authority = parts.netloc.rpartition("@")[2]
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        return cls(
            label=f"{parts.scheme}://{authority}{target}",
            relayed=True,
            tls=tls,
            host=parts.hostname,
            port=port or (443 if tls else 80),
            target=target,
            authority=authority,
            authorization=_basic(parts),
        )


def _shown(address: str) -> str:
    """The address for an error message: short, printable, without credentials."""
    return repr(re.sub(r"//[^/]*@", "//...@", address)[:100])


def _basic(parts: SplitResult) -> str | None:
    if parts.username is None:
        return None
    pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return "Basic " + base64.b64encode(pair.encode()).decode("ascii")
