"""After a reload that took the table [shared] away, the command of its round trips stayed: dashboards showed a circuit of
nothing, and a service of the name shared, which a start takes, was refused by each reload. In the other direction it was
worse: the command was made when the new configuration came into force already, so that a reload was refused half done.
"""

import pytest

from resilience import ConfigError, Registry
from resilience.config import Document
from resilience.gateway import Gateway, generation
from resilience.gateway.config import read

pytest.importorskip("redis")
PLAIN = """[services.NAME]
endpoints = ["http://127.0.0.1:1", "http://127.0.0.1:2"]
[[routes]]
path = "/a"
service = "NAME"
"""
STORE = '[shared]\nurl = "redis://127.0.0.1:1/0"\n'


def config(text, name="a"):
    return read(Document(text.replace("NAME", name), "f"))


def keys(registry):
    return {handle.key for handle in registry if "@" not in handle.key}


@pytest.fixture
def registry():
    return Registry()


async def test_the_command_goes_with_the_table_and_its_name_is_free(registry):
    gateway = Gateway(config(PLAIN + STORE), registry=registry)
    gateway.shared.start()
    gateway.reload(config(PLAIN))
    assert {"a"} == keys(registry)
    gateway.reload(config(PLAIN, "shared"))
    assert {"shared", "a"} >= keys(registry)
    assert ["shared"] == [*gateway.services]
    gateway.close()


async def test_another_place_of_the_store_keeps_the_command(registry):
    gateway = Gateway(config(PLAIN + STORE), registry=registry)
    command = registry.get("shared")
    gateway.reload(config(PLAIN + STORE.replace(":1/0", ":2/0")))
    assert command is registry.get("shared")
    gateway.reload(config(PLAIN))
    assert registry.get("shared") is None
    gateway.close()


@pytest.mark.parametrize("has_table_first", [True, False])
async def test_a_service_and_the_table_cannot_change_places_and_nothing_has_changed_then(registry, has_table_first):
    both = config(PLAIN + STORE), config(PLAIN, "shared")
    before, after = both if has_table_first else reversed(both)
    gateway = Gateway(before, registry=registry)
    known, commands = dict(gateway.services), {handle.key: handle for handle in registry}
    with pytest.raises(ConfigError, match=r"services\.shared and the table \[shared\] cannot take each other's place"):
        gateway.reload(after)
    assert (before, known) == (gateway.config, dict(gateway.services))
    assert commands == {handle.key: handle for handle in registry}
    gateway.close()


async def test_a_refused_reload_leaves_no_command_and_takes_none(registry, monkeypatch):
    gateway, others = Gateway(config(PLAIN), registry=registry), Registry()
    other = Gateway(config(PLAIN + STORE), registry=others)

    def refuse(*_: object) -> None:
        raise ConfigError("the last part cannot be made")

    monkeypatch.setattr(generation, "endpoints", refuse)
    for each, text in ((gateway, STORE), (other, STORE.replace(":1/0", ":3/0")), (other, "")):
        with pytest.raises(ConfigError, match="the last part"):
            each.reload(config(PLAIN + text))
    assert {"a"} == keys(registry)
    assert {"a", "shared"} == keys(others)
    gateway.close()
    other.close()


def test_what_cannot_change_is_told_in_the_words_of_a_file():
    gateway = Gateway(config(PLAIN), registry=Registry())
    with pytest.raises(ConfigError) as caught:
        gateway.reload(config(PLAIN + '[admin]\nbind = "127.0.0.1:8090"\n[process]\nwatch = true\n'))
    assert "admin.bind cannot change from nothing to 127.0.0.1:8090 while" in str(caught.value)
    assert "process.watch cannot change from false to true while" in str(caught.value)
