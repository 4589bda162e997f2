"""What an answer depends on is said in Vary: a cache between a client and the registry goes by it."""

import itertools

import pytest

from tests.discovery.registry.test_eureka_rest import FULL, ONE, Api

CHOICES = {b"accept": (b"", b"application/json", b"application/xml"), b"accept-encoding": (b"", b"gzip"), b"x-eureka-accept": (b"", b"compact")}


@pytest.mark.parametrize("path", ["/apps", "/apps/delta", "/apps/SHOP", ONE, "/vips/shop", "/svips/shop-s", "/instances/host:shop:80"])
def test_answers_that_differ_differ_in_a_header_that_vary_names(path):
    api = Api()
    assert api.status("POST", "/apps/SHOP", FULL) == 204
    answers = []
    for values in itertools.product(*CHOICES.values()):
        headers = {name: value for name, value in zip(CHOICES, values, strict=True) if value}
        answer = api.ask("GET", path, headers=headers)
        vary = {name.strip().encode() for name in dict(answer.headers)[b"vary"].decode().lower().split(",")}
        answers.append(({name: headers.get(name, b"") for name in vary}, answer.body))
    for (one, body), (other, another) in itertools.combinations(answers, 2):
        assert body == another or one != other
    assert len({body for _, body in answers}) == 8
