"""A service with the name of a filter's command passed the check of the file, and neither a start nor a reload."""

import pytest

from resilience.config.document import Document
from resilience.config.mistakes import ConfigFileError
from resilience.errors import ConfigError
from resilience.gateway.config import GatewayConfig, ServiceConfig
from resilience.gateway.config.file import read

NAMES = ["filter.auth", "filter.auth.call", "filter.any"]


def document(name):
    return Document.of({"services": {name: {"endpoints": ["http://127.0.0.1:9"]}},
                        "routes": [{"path": "/*", "service": name}],
                        "filters": {"auth": {"use": "forward_auth", "url": "http://127.0.0.1:9/"}}}, "gateway.toml")


@pytest.mark.parametrize("name", NAMES)
def test_the_file_says_that_the_name_is_a_filters(name):
    with pytest.raises(ConfigFileError) as caught:
        read(document(name))
    (mistake,) = caught.value.mistakes
    assert str(mistake).endswith(
        f'services."{name}": names that begin with \'filter.\' are those of filters; give the service another one')
    with pytest.raises(ConfigError, match="are those of filters"):
        GatewayConfig(services={name: ServiceConfig(endpoints=["http://127.0.0.1:9"])})


def test_other_names_are_free():
    assert ["filters", "a.filter.auth"] == [*(name for each in ("filters", "a.filter.auth")
                                              for name in read(document(each)).services)]
