"""After a reload that failed, the gateway's services were copies, while its routes still had the former ones."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from resilience import Registry
from resilience.errors import ConfigError
from resilience.gateway import Gateway
from resilience.gateway import generation as generation_module
from resilience.gateway.messages.exchange import Request

from .gateway_parts import configured


def _fails(*_: Any, **__: Any) -> None:
    raise ConfigError("not to be")


@pytest.mark.parametrize("changed", [
    {"command": {"timeout": 0.5}}, {"command": {"per": "service", "timeout": 0.5}}, {"checks": False},
    {"endpoints": ["http://127.0.0.1:7", "http://127.0.0.1:8"]}, {"fallback": {"body": "x"}}, {"connect_timeout": 0.1}])
def test_a_reload_that_fails_leaves_the_very_services_and_what_they_do(
        changed: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    before = {"endpoints": ["http://127.0.0.1:8", "http://127.0.0.1:9"], "command": {"timeout": 0.7}, "checks": {}}
    after = {name: value for name, value in {**before, **changed}.items() if value is not False}
    gateway = Gateway(configured(before), registry=Registry())
    services, commands = dict(gateway.services), {command.key: command.settings for command in gateway.registry}
    known = [(each, each.config, each.key, each.connect_timeout) for each in services["up"].endpoints.states]
    with monkeypatch.context() as patched:
        patched.setattr(generation_module, "Admission", _fails)
        for _ in range(2):
            with pytest.raises(ConfigError, match="not to be"):
                gateway.reload(configured(after))
    assert services == gateway.services
    assert commands == {command.key: command.settings for command in gateway.registry}
    assert known == [(each, each.config, each.key, each.connect_timeout) for each in services["up"].endpoints.states]
    gateway.reload(configured(after))
    gateway.reload(configured(before))
    assert commands == {command.key: command.settings for command in gateway.registry}


def test_a_service_that_was_replaced_begins_no_checks_for_the_requests_that_still_come_to_it() -> None:
    async def main() -> None:
        slow = {"endpoints": ["http://127.0.0.1:9"], "checks": {"interval": 100.0}}
        gateway = Gateway(configured(slow), registry=Registry())
        old = gateway.services["up"]
        gateway.reload(configured({**slow, "idle_timeout": 7.0}))
        before = asyncio.all_tasks()
        old.attempts(Request(method="GET", target=b"/", host=None, headers=[]))
        assert before == asyncio.all_tasks()
        gateway.services["up"].attempts(Request(method="GET", target=b"/", host=None, headers=[]))
        assert len(before) + 1 == len(asyncio.all_tasks())
        gateway.close()

    asyncio.run(main())
