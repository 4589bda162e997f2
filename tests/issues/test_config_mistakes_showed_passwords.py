"""The message of a mistake showed the value that it was about, and so the password in a URL of a Eureka server, a token in
a list, a password without quotes; in the log of every reload, too. Of a table that was given as something else it said
'str' object has no attribute 'items'. A name with a line break in it broke the message, and two readers of one table
told one mistake twice.
"""

import pytest

from resilience.config import ConfigFileError, Document
from resilience.gateway.config import read

SECRET = "hunter2"
FILE = """[services.a]
endpoints = ["http://127.0.0.1:1"]
[[routes]]
path = "/a"
service = "a"
"""
SOURCE = '[services.s.source]\nuse = "eureka"\napp = "x"\nservers = ["http://h:1"]\n'


def mistakes_of(text):
    try:
        read(Document(text, "f"))
    except ConfigFileError as error:
        return error.mistakes
    return []


@pytest.mark.parametrize("more", [
    '[services.s]\nendpoints = ["http://user:@@@h:1"]',
    '[services.s]\nendpoints = [{ url = "http://user:@@@h:1/x" }]',
    '[services.s]\nendpoints = "http://user:@@@h:1"',
    '[services.s.source]\nuse = "eureka"\napp = "x"\nservers = ["http://user:@@@h:1/eureka"]',
    '[services.s.source]\nuse = "eureka"\napp = "x"\nservers = "http://user:@@@h:1/eureka"',
    '[services.s.source]\nuse = "kubernetes"\nservice = "x"\napi = "https://user:@@@h:1"',
    '[services.s.source]\nuse = "redis"\napp = "x"\nurl = ["redis://:@@@h:1/0"]',
    '[registry]\npeers = ["http://user:@@@h:1/"]',
    '[admin]\ntokens = "@@"', '[admin]\ntokens = ["@@"]', '[admin]\ntokens = { a = ["@@"] }',
    '[admin]\ntokens = { a = { b = "@@" } }', '[registry.tokens]\nclients = "@@"',
    '[shared]\nurl = "redis://h:1/0"\npassword = ["@@"]', '[shared]\nurl = "redis://h:1/0"\npassword = { a = "@@" }',
    '[shared]\nurl = "redis://h:1/0"\npassword = @@', '[filters.j]\nuse = "jwt"\nsecret = ["@@"]',
    '[services.s]\nendpoints = [{ url = "http://h:1", headers = "Authorization: @@" }]',
    '[services.s]\nendpoints = [{ url = "http://h:1", headers = { Authorization = ["@@"] } }]',
    '[[admin]]\ntokens = { a = "@@" }', '[[registry]]\ntokens = { a = "@@" }', '[[registry.listener]]\npassword = "@@"',
    SOURCE + 'headers = "Authorization: @@"', SOURCE + 'headers = { Authorization = ["@@"] }',
])
def test_no_message_shows_what_may_be_a_secret(more):
    for secret in (SECRET, f"{SECRET}@x"):
        found = mistakes_of(FILE + more.replace("@@", secret))
        assert found
        assert not [each for each in found if SECRET in str(each)]


def test_a_number_in_the_place_of_a_password_is_not_shown():
    [found] = mistakes_of(FILE + '[shared]\nurl = "redis://h:1/0"\npassword = 271828')
    assert "must be a string, or false, not a number" == found.message


@pytest.mark.parametrize("said", ['"x"', '["x"]', "5"])
@pytest.mark.parametrize(("table", "key"), [
    ("[admin]", "tokens"), ("[registry.tokens]", "peers"), ("[shedding]", "route_priority"),
    ("[compositions.c]", "parts"), ("[[routes]]\npath = '/b'\nservice = 'a'", "headers"),
    ("[[routes]]\npath = '/b'", "services"), ("[services.a.fallback]", "headers"), (SOURCE, "headers")])
def test_what_must_be_a_table_is_said_to_be_none(table, key, said):
    named = {'"x"': "a string", '["x"]': "a list", "5": "5"}[said]
    found = [each.message for each in mistakes_of(f"{FILE}{table}\n{key} = {said}") if each.key.endswith(f".{key}")]
    assert [f"must be a table{', or false' if key == 'services' else ''}, not {named}"] == found


def test_a_name_with_a_line_break_stays_on_the_line():
    [found] = mistakes_of('[services."a\\nb"]\nendpoints = ["http://127.0.0.1:1"]\n[[routes]]\npath = "/a"\nservice = "x"')
    assert "unknown service 'x'; there are a\\nb" == found.message


def test_a_mistake_is_told_once():
    assert [2, 3] == [each.line for each in mistakes_of("\nservices = 5\nroutes = 5")]


def test_a_certificate_that_cannot_be_read_is_told_where_it_is_named():
    [found] = mistakes_of(FILE + '[gateway.tls]\n[[gateway.tls.certificates]]\nhosts = []\ncertificate_file = "nowhere.pem"')
    assert (9, "gateway.tls.certificates[0].certificate_file") == (found.line, found.key)
