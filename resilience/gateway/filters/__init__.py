"""Filters of the gateway: what happens to a request before it is forwarded, and to a response before it is sent."""

from .context import FilterContext, FilterRequest, FilterResponse, Identity
from .declare import FilterHost, endpoint_filter, inbound_filter, outbound_filter
from .fields import Fields

__all__ = ["Fields", "FilterContext", "FilterHost", "FilterRequest", "FilterResponse", "Identity", "endpoint_filter",
           "inbound_filter", "outbound_filter"]
