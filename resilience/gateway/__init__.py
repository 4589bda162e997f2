"""The reference gateway: routing, commands around upstream calls, streaming; an ASGI 3 application."""

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
