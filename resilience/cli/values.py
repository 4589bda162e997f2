"""Values: what arguments of the command line may be. Each function raises argparse.ArgumentTypeError for a mistake."""

from __future__ import annotations

import argparse

from ..config.mistakes import shown


def port(text: str) -> int:
    """A port."""
    number = _whole(text, 65_535)
    if number is None:
        raise argparse.ArgumentTypeError(f"{shown(text)} is not a port; it must be a whole number from 1 to 65535")
    return number


def name(text: str) -> str:
    """A name."""
    if not text.isprintable():
        raise argparse.ArgumentTypeError(f"{shown(text)} is not a name; it must be printable text")
    return text


def host(text: str) -> str:
    """This machine's name, or an address of it."""
    from ..gateway.config.addresses import bind_mistake

    bare = text.removeprefix("[").removesuffix("]")
    address = f"[{bare}]" if ":" in bare else bare
    if bind_mistake(f"{address}:1") is not None:
        raise argparse.ArgumentTypeError(f"{shown(text)} is not a host; it must be this machine's name or address")
    return address


def count(text: str) -> int:
    """A number of workers."""
    number = _whole(text, 256)
    if number is None:
        raise argparse.ArgumentTypeError(f"{shown(text)} is not a number of workers; it must be from 1 to 256")
    return number


def _whole(text: str, most: int) -> int | None:
    """The number from 1 to *most* that a text is; None: it is something else."""
    if not text.isdecimal() or len(text) > len(str(most)) or not 1 <= int(text) <= most:
        return None
    return int(text)


def seconds(text: str) -> float:
    """A duration."""
    try:
        duration = float(text)
    except ValueError:
        duration = -1.0
    if not 0 < duration <= 86_400:
        raise argparse.ArgumentTypeError(f"{shown(text)} is not a duration; it must be a number of seconds above 0")
    return duration
