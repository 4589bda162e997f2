"""tomllib says what it expects, in Python's words, and not what to do: about a table in braces of several lines, say."""

from __future__ import annotations

import pytest

from resilience.config import ConfigFileError, Document


@pytest.mark.parametrize(("text", "message"), [
    ("[a.b]\n[a.b]\n", "2: is not TOML: Cannot declare [a.b] twice; write all that belongs to a table below one header"),
    ("[a]\n[a]\n", "2: is not TOML: Cannot declare [a] twice; write all that belongs to a table below one header"),
    ("a = 1\na = 2\n", "2: is not TOML: Cannot overwrite a value; this name has a value already; keep one of the two"),
    ("a = []\n[[a]]\n", "it has a value already, which is all of it"),
    ("a = {\n  b = 1\n}\n", "a table in braces ends on the line that it begins on; write it as a [table] of its own"),
    ('a = "C:\\logs"\n', "write the text in single quotes, or each \\ twice"),
])
def test_the_message_says_what_to_do(text: str, message: str) -> None:
    with pytest.raises(ConfigFileError) as caught:
        Document(text, "file.toml")
    assert message in str(caught.value)
