"""A module whose filters run on every route."""

from resilience.gateway import inbound_filter
from tests.gateway.filters.shop_filters import hello  # noqa: F401 - which is not of this module


@inbound_filter(order=1)
def everywhere(context):
    context.request.headers["x-everywhere"] = context.route
