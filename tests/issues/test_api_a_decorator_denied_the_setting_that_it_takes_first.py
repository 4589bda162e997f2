"""@bulkhead(max_concurrent=20) said that there is no such setting, and @bulkhead that a function is no whole number.

Both are what a newcomer writes: the one from the table of settings, the other from the decorators that need no parentheses.
A configuration that is neither a file nor a mapping spoke of os.PathLike.
"""

import pytest

import resilience
from resilience import Bulkhead, ConfigError, configure
from resilience.config import check

FIRST = {"bulkhead": ("max_concurrent", 20), "timeout": ("seconds", 0.5), "rate_limit": ("calls", 5),
         "failover": ("targets", ["eu", "us"]), "fallback": ("function", len)}


def stock(sku):
    return 7


@pytest.mark.parametrize(("name", "argument", "value"), [
    *((name, argument, value) for name, (argument, value) in FIRST.items()), ("timeout", "timeout", 0.5)])
def test_what_comes_first_and_is_given_by_its_name_is_told_to_come_without(name, argument, value):
    decorator = getattr(resilience, name)
    with pytest.raises(TypeError) as caught:
        decorator(**{argument: value})

    assert f"@{name} takes {FIRST[name][0]} first and without a name, as in @{name}({value!r})" == str(caught.value)
    decorator(value)


@pytest.mark.parametrize("name", [name for name in FIRST if name != "fallback"])
@pytest.mark.parametrize("bare", [stock, staticmethod(stock), property(stock)], ids=["function", "staticmethod", "property"])
def test_a_decorator_that_needs_an_argument_says_so_where_it_stands_without_parentheses(name, bare):
    with pytest.raises(TypeError, match=f"^@{name} takes {FIRST[name][0]} first, as in @{name}\\("):
        getattr(resilience, name)(bare)


def test_a_setting_that_there_is_not_is_one_still():
    with pytest.raises(ConfigError, match="did you mean max_wait"):
        resilience.bulkhead(20, max_wat=1.0)
    resilience.bulkhead(Bulkhead(20))


@pytest.mark.parametrize("wrong", [3, None, ["resilience.toml"], object])
@pytest.mark.parametrize("read", [configure, check])
def test_what_is_no_configuration_is_told_what_one_is(read, wrong):
    with pytest.raises(TypeError, match="is the path of a file, or a mapping with the same tables, not"):
        read(wrong)
