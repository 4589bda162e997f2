"""Handles: the helpers of this package take a command's handle, or the function that it guards."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..commands.command import Command
from ..commands.handles import handle_of

Target = Command | Callable[..., Any]

__all__ = ["Target", "handle_of"]
