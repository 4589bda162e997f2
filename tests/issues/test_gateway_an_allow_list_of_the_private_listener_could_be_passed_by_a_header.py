"""Filters read X-Forwarded-For by the trusted proxies of [gateway], on private routes too.

With another list in [private], a client behind the proxy of the private listener passed an allow-list of addresses: the filter
took the proxy for the client. Two lists that differ are a mistake now.
"""

import pytest

from resilience.config import ConfigFileError, Document
from resilience.errors import ConfigError
from resilience.gateway.config import GatewayConfig, GatewaySettings, PrivateListener, RouteConfig, ServiceConfig, read

ROUTE = {"path": "/*", "service": "stock"}


@pytest.mark.parametrize(("public", "private", "fits"), [
    ([], ["127.0.0.1"], False), (["127.0.0.1"], [], False), (["10.0.0.0/8", "127.0.0.1"], ["127.0.0.1"], False),
    (["10.0.0.0/8", "127.0.0.1"], ["127.0.0.1", "10.0.0.0/8"], True), ([], [], True)])
def test_both_sides_trust_the_same_proxies(public, private, fits):
    data = {"gateway": {"trusted_proxies": public}, "services": {"stock": {"endpoints": ["http://127.0.0.1:9"]}}, "routes": [ROUTE],
            "private": {"bind": "127.0.0.1:8081", "trusted_proxies": private, "routes": [ROUTE]}}
    if fits:
        assert set(private) == set(read(Document.of(data, "test")).private.settings.trusted_proxies)
        return
    with pytest.raises(ConfigFileError, match=r"private\.trusted_proxies: must be the same as gateway\.trusted_proxies"):
        read(Document.of(data, "test"))
    with pytest.raises(ConfigError, match="must be the same"):
        GatewayConfig(
            gateway=GatewaySettings(trusted_proxies=tuple(public)), routes=(RouteConfig(**ROUTE),),
            services={"stock": ServiceConfig(endpoints=("http://127.0.0.1:9",))}, private=PrivateListener(
                settings=GatewaySettings(bind="127.0.0.1:8081", trusted_proxies=tuple(private)), routes=(RouteConfig(**ROUTE),)))
