"""An integer too large for a float raised OverflowError instead of a ConfigError that names the option."""

import pytest

from resilience import Bulkhead, CircuitBreaker, ConfigError, Timeout


@pytest.mark.parametrize(("kind", "option"), [(CircuitBreaker, "min_calls"), (CircuitBreaker, "open_for"),
                                              (Bulkhead, "max_concurrent"), (Timeout, "timeout")])
@pytest.mark.parametrize("value", [10**400, -10**400])
def test_an_integer_beyond_all_floats_is_a_config_error(kind, option, value):
    with pytest.raises(ConfigError) as caught:
        kind(**{option: value})

    assert option == caught.value.option
