"""A secret, a certificate or a document was replaced in its place, the file was reloaded, and the old one stayed in force.

Whoever had a signing key that was withdrawn could go on signing, until the gateway was restarted. A reload compared the
tables only, and those say where something is, and not what.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from pathlib import Path
from typing import Any

import pytest

from resilience.config import Document
from resilience.gateway.config import GatewayConfig, read
from resilience.gateway.config.effective import lines
from tests.issues.gateway_parts import OK, asked, served, upstream

ONE, TWO = "1" * 40, "2" * 40
ELSEWHERE = (Path(__file__).parents[1] / "gateway" / "elsewhere.pem").read_text()


def described(maximum: int) -> str:
    return json.dumps({"openapi": "3.1.0", "info": {"title": "x", "version": "1"}, "paths": {"/x": {"get": {
        "parameters": [{"name": "n", "in": "query", "schema": {"type": "integer", "maximum": maximum}}],
        "responses": {"200": {"description": "fine"}}}}}})


#: What names something: the table that it is in, its settings, where the place is, and two things that may be there.
#: PLACE stands for the path of a file.
NAMING: dict[str, tuple[str, dict[str, Any], str, str]] = {
    "hmac": ("filters", {"use": "hmac", "keys": [{"id": "a", "secret": "file:PLACE", "consumer": "a"}]}, ONE, TWO),
    "jwt": ("filters", {"use": "jwt", "issuer": False, "audience": False, "algorithms": ["HS256"], "secret": "file:PLACE"}, ONE, TWO),
    "jwks": ("filters", {"use": "jwt", "issuer": False, "audience": False, "jwks": "https://a.test/", "ca_file": "PLACE"}, "", ""),
    "forward_auth": ("filters", {"use": "forward_auth", "url": "https://a.test/", "ca_file": "PLACE"}, "", ""),
    "openapi": ("filters", {"use": "openapi", "document": "PLACE"}, described(1), described(2)),
    "json_schema": ("filters", {"use": "json_schema", "response": "PLACE#/$defs/x"}, '{"$defs": {"x": {}}}', '{"$defs": {"x": true}}'),
    "headers": ("services", {"endpoints": [{"url": "http://a.test", "headers": {"X-Key": "file:PLACE"}}]}, ONE, TWO),
    "json": ("services", {"endpoints": [{"url": "http://a.test", "json": {"/key": "file:PLACE"}}]}, ONE, TWO),
    "ca_file": ("services", {"endpoints": ["https://a.test"], "ca_file": "PLACE"}, "", ""),
    "eureka headers": ("services", {"source": {"use": "eureka", "app": "a", "servers": ["http://a.test"],
                                               "headers": {"Authorization": "file:PLACE"}}}, ONE, TWO),
    "eureka": ("services", {"source": {"use": "eureka", "app": "a", "servers": ["https://a.test"], "ca_file": "PLACE"}}, "", ""),
    "redis": ("services", {"source": {"use": "redis", "app": "a", "url": "file:PLACE"}}, "redis://a.test", "redis://b.test"),
    "kubernetes": ("services", {"source": {"use": "kubernetes", "service": "a", "api": "https://a.test", "ca_file": "PLACE"}}, "", ""),
}


def configuration(table: str, settings: dict[str, Any], place: Path) -> GatewayConfig:
    data: dict[str, Any] = {"services": {"up": {"endpoints": ["http://a.test"]}}, "routes": [{"path": "/*", "service": "up"}]}
    data.setdefault(table, {})["named"] = json.loads(json.dumps(settings).replace("PLACE", str(place)))
    return read(Document.of(data, "test"))


@pytest.mark.parametrize("name", NAMING)
def test_settings_are_others_once_what_they_name_has_been_replaced(name: str, tmp_path: Path) -> None:
    table, settings, one, two = NAMING[name]
    if not one:
        authorities = ssl.create_default_context().get_ca_certs(binary_form=True)
        one, two = ELSEWHERE, ELSEWHERE + ssl.DER_cert_to_PEM_cert(authorities[0]) if authorities else ELSEWHERE + "\n"
    place = tmp_path / "place.json"
    place.write_text(one)

    def found() -> Any:
        return getattr(configuration(table, settings, place), table)["named"]

    before = found()
    assert found() == before
    place.write_text(two)
    assert found() != before
    place.write_text(one)
    assert found() == before


def test_a_document_is_another_once_a_file_that_it_refers_to_is(tmp_path: Path) -> None:
    (tmp_path / "inner.json").write_text('{"type": "object"}')
    (tmp_path / "outer.json").write_text('{"$ref": "inner.json"}')
    settings = {"use": "json_schema", "request": "PLACE"}
    before = configuration("filters", settings, tmp_path / "outer.json")
    assert configuration("filters", settings, tmp_path / "outer.json") == before
    (tmp_path / "inner.json").write_text('{"type": "array"}')
    assert configuration("filters", settings, tmp_path / "outer.json") != before


def test_a_reload_sends_the_secret_that_stands_there_now(tmp_path: Path) -> None:
    async def main() -> None:
        sent = list[bytes]()

        async def answer(head: bytes, writer: Any) -> None:
            sent.extend(line[7:] for line in head.split(b"\r\n") if line.startswith(b"x-key: "))
            writer.write(OK)

        place = tmp_path / "key"
        async with upstream(answer) as url:
            def wanted(key: str) -> GatewayConfig:
                place.write_text(key)
                return read(Document.of({
                    "services": {"up": {"endpoints": [{"url": url, "headers": {"X-Key": f"file:{place}"}}]}},
                    "routes": [{"path": "/*", "service": "up"}]}, "test"))

            async with served(wanted("one")) as (gateway, front):
                await (await front.client(asked())).all()
                service = gateway.services["up"]
                gateway.reload(wanted("one"))
                assert gateway.services["up"] is service  # nothing has changed: it is left alone
                gateway.reload(wanted("two"))
                await (await front.client(asked())).all()
        assert sent == [b"one", b"two"]

    asyncio.run(main())


def test_what_stands_for_a_secret_is_shown_nowhere_and_can_be_set_by_nobody(tmp_path: Path) -> None:
    place = tmp_path / "key"
    place.write_text(ONE)
    file = tmp_path / "gateway.toml"
    file.write_text(f"""
[services.up]
endpoints = [{{ url = "http://a.test", headers = {{ X-Key = "file:{place}" }} }}]
[[routes]]
path = "/*"
service = "up"
""")
    document = Document.read(file)
    shown = "".join(lines(read(document), document))
    assert [each for each in ("contents", "b'") if each in shown] == []
    file.write_text(file.read_text().replace("[services.up]\n", '[services.up]\ncontents = "x"\n'))
    with pytest.raises(Exception, match="contents: unknown setting"):
        read(Document.read(file))
