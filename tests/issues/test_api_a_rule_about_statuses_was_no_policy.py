"""Who gave a pipeline ``http_status()``, or a file rules for a command without any, was not told what to write instead."""

import pytest

from resilience import CircuitBreaker, ConfigError, Pipeline, Registry, command, http_status


def test_a_pipeline_says_how_it_judges_by_statuses():
    with pytest.raises(TypeError, match=r"as in Pipeline\(FailureRules\(status=http_status\(\)\)\)"):
        Pipeline(CircuitBreaker(), http_status())


def test_a_setting_that_a_command_lacks_is_said_to_be_the_decorators():
    guarded = command(key="k", registry=Registry(), timeout=None)(lambda: None)
    with pytest.raises(ConfigError, match=r"k has no failure rules to configure; decorate it with failures="):
        guarded.resilience.configure(failures=http_status())
