"""Wrappers with and without a bulkhead had one file name, so a traceback showed lines of whichever came first."""

import itertools
import linecache

from resilience.pipeline.compiler import _maker
from resilience.pipeline.template import Flavour, Shape, source


def test_every_text_is_kept_under_a_name_of_its_own():
    for flavour, breaker, bulkhead, deadline, fallback in itertools.product(Flavour, *[(False, True)] * 4):
        shape = Shape(flavour=flavour, breaker=breaker, bulkhead=bulkhead, deadline=deadline, fallback=fallback)
        filename = _maker(shape).__code__.co_filename

        assert source(shape) == "".join(linecache.getlines(filename))
