"""An OpenAPI document says which operation a request is of, and what its parameters, bodies and responses may be."""

import json
import random

import pytest

from resilience.errors import ConfigError
from resilience.gateway.format.openapi import OpenApi
from resilience.gateway.format.parameters import MAX_PAIRS
from resilience.gateway.format.path_templates import PathTemplates, UndecodableError

SHOP = """
openapi: 3.1.0
info: {title: shop, version: 1.0.0}
paths:
  /orders/{id}:
    parameters:
      - {name: id, in: path, required: true, schema: {type: integer, minimum: 1}}
    get:
      parameters:
        - {$ref: '#/components/parameters/session'}
      responses:
        200:
          description: found
          headers: {X-Count: {required: true, schema: {type: integer}}}
          content: {application/json: {schema: {$ref: '#/components/schemas/Order'}}}
        4XX: {description: not found}
  /orders/{number}/lines/{n}.json:
    get: {responses: {default: {description: a line}}}
  /orders/latest:
    get: {responses: {'200': {description: the latest}}}
  /orders:
    post:
      requestBody:
        required: true
        content: {application/json: {schema: {$ref: '#/components/schemas/Order'}}, text/*: {}}
      responses: {'201': {description: made}}
components:
  parameters:
    session: {name: sid, in: cookie, required: true, schema: {type: string, pattern: '^[a-f0-9]+$'}}
  schemas:
    Order: {type: object, required: [id], properties: {id: {type: integer}, on: {type: string, format: date, example: 2020-01-01}}}
"""


@pytest.fixture
def shop(tmp_path):
    (tmp_path / "shop.yaml").write_text(SHOP)
    return OpenApi(str(tmp_path / "shop.yaml"))


@pytest.mark.parametrize(("method", "path", "name", "parameters"), [
    ("GET", "/orders/7", "GET /orders/{id}", {"id": "7"}), ("GET", "/orders/latest", "GET /orders/latest", {}),
    ("HEAD", "/orders/a%20b", "GET /orders/{id}", {"id": "a b"}), ("POST", "/orders", "POST /orders", {}),
    ("GET", "/orders/1/lines/2.json", "GET /orders/{number}/lines/{n}.json", {"number": "1", "n": "2"}),
    ("GET", "/orders/latest/lines/2.json", "GET /orders/{number}/lines/{n}.json", {"number": "latest", "n": "2"}),
    ("PUT", "/orders/7", None, None), ("GET", "/orders/", None, None), ("GET", "/orders/1/lines/.json", None, None),
    ("GET", "/", None, None), ("GET", "/orders/1/lines/2", None, None),
])
def test_a_request_finds_its_operation_the_most_concrete_first(shop, method, path, name, parameters):
    found = shop.find(method, path)
    assert (None, None) == (name, parameters) if found is None else (found[0].name, found[1]) == (name, parameters)


def test_a_parameter_in_the_path_must_be_utf_8(shop):
    with pytest.raises(UndecodableError):
        shop.find("GET", "/orders/%ff")


def test_parameters_are_checked_in_every_place(shop):
    operation, path = shop.find("GET", "/orders/0")
    faults = operation.parameter_faults(path, b"any=1", [(b"cookie", b"a=b; sid=XYZ")], 10)
    assert [(fault.pointer, fault.detail) for fault in faults] == [
        ("/path/id", "must be at least 1"), ("/cookie/sid", "must match the pattern ^[a-f0-9]+$")]
    assert operation.parameter_faults({"id": "3"}, b"", [(b"cookie", b"a=b; sid=ab1")], 10) == []
    assert [fault.pointer for fault in operation.parameter_faults({"id": "x"}, b"", [], 10)] == ["/path/id", "/cookie/sid"]
    assert len(operation.parameter_faults({"id": "x"}, b"", [], 1)) == 1


def test_responses_are_found_by_status_class_and_default(shop):
    operation, _ = shop.find("GET", "/orders/7")
    found = operation.response(200)
    assert [fault.pointer for fault in found.header_faults([], 5)] == ["/header/x-count"]
    assert found.header_faults([(b"x-count", b"3")], 5) == []
    assert found.body.schema("application/json").fits({"id": 1, "on": "2020-01-01"})
    assert not found.body.schema("application/json").fits({"id": 1, "on": "yesterday"})
    assert operation.response(404).body is None
    assert operation.response(500) is None
    assert shop.find("GET", "/orders/1/lines/2.json")[0].response(503) is not None


def test_the_media_type_of_a_body_must_be_described(shop):
    body = shop.find("POST", "/orders")[0].request
    assert body.required
    assert body.schema("text/plain") is None
    with pytest.raises(LookupError):
        body.schema("image/png")
    with pytest.raises(LookupError):
        body.schema(None)


def parameter_of(tmp_path, parameter):
    document = {"openapi": "3.1.0", "paths": {"/x": {"get": {"parameters": [parameter], "responses": {}}}}}
    (tmp_path / "p.json").write_text(json.dumps(document))
    return OpenApi(str(tmp_path / "p.json")).find("GET", "/x")[0]


WHOLE, MANY = {"type": "integer"}, {"type": "array", "items": {"type": "integer"}}
POINT = {"type": "object", "properties": {"x": WHOLE, "y": WHOLE}, "required": ["x"]}


@pytest.mark.parametrize(("parameter", "query", "fits"), [
    ({"schema": WHOLE}, b"q=7", True), ({"schema": WHOLE}, b"q=07", False), ({"schema": WHOLE}, b"q=", False),
    ({"schema": WHOLE}, b"q=7&q=8", False), ({"schema": WHOLE}, b"r=7", True), ({"schema": WHOLE, "required": True}, b"r=7", False),
    ({"schema": {"type": "number", "maximum": 2}}, b"q=1.5e0", True), ({"schema": {"type": "number", "maximum": 2}}, b"q=2.1", False),
    ({"schema": {"type": "number"}}, b"q=1e999", False), ({"schema": {"type": "number"}}, b"q=NaN", False),
    ({"schema": {"type": "boolean"}}, b"q=true", True), ({"schema": {"type": "boolean"}}, b"q=1", False),
    ({"schema": {"type": ["integer", "string"], "minimum": 5}}, b"q=3", False),
    ({"schema": {"type": ["integer", "null"]}, "required": True}, b"q=", True),
    ({"schema": {"type": "string"}}, b"q=7", True), ({"schema": {"maxLength": 1}}, b"q=77", False),
    ({"schema": {"type": "string", "const": "a b&c"}}, b"q=a+b%26c", True), ({"schema": {"type": "string"}}, b"q=%ff", False),
    ({"schema": MANY}, b"q=1&q=2", True), ({"schema": MANY}, b"q=1&q=x", False), ({"schema": MANY, "explode": False}, b"q=1,2", True),
    ({"schema": MANY, "explode": False}, b"q=1,x", False), ({"schema": MANY, "style": "pipeDelimited"}, b"q=1%7C2", True),
    ({"schema": MANY, "style": "spaceDelimited"}, b"q=1%202", True), ({"schema": MANY, "style": "spaceDelimited"}, b"q=1%20x", False),
    ({"schema": POINT}, b"x=1&y=2", True), ({"schema": POINT}, b"y=2", False), ({"schema": POINT, "explode": False}, b"q=x,1,y,2", True),
    ({"schema": POINT, "explode": False}, b"q=x,1,y", False), ({"schema": POINT, "style": "deepObject"}, b"q[x]=1&q[y]=2", True),
    ({"schema": POINT, "style": "deepObject"}, b"q[y]=2", False), ({"schema": POINT, "style": "deepObject", "required": True}, b"", False),
    ({"content": {"application/json": {"schema": POINT}}}, b"q=%7B%22x%22:1%7D", True),
    ({"content": {"application/json": {"schema": POINT}}}, b"q=%7B", False),
    ({"content": {"application/json": {"schema": POINT}}}, b"q=1&q=1", False),
    ({"schema": {"anyOf": [WHOLE, {"const": "all"}]}}, b"q=all", True), ({"schema": {"anyOf": [WHOLE, {"const": "all"}]}}, b"q=9", True),
    ({"schema": {"anyOf": [WHOLE, {"const": "all"}]}}, b"q=some", False), ({"schema": WHOLE}, b"a&" * (MAX_PAIRS + 1), False),
])
def test_the_usual_styles_of_a_query_are_read(tmp_path, parameter, query, fits):
    operation = parameter_of(tmp_path, {"name": "q", "in": "query", **parameter})
    assert (operation.parameter_faults({}, query, [], 5) == []) is fits


def test_a_header_may_be_an_array_in_one_line_or_several(tmp_path):
    operation = parameter_of(tmp_path, {"name": "X-Ids", "in": "header", "schema": MANY})
    assert operation.parameter_faults({}, b"", [(b"x-ids", b"1, 2"), (b"x-ids", b"3")], 5) == []
    assert len(operation.parameter_faults({}, b"", [(b"x-ids", b"1, b")], 5)) == 1


@pytest.mark.parametrize(("change", "why"), [
    ({"openapi": "3.0.3"}, "version 3.1"), ({"openapi": None}, "version 3.1"), ({"swagger": "2.0", "openapi": 2}, "version 3.1"),
    ({"jsonSchemaDialect": "http://json-schema.org/draft-07/schema#"}, "only JSON Schema 2020-12"),
    ({"paths": {"/{a}-{b}": {}}}, "p.json#/paths/~1{a}-{b}: a segment of a path may have one parameter"),
    ({"paths": {"/{a}/{a}": {}}}, "parameter a twice"), ({"paths": {"/{a}": {}, "/{b}": {}}}, "has the same requests"),
    ({"paths": {"x": {}}}, "begin with a slash"),
    ({"paths": {"/x": {"get": {"parameters": [{"name": "q", "in": "path", "style": "matrix"}]}}}}, "get/parameters/0: the style must be"),
    ({"paths": {"/x": {"get": {"parameters": [{"in": "query"}]}}}}, "needs a name"),
    ({"paths": {"/x": {"get": {"parameters": {}}}}}, "must be a list"),
    ({"paths": {"/x": {"get": {"parameters": [{"$ref": "#/nowhere"}]}}}}, "a reference leads there"),
    ({"paths": {"/x": {"$ref": "#/a"}}, "a": {"$ref": "#/b"}, "b": {"$ref": "#/a"}}, "round in a circle"),
    ({"paths": {"/x": {"get": {"requestBody": {"content": {"a/b": {"schema": {"type": "no"}}}}}}}}, "/type: "),
    ({"paths": {"/x": {"get": {"requestBody": {"content": {"a/b": {"schema": {"$ref": "http://127.0.0.1:1/s"}}}}}}}}, "nothing is fetched"),
])
def test_a_document_with_a_mistake_is_refused_with_the_place(tmp_path, change, why):
    (tmp_path / "p.json").write_text(json.dumps({"openapi": "3.1.0", **change}))
    with pytest.raises(ConfigError) as caught:
        OpenApi(str(tmp_path / "p.json"))
    assert why in str(caught.value)


def slow_find(templates, path):
    """The template whose first differing segment is the more concrete, by comparing all."""

    def matches(template):
        ours, theirs = template.split("/"), path.split("/")
        return len(ours) == len(theirs) and all(
            a == b if "{" not in a else b.startswith(a.partition("{")[0]) and b.endswith(a.partition("}")[2])
            and len(b) > len(a.partition("{")[0]) + len(a.partition("}")[2]) for a, b in zip(ours, theirs))

    def rank(template):
        return [(0 if "{" not in part else 1, -len(part.partition("{")[0]) - len(part.partition("}")[2]) if "{" in part else 0)
                for part in template.split("/")]

    found = [rank(template) for template in templates if matches(template)]
    return min(found) if found else None, rank


def test_random_templates_are_found_as_by_comparing_all_of_them():
    parts = ["a", "b", "{x}", "a{x}", "{x}.b", ""]
    for seed in range(300):
        rng = random.Random(seed)
        templates, wanted = PathTemplates(), []
        for _ in range(8):
            shape = [rng.choice(parts).replace("x", f"x{place}") for place in range(rng.randrange(1, 4))]
            template = "/" + "/".join(shape)
            try:
                templates.add(template, template)
            except ConfigError:
                assert template in wanted
                continue
            wanted.append(template)
        for _ in range(30):
            path = "/" + "/".join(rng.choice(["a", "b", "aa", "a.b", "c", "", ".b"]) for _ in range(rng.randrange(1, 4)))
            found = templates.find(path)
            best, rank = slow_find(wanted, path)
            assert (None if found is None else rank(found[0])) == best, (wanted, path)
