"""Reading a file took ``command.per`` out of the tables, which the supervisor then sent to its workers without it."""

from __future__ import annotations

import copy

from resilience.config import Document
from resilience.gateway.config import read


def test_reading_the_tables_leaves_them_as_they_are_for_the_workers() -> None:
    tables = {"services": {"a": {"endpoints": ["http://a:80", "http://b:80"], "command": {"per": "service", "timeout": 1.0}}},
              "routes": [{"path": "/*", "service": "a"}]}
    before = copy.deepcopy(tables)
    document = Document.of(tables, "test")
    config = read(document)
    assert (before, config) == (tables, read(Document.of(document.data, "test")))
    assert "service" == config.services["a"].command["per"]
