"""A key may hold what TOML lets it hold; a message about it is one line, and says the key as a file would."""

import pytest

from resilience import ConfigError
from resilience.config import check


def test_a_mistake_under_a_key_with_quotes_and_line_breaks_is_one_line(tmp_path):
    file = tmp_path / "r.toml"
    file.write_text('[commands."a \\"b\\"\\r\\n<c>"]\ntimeout = -1\n', encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        check(file, environ={})
    message = str(caught.value)
    assert message.startswith(f'{file}:2: commands."a \\"b\\"\\r\\n<c>".timeout: ')
    assert 1 == len(message.splitlines())
