"""A client's certificate, from what Python's ssl tells of it: names as RFC 4514 writes them."""

import pytest

from resilience.gateway.front.client_certificate import distinguished_name


@pytest.mark.parametrize(("told", "name"), [
    ((), ""),
    (((("commonName", "billing"),),), "CN=billing"),
    (((("countryName", "DE"),), (("organizationName", "Shop"),), (("commonName", "a"), ("userId", "b"))), "CN=a+UID=b,O=Shop,C=DE"),
    (((("commonName", 'x,O=Shop+"<>;\\'),),), 'CN=x\\,O=Shop\\+\\"\\<\\>\\;\\\\'),
    (((("commonName", "# hash and end "),),), "CN=\\# hash and end\\ "),
    (((("commonName", " first\0"),),), "CN=\\ first\\00"),
    (((("pseudonym", "nobody"),),), "pseudonym=nobody"),
])
def test_a_name_is_written_the_most_significant_part_last_and_none_of_its_values_can_be_taken_for_a_part(told, name):
    assert name == distinguished_name(told)
