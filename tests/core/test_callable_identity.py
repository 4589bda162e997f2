"""When two callables are the same, and two words of a declaration."""

import functools

import pytest

from resilience.core.callable_identity import by_identity, same_word


class Shop:
    """Has methods."""

    def order(self):
        """One of them."""

    def refund(self):
        """Another."""


class Equal:
    """Is equal to all of its kind, and can be called."""

    def __call__(self):
        """Do nothing."""

    def __eq__(self, other):
        return isinstance(other, Equal)

    def __hash__(self):
        return 7


class EqualToAll(Equal):
    """Is equal to whatever there is, and can be called."""

    def __eq__(self, other):
        return True

    __hash__ = None


SHOP, OTHER, EQUAL = Shop(), Shop(), Equal()


def marked(value):
    made = functools.partial(pow, 2)
    made.mark = value
    return made


@pytest.mark.parametrize(("one", "other", "same"), [
    (SHOP.order, SHOP.order, True), (SHOP.order, SHOP.refund, False), (SHOP.order, OTHER.order, False), (len, len, True),
    (len, print, False), ([].append, [].append, False), (EQUAL, EQUAL, True), (EQUAL, Equal(), False), (None, None, True),
    (shop_of := (lambda: 1), shop_of, True), (lambda: 1, lambda: 1, False),
    (functools.partial(pow, 2), functools.partial(pow, 2), True), (functools.partial(pow, 2), functools.partial(pow, 3), False),
    (functools.partial(pow, 2), functools.partial(divmod, 2), False), (functools.partial(pow, EQUAL), functools.partial(pow, Equal()), False),
    (functools.partial(pow, exp=EQUAL), functools.partial(pow, exp=EQUAL), True),
    (functools.partial(pow, exp=EQUAL), functools.partial(pow, exp=Equal()), False),
    (functools.partial(pow, exp=2), functools.partial(pow, mod=2), False), (marked(1), marked(1), False),
    ((3).__add__, (3).__add__, True), ("a".join, "b".join, False), ((3).__add__, (4).__add__, False)])
def test_two_callables_are_the_same_if_they_are_or_if_their_parts_are(one, other, same):
    assert same is (by_identity(one) == by_identity(other))
    assert hash(by_identity(one)) == hash(by_identity(one))


@pytest.mark.parametrize(("one", "other", "same"), [
    ("a", "a", True), ("a", "b", False), (1, 1.0, True), (EQUAL, Equal(), False), (EQUAL, EQUAL, True), ("a", len, False),
    (len, "a", False), (SHOP.order, SHOP.order, True), ([], (), False),
    (EqualToAll(), "a", False), ("a", EqualToAll(), False)])
def test_two_words_are_the_same_if_they_are_equal_or_callables_and_the_same(one, other, same):
    assert same is same_word(one, other)
