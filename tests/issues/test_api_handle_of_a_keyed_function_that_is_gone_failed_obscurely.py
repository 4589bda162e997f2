"""The handle of a keyed function that is gone could be steered, but explain() and pickle failed with AttributeErrors.

They asked None, which stood for the function, for its module and its declaration.
"""

import gc
import pickle

import pytest

from resilience import Failover, Registry, command, explain


@pytest.mark.parametrize("settings", [{}, {"failover": Failover(("eu", "us"))}], ids=["plain", "failover"])
def test_a_handle_without_its_function_says_that_the_function_is_gone(settings):
    @command(key=lambda: "shop", timeout=None, registry=Registry(), **settings)
    def price(*, target="eu"):
        return 7

    price()
    handle = price.resilience
    del price
    gc.collect()
    with pytest.raises(KeyError, match="is gone, and only its handle is left"):
        explain(handle)
    with pytest.raises(TypeError, match="cannot be pickled or copied: their function is gone"):
        pickle.dumps(handle)
    handle.configure(max_concurrent=2)
    assert {each.settings.max_concurrent for each in handle} == {2}
