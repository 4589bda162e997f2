"""``timeout=None`` beside a stream timeout was refused as if it were one, and ``max_concurrent=None`` beside an adaptive
limit likewise, though a file's ``timeout = false`` was not.
"""

import pytest

from resilience import AdaptiveLimit, Bulkhead, ConfigError, Pipeline, Registry, StreamTimeout, Timeout, command
from resilience.policies.order import kit_named, setting_kits

POLICIES = {"stream_timeout": StreamTimeout(total=1.0), "adaptive_limit": AdaptiveLimit()}
PAIRS = [(kit.name, replaced) for kit in setting_kits() for replaced in kit.instead_of]


def items():
    yield 1


def test_all_pairs_are_tried():
    assert set(POLICIES) == {name for name, _ in PAIRS}


@pytest.mark.parametrize(("name", "replaced"), PAIRS)
def test_none_of_what_a_policy_replaces_is_no_contradiction(name, replaced):
    registry = Registry()
    call = command(key="k", registry=registry, **{name: POLICIES[name], replaced: None})(items)
    usual = command(key="usual", registry=registry, **{name: POLICIES[name]})(items)

    assert [1] == [*call()]
    assert call.resilience.settings == usual.resilience.settings


@pytest.mark.parametrize(("name", "replaced"), PAIRS)
def test_both_at_once_are_one(name, replaced):
    one = {"timeout": Timeout(1.0), "max_concurrent": Bulkhead(3)}[replaced]
    for policies in ((POLICIES[name], one), (one, POLICIES[name])):
        with pytest.raises(ConfigError, match="keep one|there is none besides"):
            Pipeline(*policies)
    with pytest.raises(ConfigError, match="keep one|there is none besides"):
        command(key="k", registry=Registry(), policies=[one], **{name: POLICIES[name]})(items)
    with pytest.raises(ConfigError, match="keep one|there is none besides"):
        command(key="k", registry=Registry(), **{name: POLICIES[name], replaced: kit_named(replaced).meant(3)})(items)
