"""A filter that an annotation declares."""

from resilience.gateway import outbound_filter


@outbound_filter
def stamp(context):
    """Say that the filter was here."""
    context.response.headers["x-stamp"] = "stamped"
