"""The repr of a pipeline looked like the call that makes it, but for its key: two pipelines of other commands looked the same."""

import resilience
from resilience import Bulkhead, Pipeline, Timeout


def test_the_repr_of_a_pipeline_makes_it_again():
    pipeline = Pipeline(Bulkhead(5), Timeout(0.5), key="shop")

    assert "key='shop'" in repr(pipeline)
    assert repr(pipeline) == repr(eval(repr(pipeline), vars(resilience).copy()))
    assert "key" not in repr(Pipeline(Timeout(0.5)))
