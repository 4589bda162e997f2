"""Wrappers with and without a bulkhead had one file name, so a traceback showed lines of whichever came first."""

import itertools
import linecache

import attrs

from resilience.pipeline.compiler import _maker
from resilience.pipeline.shape import Flavour, Shape
from resilience.pipeline.template import source


def test_every_text_is_kept_under_a_name_of_its_own():
    parts = [field.name for field in attrs.fields(Shape) if field.name != "flavour"]
    for flavour, *chosen in itertools.product(Flavour, *[(False, True)] * len(parts)):
        shape = Shape(flavour=flavour, **dict(zip(parts, chosen, strict=True)))
        if flavour.is_generator and (shape.retry or shape.retry_results):
            continue  # a generator has no retry
        filename = _maker(shape).__code__.co_filename

        assert source(shape) == "".join(linecache.getlines(filename))
