"""Handles: the helpers of this package take a command's handle, or the function that it guards."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..handles import handle_of
from ..pipeline.command import Command

Target = Command | Callable[..., Any]

__all__ = ["Target", "handle_of"]
