"""Files: the page's static files, read once into memory and served by exact name.

Theory of operation. All files are small and ship with the package, so they are read when the application is made. A
request's path is looked up in that mapping and never touches the file system: there is nothing to traverse. Each file
has a strong ETag and must be revalidated, so an upgraded server never meets an old page.

The policy forbids inline code and styles, every foreign origin, framing, and (Trusted Types) turning strings into HTML
at all: even a mistake in the page could not make markup out of a command's name.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable

Headers = list[tuple[bytes, bytes]]

_MEDIA_TYPES = {
    "html": b"text/html; charset=utf-8",
    "css": b"text/css; charset=utf-8",
    "js": b"text/javascript; charset=utf-8",
    "svg": b"image/svg+xml",
}
_POLICY = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    b"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
)
SAFETY: Headers = [
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", _POLICY),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
]


@dataclass(frozen=True, kw_only=True, slots=True)
class PageFile:
    """One static file: its bytes, its media type and its entity tag."""

    body: bytes
    media_type: bytes
    etag: bytes

    def headers(self) -> Headers:
        """Response headers, without Content-Length."""
        return [
            (b"content-type", self.media_type),
            (b"etag", self.etag),
            (b"cache-control", b"no-cache"),
            *SAFETY,
        ]

    def matches(self, if_none_match: bytes | None) -> bool:
        """Whether an If-None-Match header names this version."""
        if if_none_match is None:
            return False
        tags = [tag.strip().removeprefix(b"W/") for tag in if_none_match.split(b",")]
        return self.etag in tags or b"*" in tags


def load_page() -> dict[str, PageFile]:
    """Read all static files: URL path to file. `/` is the page itself.

    Raises:
        OSError: The package was installed without its static files.
    """
    found: dict[str, PageFile] = {}
    _collect(resources.files(__package__ or "resilience_dashboard").joinpath("page"), "", found)
    found["/"] = found["/index.html"]
    return found


def _collect(folder: Traversable, prefix: str, found: dict[str, PageFile]) -> None:
    for entry in folder.iterdir():
        path = f"{prefix}/{entry.name}"
        if entry.is_dir():
            _collect(entry, path, found)
        elif media_type := _MEDIA_TYPES.get(entry.name.rpartition(".")[2]):
            body = entry.read_bytes()
            etag = b'"%s"' % hashlib.sha256(body).hexdigest()[:32].encode()
            found[path] = PageFile(body=body, media_type=media_type, etag=etag)
