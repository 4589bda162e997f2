"""Contents: a hash, among settings, of what stands in the files and environment variables that they name.

When the gateway's file is read again, whatever has the same settings as before goes on as it is. A secret, or a file of
certificates, that was replaced at its place is a change of no table. So the settings that name it have a hash of it,
and are others once it has changed. No file can set the hash, and nothing shows it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import attrs

from ...config.document import read_whole
from ...errors import ConfigError
from .secrets import with_secret


def contents_by(read: Callable[[Any], Iterable[bytes]]) -> Any:
    """A field with the hash of what *read* finds for the settings, whose other fields come before it.

    What cannot be read is not the field's business: validators say so.
    """

    def hashed(settings: Any) -> bytes:
        found = hashlib.sha256()
        try:
            for each in read(settings):
                found.update(b"%d:%b" % (len(each), each))
        except (ConfigError, OSError, ValueError):
            return b""
        return found.digest()

    return attrs.field(init=False, repr=False, default=attrs.Factory(hashed, takes_self=True))


def of_secrets(*values: Any) -> Iterator[bytes]:
    """What stands at the places that *values*, or the values of tables among them, name; nothing for others.

    Raises:
        ConfigError: Nothing is there.
    """
    for value in values:
        if isinstance(value, Mapping):
            yield from of_secrets(*value.values())
        elif isinstance(value, str):
            yield with_secret(value).encode()


def of_files(*paths: Any) -> Iterator[bytes]:
    """What is in files; nothing for paths that are None.

    Raises:
        OSError: One cannot be read.
        ValueError: One is too large to be what it is taken for.
    """
    for path in paths:
        if isinstance(path, str):
            yield read_whole(path)
