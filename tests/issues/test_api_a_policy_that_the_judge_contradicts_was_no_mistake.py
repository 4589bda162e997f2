"""A policy could say of an exception the opposite of what the command's judge says, and was silently overruled.

A retry or a fallback on what is the caller's fault never acts; a rule about what is ignored is never asked; a failure that
is kept answers for the whole ttl. Only ``Retry(on_result=)`` was refused. What may be meant is allowed still.
"""

import pytest

from resilience import (
    BadRequestError,
    Cache,
    ConfigError,
    Failover,
    FailureRules,
    Fallback,
    Pipeline,
    Registry,
    Retry,
    block,
    command,
    retry,
)
from resilience.config import ConfigFileError, configure

FAULTS = FailureRules(caller_faults=KeyError)
CONTRADICTIONS = [
    ({"retry": Retry(on=KeyError), "failures": FAULTS}, ("Retry(on=KeyError)", "caller_faults=KeyError")),
    ({"retry": Retry(on=(OSError, KeyError)), "failures": FailureRules(caller_faults=LookupError)},
     ("Retry(on=KeyError)", "caller_faults=LookupError")),
    ({"retry": Retry(on=KeyError), "failures": FailureRules(caller_faults="builtins:KeyError")},
     ("Retry(on=KeyError)", "caller_faults=KeyError")),
    ({"retry": Retry(on=KeyError), "failures": FailureRules(refused=KeyError)}, ("Retry(on=KeyError)", "refused=KeyError")),
    ({"retry": Retry(on=KeyError), "ignore": KeyError}, ("Retry(on=KeyError)", "ignore=KeyError")),
    ({"fallback": Fallback(lambda: 0, on=KeyError), "failures": FAULTS}, ("Fallback(on=KeyError)", "caller_faults=KeyError")),
    ({"fallback": Fallback(lambda: 0, on=KeyError), "ignore": LookupError}, ("Fallback(on=KeyError)", "ignore=LookupError")),
    ({"failures": KeyError, "ignore": KeyError}, ("exceptions=KeyError", "ignore=KeyError")),
    ({"failures": FailureRules(busy=KeyError), "ignore": LookupError}, ("busy=KeyError", "ignore=LookupError")),
    ({"cache": Cache(cache_exceptions=KeyError), "failures": KeyError},
     ("Cache(cache_exceptions=KeyError)", "exceptions=KeyError")),
]
MEANT = [
    {"retry": Retry(on=LookupError), "failures": FAULTS},  # it is narrowed
    {"retry": Retry(), "ignore": Exception},
    {"retry": Retry(on=KeyError), "failures": FailureRules(lambda ending: None, caller_faults=KeyError)},
    {"retry": Retry(on=KeyError), "failures": FailureRules(caller_faults=lambda error: True)},
    {"retry": Retry(on=KeyError), "failures": FailureRules(caller_faults=(404, "nowhere:KeyError"))},
    {"retry": Retry(on=KeyError, retry_rejections=True), "failures": FailureRules(refused=KeyError)},
    {"retry": Retry(on=TimeoutError), "ignore": TimeoutError},  # a timeout of ours is not ignored
    {"fallback": Fallback(lambda: 0, on=ExceptionGroup), "ignore": ExceptionGroup},
    {"fallback": Fallback(lambda: 0, on=BadRequestError), "ignore": BadRequestError},
    {"failures": LookupError, "ignore": KeyError},
    {"failures": FAULTS, "ignore": KeyError},
    {"cache": Cache(cache_exceptions=LookupError), "failures": KeyError},
    {"cache": Cache(cache_exceptions=KeyError), "failures": FailureRules(exceptions=Exception, caller_faults=KeyError)},
    {"cache": Cache(cache_exceptions=KeyError)},
]


def function(*args):
    return 0


@pytest.mark.parametrize(("settings", "sides"), CONTRADICTIONS)
def test_a_contradiction_names_both_sides_in_each_way_to_declare_it(settings, sides):
    ways = [lambda: command(key="k", registry=Registry(), timeout=None, **settings)(function),
            lambda: command(key=lambda *args: "k", registry=Registry(), timeout=None, **settings)(function),
            lambda: command(key="k", registry=Registry(), timeout=None, failover=Failover(["a", "b"]), **settings)(
                lambda target: 0)]
    if not {"retry", "fallback", "cache"} & settings.keys():
        ways.append(lambda: block("k", registry=Registry(), **settings))
    for declare in ways:
        with pytest.raises(ConfigError, match="contradict each other, for .*; drop one of the two") as caught:
            declare()
        assert all(side in str(caught.value) for side in sides)


def test_a_contradiction_is_found_in_a_pipeline_and_a_stack():
    with pytest.raises(ConfigError, match="contradict each other"):
        Pipeline(Retry(on=KeyError), FAULTS, key="k", registry=Registry())(function)
    guarded = Pipeline(FAULTS, key="k", registry=Registry())(function)
    with pytest.raises(ConfigError, match="contradict each other"):
        retry(on=KeyError)(guarded)


@pytest.mark.parametrize("settings", MEANT)
def test_what_may_be_meant_is_allowed(settings):
    command(key="k", registry=Registry(), timeout=None, **settings)(function)


def test_a_live_change_is_compared_with_what_is_in_force():
    guarded = command(key="k", registry=Registry(), timeout=None, retry=Retry(), failures=FailureRules())(function)
    guarded.resilience.configure(failures=FAULTS)
    with pytest.raises(ConfigError, match="contradict each other"):
        guarded.resilience.configure(retry=Retry(on=KeyError))
    guarded.resilience.configure(retry=Retry(on=KeyError), failures=None)
    with pytest.raises(ConfigError, match="contradict each other"):
        guarded.resilience.configure(failures=FAULTS)


def test_a_file_is_told_where_it_contradicts_the_code(tmp_path):
    registry, file = Registry(), tmp_path / "resilience.toml"
    guarded = command(key="k", registry=registry, timeout=None, retry=Retry(on=KeyError), failures=FailureRules())(function)
    file.write_text('[commands.k]\nfailures = { caller_faults = ["KeyError"] }\n')
    with pytest.raises(ConfigFileError, match=r"commands\.k\.failures: k: Retry\(on=KeyError\) and .* contradict"):
        configure(file, registry=registry)
    assert guarded.resilience.settings.failures == FailureRules()

    file.write_text('[defaults]\nfailures = { caller_faults = ["KeyError"] }\n')
    configure(file, registry=registry).close()  # what is said of many says nothing to one that cannot have it
    assert guarded.resilience.settings.failures == FailureRules()

    file.write_text('[guards]\n"json:loads" = { ignore = ["ValueError"], failures = { exceptions = ["ValueError"] } }\n')
    with pytest.raises(ConfigFileError, match="contradict each other"):
        configure(file, registry=registry)
