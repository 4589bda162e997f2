"""The key of an operation has the host of its client's endpoint, and had the name and password before it, too."""

import botocore.session
import pytest
from botocore.config import Config

from resilience import Registry
from resilience.integrations.botocore import guard_client


@pytest.mark.parametrize(("endpoint", "host"), [("http://user:s3cret@127.0.0.1:9", "127.0.0.1:9"), ("http://[::1]:9/x", "[::1]:9")])
def test_a_key_has_the_host_and_the_port_alone(endpoint, host):
    registry = Registry()
    client = botocore.session.get_session().create_client(
        "dynamodb", region_name="eu-west-1", endpoint_url=endpoint, aws_access_key_id="id", aws_secret_access_key="key",
        config=Config(retries={"total_max_attempts": 1}))
    client.meta.events.register("before-send", lambda **_: (_ for _ in ()).throw(ConnectionError()))
    guard_client(client, registry=registry)
    with pytest.raises(ConnectionError):
        client.list_tables()
    assert [handle.key for handle in registry] == [f"dynamodb.ListTables@{host}"]
