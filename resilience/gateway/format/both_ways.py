"""Both ways: settings of filters that are about requests, responses, or both."""

from __future__ import annotations

from typing import Any, ClassVar

from ...errors import ConfigError


class BothWays:
    """What the settings of such a filter have in common: one of the two ways must be said something of.

    Attributes:
        request: What is said of requests; None: nothing.
        response: What is said of responses; None: nothing.
        needs: What is to be said, for messages.
    """

    __slots__ = ()
    request: Any
    response: Any
    needs: ClassVar[str] = "changes"

    def __attrs_post_init__(self) -> None:
        if self.request is None and self.response is None:
            raise ConfigError(f"needs {self.needs}: request, response, or both")
