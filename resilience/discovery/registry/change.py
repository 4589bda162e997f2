"""Changes of instances that other registries are to hear of. Pure."""

from __future__ import annotations

from enum import Flag, auto


class Change(Flag):
    """What has happened to an instance, since the others last heard of it."""

    RENEWED = auto()
    REGISTERED = auto()
    OPERATED = auto()
    LEFT = auto()
