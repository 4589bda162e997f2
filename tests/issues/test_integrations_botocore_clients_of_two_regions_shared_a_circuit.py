"""The keys of a botocore client's commands named the service and the operation. So a region that was down opened the
circuit of the other one, too, which the program had for this case.
"""

import botocore.session
import pytest
from botocore.config import Config

from resilience import CircuitOpenError
from resilience.integrations.botocore import guard_client


@pytest.fixture
def client_of(registry, monkeypatch):
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    made = []

    def make(region, url=None):
        made.append(botocore.session.Session().create_client(
            "dynamodb", region_name=region, endpoint_url=url, config=Config(retries={"total_max_attempts": 1}, proxies={}),
            aws_access_key_id="key", aws_secret_access_key="secret"))
        return guard_client(made[-1], registry=registry)

    yield make
    for client in made:
        client.close()


def test_each_region_and_each_endpoint_has_circuits_of_its_own(client_of, registry):
    hosts = {"dynamodb.eu-west-1.amazonaws.com": client_of("eu-west-1"), "dynamodb.us-east-1.amazonaws.com": client_of("us-east-1"),
             "127.0.0.1:8000": client_of("eu-west-1", "http://127.0.0.1:8000")}
    for host, client in hosts.items():
        with pytest.raises(Exception, match="Missing required parameter"):  # nothing is sent
            client.get_item(TableName="stock")
        registry[f"dynamodb.GetItem@{host}"].force_open()
    assert len(list(registry)) == 3
    with pytest.raises(CircuitOpenError, match="GetItem@dynamodb.us-east-1"):
        client_of("us-east-1").get_item(TableName="stock", Key={})
