"""What was given in the place of another was accepted, or named an internal: an ASGI application to the WSGI class,
a path to Gateway(), a name to Registration(), a URL to Directory(); and an interval of 0 made telemetry spin."""

from __future__ import annotations

import pytest

from resilience import Bulkhead, ConfigError, Registry
from resilience.asgi import telemetry
from resilience.discovery import Directory, Registration
from resilience.gateway import Gateway
from resilience.integrations import asgi, wsgi


class AsgiApp:
    async def __call__(self, scope, receive, send): ...


async def asgi_app(scope, receive, send): ...


@pytest.mark.parametrize("settings", [
    {"interval": 0}, {"interval": "1"}, {"config_interval": -1.0}, {"max_streams": 0}, {"max_streams": 1.5}])
def test_telemetry_has_intervals_and_room_for_a_stream(settings):
    with pytest.raises(ConfigError, match=f"^{next(iter(settings))} must be") as caught:
        telemetry(Registry(), **settings)
    assert caught.value.option == next(iter(settings))


@pytest.mark.parametrize("middleware", [asgi.ResilienceMiddleware, wsgi.ResilienceMiddleware])
@pytest.mark.parametrize(("name", "value"), [("deadline", "5"), ("deadline", 0), ("registry", 3)])
def test_a_middleware_names_its_own_setting(middleware, name, value):
    with pytest.raises(ConfigError, match=f"^{name} must be") as caught:
        middleware(lambda *_: [], limit=Bulkhead(3), **{name: value})
    assert caught.value.option == name


@pytest.mark.parametrize("app", [AsgiApp(), asgi_app])
def test_an_asgi_application_is_sent_to_the_other_class(app):
    with pytest.raises(TypeError, match=r"is an ASGI application; .* resilience\.integrations\.asgi"):
        wsgi.ResilienceMiddleware(app, registry=Registry())


def test_a_path_is_no_configuration_of_a_gateway():
    with pytest.raises(TypeError, match=r"not 'gateway\.toml'; Gateway\.from_file\(\) reads a file"):
        Gateway("gateway.toml")


def test_a_name_is_no_registrant_and_a_url_is_no_source():
    with pytest.raises(TypeError, match=r"such as Registrant\('orders', '10\.0\.0\.7', 8080\), not 'orders'"):
        Registration("orders", "http://127.0.0.1:8761/eureka")
    with pytest.raises(TypeError, match=r"such as EurekaSource\(\.\.\.\), not 'http://127"):
        Directory("orders", "http://127.0.0.1:8761/eureka")
