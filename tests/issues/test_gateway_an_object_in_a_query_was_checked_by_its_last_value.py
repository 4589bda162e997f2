"""Objects in parameters of OpenAPI were checked by the last of two properties with one name.

``f[n]=99&f[n]=1`` fitted a schema with a maximum of 10, and a service that takes the first one got 99. Plain parameters
that are there twice were refused.
"""

from __future__ import annotations

import json

import pytest

from resilience.gateway.format.openapi import OpenApi, Operation

OBJECT = {"type": "object", "properties": {"n": {"type": "integer", "maximum": 10}, "m": {"type": "string"}}}


@pytest.fixture(scope="module", name="operation")
def _operation(tmp_path_factory: pytest.TempPathFactory) -> Operation:
    def said(name: str, place: str, **more: object) -> dict[str, object]:
        return {"name": name, "in": place, "schema": OBJECT, "required": place == "path", **more}

    path = tmp_path_factory.mktemp("objects") / "openapi.json"
    path.write_text(json.dumps({"openapi": "3.1.0", "info": {"title": "t", "version": "1"}, "paths": {"/s/{p}/{q}": {"get": {
        "parameters": [
            said("p", "path"), said("q", "path", explode=True), said("deep", "query", style="deepObject", explode=True),
            said("form", "query", style="form", explode=True), said("list", "query", style="form", explode=False),
            said("space", "query", style="spaceDelimited"), said("pipe", "query", style="pipeDelimited"),
            said("X-Plain", "header"), said("X-Exploded", "header", explode=True),
            said("cookie", "cookie", explode=False)],
        "responses": {"200": {"description": "ok"}}}}}}))
    found = OpenApi(str(path)).find("GET", "/s/n,1/n=1")
    assert found is not None
    return found[0]


def faults(operation: Operation, *, p: str = "n,1", q: str = "n=1", query: str = "", **headers: str) -> list[str]:
    lines = [(name.lower().replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return [each.detail for each in operation.parameter_faults({"p": p, "q": q}, query.encode(), lines, 9)]


@pytest.mark.parametrize("said", [
    {"p": "n,{},n,{}"}, {"q": "n={},n={}"}, {"query": "deep[n]={}&deep[n]={}"}, {"query": "deep[n]={}&deep%5Bn%5D={}"},
    {"query": "n={}&n={}"}, {"query": "n={}&m=x&%6e={}"}, {"query": "list=n,{},n,{}"}, {"query": "space=n%20{}%20n%20{}"},
    {"query": "pipe=n|{}|n|{}"}, {"x_plain": "n,{},n,{}"}, {"x_exploded": "n={},n={}"}, {"cookie": "cookie=n,{},n,{}"}])
@pytest.mark.parametrize("values", [(99, 1), (1, 99), (1, 1)])
def test_a_property_that_is_there_twice_does_not_fit(operation: Operation, said: dict[str, str], values: tuple[int, int]) -> None:
    assert ["has a property more than once"] == faults(
        operation, **{name: text.format(*values) for name, text in said.items()})


def test_properties_that_are_there_once_fit(operation: Operation) -> None:
    assert not faults(operation, p="n,1,m,x", q="n=1,m=x", query="deep[n]=1&deep[m]=x&n=1&m=x&list=n,1,m,x&pipe=n|1|m|x",
                      x_plain="n,1,m,x", x_exploded="n=1,m=x", cookie="cookie=n,1,m,x")
    assert len(faults(operation, query="deep[n]=99&n=99&list=n,99")) == 3
