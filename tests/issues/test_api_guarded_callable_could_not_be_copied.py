"""Copying an object that holds a guarded partial, as dataclasses do with defaults, raised NotImplementedError."""

import copy
import functools

from resilience import command


def test_a_guarded_callable_is_its_own_copy_as_a_function_is(registry):
    parse = command(registry=registry, timeout=None)(functools.partial(int, base=2))

    assert parse is copy.copy(parse)
    assert [parse] == copy.deepcopy([parse])
