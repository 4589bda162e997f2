"""What ``--print-config`` prints is a file that means the same, and says where each value comes from."""

from __future__ import annotations

import re
from pathlib import Path

import attrs
import pytest

from resilience import Registry
from resilience.config import ConfigFileError, Document
from resilience.gateway import Gateway, GatewayConfig
from resilience.gateway.config import read
from resilience.gateway.config.effective import lines
from resilience.gateway.config.file import TABLES
from resilience.gateway.config.filters import BUILT_IN

DOCS = Path(__file__).parents[2] / "docs"
SERVICE = '[services.other]\nendpoints = ["http://127.0.0.1:1"]\n'
ROUTE = '[[routes]]\npath = "/other/*"\nservice = "other"\n'

EVERYTHING = """[gateway]
bind = "127.0.0.1:8080"
filters = ["keys"]
[admin]
tokens = { ops = "sha256:DIGEST" }
[process]
workers = 2
[access_log]
format = "clf"
[tracing]
[shedding]
[shared]
url = "redis://127.0.0.1:1/0"
[shared.circuits]
[identity]
tenant = false
[filters.keys]
use = "api_keys"
keys = [{ id = "k1", sha256 = "DIGEST", consumer = "shop", scopes = ["a"] }]
[filters.access]
use = "access"
[filters.certificates]
use = "client_certificate"
identities = [{ name = "DNS:billing.internal" }]
[filters.small]
use = "compress"
enabled = false
[filters.outside]
use = "forward_auth"
service = "odd name"
[filters.signed]
use = "hmac"
keys = [{ id = "one", secret = "env:A_SECRET", consumer = "shop" }]
[filters.tokens]
use = "jwt"
issuer = "https://issuer.example"
audience = "api"
algorithms = ["HS256"]
secret = "env:A_SECRET"
token_type = "at+jwt"
[filters.rate]
use = "rate_limit"
rate = 10
order = 7
[filters.shed]
use = "shed"
[filters.fields]
use = "headers"
request = { set = { "X-A" = "1" } }
[filters.body]
use = "json_body"
response = { remove = ["/a"] }
[filters.errors]
use = "errors"
fields = { code = "/status" }
[registry]
expected_instances = 3
[registry.listener]
bind = "127.0.0.1:8761"
[registry.tokens]
clients = { shop = "sha256:DIGEST" }
[registry.shared]
url = "redis://127.0.0.1:1/1"
[[registry.peers]]
url = "http://127.0.0.2:8761/eureka"
[services."odd name"]
endpoints = ["http://127.0.0.1:1", { url = "http://127.0.0.1:2", weight = 2, headers = { "X-A" = "env:A_SECRET" } }]
retry = false
[services."odd name".command]
timeout = 0.5
adaptive_limit = {}
[services."odd name".fallback]
body = "{}"
[compositions.page]
[compositions.page.parts.one]
service = "odd name"
path = "/one"
[[routes]]
path = "/a/*"
service = "odd name"
methods = ["GET"]
[[routes]]
path = "/page"
compose = "page"
[private]
bind = "127.0.0.1:8081"
[[private.routes]]
path = "/b/*"
service = "odd name"
cookies = { beta = "*" }
""".replace("DIGEST", "0" * 64)


def printed(config: GatewayConfig, document: Document) -> str:
    return "\n".join(lines(config, document))


def settings(text: str) -> str:
    """The settings of a file, without what is said of their origins."""
    return re.sub(r"  # \S.*$", "", text, flags=re.M)


def bare(config: GatewayConfig) -> list[object]:
    """The configuration without filters, which are objects, and with commands, whose defaults are written out, left out."""
    services = {name: attrs.evolve(each, command={}) for name, each in config.services.items()}
    return [services, *(getattr(config, each.name) for each in attrs.fields(GatewayConfig) if each.name not in ("filters", "services"))]


def means_the_same(source: str) -> str:
    """Whether what is printed of a file means the same; what was printed."""
    document = Document(source, "g.toml")
    config = read(document)
    text = printed(config, document)
    document = Document(text, "printed")
    again = read(document)
    assert settings(printed(again, document)) == settings(text)
    assert [*again.filters] == [*config.filters]
    for name, each in config.filters.items():
        one, two = each, again.filters[name]
        assert (one.order, one.time_limit, one.enabled, type(one.target)) == (two.order, two.time_limit, two.enabled, type(two.target))
        for field in attrs.fields(type(one.target)) if attrs.has(type(one.target)) else ():
            if field.init and field.eq:
                assert getattr(one.target, field.name) == getattr(two.target, field.name), (name, field.name)
    assert bare(again) == bare(config)
    return text


@pytest.fixture
def everything(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("A_SECRET", "x" * 40)
    return EVERYTHING


def test_every_table_and_filter_is_printed_so_that_it_means_the_same(everything: str) -> None:
    assert {"openapi", "json_schema"} == {*BUILT_IN} - set(re.findall(r'use = "(\w+)"', everything)), "all but those that need a document"
    assert not {*TABLES} - {name.partition(".")[0] for name in re.findall(r"^\[+([\w.]+)", everything, re.M)}
    text = means_the_same(everything)
    assert 'token_type = "at+jwt"' in text


def test_what_is_said_to_be_empty_is_printed_so_that_it_means_the_same() -> None:
    assert 'routes = []  # g.toml:1' in means_the_same(f"routes = []\n{SERVICE}")
    assert 'services = {}  # g.toml:2' in means_the_same("routes = []\n[services]\n")
    assert "routes = []" not in means_the_same(SERVICE + ROUTE)


@pytest.mark.parametrize("name", ["Ocp-Apim-Subscription-Key", "X-Auth", "DD-APPLICATION-KEY", "X-Signature", "Authorization"])
def test_a_header_with_a_telling_name_is_hidden(name: str) -> None:
    said = SERVICE.replace('["http://127.0.0.1:1"]', f'[{{ url = "http://127.0.0.1:1", headers = {{ {name} = "hunter2", X-Monkey = "a" }} }}]')
    document = Document(said + ROUTE, "g.toml")
    assert f'{{ {name} = "(hidden)", X-Monkey = "a" }}' in printed(read(document), document)


def test_the_commands_that_it_makes_are_the_same_and_each_value_says_where_it_comes_from(everything: str) -> None:
    everything = everything[:everything.index("[shared]")] + everything[everything.index("[identity]"):]
    everything = re.sub(r"\[registry\].*?(?=\[services)", "", everything, flags=re.S)
    document = Document(everything, "g.toml")
    config = read(document)
    text = printed(config, document)
    registries = Registry(), Registry()
    for each, registry in zip((config, read(Document(text, "printed"))), registries, strict=True):
        Gateway(each, registry=registry).close()
    assert 'bind = "127.0.0.1:8080"  # g.toml:2' in text
    assert re.search(r"^command.timeout = 0.5  # g.toml:\d+$", text, re.M)
    assert "connect_timeout = 2.0  # default" in text


def test_an_option_that_takes_precedence_is_what_is_in_force(everything: str) -> None:
    document = Document(everything, "g.toml")
    assert "workers = 4  # --workers" in "\n".join(lines(read(document), document, workers=4))


def snippets() -> dict[str, str]:
    """The examples, and whatever a page shows of a gateway's file, with what else a file needs."""
    found = {str(path.relative_to(DOCS)): path.read_text(encoding="utf-8") for path in DOCS.rglob("*.toml")}
    for page in DOCS.rglob("*.md"):
        for index, block in enumerate(re.findall(r"```toml\n(.*?)```", page.read_text(encoding="utf-8"), re.S)):
            found[f"{page.relative_to(DOCS)}:{index}"] = block
    tables = re.compile(rf"^\[+({'|'.join(TABLES)})\b", re.M)
    return {name: text if "[services" in text and "[[routes" in text else f"{text}\n{SERVICE}{ROUTE}"
            for name, text in found.items() if tables.search(text) and "[policies" not in text}


def test_what_the_pages_show_is_printed_so_that_it_means_the_same() -> None:
    held = 0
    for name, source in snippets().items():
        try:
            read(Document(source, name))
        except ConfigFileError:  # it is a registry's, or needs what its page makes: see tests/docs
            continue
        means_the_same(source)
        held += 1
    assert held > 30
