"""The protocol, request by request: paths, status codes, media types, and what clients in the field send."""

import copy
import gzip
import json
import random
from xml.etree import ElementTree

import pytest

from resilience.discovery.registry.instance_registry import InstanceRegistry
from resilience.discovery.registry.rest import Request, RestApi, takes_gzip
from resilience.discovery.registry.settings import RegistrySettings
from tests.discovery.registry.plain_registry import EPOCH_MS, moment
from tests.seeds import over_seeds

JSON = {b"accept": b"application/json"}
REPLICATION = {b"x-netflix-discovery-replication": b"true"}
CENTER = {"@class": "com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo", "name": "MyOwn"}
FULL = {
    "instanceId": "host:shop:80", "hostName": "shop.internal", "app": "shop", "ipAddr": "10.0.0.1", "status": "UP",
    "overriddenStatus": "UNKNOWN", "port": {"$": 80, "@enabled": "true"}, "securePort": {"$": "443", "@enabled": "false"},
    "countryId": 1, "dataCenterInfo": CENTER,
    "leaseInfo": {"renewalIntervalInSecs": 10, "durationInSecs": 40, "registrationTimestamp": 0},
    "metadata": {"zone": "a", "weight": 3}, "vipAddress": "shop,store", "secureVipAddress": "shop-s",
    "homePageUrl": "http://shop.internal/", "lastDirtyTimestamp": str(EPOCH_MS), "asgName": "g"}
LEAST = {"hostName": "shop.internal", "app": "shop", "ipAddr": "10.0.0.1", "dataCenterInfo": CENTER}
XML = b"""<?xml version="1.0"?><instance><instanceId>host:shop:80</instanceId><hostName>shop.internal</hostName>
<app>SHOP</app><ipAddr>10.0.0.1</ipAddr><status>UP</status><port enabled="true">80</port>
<securePort enabled="false">443</securePort><vipAddress>shop</vipAddress>
<dataCenterInfo class="com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo"><name>MyOwn</name></dataCenterInfo>
<metadata><zone>b &amp; c</zone></metadata><leaseInfo><durationInSecs>40</durationInSecs></leaseInfo></instance>"""


class Api:
    """A registry and its protocol, on a clock that stands still until it is set."""

    def __init__(self, **settings):
        self.registry = InstanceRegistry(RegistrySettings(**settings), moment(0.0))
        self._rest, self.now = RestApi(self.registry), 0.0

    def ask(self, method, path, body=b"", *, headers=None, base="/eureka/v2", peer="10.0.0.1", server="10.0.0.2"):
        path, _, query = path.partition("?")
        return self._rest.answer(Request(
            method=method, path=base + path, query=query, headers=headers or {}, peer=peer, server=server,
            body=body if isinstance(body, bytes) else json.dumps({"instance": body}).encode()), moment(self.now))

    def status(self, method, path, body=b"", **more):
        return self.ask(method, path, body, **more).status

    def read(self, path, **more):
        answer = self.ask("GET", path, headers=JSON, **more)
        assert 200 == answer.status, path
        return json.loads(answer.body)


@pytest.fixture
def api():
    return Api()


@pytest.fixture
def shop(api):
    """With one instance."""
    assert 204 == api.status("POST", "/apps/SHOP", FULL)
    return api


ONE = "/apps/SHOP/host:shop:80"


@pytest.mark.parametrize("base", ["/eureka/v2", "/eureka"])
def test_an_instance_registers_renews_is_found_and_leaves_below_both_bases(api, base):
    def status(method, path, body=b""):
        return api.status(method, path, body, base=base)

    assert [404, 404, 404] == [status("GET", "/apps/SHOP"), status("PUT", ONE), status("DELETE", ONE)]
    assert 204 == status("POST", "/apps/shop", FULL)
    assert 200 == status("PUT", f"{ONE}?status=UP&lastDirtyTimestamp={EPOCH_MS}")
    for path in ("/apps", "/apps/", "/apps/delta", "/apps/delta/", "/apps/SHOP", "/apps/shop", ONE, "/instances/host:shop:80",
                 "/apps/SHOP/host%3Ashop%3A80", "/vips/shop", "/vips/store", "/svips/shop-s", "/apps?regions=a,b"):
        assert 200 == status("GET", path), path
    for path in ("/apps/CART", "/apps/SHOP/other", "/instances/other", "/vips/SHOP", "/svips/shop", "/nothing", ""):
        assert 404 == status("GET", path), path
    assert 200 == status("DELETE", ONE)
    assert 404 == status("DELETE", ONE)


def test_what_is_not_found_has_no_body(api):
    assert b"" == api.ask("PUT", ONE).body == api.ask("GET", ONE).body == api.ask("GET", "/apps/SHOP").body


def test_what_is_below_no_base_is_not_the_protocols(api):
    assert api.ask("GET", "/apps", base="") is None
    assert api.ask("GET", "/apps", base="/eurekas") is None


def test_json_has_the_documented_shapes(shop):
    full, delta = shop.read("/apps"), shop.read("/apps/delta")
    for each in (full, delta):
        assert ["versions__delta", "apps__hashcode", "application"] == list(each["applications"])
        assert "UP_1_" == each["applications"]["apps__hashcode"]
        assert isinstance(each["applications"]["versions__delta"], str)
    found = full["applications"]["application"][0]["instance"][0]
    assert "SHOP" == full["applications"]["application"][0]["name"]
    assert found == shop.read(ONE)["instance"] == shop.read("/apps/SHOP")["application"]["instance"][0]
    assert {
        "instanceId": "host:shop:80", "hostName": "shop.internal", "app": "SHOP", "ipAddr": "10.0.0.1", "status": "UP",
        "overriddenStatus": "UNKNOWN", "port": {"$": 80, "@enabled": "true"}, "securePort": {"$": 443, "@enabled": "false"},
        "countryId": 1, "dataCenterInfo": CENTER,
        "leaseInfo": {"renewalIntervalInSecs": 10, "durationInSecs": 40, "registrationTimestamp": EPOCH_MS,
                      "lastRenewalTimestamp": EPOCH_MS, "evictionTimestamp": 0, "serviceUpTimestamp": EPOCH_MS},
        "metadata": {"zone": "a", "weight": "3"}, "homePageUrl": "http://shop.internal/", "vipAddress": "shop,store",
        "secureVipAddress": "shop-s", "asgName": "g", "isCoordinatingDiscoveryServer": "false",
        "lastUpdatedTimestamp": str(EPOCH_MS), "lastDirtyTimestamp": str(EPOCH_MS), "actionType": "ADDED"} == found


def test_an_empty_registry_has_an_empty_list_and_an_empty_hash(api):
    assert {"applications": {"versions__delta": str(EPOCH_MS), "apps__hashcode": "", "application": []}} == api.read("/apps")


@pytest.mark.parametrize("accept", [None, b"*/*", b"application/xml", b"text/html"])
def test_xml_is_for_whoever_does_not_ask_for_json(shop, accept):
    answer = shop.ask("GET", "/apps", headers={} if accept is None else {b"accept": accept})
    root = ElementTree.fromstring(answer.body)
    found = root.find("application/instance")

    assert (b"content-type", b"application/xml") in answer.headers
    assert "UP_1_" == root.findtext("apps__hashcode")
    assert "true" == found.find("port").get("enabled")
    assert CENTER["@class"] == found.find("dataCenterInfo").get("class")
    assert "UNKNOWN" == found.findtext("overriddenstatus")
    assert "3" == found.findtext("metadata/weight")
    assert all(found.findtext(name) for name in ("countryId", "leaseInfo/durationInSecs", "securePort"))


def test_what_registers_by_xml_is_what_registers_by_json(api):
    assert 204 == api.status("POST", "/apps/SHOP", XML, headers={b"content-type": b"application/xml"})
    found = api.read(ONE)["instance"]

    assert {"zone": "b & c"} == found["metadata"]
    assert {"$": 80, "@enabled": "true"} == found["port"]
    assert 40 == found["leaseInfo"]["durationInSecs"]


def test_gzip_is_for_whoever_takes_it(shop):
    answer = shop.ask("GET", "/apps", headers={**JSON, b"accept-encoding": b"deflate, gzip;q=0.5"})

    assert (b"content-encoding", b"gzip") in answer.headers
    assert shop.read("/apps") == json.loads(gzip.decompress(answer.body))
    assert [True, True, False, False, False] == [
        takes_gzip(each) for each in ("gzip", "br, x-gzip", "gzip;q=0", "", "identity, gzip; q=0.0")]


def test_the_compact_form_has_what_is_needed_for_a_call(shop):
    found = json.loads(shop.ask("GET", ONE, headers={**JSON, b"x-eureka-accept": b"compact"}).body)["instance"]
    xml = ElementTree.fromstring(shop.ask("GET", ONE, headers={b"x-eureka-accept": b"compact"}).body)

    assert {"instanceId", "hostName", "app", "ipAddr", "status", "port", "securePort", "dataCenterInfo", "vipAddress",
            "secureVipAddress", "asgName", "isCoordinatingDiscoveryServer", "lastUpdatedTimestamp", "actionType"} == set(found)
    assert set(found) == {each.tag for each in xml}


def test_clients_may_leave_out_what_they_do_not_know(api):
    assert 204 == api.status("POST", "/apps/shop", LEAST)
    found = api.read("/apps/SHOP/shop.internal")["instance"]

    assert "UP" == found["status"]
    assert {"@class": "java.util.Collections$EmptyMap"} == found["metadata"]
    assert str(EPOCH_MS) == found["lastDirtyTimestamp"]
    assert (30, 90) == (found["leaseInfo"]["renewalIntervalInSecs"], found["leaseInfo"]["durationInSecs"])
    assert isinstance(found["securePort"]["$"], int)


def test_an_instance_without_an_id_has_that_of_its_cloud_and_else_its_hosts(api):
    amazon = {"@class": "com.netflix.appinfo.AmazonInfo", "name": "Amazon", "metadata": {"instance-id": "i-1"}}
    assert 204 == api.status("POST", "/apps/shop", {**LEAST, "dataCenterInfo": amazon})

    assert amazon == api.read("/instances/i-1")["instance"]["dataCenterInfo"]


def test_flags_may_be_booleans_and_ports_plain_numbers(api):
    assert 204 == api.status("POST", "/apps/shop", {**LEAST, "port": {"$": "81", "@enabled": True}, "securePort": 444})
    found = api.read("/apps/SHOP/shop.internal")["instance"]

    assert {"$": 81, "@enabled": "true"} == found["port"]
    assert {"$": 444, "@enabled": "true"} == found["securePort"]


@pytest.mark.parametrize(("change", "text"), [
    ({"hostName": ""}, "Missing hostname"), ({"hostName": None, "instanceId": None}, "Missing instanceId"),
    ({"ipAddr": " "}, "Missing ip address"), ({"app": ""}, "Missing appName"),
    ({"app": "cart"}, "Mismatched appName, expecting SHOP but was CART"), ({"dataCenterInfo": None}, "Missing dataCenterInfo"),
    ({"dataCenterInfo": {"name": ""}}, "Missing dataCenterInfo Name"),
])
def test_what_is_missing_is_named_as_documented_and_nothing_is_changed(api, change, text):
    answer = api.ask("POST", "/apps/shop", {**FULL, **change})

    assert (400, text) == (answer.status, answer.body.decode().strip())
    assert (0, EPOCH_MS) == (len(api.registry), api.registry.snapshot().version)


@pytest.mark.parametrize("change", [
    {"status": "FINE"}, {"overriddenStatus": 7}, {"port": {"$": 70_000}}, {"port": {"$": "eighty"}}, {"port": [80]},
    {"port": {"$": -1}}, {"countryId": "x"}, {"countryId": 1 << 40}, {"lastDirtyTimestamp": "-5"},
    {"lastDirtyTimestamp": "9" * 30}, {"lastDirtyTimestamp": 1e300}, {"lastDirtyTimestamp": True},
    {"leaseInfo": {"durationInSecs": 1 << 31}}, {"leaseInfo": {"durationInSecs": "long"}},
    {"leaseInfo": {"renewalIntervalInSecs": 1e9}}, {"instanceId": "x" * 256}, {"instanceId": "a\nb"}, {"instanceId": "a\x00"},
    {"hostName": "a b"}, {"hostName": "127.1"}, {"hostName": "0x7f000001"}, {"hostName": "2130706433"},
    {"ipAddr": "nowhere"}, {"ipAddr": "10.0.0"}, {"homePageUrl": "x" * 3000}, {"homePageUrl": {"a": 1}},
    {"metadata": {str(number): "x" for number in range(200)}}, {"metadata": {"a": "x" * 5000}}, {"metadata": {"": "x"}},
    {"metadata": {"a": [1]}}, {"metadata": {"a\x07": "b"}}, {"vipAddress": "\ud800"},
    {"lastDirtyTimestamp": str(EPOCH_MS + 90_000_000)}])
def test_what_cannot_be_meant_is_refused_with_a_sentence_and_changes_nothing(shop, change):
    before = shop.registry.snapshot()
    answer = shop.ask("POST", "/apps/SHOP", {**FULL, **change})

    assert 400 == answer.status
    assert answer.body.strip()
    assert before is shop.registry.snapshot()
    assert sum(count for name, count in shop.registry.counts.items() if name.startswith("refused_")) == 1


@pytest.mark.parametrize("body", [
    b"", b"{", b"[]", b"null", b'{"instance": 1}', b'{"instance": NaN}', b"<instance>", b"<other/>", b"\xff\xfe", b"[" * 60_000,
    b'{"instance": ' * 5000, b"<a>" * 5000, b'<?xml version="1.0" encoding="none"?><instance/>', b'{"instance": {"app": "\xff"}}',
    b'<!DOCTYPE instance [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;">]><instance><app>&b;</app></instance>',
    b'<!DOCTYPE instance SYSTEM "file:///etc/passwd"><instance/>', b"<instance>&x;</instance>"])
@pytest.mark.parametrize("kind", [b"application/json", b"application/xml", b"", b"text/plain"])
def test_a_body_that_is_no_instance_is_refused(api, body, kind):
    assert 400 == api.status("POST", "/apps/SHOP", body, headers={b"content-type": kind} if kind else {})
    assert 0 == len(api.registry)


def test_a_renewal_for_a_stranger_makes_it_register(shop):
    assert 404 == shop.status("PUT", "/apps/SHOP/other")
    assert 404 == shop.status("PUT", "/apps/CART/host:shop:80?lastDirtyTimestamp=1")


def test_a_renewal_is_taken_with_any_query_and_body(shop):
    for path, body in ((ONE, b""), (f"{ONE}?status=UP", b"{}"), (f"{ONE}?lastDirtyTimestamp=&overriddenstatus=", b"junk")):
        assert 200 == shop.status("PUT", path, body)


def test_an_instance_that_is_asked_for_alone_says_when_it_was_last_renewed(shop):
    shop.read("/apps")
    shop.now = 25.0
    shop.status("PUT", ONE)

    assert EPOCH_MS + 25_000 == shop.read(ONE)["instance"]["leaseInfo"]["lastRenewalTimestamp"]
    assert EPOCH_MS == shop.read("/apps")["applications"]["application"][0]["instance"][0]["leaseInfo"]["lastRenewalTimestamp"]


def test_a_renewal_with_a_newer_timestamp_makes_the_instance_register_and_one_with_an_older_one_does_not(shop):
    assert 404 == shop.status("PUT", f"{ONE}?lastDirtyTimestamp={EPOCH_MS + 1}")
    assert 200 == shop.status("PUT", f"{ONE}?lastDirtyTimestamp={EPOCH_MS - 1}")
    assert 400 == shop.status("PUT", f"{ONE}?lastDirtyTimestamp=soon")


def test_another_registry_with_an_older_instance_is_given_the_newer_one(shop):
    answer = shop.ask("PUT", f"{ONE}?lastDirtyTimestamp={EPOCH_MS - 1}", headers={**JSON, **REPLICATION})

    assert 409 == answer.status
    assert "host:shop:80" == json.loads(answer.body)["instance"]["instanceId"]


def test_an_operator_takes_an_instance_out_of_service_and_puts_it_back(shop):
    assert 200 == shop.status("PUT", f"{ONE}/status?value=OUT_OF_SERVICE&lastDirtyTimestamp={EPOCH_MS + 5}")
    found = shop.read(ONE)["instance"]
    assert ("OUT_OF_SERVICE", "OUT_OF_SERVICE", "MODIFIED") == (found["status"], found["overriddenStatus"], found["actionType"])
    assert str(EPOCH_MS + 5) == found["lastDirtyTimestamp"]
    assert {"host:shop:80": "OUT_OF_SERVICE"} == shop.read("/serverinfo/statusoverrides")
    assert 200 == shop.status("PUT", ONE)
    assert "OUT_OF_SERVICE_1_" == shop.read("/apps")["applications"]["apps__hashcode"]

    assert 200 == shop.status("DELETE", f"{ONE}/status?value=UP")
    found = shop.read(ONE)["instance"]
    assert ("UP", "UNKNOWN") == (found["status"], found["overriddenStatus"])


def test_an_override_that_is_removed_without_a_value_makes_the_instance_register(shop):
    shop.status("PUT", f"{ONE}/status?value=DOWN")

    assert [200, 404] == [shop.status("DELETE", f"{ONE}/status"), shop.status("PUT", ONE)]


@pytest.mark.parametrize("query", ["", "?value=", "?value=fine", "?value=up"])
def test_a_status_that_does_not_exist_is_refused_by_500_only_where_the_original_is_asked_for(query):
    for api, status in ((Api(), 400), (Api(original_defects=True), 500)):
        api.status("POST", "/apps/SHOP", FULL)
        assert status == api.status("PUT", f"{ONE}/status{query}")
        assert "UP" == api.read(ONE)["instance"]["status"]


def test_operations_on_strangers_are_not_found(api):
    for method, path in (("PUT", "/status?value=UP"), ("DELETE", "/status"), ("PUT", "/metadata?a=b")):
        assert 404 == api.status(method, ONE + path)


def test_metadata_is_added_to_what_there_is(shop):
    assert 200 == shop.status("PUT", f"{ONE}/metadata?colour=dark%20red&zone=")

    assert {"zone": "", "weight": "3", "colour": "dark red"} == shop.read(ONE)["instance"]["metadata"]
    assert 400 == shop.status("PUT", f"{ONE}/metadata?a=%00")
    assert 400 == shop.status("PUT", f"{ONE}/metadata?{'&'.join(f'k{number}=v' for number in range(200))}")


def test_an_instance_that_leaves_is_told_by_the_delta(shop):
    shop.status("DELETE", ONE)
    delta = shop.read("/apps/delta")["applications"]

    assert "" == delta["apps__hashcode"]
    assert ["DELETED"] == [each["actionType"] for each in delta["application"][0]["instance"]]


def test_a_late_goodbye_does_not_bring_an_instance_back(shop):
    shop.now = 20.0
    shop.status("DELETE", ONE)

    assert 409 == shop.status("POST", "/apps/SHOP", {**FULL, "status": "DOWN", "lastDirtyTimestamp": EPOCH_MS + 19_000})
    assert 204 == shop.status("POST", "/apps/SHOP", {**FULL, "lastDirtyTimestamp": EPOCH_MS + 21_000})


def test_a_method_that_a_path_does_not_have_is_refused_with_those_that_it_has(api):
    for method, path, allowed in (("POST", "/apps", b"GET"), ("PATCH", ONE, b"GET, PUT, DELETE"), ("GET", f"{ONE}/status", b"PUT, DELETE")):
        answer = api.ask(method, path)
        assert (405, [(b"allow", allowed)]) == (answer.status, answer.headers)


def test_there_are_no_auto_scaling_groups(api):
    assert 400 == api.status("PUT", "/asg/group/status?value=ENABLED")
    assert "0" == api.read("/status")["generalStats"]["num-of-instances"]


def test_names_with_any_characters_come_back_as_they_were(api):
    odd = {**LEAST, "instanceId": "a/b c?d&<é>\"'", "metadata": {"1 <odd>": "&amp; \"x\"", "é": "ü"}}
    assert 204 == api.status("POST", "/apps/shop", odd)
    quoted = "/apps/SHOP/a%2Fb%20c%3Fd%26%3C%C3%A9%3E%22'"
    xml = ElementTree.fromstring(api.ask("GET", "/apps").body)

    assert odd["metadata"] == api.read(quoted)["instance"]["metadata"]
    assert odd["instanceId"] == xml.findtext("application/instance/instanceId")
    assert ["&amp; \"x\"", "ü"] == [each.text for each in xml.find("application/instance/metadata")]
    assert 200 == api.status("DELETE", quoted)


# -- claims

@pytest.mark.parametrize("address", ["127.0.0.1", "127.9.9.9", "::1", "169.254.169.254", "fe80::1", "::ffff:127.0.0.1", "fe80::1%eth0"])
@pytest.mark.parametrize("field", ["ipAddr", "hostName"])
def test_nobody_registers_a_loopback_or_link_local_address_from_elsewhere(api, address, field):
    said = {**FULL, field: address}
    assert 403 == api.status("POST", "/apps/SHOP", said)
    assert 403 == api.status("POST", "/apps/SHOP", said, peer="127.0.0.1", headers={b"x-forwarded-for": b"203.0.113.9"})
    assert 403 == api.status("POST", "/apps/SHOP", said, peer="")
    assert 0 == len(api.registry)
    assert 204 == api.status("POST", "/apps/SHOP", said, peer="127.0.0.1")
    assert 204 == api.status("POST", "/apps/SHOP", said, peer="10.0.0.2", server="10.0.0.2")


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST.", "a.localhost"])
def test_nobody_calls_itself_localhost_from_elsewhere(api, host):
    assert 403 == api.status("POST", "/apps/SHOP", {**FULL, "hostName": host})
    assert 204 == api.status("POST", "/apps/SHOP", {**FULL, "hostName": host}, peer="::1")


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "224.0.0.1", "ff02::1", "255.255.255.255"])
def test_an_address_that_nobody_can_have_is_refused_even_from_this_machine(api, address):
    assert 403 == api.status("POST", "/apps/SHOP", {**FULL, "ipAddr": address}, peer="127.0.0.1")


def test_instances_of_other_networks_are_refused_if_there_is_a_list():
    api = Api(instance_networks=("10.0.0.0/8", "2001:db8::/32"))
    for address, status in (("10.1.2.3", 204), ("2001:db8::7", 204), ("::ffff:10.0.0.7", 204), ("192.0.2.1", 403), ("2001:db9::1", 403)):
        assert status == api.status("POST", "/apps/SHOP", {**FULL, "ipAddr": address}), address
    assert 403 == api.status("POST", "/apps/SHOP", {**FULL, "hostName": "192.0.2.1"})
    assert 204 == api.status("POST", "/apps/SHOP", {**FULL, "hostName": "10.2.2.2"})
    assert 204 == api.status("POST", "/apps/SHOP", {**FULL, "ipAddr": "127.0.0.1"}, peer="127.0.0.1")


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/", "http://localhost/", "http://[::1]/", "http://169.254.169.254/latest", "http://127.1/", "//127.0.0.1/", "http://x@127.0.0.1:80/"])
@pytest.mark.parametrize("field", ["homePageUrl", "statusPageUrl", "healthCheckUrl", "secureHealthCheckUrl"])
def test_no_url_of_an_instance_leads_to_the_machine_of_whoever_opens_it(api, url, field):
    assert 403 == api.status("POST", "/apps/SHOP", {**FULL, field: url})
    assert 204 == api.status("POST", "/apps/SHOP", {**FULL, field: "/health"})
    assert 204 == api.status("POST", "/apps/SHOP", {**FULL, field: "http://203.0.113.1:8080/health"})


# -- anything at all

ODD = (None, True, 0, -1, 1.5, 1e308, 10**40, "", " ", "x", "é\u2028\U0001f600", "]]>", "<a/>", "&amp;", "\"", "\x00", "\ud800", "\ufffe",
       "a" * 300, [], [1], {}, {"$": []}, {"@class": 1}, {"a": {"b": 1}}, {"$": "1", "@enabled": {}}, "9" * 18, "UP", "127.0.0.1")


def spoilt(random_, said):
    """A copy of what an instance says, in which something is odd."""
    said = copy.deepcopy(said)
    for _ in range(random_.choice((1, 1, 2, 4))):
        place = random_.choice([said, *(each for each in said.values() if isinstance(each, dict))])
        if random_.random() < 0.2:
            place[random_.choice(("", "a b", "1", "xml", "é", "@x", "a:b", "<", "\x07"))] = copy.deepcopy(random_.choice(ODD))
        elif place:
            place[random_.choice(list(place))] = copy.deepcopy(random_.choice(ODD))
    return said


@over_seeds(20)
def test_whatever_is_sent_is_answered_and_whatever_is_listed_can_be_read(seed):
    random_, api, taken = random.Random(seed), Api(), 0
    for number in range(40):
        said = spoilt(random_, {**FULL, "instanceId": f"i{number}"})
        status = api.status("POST", "/apps/SHOP", said, peer=random_.choice(("127.0.0.1", "10.0.0.1")))
        assert status in (204, 400, 403)
        taken += status == 204
        path = "".join(random_.choice(("apps/", "SHOP/", "i1/", "status/", "metadata", "?value=UP", "&%00", "%", "%ff", "vips/", "\u00e9", "//"))
                       for _ in range(random_.randrange(1, 6)))
        assert api.status(random_.choice(("GET", "PUT", "POST", "DELETE")), f"/{path}", b"{}") in (200, 400, 403, 404, 405)
    assert taken
    for accept in ({}, JSON):
        for compact in ({}, {b"x-eureka-accept": b"compact"}):
            for path in ("/apps", "/apps/delta"):
                body = api.ask("GET", path, headers={**accept, **compact}).body
                read = [*ElementTree.fromstring(body).iter("instance")] if not accept else [
                    each for app in json.loads(body)["applications"]["application"] for each in app["instance"]]
                if path == "/apps":
                    assert len(api.registry) == len(read)
