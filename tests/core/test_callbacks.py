"""By which frames an exception is known that a callback of a policy raised."""

import functools

import pytest

from resilience.core.callbacks import GIVE_PLAIN, call_back, came_of_callback, check_hashable, check_plain, is_plain
from resilience.errors import ConfigError


def fails(*args, **kwargs):
    raise OSError("down")


def within(function):
    function()


def nested():
    within(lambda: call_back(fails, (), None))


def caught(function):
    try:
        function()
    except OSError as error:
        return error


THROUGH = {id(nested.__code__), id(within.__code__), id(nested.__code__.co_consts[0])} | {
    id(const) for const in nested.__code__.co_consts}


def test_a_callback_gets_the_calls_arguments():
    def given(*args, **kwargs):
        return args, kwargs

    assert ((1, 2), {}) == call_back(given, (1, 2), None) == call_back(given, (1, 2), {})
    assert ((1,), {"b": 2}) == call_back(given, (1,), {"b": 2})


@pytest.mark.parametrize(("function", "through", "came"), [
    (lambda: call_back(fails, (), None), None, True), (nested, THROUGH, True), (nested, (), False), (fails, THROUGH, False),
    (lambda: within(fails), THROUGH, False)])
def test_an_exception_is_a_callbacks_if_only_known_frames_stand_between(function, through, came):
    known = {id(function.__code__)} if through is None else through

    assert came is came_of_callback(caught(function), known)


def test_what_was_never_raised_or_only_by_the_catcher_came_of_no_callback():
    try:
        raise OSError("down")
    except OSError as error:
        mine = error

    assert [False, False] == [came_of_callback(error, ()) for error in (OSError("down"), mine)]


async def awaited():
    """Give nothing."""


async def awaited_and_iterated():
    yield 1


def iterated():
    yield 1


class Awaited:
    async def __call__(self):
        """Give nothing."""


class Hostile:
    def __getattr__(self, name):
        raise OSError(name)

    def __call__(self):
        """Give nothing."""


@pytest.mark.parametrize(("callback", "plain"), [
    (awaited, False), (awaited_and_iterated, False), (iterated, False), (Awaited(), False),
    (functools.partial(awaited), False), (Awaited().__call__, False), (fails, True), (len, True), (Hostile(), True),
    (functools.partial(fails), True), (Awaited, True), ("no function", True)], ids=lambda each: type(each).__name__)
def test_what_must_be_awaited_or_iterated_is_no_plain_callback(callback, plain):
    assert is_plain(callback) is plain


@pytest.mark.parametrize(("callback", "parameters", "said"), [
    (7, None, "judge must be callable, not 7"), (7, "a result", "judge must be a function of a result, not 7"),
    (awaited, None, f"judge must be callable, not {awaited!r}; {GIVE_PLAIN}"),
    (awaited, "a result", f"judge must be a plain function of a result, not {awaited!r}; {GIVE_PLAIN}")])
def test_what_cannot_be_called_back_is_told_by_the_name_of_its_setting(callback, parameters, said):
    with pytest.raises(ConfigError) as caught:
        check_plain(callback, "judge", parameters)
    assert (said, "judge") == (str(caught.value), caught.value.option)
    assert check_plain(len, "judge", parameters) is None


def test_a_key_that_cannot_be_hashed_is_told_by_its_command_and_setting():
    assert check_hashable(("a", 1), "by", "stock") is None
    with pytest.raises(TypeError, match=r"^stock: by must return something hashable, such as a string or a tuple, not \['a'\]: unhash"):
        check_hashable(["a"], "by", "stock")
