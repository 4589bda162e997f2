"""The connection of a gateway to what it shares, over reloads."""

import asyncio
import gc
from pathlib import Path

import pytest

from resilience import Registry
from resilience.config import Document
from resilience.errors import ConfigError
from resilience.gateway import Gateway
from resilience.gateway.config import read
from resilience.gateway.config.shared import SharedSettings
from resilience.gateway.config.sources import RedisSettings
from tests.shared.redis_server import RedisServer
from tests.shared.test_connection import becomes

FILE = """
{shared}
[filters.together]
use = "rate_limit"
rate = 10
by = ["route"]
shared = {is_shared}
[services.up]
endpoints = ["http://127.0.0.1:1"]
[[routes]]
path = "/*"
service = "up"
filters = ["together"]
"""


@pytest.fixture
def redis(tmp_path):
    server = RedisServer(tmp_path)
    yield server
    server.kill()


def config(redis, timeout):
    shared = "" if timeout is None else f'[shared]\nurl = "{redis.url}"\ntimeout = {timeout}\n'
    return read(Document.of(Document(FILE.format(shared=shared, is_shared="false" if timeout is None else "true"), "f").data, "f"))


def test_a_reload_keeps_the_connection_unless_its_table_changes_and_one_that_is_gone_is_closed(redis):
    async def scenario():
        registry = Registry()
        one, other = Gateway(config(redis, 0.5), registry=registry), Gateway(config(redis, 0.5), registry=registry)
        await one.known()
        await other.known()
        first = one.shared
        one.reload(config(redis, 0.5))
        assert one.shared is first
        one.reload(config(redis, 0.6))
        assert one.shared is not first
        await becomes(lambda: one.shared.is_connected)
        gc.collect()
        await becomes(lambda: not first.is_connected)
        assert other.shared.is_connected
        one.reload(config(redis, None))
        assert one.shared is None
        for each in (one, other):
            each.close()
            await each.closed()
        await becomes(lambda: redis.say("ZCARD", "resilience:instances") == b":0")

    asyncio.run(scenario())


@pytest.mark.parametrize("url", [
    "redis://:hunter2@h", "redis://:hunt/hunter2@h:1", "redis://:hunt#hunter2@h:1", "redis://h:1?password=hunter2",
    "redis://:hunter2@[h", "http://:a/hunter2@h", "unix:///p?password=hunter2", "redis+sentinel://:hunt/hunter2@h/main"])
def test_what_is_said_of_a_wrong_url_never_has_the_password_in_it(url):
    with pytest.raises(ConfigError) as caught:
        SharedSettings(url=url)
    assert "hunt" not in str(caught.value)
    if url.startswith("redis://"):
        with pytest.raises(ConfigError) as caught:
            RedisSettings(app="a", url=url)
        assert "hunt" not in str(caught.value)


def test_a_password_may_have_any_letters_and_is_read_again_for_each_new_connection(redis, tmp_path):
    async def scenario():
        place = tmp_path / "password"
        place.write_text("p\u00e4ss\n")
        redis.say("CONFIG", "SET", "requirepass", "p\u00e4ss")
        said = f'[shared]\nurl = "{redis.url}"\ntimeout = 0.5\npassword = "file:{place}"\n'
        gateway = Gateway(read(Document.of(Document(FILE.format(shared=said, is_shared="true"), "f").data, "f")),
                          registry=Registry())
        await gateway.known()
        assert gateway.shared.is_connected
        redis.kill()
        redis.start()
        redis.say("CONFIG", "SET", "requirepass", "another")
        place.write_text("another")
        await becomes(lambda: gateway.shared.losses and gateway.shared.is_connected)
        gateway.close()
        await gateway.closed()

    asyncio.run(scenario())


def test_a_service_has_another_name_than_the_command_of_the_shared_store():
    said = FILE.replace("services.up", "services.shared").replace('service = "up"', 'service = "shared"').format(
        shared='[shared]\nurl = "redis://h"', is_shared="true")
    with pytest.raises(ConfigError, match=r"services\.shared: with a \[shared\] table .* give the service another name"):
        read(Document.of(Document(said, "f").data, "f"))


def test_a_secret_of_a_fleet_that_could_be_guessed_is_refused(monkeypatch):
    monkeypatch.setenv("FLEET_SECRET", "hunter2")
    with pytest.raises(ConfigError, match="at least 32 bytes; openssl rand") as caught:
        SharedSettings(url="redis://h", fleet_secret="env:FLEET_SECRET")
    assert "hunter2" not in str(caught.value)


def test_a_file_of_authorities_is_looked_at_when_the_file_is_read_and_needs_tls(tmp_path):
    authorities = Path(__file__).with_name("elsewhere.pem")
    assert SharedSettings(url="rediss://h", ca_file=str(authorities)).address.ca_file == str(authorities)
    SharedSettings(url="valkeys://h", ca_file=str(authorities))
    nonsense = tmp_path / "nonsense.pem"
    nonsense.write_text("nonsense", encoding="utf-8")
    for url, ca_file, said in (("rediss://h", tmp_path / "missing.pem", "cannot be read"), ("rediss://h", nonsense, "is not"),
                               ("redis://h", authorities, "begins with rediss://"), ("unix:///s", authorities, "TLS")):
        with pytest.raises(ConfigError, match=said):
            SharedSettings(url=url, ca_file=str(ca_file))
