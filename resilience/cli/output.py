"""Output: what commands print, be it that nobody reads it, or that it cannot be written."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import NoReturn


def show(text: str = "", end: str = "\n") -> None:
    """Print what was asked for, now.

    Raises:
        OSError: It cannot be written; BrokenPipeError: nobody reads it.
    """
    try:
        print(text, end=end, flush=True)
    except OSError as error:
        sys.stdout = None  # what it still holds would fail again when the interpreter ends
        if isinstance(error, BrokenPipeError):
            raise
        raise OSError(f"the output cannot be written: {error.strerror}") from None


def announce(text: str) -> None:
    """Print where something is; whether anybody can read that is no matter to what serves."""
    with contextlib.suppress(OSError):
        show(text)


def fail(message: str, status: int = 2) -> NoReturn:
    """Say what is wrong, and exit."""
    try:
        print(f"resilience: {message}", file=sys.stderr, flush=True)
    except OSError:  # the status says it, too
        sys.stderr = None  # as for stdout
    sys.exit(status)


def hold_standard_streams() -> None:
    """Open what was closed of the standard streams: else the first files and sockets have their descriptors.

    What is meant for the streams would then be written to these, and libuv ends a process that closes one of them.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # the lowest that is free
