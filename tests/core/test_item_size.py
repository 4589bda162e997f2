"""The size of an item of a stream, in literal numbers."""

import array

import pytest

from resilience.core.item_size import item_size


@pytest.mark.parametrize(("item", "size"), [
    ("", 1), ("a", 1), ("ab", 2), ("é", 2), ("世界", 6), ("\ud800", 3), (b"", 1), (b"abc", 3), (bytearray(), 1),
    (bytearray(b"abc"), 3), (memoryview(b""), 1), (memoryview(b"abc"), 3), (memoryview(array.array("d", [1.0, 2.0])), 16)])
def test_text_counts_as_utf_8_and_bytes_as_they_are_and_each_item_at_least_one(item, size):
    assert size == item_size(item, None)


@pytest.mark.parametrize(("said", "size"), [(7, 7), (2.1, 3), (0, 1), (-5, 1), (1, 1), (2, 2)])
def test_a_function_may_say_the_size_of_items_of_any_kind(said, size):
    assert size == item_size({"text": "no matter"}, lambda item: said)


def test_the_function_decides_for_text_too():
    assert 40 == item_size("abc", lambda item: 40)


def test_an_item_of_unknown_size_is_a_mistake_that_says_what_to_pass():
    with pytest.raises(TypeError, match=r"size of an item of type dict: pass a function .* as hold_size, such as"):
        item_size({}, None)


@pytest.mark.parametrize("size", ["x", None, float("nan"), True])
def test_a_size_that_is_no_number_is_a_mistake_of_the_function(size):
    with pytest.raises(TypeError, match=f"^hold_size must return how many bytes an item has, a number, not {size!r}$"):
        item_size("abc", lambda item: size)
