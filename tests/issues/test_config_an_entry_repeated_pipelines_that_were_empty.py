"""An entry of [guards] for ``Pipeline.execute`` of redis could have a retry: the second attempt did nothing, and succeeded.

redis-py empties a pipeline when it runs, whatever becomes of that.
"""

import pytest
import redis

from resilience.config import ConfigFileError, configure

TARGETS = ("redis.client:Pipeline.execute", "redis.asyncio.client:Pipeline.execute")


def entry(tmp_path, target, what):
    file = tmp_path / "resilience.toml"
    file.write_text(f'[guards."{target}"]\nkey = "pipeline"\n{what}\n', encoding="utf-8")
    return file


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("what", ["retry = {}", "retry = { attempts = 3 }", "hedge = { delay = 0.1 }"])
def test_what_would_run_a_pipeline_again_is_a_mistake(registry, tmp_path, target, what):
    with pytest.raises(ConfigFileError, match=r"resilience\.toml:3: .*a pipeline is empty once it has run"):
        configure(entry(tmp_path, target, what), registry=registry)


@pytest.mark.parametrize("target", TARGETS)
def test_an_entry_without_is_none(registry, tmp_path, target):
    configure(entry(tmp_path, target, "retry = false\nmax_concurrent = 5"), registry=registry).close()


def test_a_pipeline_that_has_failed_is_empty(redis_server):
    with redis.Redis(unix_socket_path=str(redis_server[0])) as client:
        pipeline = client.pipeline().set("text", "b").lpush("text", "c")
        with pytest.raises(redis.ResponseError):
            pipeline.execute()
        assert [] == pipeline.execute()
