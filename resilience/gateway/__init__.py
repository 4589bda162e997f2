"""The reference gateway: routing, commands around upstream calls, streaming; an ASGI 3 application.

The way of a request, and the room of each step:

    front/, or asgi.py      reads it from its client, and writes the answer
    gateway.py              takes the configuration in force (generation.py), and keeps it until the answer is complete
    limits/                 admits it, or sheds it if there is too much to do
    request_mapping.py      finds its route by routing/, and makes of its head what is sent upstream
    filters/, format/       authenticate, limit, check and change it, and later its answer
    forwarding.py           takes the bytes both ways; composition/ asks several services instead
    services/               each attempt at it, under the command of the endpoint that balancing/ chose
    upstream/               the connection to that endpoint; http2/ is what it has in common with front/
    answers/                what the answer counts as, and what the client gets in its place
    logs/                   what it came to

messages/ is what all of these know of HTTP. config/ reads the file. server.py listens; supervision/ keeps several such
processes alive, and admin/ shows and changes them.
"""

from .config import GatewayConfig, load
from .filters import (
                      Fields,
                      FilterContext,
                      FilterHost,
                      FilterRequest,
                      FilterResponse,
                      Identity,
                      endpoint_filter,
                      inbound_filter,
                      outbound_filter,
)
from .gateway import Gateway

__all__ = ["Fields", "FilterContext", "FilterHost", "FilterRequest", "FilterResponse", "Gateway", "GatewayConfig",
           "Identity", "endpoint_filter", "inbound_filter", "load", "outbound_filter"]


def __dir__() -> list[str]:
    """The public names; submodules are there to be imported, not to be listed."""
    return [*__all__]
