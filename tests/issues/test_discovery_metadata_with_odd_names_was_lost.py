"""Metadata may have any name: what goes into a registry comes out in JSON and XML, and at its peers, or is refused."""

from __future__ import annotations

import json
import random
from typing import Any
from xml.etree import ElementTree

import pytest

from resilience.discovery.registry.bodies import registration
from resilience.discovery.registry.element_names import element_name, read_name
from resilience.discovery.registry.entry import Form
from resilience.discovery.registry.instance import Instance
from resilience.discovery.registry.instance_copy import instance_in
from resilience.discovery.registry.instance_reading import instance_of
from tests.discovery.registry.plain_registry import EPOCH_MS, moment
from tests.discovery.registry.test_eureka_rest import ONE, Api

NAMES = ("class", "$", "@x", "@enabled", "enabled", "metadata", "instance", "port", "xml", "XmlThing", "1st", "a b", " a", "<x>", "&amp;",
         "a:b", "-", ".", "_", "__", "_x", "_x0040_", "_x0040", "_x005F_x0040_", "@_x0040_", "_xD800_", "_xFFFFFF_", "x0040_", "é",
         "\N{GRINNING FACE}", "\N{COMBINING ACUTE ACCENT}", "ß", "İ", "\N{NO-BREAK SPACE}", "n" * 255)
VALUES = ("", " ", " a ", "a\r\nb\tc\n", "\r", "]]>", "<&\">'", "null", "true", "é\N{GRINNING FACE}", "_x0040_", "@class", "v" * 4096)
CENTER = {"@class": "c", "name": "MyOwn"}


def said(**more: Any) -> dict[str, Any]:
    return {"instanceId": "host:shop:80", "hostName": "h", "app": "shop", "ipAddr": "10.0.0.1", "dataCenterInfo": CENTER, **more}


def registered(api: Api, body: bytes, kind: str) -> dict[str, str]:
    """What a registry has of the metadata that it was sent in this body."""
    assert 204 == api.status("POST", "/apps/SHOP", body, headers={b"content-type": f"application/{kind}".encode()})
    lease = api.registry.lease("SHOP", "host:shop:80")
    assert lease is not None
    return dict(lease.entry.instance.metadata)


def is_kept(metadata: dict[str, str]) -> None:
    """It comes out as it went in, wherever that is: in either form of another registry, and as peers and stores are sent it."""
    api = Api()
    assert metadata == registered(api, json.dumps({"instance": said(metadata=metadata)}).encode(), "json")
    entry = api.registry.lease("SHOP", "host:shop:80").entry
    for form in (Form.JSON, Form.XML):
        text = entry.text(form)
        kind, body = ("json", b'{"instance":%b}' % text) if form.is_json else ("xml", text)
        assert metadata == registered(Api(), body, kind), form
    assert entry.instance == instance_in(json.loads(entry.text(Form.JSON)), moment(0.0), 86_400)
    assert len(ElementTree.fromstring(entry.text(Form.XML)).findall("metadata/*")) == len(metadata)


@pytest.mark.parametrize("name", NAMES)
def test_metadata_of_any_name_is_the_same_in_json_in_xml_and_at_peers(name: str) -> None:
    is_kept({name: "gold", "zone": "z"})


def test_metadata_of_any_names_and_values_is_the_same_everywhere() -> None:
    for value in VALUES:
        is_kept({"name": value})
    for seed in range(40):
        some = random.Random(seed)
        characters = [*"_x@$:0A. \t-é", "\N{GRINNING FACE}"]
        names = [*some.sample(NAMES, 5), *("".join(some.choices(characters[:-3], k=some.randint(1, 12))).replace("\t", "t") for _ in range(5))]
        is_kept({name: some.choice([*VALUES, "".join(some.choices(characters, k=6))]) for name in names})


def test_names_of_elements_are_read_as_they_were_written_and_differ_for_different_names() -> None:
    for seed in range(300):
        some = random.Random(seed)
        name = "".join(some.choices([*"_x0045fFD", "@", "\N{GRINNING FACE}"], k=some.randint(1, 14)))
        assert name == read_name(element_name(name))


def test_the_class_of_a_mapping_is_no_pair_and_cannot_be_made_one() -> None:
    api = Api()
    body = json.dumps({"instance": said(metadata={"@class": "java.util.HashMap", "zone": "z"})}).encode()
    assert {"zone": "z"} == registered(api, body, "json")
    assert 400 == api.status("PUT", f"{ONE}/metadata?zone=y&%40class=q")
    assert 200 == api.status("PUT", f"{ONE}/metadata?class=gold&%40x=1")
    assert {"zone": "z", "class": "gold", "@x": "1"} == dict(api.registry.lease("SHOP", "host:shop:80").entry.instance.metadata)


@pytest.mark.parametrize(("element", "metadata"), [
    (b'<metadata class="java.util.HashMap"><a>1</a><class>gold</class><b/></metadata>', {"a": "1", "class": "gold", "b": ""}),
    (b'<metadata class="java.util.Collections$EmptyMap"/>', {}), (b'<metadata class="x"> </metadata>', {}), (b"<metadata/>", {}),
    (b'<metadata odd="x"><a>1</a></metadata>', {"a": "1"}), (b'<metadata><a odd="x">1</a></metadata>', {"a": "1"}),
    (b"<metadata><a> 1 </a></metadata>", {"a": " 1 "}), (b"<metadata><_x0024_>1</_x0024_></metadata>", {"$": "1"})])
def test_metadata_in_xml_is_what_its_elements_say(element: bytes, metadata: dict[str, str]) -> None:
    body = (b'<instance><instanceId>host:shop:80</instanceId><hostName> h </hostName><app>shop</app><ipAddr>10.0.0.1</ipAddr>'
            b'<port enabled="true"> 80 </port><dataCenterInfo class="c"><name>MyOwn</name></dataCenterInfo>%b</instance>')
    assert metadata == registered(Api(), body % element, "xml")
    assert "h" == instance_of(registration(body % element, "application/xml"), "shop", EPOCH_MS, 90).host_name


@pytest.mark.parametrize("value", [float("inf"), [1], {"b": "c"}, "\x00", "\ud800", "\x85", "v" * 4097])
def test_a_value_that_could_not_be_kept_is_refused(value: Any) -> None:
    body = json.dumps({"instance": said(metadata={"a": value})}).replace("Infinity", "1e999").encode()
    assert 400 == Api().status("POST", "/apps/SHOP", body)


@pytest.mark.parametrize("name", ["", "a\n", "\x00", "\ud800", "\uffff", "n" * 256])
def test_a_name_that_could_not_be_kept_is_refused(name: str) -> None:
    assert 400 == Api().status("POST", "/apps/SHOP", json.dumps({"instance": said(metadata={name: "x"})}).encode())


def test_an_instance_that_peers_are_sent_is_read_as_it_was() -> None:
    texts = ("", " a ", "é", "1", "true", "a,b", "http://h/?a=b&c=<d>")
    for seed in range(60):
        some = random.Random(seed)
        more = {name: some.choice([None, *texts]) for name in ("vipAddress", "homePageUrl", "asgName", "sid", "isCoordinatingDiscoveryServer")}
        port = some.choice([None, 80, "81", {}, {"$": 1}, {"@enabled": False}, {"$": None, "@enabled": "TRUE"}])
        found: Instance = instance_of(said(**more, port=port, status=some.choice([None, "", "down", "UP"]), leaseInfo=some.choice(
            [None, {}, {"durationInSecs": 5}]), lastDirtyTimestamp=some.choice([None, "", 7, "8"])), "shop", EPOCH_MS, 86_400)
        api = Api()
        api.registry.register(found, "10.0.0.1", moment(0.0))
        entry = api.registry.lease("SHOP", "host:shop:80").entry
        assert entry.instance == instance_in(json.loads(entry.text(Form.JSON)), moment(9.0), 86_400)
        in_xml = registration(entry.text(Form.XML), "application/xml")
        assert entry.instance == instance_of(in_xml, "shop", EPOCH_MS + 9000, 86_400)
