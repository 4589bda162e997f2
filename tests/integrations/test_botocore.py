"""botocore's client against a real HTTP server: one exception class for everything, told apart by its code."""

from __future__ import annotations

import random

import botocore.exceptions
import botocore.session
import pytest
from botocore.config import Config

from resilience import CircuitBreaker, CircuitOpenError, Registry, Retry
from resilience.config import configure
from resilience.errors import ConfigError
from resilience.integrations.botocore import guard_client

NEVER = CircuitBreaker(min_calls=1000)
VERDICTS = ("success", "failure", "busy", "bad_request", "timeout")
TARGET = "botocore.client:BaseClient._make_api_call"
#: (status, code, verdict)
ANSWERS = (
    (200, "", "success"), (400, "ValidationException", "bad_request"), (400, "ResourceNotFoundException", "bad_request"),
    (400, "ConditionalCheckFailedException", "bad_request"), (403, "AccessDeniedException", "bad_request"),
    (400, "ThrottlingException", "busy"), (400, "ProvisionedThroughputExceededException", "busy"),
    (400, "RequestLimitExceeded", "busy"), (503, "SlowDown", "busy"), (503, "RequestLimitExceeded", "busy"),
    (429, "TooManyRequestsException", "busy"), (429, "Other", "busy"), (400, "RequestTimeout", "failure"),
    (500, "InternalServerError", "failure"), (503, "ServiceUnavailable", "failure"), (502, "", "failure"),
)


@pytest.fixture
def shared():
    registry = Registry()
    yield registry
    registry.close()


@pytest.fixture
def clients(answering, monkeypatch, tmp_path):
    """Makes clients of a service, without whatever this machine has to say of AWS."""
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    made = []

    def make(service="dynamodb", attempts=1, **options):
        keys = {"aws_access_key_id": "key", "aws_secret_access_key": "secret"}
        client = botocore.session.Session().create_client(
            service, region_name="eu-west-1", endpoint_url=answering.url,
            config=Config(retries={"total_max_attempts": attempts}, proxies={}), **{**keys, **options})
        made.append(client)
        return client

    yield make
    for client in made:
        client.close()


def answer(status, code, headers=None):
    body = b"{}" if status == 200 else f'{{"__type": "com.amazon#{code}", "message": "as asked"}}'.encode()
    return status, {"Content-Type": "application/x-amz-json-1.0", **(headers or {})}, body


def get(client):
    return client.get_item(TableName="stock", Key={"sku": {"S": "apple"}})


def counts(registry, key):
    found = next(each for each in registry if each.key.partition("@")[0] == key).snapshot().counts
    return {name: found[name] for name in VERDICTS if found[name]}


def test_each_operation_is_a_command_and_error_codes_are_judged(clients, answering, shared):
    client = clients()
    assert client is guard_client(client, registry=shared, breaker=NEVER)
    rng, expected = random.Random(1), dict.fromkeys(VERDICTS, 0)
    for status, code, verdict in rng.choices(ANSWERS, k=60) + list(ANSWERS):
        answering.answers.append(answer(status, code))
        expected[verdict] += 1
        try:
            get(client)
        except botocore.exceptions.ClientError as error:
            assert status == error.response["ResponseMetadata"]["HTTPStatusCode"]
    assert {name: n for name, n in expected.items() if n} == counts(shared, "dynamodb.GetItem")
    client.list_tables()
    host = answering.url.removeprefix("http://")
    assert {f"dynamodb.GetItem@{host}", f"dynamodb.ListTables@{host}"} == {handle.key for handle in shared}
    assert {"dynamodb"} == {handle.group for handle in shared}
    assert "DynamoDB" == type(client).__name__


def test_what_is_wrong_before_anything_is_sent_is_the_callers_fault(clients, answering, shared):
    client = clients()
    guard_client(client, registry=shared, breaker=NEVER)
    with pytest.raises(botocore.exceptions.ParamValidationError):
        client.get_item(TableName="stock")
    assert {"bad_request": 1} == counts(shared, "dynamodb.GetItem")
    keyless = guard_client(clients(aws_access_key_id=None, aws_secret_access_key=None), registry=shared, breaker=NEVER)
    keyless._request_signer._credentials = None
    with pytest.raises(botocore.exceptions.NoCredentialsError):
        keyless.list_tables()
    assert {"bad_request": 1} == counts(shared, "dynamodb.ListTables")
    assert [] == answering.requests


def test_a_lost_connection_is_a_failure_and_opens_the_circuit(clients, answering, shared):
    client = clients()
    guard_client(client, registry=shared, breaker=CircuitBreaker(min_calls=2))
    answering.answers[:] = [None, None]
    for _ in range(2):
        with pytest.raises(botocore.exceptions.ConnectionClosedError):
            get(client)
    with pytest.raises(CircuitOpenError):
        get(client)
    client.list_tables()  # another operation, another circuit
    assert 3 == len(answering.requests)


def test_a_retry_of_ours_is_the_only_one_and_heeds_retry_after(clients, answering, shared):
    client = clients()
    guard_client(client, registry=shared, retry=Retry(attempts=3, base=0.001, max_delay=0.001), breaker=NEVER)
    answering.answers += [answer(500, "InternalServerError")] * 3
    with pytest.raises(botocore.exceptions.ClientError):
        get(client)
    assert 3 == len(answering.requests)
    answering.answers.append(answer(503, "SlowDown", {"Retry-After": "7"}))  # longer than the retry is told to wait
    with pytest.raises(botocore.exceptions.ClientError):
        get(client)
    assert 4 == len(answering.requests)


def test_a_404_of_s3_is_the_callers_fault(clients, answering, shared):
    client = clients("s3")
    guard_client(client, registry=shared, breaker=CircuitBreaker(min_calls=2))
    xml = b"<Error><Code>NoSuchKey</Code><Message>none</Message></Error>"
    answering.answers += [(404, {"Content-Type": "application/xml"}, xml)] * 5
    for _ in range(5):
        with pytest.raises(client.exceptions.NoSuchKey):
            client.get_object(Bucket="shop", Key="apple")
    assert {"bad_request": 5} == counts(shared, "s3.GetObject")


def test_an_entry_of_guards_has_these_rules_by_default(clients, answering, shared):
    configuration = configure({"guards": {TARGET: {"breaker": {"min_calls": 1000}}}}, registry=shared, environ={})
    client = clients()
    expected = dict.fromkeys(VERDICTS, 0)
    for status, code, verdict in ANSWERS:
        answering.answers.append(answer(status, code))
        expected[verdict] += 1
        try:
            get(client)
        except botocore.exceptions.ClientError:
            pass
    assert {name: n for name, n in expected.items() if n} == counts(shared, TARGET)
    configuration.close()


def test_a_client_that_would_retry_by_itself_is_refused(clients, shared):
    for attempts in (2, 5):
        with pytest.raises(ConfigError, match="total_max_attempts"):
            guard_client(clients(attempts=attempts), registry=shared)
    client = guard_client(clients(), registry=shared)
    for wrong in (client, object()):
        with pytest.raises(TypeError):
            guard_client(wrong)
